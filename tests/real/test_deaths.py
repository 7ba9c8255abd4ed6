# SPDX-License-Identifier: Apache-2.0
"""The controller, charon, the gateway or their connection die under traffic; figures are printed.

`pytest -rP` shows them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import UPLINKS, Controller, all_home, inner, running
from tests.real.traffic import FAR, Traffic, traffic
from vici_mif.core.status import PeerStatus
from vici_mif.lab.charons import Charon
from vici_mif.lab.lab import Lab
from vici_mif.lab.state import StateFile

CONFIG = "{links: [eth0, wlan0], hold_down: 2s}"

TARGETS = CONFIG.replace("}", ", probe: {targets: [10.100.0.2]}}")
"""The same, watched from inside."""

IKE = "udp port 500 or (udp port 4500 and udp[8:4] = 0)"
"""IKE, and not ESP in UDP: RFC 3948, 2.2 has four zero bytes where the SPI would be."""

QUIET = 5.0

CHANGED = 60.0
"""Seconds in which a gateway that has another charon carries again."""


def said(name: str, figure: float) -> None:
    print(f"{name}: {figure:.2f} s")


def since(lab: Lab, at: float, expression: str) -> list[str]:
    """Packets of all uplinks after this moment."""
    found = []
    for link in UPLINKS:
        lines = rig.captured(lab, link, expression, "-tt")
        found += [f"{link} {line}" for line in lines if float(line.split()[0]) >= at]
    return found


def test_a_killed_controller_loses_nothing_and_begins_no_exchange(
    client: Controller, flows: Traffic
) -> None:
    """Adopted as it is: no SPI changes, and for five seconds not one IKE message of its own."""
    lab = client.lab
    eventually(lambda: not since(lab, time.time() - 2, IKE), within=30)
    before, killed_at = rig.spis(lab), time.time()
    client.kill()
    client.start()
    peer = client.until(all_home)
    said("killed controller, started again and up", time.time() - killed_at)
    eventually(lambda: time.time() > killed_at + QUIET + 1)

    assert flows.lost(killed_at, killed_at + QUIET + 1) == {}
    lab.captures.flush()
    assert since(lab, killed_at, IKE) == []
    assert rig.spis(lab) == before
    assert (peer.authentications, peer.clones) == (0, 0)
    assert flows.failures() == []


def test_charon_dies_and_all_is_built_anew(client: Controller, flows: Traffic) -> None:
    """Nothing is left of the SAs at this end; the gateway learns it from the new ones."""
    lab = client.lab
    died_at = time.time()
    lab.charons["client"].kill()
    client.until(lambda p: p.state == "down" and "no charon" in p.why)
    started_at = time.time()
    lab.charons["client"].start()
    started = time.time() - started_at

    peer = client.until(all_home)

    eventually(lambda: all(rig.ping(lab, FAR, a, count=1) for a in inner(peer)), within=30)
    said("charon killed, started again and all tunnels carry", time.time() - died_at)
    said("of that the start of charon with its files", started)
    assert peer.authentications == 2


RELAY = """
import asyncio, sys

async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def relay(reader, writer):
    far_reader, far_writer = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

async def main():
    server = await asyncio.start_unix_server(relay, sys.argv[1])
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def relayed(lab: Lab) -> Iterator[None]:
    """charon's socket under another name, as long as the block lasts."""
    here = lab.client.run_directory / "relay.vici"
    here.unlink(missing_ok=True)
    argv = [sys.executable, "-c", RELAY, str(here), str(lab.client.vici_socket)]
    relay = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"ready\n"
        yield
    finally:
        relay.kill()
        relay.wait()
        here.unlink(missing_ok=True)


def complete(peer: PeerStatus) -> bool:
    """Two at home and the spare, each with its inner address: nothing is asked for any more."""
    return all_home(peer) and len(peer.tunnels) == len(inner(peer)) == 3


def test_the_connection_to_charon_is_lost_while_the_sas_live(make_lab: MakeLab) -> None:
    """charon is there and cannot be asked: nothing is given up, and all is found unchanged."""
    lab = make_lab(uplinks=2)
    controller = Controller(lab, CONFIG)
    text = controller.file.read_text()
    controller.file.write_text(text.replace("daemon: {", "daemon: {vici: /run/relay.vici, "))
    with ExitStack() as stack:
        with relayed(lab):
            controller.start()
            stack.callback(controller.stop)
            before = controller.until(complete)
            flows = stack.enter_context(traffic(lab, inner(before)))
            spis, gone_at = rig.spis(lab), time.time()
        controller.until(lambda p: p.state == "down" and "no charon" in p.why)
        eventually(lambda: time.time() > gone_at + 2)
        with relayed(lab):
            back_at = time.time()
            peer = controller.until(all_home)
            said("VICI back and all tunnels known", time.time() - back_at)
            assert flows.lost(gone_at, time.time()) == {}
            assert rig.spis(lab) == spis
            assert (peer.authentications, peer.clones) == (before.authentications, before.clones)


@pytest.mark.long
def test_the_root_and_a_clone_deleted_by_the_peer(client: Controller, flows: Traffic) -> None:
    """The family lives on as long as one member does, and the missing one is cloned from it."""
    lab = client.lab
    for what in ("root", "clone"):
        family = client.peer.family
        victim = next(s for s in rig.sas(lab, "gateway") if s.cloned == (what == "clone"))
        before = {sa.unique_id for sa in rig.sas(lab)}
        at = time.time()
        lab.charons["gateway"].swanctl("--terminate", "--ike-id", str(victim.unique_id))
        eventually(lambda b=before: not b <= {sa.unique_id for sa in rig.sas(lab)}, within=10)
        peer = client.until(all_home)
        eventually(flows.flowing, within=30)
        eventually(lambda a=at: time.time() > a + 2)
        said(f"{what} deleted by the peer, silence of its flows", max(flows.silences(at).values()))
        assert (peer.family, peer.authentications) == (family, 1)
    assert all(not sa.closing for sa in rig.sas(lab))


@pytest.mark.long
def test_rekeying_of_all_loses_nothing(client: Controller, flows: Traffic) -> None:
    """Members and children, from both ends, one after the other under traffic."""
    lab, at = client.lab, time.time()
    for host in ("client", "gateway"):
        before = {sa.unique_id for sa in rig.sas(lab, host)}
        for sa in rig.sas(lab, host):
            for child in sa.children:
                lab.charons[host].swanctl("--rekey", "--child-id", str(child.unique_id))
            lab.charons[host].swanctl("--rekey", "--ike-id", str(sa.unique_id))
        eventually(
            lambda h=host, b=before: b.isdisjoint({sa.unique_id for sa in rig.sas(lab, h)}),
            within=20,
        )
        peer = client.until(all_home)

    assert flows.lost(at, time.time()) == {}
    assert (peer.authentications, flows.failures()) == (1, [])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("config", [CONFIG, TARGETS], ids=["by IKE", "by echoes"])
def test_the_gateway_dies_and_forgets(make_lab: MakeLab, config: str) -> None:
    """It is back at once and knows nobody: found out from this end, and built anew."""
    lab = make_lab(uplinks=2)
    with running(lab, config) as controller:
        before = {sa.spi_in for sa in rig.sas(lab)} if controller.until(all_home) else set()
        died_at = time.time()
        lab.charons["gateway"].kill()
        lab.charons["gateway"].start()
        eventually(
            lambda: any(sa.established and sa.spi_in not in before for sa in rig.sas(lab)), 600
        )
        said("gateway killed and started, the first new IKE SA", time.time() - died_at)
        controller.until(all_home)
        eventually(lambda: all(rig.ping(lab, FAR, a, count=1) for a in inner(controller.peer)), 60)
        said("gateway killed and started, all tunnels carry", time.time() - died_at)
        eventually(lambda: before.isdisjoint({sa.spi_in for sa in rig.sas(lab)}), 120)


@pytest.mark.long
def test_a_gateway_that_changes_its_charon(
    make_lab: MakeLab, patched_charon: Path, stock_charon: Path
) -> None:
    """Down to a stock charon and up again on the same address: one tunnel, then all of them.

    Under traffic: one of the inner addresses carries soon, in the end all of them do.
    """
    lab = make_lab(uplinks=2, capture=True)
    gateway = lab.charons["gateway"]
    with running(lab, CONFIG) as controller, ExitStack() as stack:
        flows = stack.enter_context(traffic(lab, inner(controller.until(all_home))))
        for prefix, mode in ((stock_charon, "single"), (patched_charon, "per-path")):
            at = time.time()
            gateway.stop()
            install(lab, prefix)
            gateway = lab.charons["gateway"]
            gateway.start()
            back_at = time.time()
            controller.until(
                lambda p, m=mode: p.mode == m and any(t.children for t in p.tunnels), CHANGED
            )
            eventually(lambda b=back_at: _heard(flows, b), CHANGED)
            said(f"gateway with another charon, {mode}", time.time() - at)
        controller.until(all_home, CHANGED)
        eventually(flows.flowing, CHANGED)
        said("gateway with another charon, all flows", time.time() - at)
    assert rig.in_clear(lab) == {}


def _heard(flows: Traffic, since: float) -> bool:
    """Both directions of an inner address, with what was sent since then."""
    log = flows.log()
    came = [log.resumed(flow, since) is not None for flow in flows.udp]
    return any(there and back for there, back in zip(came[::2], came[1::2], strict=True))


def install(lab: Lab, prefix: Path) -> None:
    """Another charon for the gateway, with the same files."""
    with StateFile(lab.directory).change() as state:
        state.charons["gateway"] = str(prefix)
    lab.gateway.prefix = prefix
    lab.charons["gateway"] = Charon(lab.gateway, lab.directory)
