# SPDX-License-Identifier: Apache-2.0
"""Measures a gateway's controller beside a crowd: 1,000 peers with four tunnels each.

The IKE SAs are real: one charon, with an identity and a connection for each peer, authenticates
with the gateway's charon and clones, over the wires of a lab. They have no CHILD SAs: what is
measured is the controller, and kernel-libipsec is not made for thousands.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from vici_mif.core.status import Status
from vici_mif.edges.control import ControlError, ask
from vici_mif.edges.vici import Connection, Tree
from vici_mif.lab.controller import Controller
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.installation import default_prefix
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.measure import figures, lag
from vici_mif.lab.measure.bench import Say
from vici_mif.lab.measure.figures import Figure
from vici_mif.lab.topology import Wish, bare

TUNNELS = 4
SIDE_BY_SIDE = 8
"""Peers that build up at the same time."""
BUILD_PATIENCE = 1200.0
PATIENCE = 120.0
WATCHED = 30.0
"""Seconds in which the loop is watched while IKE SAs are rekeyed."""
REKEYED = 200
SECRET = "the crowd's own"  # noqa: S105 - of a lab that is gone soon after
GATEWAY_ID = "gateway.lab.example"
# What a gateway of that size has: the default is 16 threads and one bucket for all. Here all
# peers have one address, which is what the protection of half-open IKE SAs is against.
SETTINGS = """charon {
  threads = 32
  ikesa_table_size = 4096
  ikesa_table_segments = 16
  dos_protection = no
}
"""

BOUNDS = {
    "status": 1000.0,
    "lag.p99.building": 100.0,
    "lag.p99.rekeying": 100.0,
    "adopted": 10.0,
    "memory": 300.0,
}
"""By the names of figures, in their units."""


def measure(say: Say, peers: int) -> list[Figure]:
    """`peers`: how many; each has four tunnels."""
    setup = Setup(default_prefix(), default_prefix(), start_charons=False, debug=0)
    with Lab.up(Wish(name="m-crowd", uplinks=1), setup, keep=False) as lab:
        for name in ("gateway", "client"):
            with lab.host(name).strongswan_conf.open("a") as conf:
                conf.write(SETTINGS)
            lab.charons[name].start()
        controller = Controller(lab, lambda _: None, lab.gateway)
        controller.configure({"version": 1, "gateway": {"connections": ["crowd"]}})
        controller.run()
        try:
            controller.wait("up", PATIENCE)
            # who asks must not stand still itself, to look through all that was measured before
            gc.collect()
            gc.freeze()
            return asyncio.run(_measured(Crowd(lab, controller, peers, say)))
        finally:
            gc.unfreeze()
            with suppress(LabError):
                controller.stop()


async def _measured(crowd: Crowd) -> list[Figure]:
    await crowd.load()
    building = await crowd.lag_during(crowd.build)
    await crowd.until_all_are_seen()
    busy = await crowd.lag_during(crowd.rekey_some)
    asked = [await crowd.answer_time() for _ in range(20)]
    memory = crowd.memory()
    adopted = [round(await crowd.restarted(), 1) for _ in range(3)]
    title = f"{crowd.peers} peers, {TUNNELS} tunnels each"

    def of(name: str, text: str, values: list[float], unit: str = "ms") -> Figure:
        return figures.of(f"gateway.{name}", f"{title}{text}", values, unit, BOUNDS.get(name))

    loop, late = "delay of the loop", 0.99
    return [
        of("lag.building", f", while they come: {loop}, each 1/50 s", building),
        of("lag.rekeying", f", {REKEYED} rekeyed in 30 s: {loop}", busy),
        of("status", ": `status` by the socket", asked),
        of("lag.p99.building", f", while they come: {loop}, 99 %", [_share(building, late)]),
        of("lag.p99.rekeying", f", {REKEYED} rekeyed: {loop}, 99 %", [_share(busy, late)]),
        of("adopted", ": a new controller has found all of them", adopted, "s"),
        of("memory", ": memory at most", [memory], "MB"),
    ]


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Crowd:
    """The peers, and the gateway's controller that watches them."""

    def __init__(self, lab: Lab, controller: Controller, peers: int, say: Say) -> None:
        self.peers = peers
        self._lab, self._controller, self._say = lab, controller, say
        self._made: list[int] = []

    async def load(self) -> None:
        """One connection on the gateway, one for each peer on the client."""
        address = self._lab.topology.remote_addresses[0]
        end: Tree = {"auth": "psk", "id": GATEWAY_ID}
        shared: Tree = {"id": "crowd", "type": "IKE", "data": SECRET}
        proposals = ["aes128gcm16-prfsha256-x25519"]
        async with _vici(self._lab.gateway) as gateway:
            await _demand(gateway, "load-shared", shared)
            wish: Tree = {"version": 2, "local": end, "remote": {"auth": "psk"}}
            wish |= {"local_addrs": [address], "proposals": proposals}
            await _demand(gateway, "load-conn", {"crowd": wish})
        async with _vici(self._lab.client) as client:
            await _demand(client, "load-shared", shared)
            for number in range(self.peers):
                own: Tree = {"auth": "psk", "id": f"peer{number}.lab.example"}
                wish = {"version": 2, "local": own, "remote": end}
                wish |= {"remote_addrs": [address], "proposals": proposals}
                await _demand(client, "load-conn", {f"peer{number}": wish})
        self._say(f"{self.peers} connections loaded")

    async def build(self) -> None:
        """All authenticate and clone, some at a time."""
        waiting = list(range(self.peers))
        async with AsyncExitStack() as stack:
            # one after the other: charon's socket has room for three that knock
            some = [
                await stack.enter_async_context(_vici(self._lab.client))
                for _ in range(SIDE_BY_SIDE)
            ]
            async with asyncio.timeout(BUILD_PATIENCE), asyncio.TaskGroup() as group:
                for one in some:
                    group.create_task(self._build_some(one, waiting))

    async def _build_some(self, client: Connection, waiting: list[int]) -> None:
        local = bare(self._lab.port(self._lab.uplinks[0]).addresses[0])
        pair: Tree = {"local": local, "remote": self._lab.topology.remote_addresses[0]}
        while waiting:
            wish = {"ike": f"peer{waiting.pop()}", "childless": True, "timeout": 60000, **pair}
            root = await _demand(client, "create-ike", wish)
            self._made.append(int(root["ike-id"]))
            for _ in range(TUNNELS - 1):
                clone: Tree = {"ike-id": root["ike-id"], "timeout": 60000}
                self._made.append(int((await _demand(client, "clone", clone))["ike-id"]))
            if len(waiting) % 100 == SIDE_BY_SIDE:
                self._say(f"{len(self._made)} IKE SAs")

    async def rekey_some(self) -> None:
        """Spread over a while."""
        async with _vici(self._lab.client) as client:
            for ike_id in self._made[:REKEYED]:
                await _demand(client, "rekey", {"ike-id": ike_id})
                await asyncio.sleep(WATCHED / REKEYED)

    # --- the controller ------------------------------------------------------------

    async def lag_during(self, act: Callable[[], Coroutine[Any, Any, None]]) -> list[float]:
        """Seconds until the loop answers what it can answer at once, until something is done."""
        return await lag.during(act, lambda: self._ask("nothing"))

    async def until_all_are_seen(self) -> None:
        wanted, deadline = self.peers * TUNNELS, time.monotonic() + PATIENCE
        while (seen := await asyncio.to_thread(self._tunnels)) != wanted:
            if time.monotonic() > deadline:
                raise LabError(f"the controller sees {seen} of {wanted} tunnels")
            await asyncio.sleep(0.5)  # an answer costs the controller something

    async def answer_time(self) -> float:
        """Of `status`, with all families in it."""
        return await asyncio.to_thread(self._timed, "status")

    async def restarted(self) -> float:
        """`kill -9`, a new one; until it shows all of them."""
        self._controller.kill()
        begun = time.monotonic()
        self._controller.run()
        await self.until_all_are_seen()
        self._say(f"all found again after {time.monotonic() - begun:.1f} s")
        return time.monotonic() - begun

    def memory(self) -> float:
        """The most that was ever resident, in MB."""
        lines = self._controller.proc("status").splitlines()
        (size,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        return round(size / 1024, 1)

    def _timed(self, word: str) -> float:
        """Seconds. Raises LabError where nobody answers."""
        begun = time.monotonic()
        self._ask(word)
        return time.monotonic() - begun

    def _tunnels(self) -> int:
        with suppress(ControlError):
            found = Status.model_validate(self._ask("status")["status"])
            return found.gateway.tunnels if found.gateway else 0
        return 0

    def _ask(self, word: str) -> Tree:
        return ask(self._lab.gateway.run_directory / "vici-mif", {"ask": word})


@asynccontextmanager
async def _vici(host: Host) -> AsyncIterator[Connection]:
    connection = await Connection.open(str(host.vici_socket))
    try:
        await connection.request("version")  # it was accepted
        yield connection
    finally:
        connection.close()


async def _demand(connection: Connection, command: str, message: Tree) -> Tree:
    """Raises LabError where charon refuses."""
    answer = await connection.request(command, message, within=90)
    if answer.get("success") != "yes":
        raise LabError(f"{command}: {answer.get('errmsg', answer)}")
    return answer
