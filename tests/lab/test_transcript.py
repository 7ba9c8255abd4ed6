# SPDX-License-Identifier: Apache-2.0
"""Who is who in a capture follows from the messages alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.lab import wire
from tests.lab.story import (
    ALL_KEYS,
    CLONE,
    CLONE_REQUEST,
    FIBRE,
    GATEWAY,
    INNER,
    ROOT,
    WLAN,
    Story,
)
from vici_mif.lab.evidence import ladder, pcap, proof, tshark
from vici_mif.lab.evidence.ikekeys import IkeKeys, read_keys
from vici_mif.lab.evidence.ikev2 import PROTOCOL_IKE, Exchange, N, Notify
from vici_mif.lab.evidence.transcript import Transcript, transcript

DATA = Path(__file__).parent / "data"


def told(story: Story) -> Transcript:
    return transcript(story.packets, ALL_KEYS)


def captured(name: str) -> Transcript:
    keys = read_keys((DATA / f"{name}.ikev2").read_text())
    return transcript(pcap.read(DATA / f"{name}.pcap"), keys)


def test_a_clone_gets_a_name_its_parent_and_its_spis() -> None:
    """The new SPIs stand in the two SA payloads of the exchange."""
    found = told(Story().whole())

    assert [m.name for m in found.members.values()] == ["root", "clone 1"]
    clone = found.named("clone 1")
    assert (clone.spis, clone.parent, clone.cloned) == (CLONE, "root", True)
    assert [s.member for s in found.steps[-2:]] == ["clone 1", "clone 1"]
    assert not any(step.problem for step in found.steps)


def test_a_move_is_known_when_it_is_answered() -> None:
    """The root stays where it is."""
    found = told(Story().whole())

    assert [str(a) for a in found.named("clone 1").pair] == [WLAN, GATEWAY]
    assert [str(a) for a in found.named("root").pair] == [FIBRE, GATEWAY]
    assert len(found.named("clone 1").moves) == 1


def test_a_refused_move_is_none() -> None:
    """UNACCEPTABLE_ADDRESSES (RFC 4555, 3.5)."""
    story = Story()
    story.init()
    story.authenticate()
    story.from_address = WLAN
    bodies = ([wire.notify(N.UPDATE_SA_ADDRESSES)], [wire.notify(N.UNACCEPTABLE_ADDRESSES)])
    story.exchange(ALL_KEYS[ROOT], Exchange.INFORMATIONAL, 2, bodies)

    assert told(story).named("root").moves == []


def test_children_belong_to_the_ike_sa_that_made_them() -> None:
    """From IKE_AUTH and from CREATE_CHILD_SA."""
    children = told(Story().whole()).children

    assert [(c.member, c.client_spi, c.gateway_spi) for c in children] == [
        ("root", b"cl-1", b"gw-1"),
        ("clone 1", b"cl-2", b"gw-2"),
    ]
    assert [str(c.client_ts[0].start) for c in children] == list(INNER)


def test_the_gateway_may_clone_too() -> None:
    """Then it is the original initiator of the clone, and the ladder still knows the sides."""
    story = Story()
    story.init()
    story.authenticate()
    story.clone(from_client=False)
    keys = ALL_KEYS[CLONE]
    asked = wire.sealed(keys, Exchange.INFORMATIONAL, 0, 0, [wire.notify(N.UPDATE_SA_ADDRESSES)])
    story._put(True, bytes(4) + asked[0], 4500)
    found = told(story)

    assert found.named("clone 1").by_client is False
    assert found.steps[-1].from_client
    assert found.steps[-1].member == "clone 1"


def test_a_refused_clone_makes_nothing() -> None:
    """NO_ADDITIONAL_SAS (RFC 7791, 5.3)."""
    story = Story()
    story.init()
    story.authenticate()
    bodies = (CLONE_REQUEST, [wire.notify(N.NO_ADDITIONAL_SAS)])
    story.exchange(ALL_KEYS[ROOT], Exchange.CREATE_CHILD_SA, 2, bodies)

    assert [m.name for m in told(story).members.values()] == ["root"]


def test_a_rekeying_is_no_clone() -> None:
    """The same exchange without the notify."""
    story = Story()
    story.init()
    story.authenticate()
    bodies = (CLONE_REQUEST[1:], [wire.proposal(PROTOCOL_IKE, CLONE[1]), wire.NONCE, wire.KE])
    story.exchange(ALL_KEYS[ROOT], Exchange.CREATE_CHILD_SA, 2, bodies)

    assert [m.name for m in told(story).members.values()] == ["root", "root'"]


def test_a_retransmission_is_counted_and_one_elsewhere_is_shown() -> None:
    """The same bytes from another address are how a move that never waits begins."""
    story = Story()
    story.init()
    story.authenticate()
    story.again(2)
    story.again(2, WLAN)
    found = told(story)

    assert [step.sent for step in found.steps] == [1, 1, 2, 1, 1]
    assert [step.again for step in found.steps] == [False] * 4 + [True]
    assert len(found.children) == 1


def test_a_message_in_fragments_is_one_step() -> None:
    """RFC 7383: certificates make IKE_AUTH long."""
    story = Story()
    story.init()
    story.authenticate(fragments=3)
    found = told(story)

    assert len(story.packets) == 8
    assert [step.message.header.exchange for step in found.steps] == [34, 34, 35, 35]
    assert found.steps[-1].message.notify(N.CLONE_IKE_SA_SUPPORTED) == Notify(16432)


def test_without_keys_the_messages_are_still_listed() -> None:
    """With the reason why they are closed."""
    found = transcript(Story().whole().packets, {})

    assert len(found.steps) == 10
    assert "no keys" in found.steps[2].problem
    assert "SK { ? }" in ladder.draw(found.steps)


def test_the_ladder_is_drawn_like_the_figures() -> None:
    """B.2 of the draft, with RFC 7791's answer."""
    drawn = ladder.draw(told(Story().whole()).steps[4:6])

    assert "(192.0.2.1:4500 -> 203.0.113.1:4500)" in drawn
    assert "HDR(root), SK { N(CLONE_IKE_SA), SA, Ni, KEi }  -->" in drawn
    assert "<--  (203.0.113.1:4500 -> 192.0.2.1:4500)" in drawn
    assert "HDR(root), SK { SA, Nr, KEr }" in drawn
    assert all(len(line) <= ladder.WIDTH for line in drawn.splitlines())


def test_a_second_ike_sa_init_has_a_name_of_its_own() -> None:
    """It is what the proof looks for."""
    story = Story().whole()
    story.init((b"otherone", b"otherres"))

    assert "root 2" in [m.name for m in told(story).members.values()]


def test_two_stock_charons() -> None:
    """A rekeyed child, a rekeyed IKE SA, both deleted: strongSwan 6.1.0 on the wire."""
    found = captured("stock")

    assert [(m.name, m.cloned) for m in found.members.values()] == [
        ("root", False),
        ("root'", False),
    ]
    assert all(member.deleted_at for member in found.members.values())
    assert found.children[1].replaces == found.children[0].client_spi
    assert not any(step.problem for step in found.steps)


def test_a_family_of_patched_charons() -> None:
    """One authentication, two clones, each moved before its child; RFC 7791 on the wire."""
    found = captured("family")
    children = {child.member: str(child.client_ts[0].start) for child in found.children}

    assert [m.name for m in found.members.values()] == ["root", "clone 1", "clone 2"]
    assert [m.parent for m in found.members.values()] == [None, "root", "root"]
    assert [len(m.moves) for m in found.members.values()] == [2, 1, 1]
    assert children == {
        "root": "10.222.0.1",
        "clone 1": "10.222.0.2",
        "clone 2": "10.222.0.3",
    }
    assert not any(step.problem for step in found.steps)
    assert proof.one_authentication(pcap.read(DATA / "family.pcap")).holds


def test_what_a_clone_looks_like_on_the_wire() -> None:
    """RFC 7791, 5.1 and 5.2: where each notify stands, and nothing else in the response."""
    steps = captured("family").steps
    support = [s for s in steps if s.message.notify(N.CLONE_IKE_SA_SUPPORTED)]
    requests = [s for s in steps if s.message.notify(N.CLONE_IKE_SA)]
    ids = {s.message.header.message_id for s in requests}
    answers = [
        s.message
        for s in steps
        if s.message.header.exchange == Exchange.CREATE_CHILD_SA
        and s.message.header.response
        and s.member == "root"
        and s.message.header.message_id in ids
    ]

    assert [s.message.header.exchange for s in support] == [Exchange.IKE_AUTH] * 2
    assert [s.message.header.response for s in support] == [False, True]
    assert {s.message.header.exchange for s in requests} == {Exchange.CREATE_CHILD_SA}
    assert len(requests) == len(answers) == 2
    assert {s.message.notify(N.CLONE_IKE_SA) for s in requests} == {Notify(N.CLONE_IKE_SA)}
    assert [list(answer.notifies()) for answer in answers] == [[], []]
    assert [answer.selectors() for answer in answers] == [{}, {}]


@pytest.mark.skipif(not tshark.installed(), reason="tshark is not installed")
@pytest.mark.parametrize("name", ["stock", "family"])
def test_tshark_reads_the_same(name: str) -> None:
    """The outside judge: exchange, message id and notifies of each message of a capture."""
    theirs = Counter(tshark.messages(DATA / f"{name}.pcap", DATA / f"{name}.ikev2"))
    steps = captured(name).steps

    assert theirs.total() > 15
    assert tshark.agrees(steps, theirs).holds
    assert not tshark.agrees(steps[1:], theirs).holds
    assert not tshark.agrees([], Counter()).holds


@pytest.mark.skipif(not tshark.installed(), reason="tshark is not installed")
def test_tshark_reads_the_notifies_of_rfc_7791_in_our_story(tmp_path: Path) -> None:
    """Also the packets of the wire helper are what another program takes them for."""
    story = Story().whole()
    raw = [
        wire.ethernet(wire.udp(str(p.src), str(p.dst), p.sport, p.dport, p.data))
        for p in story.packets
    ]
    capture = tmp_path / "story.pcap"
    capture.write_bytes(wire.pcap([(1000.0, frame) for frame in raw]))
    table = tmp_path / "table"
    table.write_text("".join(_row(keys) for keys in ALL_KEYS.values()))
    theirs = tshark.messages(capture, table)

    assert tshark.agrees(told(story).steps, Counter(theirs)).holds
    assert (36, 2, (16433,)) in theirs
    assert (35, 1, (16432,)) in theirs


def _row(keys: IkeKeys) -> str:
    spis = f"{keys.spis[0].hex()},{keys.spis[1].hex()}"
    secrets = f"{keys.initiator.hex()},{keys.responder.hex()}"
    return f'{spis},{secrets},"{keys.cipher}",,,"NONE [RFC4306]"\n'
