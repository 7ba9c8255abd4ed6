# SPDX-License-Identifier: Apache-2.0
"""A path stops working: how long the streams of its tunnel are silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from vici_mif.edges.vici import Connection
from vici_mif.lab.controller import link_of
from vici_mif.lab.errors import LabError
from vici_mif.lab.measure import figures
from vici_mif.lab.measure.bench import (
    Say,
    Stage,
    happens,
    in_turns,
    silence,
    stage,
    streaming,
)
from vici_mif.lab.measure.figures import Figure
from vici_mif.lab.wires.impair import DOWN, UP

TARGET = "10.100.0.1"
"""Where probes inside the tunnels go: the gateway's own address behind it."""

_BOUNDS = {"normal": 350.0, "fast": 200.0}
"""Milliseconds until payload is delivered again."""

Times = dict[str, list[float]]
"""Seconds, by direction."""


def link_lost(say: Say, n: int) -> list[Figure]:
    """The link of a tunnel goes down; its streams go on by another path."""
    times: Times = {UP: [], DOWN: []}
    for runs in in_turns(n):
        with stage("m-lost") as at, streaming(at):
            for run in runs:
                _lose(at, run, times)
                say(f"link lost, {run + 1} of {n}: {_last(times)}")
    return _both_ways("failover.link-lost", "a link is lost", times[UP], times[DOWN])


def _lose(at: Stage, run: int, times: Times) -> None:
    at.rest()
    link = at.lab.uplinks[run % len(at.lab.uplinks)]
    moment = happens(partial(at.lab.link_down, link))
    for direction, flow in zip((UP, DOWN), at.flows[link], strict=True):
        times[direction].append(silence(at, flow, moment))
    at.lab.link_up(link)


def silent(
    profile: str, directions: tuple[str, ...], alone: str = ""
) -> Callable[[Say, int], list[Figure]]:
    """Everything on a path is dropped, or one direction of it, and no link says so.

    `profile`: of probes inside the tunnels; `ike`: no target, so that IKE has to find out.
    `alone`: the only direction that has streams, DOWN: a download, whose receiver sends nothing.
    """
    words = {(UP, DOWN): "both directions", (UP,): "only up", (DOWN,): "only down"}[directions]
    title = "no targets" if profile == "ike" else f"profile {profile}"
    title += ", a download alone" if alone else ""
    heard = tuple(each for each in directions if alone in ("", each))
    name = f"failover.silent.{profile}{'.download' if alone else ''}"

    def measure(say: Say, n: int) -> list[Figure]:
        times: Times = {UP: [], DOWN: []}
        for runs in in_turns(n):
            keys = {"probe": _probe(profile)}
            with (
                stage("m-silent", uplinks=2, keys=keys) as at,
                streaming(at, download=bool(alone)),
            ):
                for run in runs:
                    _fall_silent(at, run, directions, heard, times)
                    say(f"{title}, {words}, {run + 1} of {n}: {_last(times)}")
        return [
            figures.of(
                f"{name}.{'-'.join(directions)}.{direction}",
                f"silent drop, {words}, {title}: {direction}",
                times[direction],
                bound=_BOUNDS.get(profile),
            )
            for direction in heard
        ]

    return measure


def _probe(profile: str) -> dict[str, object]:
    if profile == "ike":
        return {}
    return {"targets": [TARGET], "profile": profile}


def _fall_silent(
    at: Stage, run: int, directions: tuple[str, ...], heard: tuple[str, ...], times: Times
) -> None:
    """Of eight in a row each link has each: nothing outstanding, a child rekeyed, an IKE SA."""
    at.rest()
    link = at.lab.uplinks[run // 2 % len(at.lab.uplinks)]
    moment = happens(partial(at.lab.cut, link, directions=directions))
    if run % 2:
        _rekey(at, link, child=run % 8 < 4)
    for direction, flow in zip((UP, DOWN), at.flows[link], strict=True):
        if direction in heard:
            times[direction].append(silence(at, flow, moment))
    at.lab.uncut(link)


def _last(times: Times) -> str:
    return ", ".join(f"{k} {v[-1] * 1000:.0f} ms" for k, v in times.items() if v)


def _rekey(at: Stage, link: str, *, child: bool) -> None:
    """Begin a rekeying that goes into the silence: it is outstanding when the move comes."""
    tunnels = at.controller.peer().tunnels
    tunnel = next(t for t in tunnels if t.home and link_of(t) == link)
    message: dict[str, object] = {"ike-id": tunnel.ike_id}
    if child:
        message = {"child": tunnel.children[0].name}
    asyncio.run(_request(at, "rekey", message))


async def _request(at: Stage, command: str, message: dict[str, object]) -> None:
    connection = await Connection.open(str(at.lab.client.vici_socket))
    try:
        answer = await connection.request(command, message)
        if answer.get("success") != "yes" or answer.get("matches") != "1":
            raise LabError(f"{command} {message}: {answer}")
    finally:
        connection.close()


def _both_ways(name: str, title: str, up: list[float], down: list[float]) -> list[Figure]:
    return [
        figures.of(f"{name}.up", f"{title}: up", up),
        figures.of(f"{name}.down", f"{title}: down", down),
    ]
