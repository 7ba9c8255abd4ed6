# SPDX-License-Identifier: Apache-2.0
"""A controller beside the gateway's charon: who is here, who is refused, who is closed.

The peers are identities in the client's charon, driven over VICI: what a hostile one does beyond
its rights is really asked for on the wire. The honest one's traffic is counted meanwhile.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.namespace import eventually
from tests.real.conftest import MakeLab
from tests.real.forger import forging
from tests.real.rig import ping, request
from tests.real.traffic import full
from tests.real.under_ping import Pinging
from tests.real.watcher import (
    HONEST,
    HOSTILE,
    INSIDE,
    SECRET,
    Peer,
    Watcher,
    add_address,
    receive_guests,
    route_all,
    translate,
    watching,
)
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import GATEWAY

MAX_CLONES = 2

LONG = (pytest.mark.long, pytest.mark.timeout(600))


@pytest.fixture
def place(make_lab: MakeLab, request: pytest.FixtureRequest) -> Lab:
    """A gateway for guests with two clones each, and a client whose uplinks are all good.

    The parameter: uplinks behind a NAT.
    """
    lab = make_lab(uplinks=2, max_clones=8, nat=getattr(request, "param", ()))
    receive_guests(lab, MAX_CLONES)
    route_all(lab)
    return lab


@contextmanager
def counted(lab: Lab, vip: str) -> Iterator[list[int]]:
    """Pings through a tunnel; how many were lost stands in the list at the end."""
    lost: list[int] = []
    begun = time.monotonic()
    with Pinging(lab, vip, INSIDE) as pings:
        yield lost
        eventually(lambda: time.monotonic() > begun + 1)
    lost.append(pings.lost)


def test_families_of_all_peers_stand_in_the_status(place: Lab) -> None:
    """Identity, tunnels, where they are, bytes, age; a restart finds all of it again."""
    honest = Peer(place, HONEST, "wlan0")
    vip = honest.open()
    with watching(place) as watcher:
        watcher.sees(lambda g: [f.tunnels for f in g.families] == [1])
        other = honest.clone(honest.root)
        honest.move(other, bare_of(place, "eth0"))
        watcher.sees(lambda g: g.families and len(g.families[0].paths) == 2)
        assert ping(place, INSIDE, vip) == 5
        found = watcher.sees(lambda g: g.families[0].rx_bytes >= 5 * 84).families[0]
        assert (found.identity, found.connection, found.tunnels) == (HONEST, "guests", 2)
        assert found.inner == (vip,)
        assert 0 < found.age_s < 600
        assert found.tx_bytes >= 5 * 84

        shown = watcher.command("status")
        assert shown.returncode == 0
        assert re.search(rf"{HONEST} +guests +2 +{vip}", shown.stdout)
        assert json.loads(watcher.command("status", "--json").stdout)["gateway"]["tunnels"] == 2

        before = {sa.unique_id for sa in honest.at_gateway()}
        watcher.kill()
        watcher.start()
        again = watcher.sees(lambda g: g.families and g.families[0].tunnels == 2).families[0]
        assert again.rx_bytes >= found.rx_bytes
        assert {sa.unique_id for sa in honest.at_gateway()} == before

        request(place, "terminate", {"ike": honest.name})
        watcher.sees(lambda g: g.families == ())


def bare_of(lab: Lab, link: str) -> str:
    return lab.port(link).addresses[0].partition("/")[0]


def test_a_limit_is_a_limit_and_is_reported(place: Lab) -> None:
    """Clones beyond the limit and logins in a row gain nothing; who asks is named, with why.

    Never more than twice the clones of one family, whatever the number of logins; the honest
    peer's tunnel does not lose a packet more than the machine does.
    """
    honest, hostile = Peer(place, HONEST, "wlan0"), Peer(place, HOSTILE, "eth0")
    with watching(place) as watcher, counted(place, honest.open()) as lost:
        logins = [hostile.authenticate() for _ in range(5)]
        answers = [hostile.clone(ike) for ike in logins for _ in range(MAX_CLONES + 2)]
        clones = [a for a in answers if a.isdigit()]
        refused = [a for a in answers if not a.isdigit()]
        assert len(clones) <= 2 * MAX_CLONES
        assert set(refused) <= {"limit", "temporary"}  # who is too fast gets TEMPORARY_FAILURE
        assert len(refused) == 20 - len(clones)
        assert len(hostile.at_gateway()) == len(logins) + len(clones)

        # a charon that was refused once asks no more for that family: one refusal for each login
        watcher.sees(lambda g: g.refused >= len(logins))
        watcher.sees(lambda g: g.tunnels == 1 + len(logins) + len(clones))
        told = watcher.family(HOSTILE)
        assert any("limit" in f.why for f in told)
        (quiet,) = watcher.family(HONEST)
        assert (quiet.refused, quiet.tunnels) == (0, 1)
    assert lost[0] <= 2


@pytest.mark.parametrize("identity", ["fqdn:#610062", "keyid:#"], ids=["NUL", "empty"])
def test_whatever_a_peer_calls_itself_its_logout_harms_nobody(place: Lab, identity: str) -> None:
    """Neither of these is equal to itself in charon; who shares a secret with all may send them."""
    for host in ("client", "gateway"):
        shared = {"id": "all", "type": "IKE", "data": SECRET, "owners": ["gateway.lab.example"]}
        request(place, "load-shared", shared, host)
        with place.host(host).strongswan_conf.open("a") as conf:
            # or the client's charon believes that it still lacks the round that it has just done
            conf.write("charon { multiple_authentication = no }\n")
        request(place, "reload-settings", {}, host)
    honest, odd = Peer(place, HONEST, "wlan0"), Peer(place, identity, "eth0", "odd")
    with watching(place) as watcher, counted(place, honest.open()) as lost:
        for _ in range(2):
            odd.authenticate()
            watcher.sees(lambda g: len(g.families) == 2)
            request(place, "terminate", {"ike": odd.name})
            watcher.sees(lambda g: [f.identity for f in g.families] == [HONEST])
    assert lost[0] <= 2


def test_another_ones_inner_address_is_not_given(place: Lab) -> None:
    """Asked for by name, by another identity: it gets another one, and the owner's still works."""
    honest, hostile = Peer(place, HONEST, "wlan0"), Peer(place, HOSTILE, "eth0")
    vip = honest.open()
    with watching(place) as watcher, counted(place, vip) as lost:
        for _ in range(4):
            ike = hostile.authenticate(vip)
            assert hostile.inner(ike) != vip
            hostile.child(ike)
        found = watcher.sees(lambda g: len(g.families) == 5)
        inner = [address for f in found.families for address in f.inner]
        assert len(set(inner)) == len(inner)
        assert [f.identity for f in found.families if vip in f.inner] == [HONEST]
    assert lost[0] <= 2


def test_a_move_to_a_victims_address_takes_nothing_from_it(place: Lab) -> None:
    """A hostile peer moves to where an honest one is: that one's SAs and traffic stay its own."""
    honest, hostile = Peer(place, HONEST, "wlan0"), Peer(place, HOSTILE, "eth0")
    vip = honest.open()
    before = honest.at_gateway()
    with watching(place, "drop") as watcher, counted(place, vip) as lost:
        hostile.open()
        hostile.move(hostile.root, honest.address)
        watcher.sees(lambda g: _is_at(watcher, HOSTILE, honest.address))
        for _ in range(3):
            hostile.move(hostile.root, hostile.address)
            hostile.move(hostile.root, honest.address)
        after = honest.at_gateway()
        assert [(a.unique_id, a.remote, a.spi_in) for a in after] == [
            (b.unique_id, b.remote, b.spi_in) for b in before
        ]
        assert watcher.gateway.sources.refused == 0
    assert lost[0] <= 2


def _is_at(watcher: Watcher, identity: str, address: str) -> bool:
    return any(path.endswith(f" {address}") for f in watcher.family(identity) for path in f.paths)


def test_a_revoked_identity_is_closed_each_time(place: Lab) -> None:
    """All it has, at once, and what it makes again; nobody else; until it is taken back."""
    honest, hostile = Peer(place, HONEST, "wlan0"), Peer(place, HOSTILE, "eth0")
    with watching(place) as watcher, counted(place, honest.open()) as lost:
        hostile.open()
        hostile.clone(hostile.root)
        watcher.sees(lambda _: [f.tunnels for f in watcher.family(HOSTILE)] == [2])
        done = watcher.command("gateway", "revoke", HOSTILE)
        assert done.returncode == 0, done.stderr + watcher.said()
        assert "nothing is left" in done.stdout
        assert hostile.at_gateway() == []

        hostile.authenticate()
        eventually(lambda: hostile.at_gateway() == [])
        assert HOSTILE in watcher.command("orders").stdout
        watcher.stop()
        hostile.authenticate()
        watcher.start()
        eventually(lambda: hostile.at_gateway() == [])

        assert watcher.command("gateway", "unrevoke", HOSTILE).returncode == 0
        hostile.authenticate()
        watcher.sees(lambda _: watcher.family(HOSTILE))
        assert watcher.command("gateway", "unrevoke", HOSTILE).returncode == 64
    assert lost[0] <= 2


@pytest.mark.long
def test_a_revoke_without_a_controller(place: Lab) -> None:
    """What is there is closed, and the order waits for the next start."""
    hostile = Peer(place, HOSTILE, "eth0")
    hostile.open()
    watcher = Watcher(place, "{connections: [rw, guests]}")
    assert watcher.command("gateway", "revoke", HOSTILE).returncode == 3
    eventually(lambda: hostile.at_gateway() == [])
    hostile.authenticate()
    watcher.start()
    try:
        eventually(lambda: hostile.at_gateway() == [])
    finally:
        watcher.stop()


def test_a_replayed_spi_is_counted_and_dropped(place: Lab) -> None:
    """From a third address: after the grace it does not reach charon. The owner's traffic does."""
    honest = Peer(place, HONEST, "wlan0")
    with watching(place, "drop") as watcher, counted(place, honest.open()) as lost:
        spi = int(honest.at_gateway()[0].children[0].spi_in, 16)
        watcher.sees(lambda g: g.sources.known == 1)
        with forging(place, [spi], addresses=1, rate=50):
            found = watcher.sees(lambda g: g.sources.refused_packets > 50)
        assert found.sources.refused == 1
        assert found.sources.new_packets >= 1
    assert lost[0] <= 2


@pytest.mark.parametrize(
    ("place", "forged"),
    [
        ((), 20_000),
        pytest.param((), 100_000, marks=LONG),
        pytest.param(("eth0", "wlan0"), 100_000, marks=LONG),
    ],
    ids=["some", "many", "many, behind a NAT"],
    indirect=["place"],
)
def test_honest_moves_under_forged_sources(place: Lab, forged: int) -> None:
    """20 moves to addresses nobody announced, while ESP with the same SPI comes from everywhere.

    Each move is made in another part of that. Whoever is refused was forged, and the pings go on.
    """
    honest = Peer(place, HONEST, "wlan0")
    with watching(place, "drop") as watcher:
        vip = honest.open()
        spi = int(honest.at_gateway()[0].children[0].spi_in, 16)
        watcher.sees(lambda g: g.sources.known == 1)
        addresses = [add_address(place, ("wlan0", "eth0")[n % 2], 150 + n) for n in range(20)]
        seen_as = translate(place, addresses) if place.topology.wish.nat else addresses
        full_before = full(place, [GATEWAY])
        with counted(place, vip) as lost, forging(place, [spi], addresses=100_000, rate=2000):
            watcher.sees(lambda g: g.sources.spread_packets > 100)
            for number, (address, seen) in enumerate(zip(addresses, seen_as, strict=True), 1):
                honest.move(honest.root, address)
                watcher.sees(lambda _, at=seen: _is_at(watcher, HONEST, at))
                due = forged * number // len(addresses)
                watcher.sees(lambda g, due=due: g.sources.spread_packets > due)
        refused = re.findall(
            r"ESP of \S+ [0-9a-f]+ from ([0-9.]+), is dropped", watcher.log.read_text()
        )
        assert refused
        assert not set(refused) & set(seen_as)
        assert watcher.gateway.sources.refused <= 8
        assert watcher.resident_mb() < 150
    # one in forty of what comes to the gateway is a ping: its share of what found a socket full
    assert lost[0] <= 5 + (full(place, [GATEWAY]) - full_before) / 20


@pytest.mark.long
def test_no_table_of_ours_stays(place: Lab) -> None:
    """Stopped, the check is gone; what a killed one left goes with the next start."""

    def table() -> bool:
        said = place.gateway.exec(["nft", "list", "tables"]).stdout
        return "vici_mif_sources" in said

    Peer(place, HONEST, "wlan0").open()
    with watching(place) as watcher:
        watcher.sees(lambda g: g.sources.known == 1)
        eventually(table)
        watcher.kill()
        assert table()
        watcher.start()
        watcher.sees(lambda g: g.sources.known == 1)
    assert not table()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_orphan_comes_to_an_end(place: Lab) -> None:
    """A member behind a dead link, while the same peer is heard elsewhere: some minutes, not more.

    The controller has it asked, charon gives it up. The one that is heard stays, and an idle one
    that answers does too.
    """
    honest = Peer(place, HONEST, "eth0")
    with watching(place) as watcher, counted(place, honest.open()) as lost:
        idle, orphan = honest.clone(honest.root), honest.clone(honest.root)
        pair = {"local": bare_of(place, "wlan0"), "remote": honest.remote}
        honest.vici.ask("migrate", ike__id=orphan, pin="3600", **pair)
        watcher.sees(lambda g: g.families and len(g.families[0].paths) == 2)
        gone = {s.unique_id for s in honest.at_gateway() if str(s.remote) == pair["local"]}
        place.link_down("wlan0")
        watcher.sees(lambda g: g.tunnels == 2, within=600)
        left = {sa.unique_id for sa in honest.at_gateway()}
        assert len(left) == 2
        assert not left & gone
        assert idle in honest.vici.sas()
    assert lost[0] <= 2
