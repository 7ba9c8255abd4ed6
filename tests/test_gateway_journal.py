# SPDX-License-Identifier: Apache-2.0
"""The gateway's side in the journal: decided again alike, and small beside thousands of tunnels."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from tests.journals import differing, start, written
from tests.test_gateway import STRANGER, Host, judged, member
from tests.thorough import thorough
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import OrderKind, Sa, Source, SourceCounts

PEERS, TUNNELS = 1000, 4


def busy(sa: Sa, size: int) -> Sa:
    """Something came in and went out."""
    (child,) = sa.children
    return replace(sa, children=(replace(child, bytes_in=size, bytes_out=size, packets_in=size),))


def crowd(size: int = 10) -> tuple[Sa, ...]:
    return tuple(
        busy(member(peer * TUNNELS + n, peer * TUNNELS, at=f"198.51.{100 + peer // 250}.{n}"), size)
        for peer in range(1, PEERS + 1)
        for n in range(TUNNELS)
    )


def noted(host: Host, begin: int = 0) -> list[str]:
    """What the controller would write."""
    return written(host.kept)[begin:]


def test_what_a_gateway_decided_is_decided_again() -> None:
    """Revoked, orphaned, refused, moved: the journal has what came in and what was begun."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1), member(2, 1), member(3), member(4, who="eve"))))
    host.feed(e.OrderGiven(OrderKind.REVOKE_IDENTITY, "", "t", identity="eve"))
    host.feed(e.CloneRefused(3, "limit", 7))
    judged(host, STRANGER, 6)
    host.run(300)
    host.feed(e.SasSeen((busy(member(1, 1), 99), member(2, 1), member(3, at="192.0.2.7"))))
    host.run(60)
    host.feed(e.SaRekeyed(2, replace(member(2, 1), unique_id=9)))
    text = noted(host)

    for kind in (a.Terminate, a.AskPeer, a.ReadSa, a.CheckSources, a.Say):
        assert any(f'"{kind.__name__}"' in line for line in text), kind
    assert differing(text) == []


def test_another_decision_is_noticed() -> None:
    """A journal in which somebody else was closed is not the same."""
    host = Host()
    host.feed(e.SasSeen((member(1, who="eve"), member(2))))
    host.feed(e.OrderGiven(OrderKind.REVOKE_IDENTITY, "", "t", identity="eve"))
    text = [line.replace('"ike_id":1,"force"', '"ike_id":2,"force"') for line in noted(host)]

    assert text != noted(host)
    assert len(differing(text)) == 1


IDS = st.integers(1, 6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("look"), st.lists(st.tuples(IDS, IDS, st.integers(0, 3)), max_size=8)),
        st.tuples(st.just("seen"), IDS, IDS, st.integers(0, 3)),
        st.tuples(st.just("rekeyed"), IDS, IDS),
        st.tuples(st.just("gone"), IDS),
        st.tuples(st.just("refused"), IDS, st.sampled_from(["limit", "rate"])),
        st.tuples(st.just("strange"), st.lists(st.tuples(IDS, IDS, st.integers(0, 60)))),
        st.tuples(st.just("revoke"), IDS),
        st.tuples(st.just("unrevoke"), IDS),
        st.tuples(st.just("charon"),),
        st.tuples(st.just("wait"), st.sampled_from([0.4, 3.0, 70.0, 400.0, 4000.0])),
        st.tuples(st.just("answer"), st.sampled_from(["", "timeout", "busy"])),
    ),
    max_size=40,
)  # fmt: skip


def happen(host: Host, step: tuple[object, ...]) -> None:
    match step:
        case ("look", list(found)):
            sas = {n: busy(member(n, f, at=f"198.51.100.{place}"), place) for n, f, place in found}
            host.feed(e.SasSeen(tuple(sas.values())))
        case ("seen", int(number), int(family), int(place)):
            host.feed(e.SaSeen(member(number, family, at=f"198.51.100.{place}")))
        case ("rekeyed", int(old), int(family)):
            host.feed(e.SaRekeyed(old, member(old + 10, family)))
        case ("gone", int(number)):
            host.feed(e.SaGone(number))
        case ("refused", int(number), str(reason)):
            host.feed(e.CloneRefused(number, reason, number))
        case ("strange", list(found)):
            strange = {
                Source(0xC0000000 + n, ip_address(f"192.0.2.{place}")): float(age)
                for n, place, age in found
            }
            host.feed(e.SourcesSeen(tuple(strange.items()), SourceCounts(new=len(strange))))
        case _:
            order(host, step)


def order(host: Host, step: tuple[object, ...]) -> None:
    kind = OrderKind.REVOKE_IDENTITY
    match step:
        case ("revoke", number):
            host.feed(e.OrderGiven(kind, "", "t", identity=f"peer-{number}"))
        case ("unrevoke", number):
            host.feed(e.OrderCleared(kind=kind, identity=f"peer-{number}"))
        case ("charon",):
            host.feed(e.CharonGone("crashed"))
            host.feed(e.CharonConnected("6.1.0", True))
        case ("wait", float(span)):
            host.run(span)
        case ("answer", str(reason)):
            for action in [*host.asked(a.AskPeer), *host.asked(a.Terminate), *host.asked(a.ReadSa)]:
                host.answer(action, reason)


@thorough(15)
@given(STEPS, st.floats(0, 1))
def test_any_history_of_a_gateway_is_decided_again(
    steps: list[tuple[object, ...]], share: float
) -> None:
    """From its beginning, and from the state in the middle of it."""
    host = Host("drop")
    split, head, middle = int(share * len(steps)), "", 0
    for number, step in enumerate(steps):
        if number == split:
            middle = len(host.kept)
            head = start(host.config, host.now, "rotated", host.rooms)
        happen(host, step)
    text = noted(host)

    assert differing(text) == []
    if head:
        assert differing([head, *text[middle:]]) == []
        assert differing([*text[:middle], head, *text[middle:]]) == []


def test_a_look_at_thousands_says_what_is_new() -> None:
    """1,000 peers with four tunnels: whoever is busy as before stands in no line."""
    host = Host()
    host.feed(e.SasSeen(crowd()))
    first = sum(map(len, noted(host)))
    begin = len(host.kept)
    for minute in range(1, 13):
        host.run(300)
        moved = busy(member(4, 4, at=f"192.0.2.{minute}"), minute * 1000)
        host.feed(e.SasSeen((moved, *crowd(minute * 1000)[1:])))
    hour = sum(map(len, noted(host, begin)))

    assert first < 4_000_000
    assert hour < 100_000
    assert host.family(4).paths[0].endswith("192.0.2.12")
    assert sum(f.rx_bytes for f in host.gateway.families) == 4000 * 12_000


def test_thousands_that_are_quiet_are_numbers() -> None:
    """Nobody sends: each look that can be compared costs their numbers."""
    host = Host()
    host.feed(e.SasSeen(crowd()))
    host.run(300)
    begin = len(host.kept)
    host.feed(e.SasSeen(crowd()))

    assert sum(map(len, noted(host, begin))) < 40_000


def test_a_scrape_of_thousands_costs_a_line() -> None:
    """Looks within a minute of each other say nothing where nothing differs."""
    host = Host()
    host.feed(e.SasSeen(crowd()))
    begin = len(host.kept)
    for second in range(1, 4):
        host.run(15)
        host.feed(e.SasSeen(crowd(second)))

    assert sum(map(len, noted(host, begin))) < 2_000


def test_who_goes_on_sending_from_elsewhere_is_told_once() -> None:
    """Forged packets for an hour: a line when each source begins, and one when it ceases."""
    host = Host("count")
    host.feed(e.SasSeen((member(1, 1),)))
    judged(host, STRANGER, 10, "timeout")
    text = noted(host)
    host.feed(e.SourcesSeen((), SourceCounts(new=1)))

    assert sum('"NewcomersSeen"' in line for line in text) == 1
    assert '"ceased":[[3221225473,"192.0.2.66"]]' in noted(host)[-1]


def test_the_state_of_thousands_fits_into_a_file() -> None:
    """A file of 10 MB begins with it."""
    host = Host()
    host.feed(e.SasSeen(crowd()))

    assert len(start(host.config, host.now, "rotated", host.rooms)) < 5_000_000
