# SPDX-License-Identifier: Apache-2.0
"""The controller or charon is killed: what the streams lose, and when all is there again."""

from __future__ import annotations

import time
from functools import partial

from vici_mif.lab.measure import figures
from vici_mif.lab.measure.bench import (
    ARRIVAL_DELAY,
    Moment,
    Say,
    Stage,
    happens,
    lost_and_late,
    resumed,
    stage,
    streaming,
)
from vici_mif.lab.measure.figures import Figure

GATEWAY_BOUND = 30.0
"""Seconds."""


def controller_killed(say: Say, n: int) -> list[Figure]:
    """`kill -9` of the controller and a new one: what the streams lose, beside calm times."""
    killed: list[Moment] = []
    calm: list[Moment] = []
    with stage("m-kill") as at:
        with streaming(at):
            for run in range(n):
                killed.append(happens(partial(_kill_and_start, at)))
                calm.append(happens(partial(time.sleep, killed[-1].done - killed[-1].begun)))
                say(f"controller killed, {run + 1} of {n}")
            time.sleep(ARRIVAL_DELAY)
        lost = _summed([lost_and_late(at, link, killed)[0] for link in at.tunnels])
        lost_calm = _summed([lost_and_late(at, link, calm)[0] for link in at.tunnels])
    say(f"controller killed: lost {sum(lost)}; without: {sum(lost_calm)}")
    title = "lost on all tunnels"
    return [
        figures.of("controller-killed.lost", f"controller killed: {title}", lost, "packets", 0),
        figures.of("controller-killed.control", f"controller lives: {title}", lost_calm, "packets"),
    ]


def _kill_and_start(at: Stage) -> None:
    at.controller.kill()
    time.sleep(1.0)
    at.controller.run()
    at.settle()


def _summed(rows: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def charon_killed(say: Say, n: int) -> list[Figure]:
    """`kill -9` of the client's charon, started again at once: until all tunnels are at home."""
    waits: list[float] = []
    for run in range(n):
        with stage("m-charon") as at, streaming(at):
            charon = at.lab.charons["client"]
            since = time.time()
            charon.kill()
            charon.start()
            at.settle()
            waits.append(time.time() - since)
            say(f"charon killed, {run + 1} of {n}: {waits[-1]:.1f} s")
    title = "charon killed and started again: all tunnels there"
    return [figures.of("charon-killed", title, [round(w, 1) for w in waits], "s")]


def gateway_killed(say: Say, n: int) -> list[Figure]:
    """`kill -9` of the gateway's charon, started again at once, without its SAs: until payload of
    every tunnel is delivered again, both ways. Nothing is probed inside: IKE has to find out."""
    waits: list[float] = []
    for run in range(n):
        with stage("m-gateway") as at, streaming(at):
            moment = happens(partial(_kill_gateway, at))
            flows = [flow for both in at.flows.values() for flow in both]
            came = [resumed(at, flow, moment.done) for flow in flows]
            waits.append(max(came) - moment.begun)
            say(f"gateway killed, {run + 1} of {n}: {waits[-1]:.1f} s")
    title = "gateway's charon killed and started again: all tunnels carry"
    return [figures.of("gateway-killed", title, [round(w, 1) for w in waits], "s", GATEWAY_BOUND)]


def _kill_gateway(at: Stage) -> None:
    charon = at.lab.charons["gateway"]
    charon.kill()
    charon.start()
