# SPDX-License-Identifier: Apache-2.0
"""Each claim holds for the run it describes, and fails for the one fault it is there to find."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from tests.lab import wire
from tests.lab.story import ALL_KEYS, FIBRE, GATEWAY, INNER, SPIS_OF, WLAN, Story
from vici_mif.lab.evidence import proof
from vici_mif.lab.evidence.esp import Protected
from vici_mif.lab.evidence.payload import Ledger, Seen
from vici_mif.lab.evidence.pcap import Packet, ip_packet
from vici_mif.lab.evidence.transcript import transcript
from vici_mif.lab.streams.log import Flow, Mark, StreamLog

FAR = "10.100.0.2"
TUNNELS = (
    proof.Tunnel("net@eth0", ((INNER[0], FAR),), "client-eth0", FIBRE),
    proof.Tunnel("net@wlan0", ((INNER[1], FAR),), "client-wlan0", WLAN),
)
STEADY = proof.Window(1010, 1015)
OUTAGE = proof.Outage(
    "client-wlan0", down_at=1020, up_at=1030, end_at=1040, silence=1, homecoming=7
)
PARKED = "client-eth0"
OUTER = {"client-eth0": (FIBRE, GATEWAY), "client-wlan0": (GATEWAY, WLAN)}

Change = Callable[[Seen], Seen | None]


def place_of(tunnel: proof.Tunnel, at: float) -> str:
    """As a controller that works would have it."""
    away = tunnel.place == OUTAGE.place and OUTAGE.down_at + 0.4 <= at < OUTAGE.up_at + 6
    return PARKED if away else tunnel.place


def silent(tunnel: proof.Tunnel, at: float) -> bool:
    return tunnel.place == OUTAGE.place and OUTAGE.down_at <= at < OUTAGE.down_at + 0.4


def flows(tunnel: proof.Tunnel) -> list[tuple[Flow, bytes, int]]:
    """Each flow with its SPI and the size of its blocks."""
    ((inner, _),) = tunnel.ends
    client, gateway = SPIS_OF[inner]
    return [
        (("udp", inner, FAR), gateway, 400),
        (("tcp", inner, FAR), gateway, 1000),
        (("udp", FAR, inner), client, 400),
        (("tcp", FAR, inner), client, 1000),
    ]


def run(change: Change = lambda seen: seen) -> proof.Evidence:
    """Ten blocks a second for forty seconds; `change` spoils what the captures show."""
    log, seen = StreamLog(), []
    for tunnel in TUNNELS:
        for flow, spi, size in flows(tunnel):
            for number in range(350):
                at = 1005 + number / 10
                log.sent[flow].append(Mark(number, at, size))
                if silent(tunnel, at) and flow[0] == "udp":
                    continue
                log.got[flow].append(Mark(number, at + 0.001, size))
                place = place_of(tunnel, at)
                one = change(Seen(at, place, OUTER[place], spi, flow, number, size))
                seen += [one] if one else []
    found = transcript(Story().whole().packets, ALL_KEYS)
    return proof.Evidence(found, Ledger(seen), log, TUNNELS)


def failures(evidence: proof.Evidence) -> list[str]:
    claims = [
        proof.one_ike_sa_each(evidence),
        *proof.on_own_uplink(evidence, STEADY, "steady"),
        *proof.outage(evidence, OUTAGE),
    ]
    return [claim.name for claim in claims if not claim.holds]


def test_a_good_run_is_proved() -> None:
    """And says by what."""
    evidence = run()

    assert failures(evidence) == []
    claim = proof.on_own_uplink(evidence, STEADY, "steady")[0]
    assert str(claim).startswith("ok    net@eth0 out, steady: 100.00% of 70000 payload bytes")
    assert b"gw-1".hex() in claim.evidence


def test_one_percent_lost_still_holds_and_two_do_not() -> None:
    """Of the payload bytes of both protocols."""

    def losing(share: int) -> Change:
        return lambda s: None if s.flow[1] == INNER[0] and s.number % share == 0 else s

    assert failures(run(losing(200))) == []
    assert failures(run(losing(40))) == ["net@eth0 out, steady"]


def test_a_downlink_on_one_tunnel_for_all_is_found() -> None:
    """What counters on the client would not show: the gateway answers by the first tunnel."""

    def through_the_first(seen: Seen) -> Seen:
        if seen.flow[1] != FAR:
            return seen
        return dataclasses.replace(seen, place="client-eth0", spi=b"cl-1")

    names = failures(run(through_the_first))

    assert "net@wlan0 in, steady" in names
    assert "net@wlan0 out, steady" not in names


def test_a_copy_on_another_uplink_is_found() -> None:
    """All is where it should be, and some of it is elsewhere too."""
    evidence = run()
    extra = Seen(
        1012, "client-eth0", OUTER["client-eth0"], b"gw-2", ("udp", INNER[1], FAR), 70, 400
    )
    both = Ledger([*(s for f in evidence.ledger._flows.values() for s in f), extra])
    names = failures(dataclasses.replace(evidence, ledger=both))

    assert names == ["net@wlan0 out, steady"]


def test_the_right_uplink_with_a_foreign_spi_is_found() -> None:
    """A tunnel that carries what belongs to another."""

    def foreign(seen: Seen) -> Seen:
        ours = seen.spi == b"gw-2" and seen.at < 1020
        return dataclasses.replace(seen, spi=b"gw-1") if ours else seen

    assert "net@wlan0 out, steady" in failures(run(foreign))


def test_a_foreign_source_address_is_found() -> None:
    """On the right wire with another uplink's address: its provider would drop it."""

    def foreign(seen: Seen) -> Seen:
        ours = seen.spi == b"gw-2" and seen.at < 1020
        return dataclasses.replace(seen, outer=(FIBRE, GATEWAY)) if ours else seen

    assert "net@wlan0 out, steady" in failures(run(foreign))


def test_no_traffic_proves_nothing() -> None:
    """An empty capture is not a clean one."""
    evidence = dataclasses.replace(run(), log=StreamLog(), ledger=Ledger([]))

    assert len(failures(evidence)) == 9
    assert proof.verdict([]) is False
    assert not proof.nothing_in_clear({"client-eth0": []}, []).holds


def test_two_tunnels_on_one_ike_sa_are_found() -> None:
    """Two children of the root are no clones."""
    evidence = run()
    for index, child in enumerate(evidence.transcript.children):
        evidence.transcript.children[index] = dataclasses.replace(child, member="root")

    assert not proof.one_ike_sa_each(evidence).holds


def test_a_second_authentication_is_found() -> None:
    """By another IKE_SA_INIT, or by another run of IKE_AUTH; retransmissions are none."""
    story = Story().whole()
    story.again(0)
    story.again(2)
    assert proof.one_authentication(story.packets).holds

    again = Story().whole()
    again.init((b"otherone", b"otherres"))
    again.authenticate((b"otherone", b"otherres"))
    claim = proof.one_authentication(again.packets)

    assert not claim.holds
    assert "IKE_SA_INIT: 2" in claim.evidence
    assert not proof.one_authentication([]).holds


def test_a_gap_in_the_run_of_message_ids_is_found() -> None:
    """Nothing of an authentication may be missing from the captures."""
    story = Story()
    story.init()
    for number in (1, 3):
        story.exchange(ALL_KEYS[next(iter(ALL_KEYS))], 35, number, ([], []))  # type: ignore[arg-type]

    assert not proof.one_authentication(story.packets).holds


def test_a_packet_in_clear_is_found() -> None:
    """One is enough, in either direction."""
    rules = [Protected(ip_network("10.222.0.0/24"), ip_network("10.100.0.0/24"))]
    outer = Story().whole().packets
    assert proof.nothing_in_clear({"client-eth0": outer}, rules).holds

    leak = ip_packet(wire.udp(FAR, INNER[0], 1, 2, b"x"), 1.0, "client-eth0")
    assert isinstance(leak, Packet)
    claim = proof.nothing_in_clear({"client-eth0": [*outer, leak]}, rules)
    assert not claim.holds
    assert "10.100.0.2 to 10.222.0.1 on client-eth0" in claim.evidence


def test_captures_that_lost_packets_prove_nothing() -> None:
    """Nor do none at all."""
    assert proof.nothing_missed({"router-eth0": 0}).holds
    assert not proof.nothing_missed({"router-eth0": 0, "router-gw0": 3}).holds
    assert not proof.nothing_missed({}).holds


def spoil_log(change: Callable[[StreamLog], None]) -> list[str]:
    evidence = run()
    change(evidence.log)
    return failures(evidence)


def test_a_silence_of_more_than_a_second_is_found() -> None:
    """In one direction only, after the uplink went."""

    def quiet(log: StreamLog) -> None:
        flow = ("udp", FAR, INNER[1])
        log.got[flow] = [m for m in log.got[flow] if not 1019.95 < m.at < 1021.1]

    assert spoil_log(quiet) == ["net@wlan0 goes on without its uplink"]


@pytest.mark.parametrize(
    "fault",
    [
        lambda log, flow: log.failures.append((1025.0, flow, "the connection ended: reset")),
        lambda log, flow: log.got[flow].pop(20),
        lambda log, flow: log.got.update({flow: log.got[flow][:200]}),
    ],
    ids=["reset", "a block missing", "silent at the end"],
)
def test_a_tcp_connection_that_died_is_found(
    fault: Callable[[StreamLog, Flow], object],
) -> None:
    """Broken, with a hole, or asleep."""

    def die(log: StreamLog) -> None:
        fault(log, ("tcp", INNER[0], FAR))

    assert spoil_log(die) == ["net@eth0: TCP connection lives"]


def test_another_tunnel_that_was_made_anew_is_found() -> None:
    """New SPIs after the outage."""

    def anew(seen: Seen) -> Seen:
        late = seen.spi == b"gw-1" and seen.at > 1020
        return dataclasses.replace(seen, spi=b"new!") if late else seen

    assert failures(run(anew)) == ["net@eth0 is untouched"]


@pytest.mark.parametrize("late", [1037.5, 2000.0], ids=["late", "never"])
def test_a_tunnel_that_comes_home_late_is_found(late: float) -> None:
    """More than two seconds after the hold-down, or not at all."""

    def stays(seen: Seen) -> Seen:
        away = seen.flow[1] == INNER[1] and 1030 <= seen.at < late
        return dataclasses.replace(seen, place=PARKED) if away else seen

    assert failures(run(stays)) == ["net@wlan0 is home again"]
