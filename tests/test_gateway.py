# SPDX-License-Identifier: Apache-2.0
"""The gateway's side: who is here, what was refused, who is closed. Facts in, actions out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from tests.journals import BASE, Asked, Kept, Started
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.figures import figures
from vici_mif.core.figures.figures import Counted
from vici_mif.core.gateway import told
from vici_mif.core.gateway.gateway import PREFIX
from vici_mif.core.gateway.sieve import Sieve
from vici_mif.core.model import Child, Order, OrderKind, Sa, Source, SourceCounts, SourceWish
from vici_mif.core.planner import Planner
from vici_mif.core.rooms import Rooms
from vici_mif.core.status import Clock, FamilyStatus, GatewayStatus
from vici_mif.core.wish.config import Source as Text
from vici_mif.core.wish.config import parse

CONFIG = "version: 1\ngateway: {{connections: [rw], source_check: {check}}}\n"
LOCAL = ip_address("203.0.113.1")


def member(
    ike_id: int, family: int | None = None, at: str = "198.51.100.1", who: str = "", **more: object
) -> Sa:
    """An IKE SA that a peer began, with a child whose SPIs follow from its number."""
    number = family or ike_id
    spi = f"c{ike_id:07x}"
    child = Child("net", ike_id, "INSTALLED", (), (), spi_in=spi, bytes_in=10, bytes_out=20)
    sa = Sa(
        unique_id=ike_id,
        name="rw",
        state="ESTABLISHED",
        local=LOCAL,
        remote=ip_address(at),
        local_port=4500,
        initiator=False,
        remote_id=who or f"peer-{number}",
        family=family or ike_id,
        children=(child,),
        established_delay=100.0,
    )
    return replace(sa, **more)  # type: ignore[arg-type]


class Host:
    """A gateway's room, and the world that answers it."""

    def __init__(self, check: str = "count", *, patched: bool = True) -> None:
        self.config = parse([Text("c.yaml", CONFIG.format(check=check))])
        self.sieve = Sieve(self.config)
        self.rooms = Rooms(self.config, BASE)
        self.room = self.rooms.gateway
        self.kept: list[Kept] = [Started(self.config)]
        self.table: SourceWish | None = None
        """What the kernel has."""
        self.now = 1000.0
        self.log: list[a.Action] = []
        self.feed(e.OrdersRead(()))
        self.feed(e.CharonConnected("6.1.0", patched))

    def feed(self, event: e.Event) -> list[a.Action]:
        wanted: list[a.Action] = []
        heard: list[e.Event] = []
        with self._listening(heard):
            for fact in self.sieve.facts(event, self.now):
                found = self.rooms.handle(fact, self.now)
                self.kept.append(Asked(fact, self.now, tuple(found)))
                wanted += found
        for action in wanted:
            self._execute(action)
        self.left = tuple(heard)
        mine = [action for action in wanted if action.tag.startswith(PREFIX)]
        self.log += mine
        return mine

    @contextmanager
    def _listening(self, heard: list[e.Event]) -> Iterator[None]:
        """What the planner hears of a fact."""
        planner = self.rooms.planner
        with pytest.MonkeyPatch.context() as patched:
            ask = planner.handle
            patched.setattr(planner, "handle", lambda x, now: heard.append(x) or ask(x, now))
            yield

    def _execute(self, action: a.Action) -> None:
        """The kernel's part at once; charon answers when a test says so."""
        if isinstance(action, a.CheckSources):
            self.table = action.change.after(self.table) if action.change else None
        at_once = (a.CheckSources, a.ReadAll, a.StoreOrders, a.Steer, a.Guard, a.KeepFootprints)
        if isinstance(action, at_once):
            self.feed(e.ActionDone(action.tag))

    def run(self, span: float) -> None:
        """Ticks, as the loop would."""
        end = self.now + span
        while (at := self.room.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.feed(e.Ticked())
        self.now = end

    def answer(self, action: a.Action, reason: str = "") -> list[a.Action]:
        tag = action.tag
        return self.feed(e.ActionFailed(tag, reason) if reason else e.ActionDone(tag))

    def asked(self, kind: type[a.Action]) -> list[a.Action]:
        """Taken out of the log."""
        found = [action for action in self.log if isinstance(action, kind)]
        self.log = [action for action in self.log if not isinstance(action, kind)]
        return found

    @property
    def gateway(self) -> GatewayStatus:
        found = told.gateway(self.room, self.sieve.counts, Clock(self.now, datetime.now(UTC)))
        assert found is not None
        return found

    def family(self, number: int) -> FamilyStatus:
        return next(f for f in self.gateway.families if f.id == number)


# --- who is here -----------------------------------------------------------------


def test_families_are_what_one_authentication_gave() -> None:
    """Members of a family are one line, with all their bytes, addresses and ages."""
    host = Host()
    host.feed(
        e.SasSeen(
            (
                member(1, 1, established_delay=500.0),
                member(2, 1, at="198.51.100.2"),
                member(3, remote_eap_id="carol"),
            )
        )
    )

    one, other = host.family(1), host.family(3)
    assert (one.identity, one.tunnels, one.rx_bytes, one.tx_bytes) == ("peer-1", 2, 20, 40)
    assert one.paths == ("203.0.113.1 -> 198.51.100.1", "203.0.113.1 -> 198.51.100.2")
    assert one.age_s == 500.0
    assert other.identity == "carol"
    assert host.gateway.tunnels == 3


def test_a_fact_about_one_changes_one() -> None:
    """Made, moved, rekeyed, closed: the family follows, and counters never go back."""
    host = Host()
    host.feed(e.SasSeen((member(1, 1), member(2, 1))))

    host.feed(e.SaSeen(member(2, 1, at="198.51.100.9")))
    assert "203.0.113.1 -> 198.51.100.9" in host.family(1).paths
    rekeyed = replace(member(2, 1), unique_id=7)
    host.feed(e.SaRekeyed(2, rekeyed))
    assert (host.family(1).tunnels, host.family(1).rx_bytes) == (2, 20)
    fresh = replace(member(7, 1).children[0], unique_id=70, bytes_in=1)
    host.feed(e.SaSeen(replace(rekeyed, children=(fresh,))))
    assert host.family(1).rx_bytes == 21
    host.feed(e.SaClosed(rekeyed))
    assert (host.family(1).tunnels, host.family(1).rx_bytes) == (1, 21)
    host.feed(e.SaGone(1))
    assert host.gateway.families == ()


def test_peers_of_the_gateway_are_never_driven() -> None:
    """Nothing is moved, cloned, opened or pinned; what others have in charon is not ours."""
    host = Host("off")
    sas = (member(1, 1, mobike=True, clone_supported=True), replace(member(9), name="other"))
    wanted = host.feed(e.SasSeen(sas))
    host.run(900)

    assert [x for x in [*wanted, *host.log] if isinstance(x, a.CharonAction)] == []
    assert [f.id for f in host.gateway.families] == [1]


def test_gateway_and_client_at_once() -> None:
    """What is not the gateway's goes on to the planner, and nothing else does."""
    host = Host("off")
    own = replace(member(5), name="hq", original_initiator=True)
    host.feed(e.SasSeen((member(1), own)))
    assert host.left == (e.SasSeen((own,)),)

    for fact in (e.SaSeen(member(1)), e.SaGone(1), e.CloneRefused(1, "limit")):
        host.feed(fact)
        assert host.left == ()
    for fact in (e.SaSeen(own), e.SaGone(5), e.SaClosed(own), e.ActionDone("mif-1"), e.Ticked()):
        host.feed(fact)
        assert host.left == (fact,)


def test_refused_clones_are_counted_and_said_once() -> None:
    """charon's own count wins: it tells of one refusal a second at most."""
    host = Host()
    host.feed(e.SasSeen((member(1, 1),)))
    said = []
    for count in (1, 40, 80):
        said += host.feed(e.CloneRefused(1, "limit", count))
    said += host.feed(e.CloneRefused(1, "rate", 81))

    assert host.family(1).refused == host.gateway.refused == 81
    assert host.family(1).why == "81 clones refused: limit, rate"
    assert len([x for x in said if isinstance(x, a.Say)]) == 2
    assert host.feed(e.CloneRefused(99, "limit", 3)) == []


def test_a_charon_that_goes_takes_all_with_it() -> None:
    """And the next one tells everything anew."""
    host = Host()
    host.feed(e.SasSeen((member(1, 1),)))
    host.feed(e.CharonGone("gone"))
    assert host.gateway.families == ()
    host.feed(e.CharonConnected("6.1.0", True))
    host.feed(e.SasSeen((member(4, 4),)))
    assert [f.id for f in host.gateway.families] == [4]


def test_another_configuration_looks_at_everything_again() -> None:
    """Connections that came in are read; what went is nobody's any more, nor is its table."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1),)))
    host.asked(a.CheckSources)
    text = "version: 1\ngateway: {connections: [guests], source_check: count}\n"
    host.feed(e.ConfigRead(parse([Text("c.yaml", text)])))
    assert host.asked(a.ReadAll)
    host.feed(e.SasSeen((member(1, 1), replace(member(2), name="guests"))))
    assert host.left == (e.SasSeen((member(1, 1),)),)
    assert [f.connection for f in host.gateway.families] == ["guests"]
    table = wish(host)
    assert table is not None
    assert (table.drop, len(table.known)) == (False, 1)

    host.feed(e.ConfigRead(parse([Text("c.yaml", "version: 1\nconnections: {q: {links: [a]}}\n")])))
    assert wish(host) is None
    assert host.feed(e.SasSeen((member(1, 1),))) == []


# --- revoked identities --------------------------------------------------------------


def test_a_revoked_identity_loses_all_and_what_it_makes_again() -> None:
    """All members at once and without waiting for the peer; others are not touched."""
    host = Host()
    host.feed(e.SasSeen((member(1, 1, who="eve"), member(2, 1, who="eve"), member(3))))
    order = e.OrderGiven(OrderKind.REVOKE_IDENTITY, "", "2026-11-21T00:00:00Z", identity="eve")
    host.feed(order)

    closed = host.asked(a.Terminate)
    assert [(x.ike_id, x.force) for x in closed] == [(1, True), (2, True)]  # type: ignore[union-attr]
    for action in closed:
        host.answer(action)
    host.feed(e.SaGone(1))
    host.feed(e.SaGone(2))
    host.feed(e.SaSeen(member(5, 5, who="eve")))
    assert [x.ike_id for x in host.asked(a.Terminate)] == [5]  # type: ignore[union-attr]
    assert host.left == ()


def test_a_revoke_is_kept_and_needs_a_gateway() -> None:
    """The planner writes it down, once; a client has nobody to revoke."""
    order = e.OrderGiven(OrderKind.REVOKE_IDENTITY, "", "t", identity="eve")
    planner = Planner(parse([Text("c.yaml", CONFIG.format(check="off"))]))
    assert planner.refuses(order) == ""
    wanted = [*planner.handle(order, 1.0), *planner.handle(order, 2.0)]
    (stored,) = (x for x in wanted if isinstance(x, a.StoreOrders))
    assert [o.identity for o in stored.orders] == ["eve"]
    client = Planner(parse([Text("c.yaml", "version: 1\nconnections: {hq: {links: [a]}}\n")]))
    assert "no gateway" in client.refuses(order)


def test_a_revoke_holds_for_the_name_of_eap_and_over_restarts() -> None:
    """Kept orders are obeyed at the first look; taken back, nothing is closed any more."""
    host = Host()
    host.feed(e.OrdersRead((Order(1, OrderKind.REVOKE_IDENTITY, "", "t", identity="carol"),)))
    host.feed(e.SasSeen((member(1, 1, remote_eap_id="carol"), member(2, 1))))
    assert len(host.asked(a.Terminate)) == 2

    host.feed(e.OrderCleared(kind=OrderKind.REVOKE_IDENTITY, identity="carol"))
    host.feed(e.SaSeen(member(8, 8, remote_eap_id="carol")))
    assert host.asked(a.Terminate) == []


def test_a_close_that_failed_is_tried_again() -> None:
    """charon may be busy; the back-off is the book's."""
    host = Host()
    host.feed(e.SasSeen((member(1, 1, who="eve"),)))
    host.feed(e.OrderGiven(OrderKind.REVOKE_IDENTITY, "", "t", identity="eve"))
    host.answer(host.asked(a.Terminate)[0], "failed")
    host.run(5)
    assert len(host.asked(a.Terminate)) == 1


# --- orphans -------------------------------------------------------------------------


def asked_within(host: Host, span: float, *, reason: str = "") -> set[int]:
    """Who is asked while nothing comes in; `reason`: why nobody answers."""
    found = set()
    end = host.now + span
    while host.now < end:
        host.run(1)
        for action in host.asked(a.AskPeer):
            assert isinstance(action, a.AskPeer)
            found.add(action.ike_id)
            host.answer(action, reason)
    assert host.asked(a.Terminate) == []
    return found


def test_a_quiet_member_is_asked_while_its_family_is_heard() -> None:
    """charon ends who does not answer. One that answers is asked again after the next look only."""
    host = Host()
    busy = replace(member(1, 1).children[0], bytes_in=999)
    host.feed(e.SasSeen((member(1, 1), member(2, 1))))
    host.run(300)
    host.feed(e.SasSeen((member(1, 1, children=(busy,)), member(2, 1))))

    assert asked_within(host, 1) == {2}
    assert asked_within(host, 290) == set()
    more = replace(busy, bytes_in=2000)
    host.feed(e.SasSeen((member(1, 1, children=(more,)), member(2, 1))))
    assert asked_within(host, 1, reason="timeout") == {2}
    host.feed(e.SaClosed(member(2, 1)))
    assert asked_within(host, 300) == set()


def test_a_peer_that_is_away_is_left_alone_for_an_hour() -> None:
    """To ask is to close it: a laptop sleeps, and its tunnels are there when it wakes."""
    host = Host()
    for _ in range(12):
        host.feed(e.SasSeen((member(1, 1), member(2, 1))))
        assert asked_within(host, 295) == set()
    assert asked_within(host, 300, reason="timeout") == {1, 2}


def test_a_peer_that_woke_is_not_asked() -> None:
    """Something came: the hour begins anew."""
    host = Host()
    for minute in range(0, 300, 5):
        awake = replace(member(1, 1).children[0], bytes_in=minute // 50)
        host.feed(e.SasSeen((member(1, 1, children=(awake,)),)))
        assert asked_within(host, 300) == set()


def test_a_charon_that_cannot_ask_is_not_asked_to() -> None:
    """Without the series there is no `probe`."""
    host = Host(patched=False)
    for _ in range(20):
        host.feed(e.SasSeen((member(1, 1), member(2, 1))))
        assert asked_within(host, 300) == set()


# --- the outer source check ---------------------------------------------------------

STRANGER = Source(0xC0000001, ip_address("192.0.2.66"))


def wish(host: Host) -> SourceWish | None:
    """What the kernel has, after a change."""
    assert host.asked(a.CheckSources)
    return host.table


def test_sources_follow_the_sas() -> None:
    """Each inbound SPI with the address its IKE SA has now; off again when stopped."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1),)))
    table = wish(host)
    assert table is not None
    assert table.drop
    assert table.known == {Source(0xC0000001, ip_address("198.51.100.1"))}

    host.feed(e.SaSeen(member(1, 1, at="198.51.100.7")))
    table = wish(host)
    assert table is not None
    assert table.known == {Source(0xC0000001, ip_address("198.51.100.7"))}
    host.feed(e.SaGone(1))
    assert wish(host).known == frozenset()  # type: ignore[union-attr]
    host.feed(e.Stopping())
    assert wish(host) is None


def seen(host: Host, source: Source, age: float = 0.0) -> None:
    host.feed(e.SourcesSeen(((source, age),), SourceCounts(new=1)))


def judged(host: Host, source: Source, span: float, reason: str = "") -> list[SourceWish]:
    """A source that goes on sending, and a peer that answers from where it is, or not."""
    found: list[SourceWish] = []
    end = host.now + span
    while host.now < end:
        host.run(0.5)
        seen(host, source)
        for action in host.asked(a.AskPeer):
            host.answer(action, reason)
        for action in host.asked(a.ReadSa):
            host.answer(action)
        found += [host.table] if host.asked(a.CheckSources) and host.table else []
    return found


def test_a_stranger_is_refused_when_the_peer_answers_elsewhere() -> None:
    """Not before the grace is over, and for as long as it goes on sending."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1),)))
    host.asked(a.CheckSources)

    assert judged(host, STRANGER, 1.5) == []
    tables = judged(host, STRANGER, 3)
    assert tables[-1].refused == {STRANGER}
    later = judged(host, STRANGER, 120)
    assert all(x.refused == {STRANGER} for x in later)
    assert host.gateway.sources.refused == 1
    host.feed(e.SourcesSeen((), SourceCounts(new=1)))
    host.run(120)
    assert host.gateway.sources.refused == 0


def test_a_stranger_passes_while_the_peer_does_not_answer() -> None:
    """It may have moved without a word: what is not certain is not dropped."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1),)))
    host.asked(a.CheckSources)
    assert judged(host, STRANGER, 60, "timeout") == []


def test_a_move_is_never_refused() -> None:
    """The new address is known as soon as charon says so, and the old one stays welcome."""
    host = Host("drop")
    old, new = Source(0xC0000001, ip_address("198.51.100.1")), STRANGER
    host.feed(e.SasSeen((member(1, 1),)))
    judged(host, new, 1)
    host.feed(e.SaSeen(member(1, 1, at=str(new.address))))
    assert all(not x.refused for x in judged(host, new, 30))
    assert all(not x.refused for x in judged(host, old, 30))
    assert host.gateway.sources.refused == 0


def test_who_was_refused_is_welcome_once_the_peer_is_there() -> None:
    """Forged packets from where a peer will go cost it no more than one look."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1),)))
    judged(host, STRANGER, 5)
    assert host.gateway.sources.refused == 1
    host.asked(a.CheckSources)
    host.feed(e.SaSeen(member(1, 1, at=str(STRANGER.address))))
    table = wish(host)
    assert table is not None
    assert table.refused == frozenset()
    assert STRANGER in table.known


def test_an_answer_counts_only_after_another_look() -> None:
    """The peer may have moved and answered from there: charon is read before it counts."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1),)))
    seen(host, STRANGER)
    (asked,) = host.asked(a.AskPeer)
    host.answer(asked)
    (look,) = host.asked(a.ReadSa)
    host.feed(e.SaSeen(member(1, 1, at=str(STRANGER.address))))
    host.answer(look)
    judged(host, STRANGER, 10)
    assert host.gateway.sources.refused == 0


def test_forged_sources_do_not_make_us_flood() -> None:
    """However many there are: a few questions at a time, and a bounded list."""
    host = Host("drop")
    host.feed(e.SasSeen(tuple(member(i) for i in range(1, 1001))))
    address = ip_address("192.0.2.1")
    forged = [Source(0xC0000000 + i, address + k) for i in range(1, 1001) for k in range(4)]
    host.feed(e.SourcesSeen(tuple((s, 0.0) for s in forged), SourceCounts(new=4000)))
    first = host.asked(a.AskPeer)
    assert len(first) <= 16
    for action in first:
        host.answer(action)
    host.run(1)
    assert len(host.asked(a.AskPeer)) <= 16


def test_off_checks_nothing() -> None:
    """No table, no question."""
    host = Host("off")
    host.feed(e.SasSeen((member(1, 1),)))
    assert judged(host, STRANGER, 10) == []
    assert host.gateway.sources.mode == "off"


def test_a_charon_that_went_is_no_reason_to_forget_sources() -> None:
    """Kernel ESP goes on without it; the next one tells anew."""
    host = Host("drop")
    host.feed(e.SasSeen((member(1, 1),)))
    host.asked(a.CheckSources)
    host.feed(e.CharonGone("crashed"))
    assert host.asked(a.CheckSources) == []


# --- what Prometheus is told ----------------------------------------------------------


def test_the_number_of_series_does_not_follow_the_peers() -> None:
    """Sums, whoever comes and goes; refused clones only grow."""
    host = Host()
    planner = Planner(parse([Text("c.yaml", CONFIG.format(check="count"))]))

    def scraped() -> list[str]:
        status = planner.status(host.now, datetime.now(UTC))
        shown = figures.text(status.model_copy(update={"gateway": host.gateway}), Counted())
        return [line for line in shown.splitlines() if line.startswith("vicimif_gateway")]

    empty = scraped()
    host.feed(e.SasSeen(tuple(member(i, clones_refused=2) for i in range(1, 51))))
    host.feed(e.CloneRefused(1, "limit", 5))
    full = scraped()
    assert [line.split()[0] for line in full] == [line.split()[0] for line in empty]
    assert "vicimif_gateway_families 50" in full
    assert "vicimif_gateway_clones_refused_total 103" in full
    host.feed(e.SasSeen(()))
    assert "vicimif_gateway_clones_refused_total 103" in scraped()
