# SPDX-License-Identifier: Apache-2.0
"""Measures how tunnels behave: a lab, numbered datagrams both ways, and something that happens.

What counts is what the far and the near end of the streams wrote down, and what the captures of
the uplinks show; never what a log of ours says.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from functools import partial

from vici_mif.edges.vici import Connection
from vici_mif.lab import pcap
from vici_mif.lab.bench import (
    RETURN_PATIENCE,
    Moment,
    Say,
    Stage,
    happens,
    silence,
    stage,
    streaming,
    wait_for,
)
from vici_mif.lab.controller import link_of
from vici_mif.lab.errors import LabError
from vici_mif.lab.figures import Figure, milliseconds
from vici_mif.lab.impair import DOWN, UP
from vici_mif.lab.sas import Moves
from vici_mif.lab.topology import ROUTER

TARGET = "10.100.0.1"
"""Where probes inside the tunnels go: the gateway's own address behind it."""
PAYLOAD = 300
"""Bytes: an ESP packet as large as that carries one of the streams' datagrams, and no probe."""
FAST_RATE = 1000.0
"""Datagrams a second in each direction, for handovers."""
FLAP_DELAY = 0.2
"""Seconds of a link's being down and up again: 5 Hz."""
ARRIVAL_DELAY = 3.0
"""Seconds a datagram may take on a machine that is busy, before it is lost."""


CALM = 8
"""Failures in one lab: each doubles the hold-down of its path, and the way home takes minutes."""

Times = dict[str, list[float]]
"""Seconds, by direction."""


# --- failover --------------------------------------------------------------------


def link_lost(say: Say, n: int) -> list[Figure]:
    """The link of a tunnel goes down; its streams go on by another path."""
    times: Times = {UP: [], DOWN: []}
    for runs in _in_turns(n):
        with stage("m-lost") as at, streaming(at):
            for run in runs:
                _lose(at, run, times)
                say(f"link lost, {run + 1} of {n}: {_last(times)}")
    return _both_ways("failover.link-lost", "a link is lost", times[UP], times[DOWN])


def _in_turns(n: int) -> list[range]:
    return [range(first, min(first + CALM, n)) for first in range(0, n, CALM)]


def _lose(at: Stage, run: int, times: Times) -> None:
    link = at.lab.uplinks[run % len(at.lab.uplinks)]
    moment = happens(partial(at.lab.link_down, link))
    for direction, flow in zip((UP, DOWN), at.flows[link], strict=True):
        times[direction].append(silence(at, flow, moment))
    at.lab.link_up(link)
    at.settle()


def silent(profile: str, directions: tuple[str, ...]) -> Callable[[Say, int], list[Figure]]:
    """Everything on a path is dropped, or one direction of it, and no link says so.

    `profile`: of probes inside the tunnels; `ike`: no target, so that IKE has to find out.
    """
    words = {(UP, DOWN): "both directions", (UP,): "only up", (DOWN,): "only down"}[directions]
    title = "no targets" if profile == "ike" else f"profile {profile}"

    def measure(say: Say, n: int) -> list[Figure]:
        times: Times = {UP: [], DOWN: []}
        for runs in _in_turns(n):
            with stage("m-silent", uplinks=2, keys={"probe": _probe(profile)}) as at, streaming(at):
                for run in runs:
                    _fall_silent(at, run, directions, times)
                    say(f"{title}, {words}, {run + 1} of {n}: {_last(times)}")
        return [
            _figure(
                f"failover.silent.{profile}.{'-'.join(directions)}.{direction}",
                f"silent drop, {words}, {title}: {direction}",
                times[direction],
            )
            for direction in directions
        ]

    return measure


def _probe(profile: str) -> dict[str, object]:
    if profile == "ike":
        return {}
    return {"targets": [TARGET], "profile": profile}


def _fall_silent(at: Stage, run: int, directions: tuple[str, ...], times: Times) -> None:
    link = at.lab.uplinks[run % len(at.lab.uplinks)]
    moment = happens(partial(at.lab.cut, link, directions=directions))
    if run % 2:
        _rekey(at, link, child=run % 4 == 1)
    for direction, flow in zip((UP, DOWN), at.flows[link], strict=True):
        if direction in directions:
            times[direction].append(silence(at, flow, moment))
    at.lab.uncut(link)
    at.settle()


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
        await connection.request(command, message)
    finally:
        connection.close()


# --- new links, drains -----------------------------------------------------------


def new_link(say: Say, n: int) -> list[Figure]:
    """A link appears that was never there; the spare takes it. By the capture of that link."""
    waits: list[float] = []
    for run in range(n):
        with stage("m-new", uplinks=2, absent=1, spares=1) as at:
            waits.append(_spare_taken(at))
            say(f"new link, {run + 1} of {n}: {waits[-1] * 1000:.0f} ms")
    return [_figure("new-link", "a new link appears: payload on it, by the spare", waits)]


def _spare_taken(at: Stage) -> float:
    (link,) = at.absent
    with streaming(at):
        at.lab.start_captures()
        time.sleep(1.0)  # until they listen
        since = time.time()
        at.lab.link_up(link)
        try:
            return _first_payload(at, link, since)
        finally:
            at.lab.stop_captures()


def _first_payload(at: Stage, link: str, since: float) -> float:
    file = at.lab.captures.file(ROUTER, link)
    deadline = time.monotonic() + RETURN_PATIENCE
    while time.monotonic() < deadline:
        for packet in pcap.read(file):
            esp = pcap.esp_of(packet)
            if esp is not None and len(esp) >= PAYLOAD and packet.time >= since:
                return packet.time - since
        time.sleep(0.2)
    raise LabError(f"no payload on {link} within {RETURN_PATIENCE:g} s")


def drained(say: Say, n: int) -> list[Figure]:
    """A path is drained and used again, at 1,000 datagrams a second both ways.

    Beside each handover stands a time of the same length without any: what this machine loses
    by itself at that rate is none of a handover's.
    """
    calm: list[Moment] = []
    moved: list[Moment] = []
    with stage("m-drain", uplinks=2) as at:
        link = at.lab.uplinks[0]
        with streaming(at, FAST_RATE, (link,)):
            for run in range(n):
                for verb in ("drain", "undrain"):
                    moved.append(happens(partial(_hand_over, at, link, verb)))
                    calm.append(happens(partial(time.sleep, moved[-1].done - moved[-1].begun)))
                say(f"drain, {run + 1} of {n}")
            time.sleep(ARRIVAL_DELAY)
        lost, late = _lost_and_late(at, link, moved)
        lost_calm, late_calm = _lost_and_late(at, link, calm)
    say(f"handovers lost {sum(lost)}, reordered {sum(late)}; without: {sum(lost_calm)}")
    title = "at 1,000 packets/s both ways"
    return [
        _figure("drain.lost", f"handover {title}: lost", lost, "packets"),
        _figure("drain.late", f"handover {title}: reordered", late, "packets"),
        _figure("drain.control.lost", f"no handover, {title}: lost", lost_calm, "packets"),
        _figure("drain.control.late", f"no handover, {title}: reordered", late_calm, "packets"),
    ]


def better_link(say: Say, n: int) -> list[Figure]:
    """A link that is preferred appears, and its tunnel goes to it, at 1,000 datagrams a second."""
    lost: list[int] = []
    late: list[int] = []
    for runs in _in_turns(n):
        with stage("m-better", uplinks=2) as at:
            link = at.lab.uplinks[0]
            with streaming(at, FAST_RATE, (link,)):
                moments = [_come_home(at, link) for _ in runs]
                time.sleep(ARRIVAL_DELAY)
            for every, more in zip((lost, late), _lost_and_late(at, link, moments), strict=True):
                every.extend(more)
        say(f"better link, {runs.stop} of {n}: lost {sum(lost)}, reordered {sum(late)}")
    title = "a better link appears at 1,000 packets/s both ways"
    return [
        _figure("better-link.lost", f"{title}: lost", lost, "packets"),
        _figure("better-link.late", f"{title}: reordered", late, "packets"),
    ]


def _come_home(at: Stage, link: str) -> Moment:
    """The link goes when nothing is on it any more; what is counted begins when it is back."""
    _hand_over(at, link, "drain")
    at.lab.link_down(link)
    _order(at, link, "undrain")

    def back() -> None:
        at.lab.link_up(link)
        _arrive(at, link, home=True)

    return happens(back)


def _hand_over(at: Stage, link: str, verb: str) -> None:
    _order(at, link, verb)
    _arrive(at, link, home=verb == "undrain")


def _order(at: Stage, link: str, verb: str) -> None:
    done = at.controller.command("path", verb, "hq", f"{link}/*")
    if done.returncode:
        raise LabError(f"path {verb}: {done.stderr.strip() or done.stdout.strip()}")


def _arrive(at: Stage, link: str, *, home: bool) -> None:
    _moved(at, link, home=home)
    time.sleep(0.5)  # what was under way arrives


def _lost_and_late(at: Stage, link: str, times: Iterable[Moment]) -> tuple[list[int], list[int]]:
    """Of both directions together, for each time."""
    log, flows = at.log(), at.flows[link]
    windows = [(moment.begun, moment.done) for moment in times]
    lost = [sum(log.lost(flow, *window) for flow in flows) for window in windows]
    late = [sum(log.late(flow, *window) for flow in flows) for window in windows]
    return lost, late


def _moved(at: Stage, link: str, *, home: bool) -> None:
    def there() -> bool:
        status = at.controller.ask_status()
        tunnels = status.peers[0].tunnels if status else ()
        mine = [t for t in tunnels if t.home and link_of(t) == link and t.children]
        return any((t.current == t.home) == home and t.current is not None for t in mine)

    wait_for(there, f"the tunnel of {link} to be {'home' if home else 'elsewhere'}")


# --- deaths ----------------------------------------------------------------------


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
        lost = _summed([_lost_and_late(at, link, killed)[0] for link in at.tunnels])
        lost_calm = _summed([_lost_and_late(at, link, calm)[0] for link in at.tunnels])
    say(f"controller killed: lost {sum(lost)}; without: {sum(lost_calm)}")
    title = "lost on all tunnels"
    return [
        _figure("controller-killed.lost", f"controller killed: {title}", lost, "packets"),
        _figure("controller-killed.control", f"controller lives: {title}", lost_calm, "packets"),
    ]


def _kill_and_start(at: Stage) -> None:
    at.controller.kill()
    time.sleep(1.0)
    at.controller.run()
    at.settle()


def _summed(rows: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def charon_killed(say: Say, n: int) -> list[Figure]:
    """`kill -9` of the client's charon, started again at once: until the first tunnel carries."""
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
    return [_figure("charon-killed", title, [round(w, 1) for w in waits], "s")]


# --- what it costs ---------------------------------------------------------------


def costs(say: Say, n: int) -> list[Figure]:
    """Processor and memory of the controller, idle and while a link flaps at 5 Hz."""
    seconds = 10.0 if n < 10 else 60.0
    with stage("m-cost") as at:
        idle = _used(at, lambda: time.sleep(seconds))
        say(f"idle for {seconds:g} s: {idle:.1f} %")
        moves = Moves(at.lab.client.vici_socket)
        busy = _used(at, lambda: _flap(at, seconds))
        after = _memory(at)
        at.settle()
        moves.close()
        say(f"flapping for {seconds:g} s: {busy:.1f} %, {moves.number} updates")
    return [
        _figure("cpu.idle", "controller, idle: processor", [idle], "%"),
        _figure("cpu.flapping", "controller, 5 Hz: processor", [busy], "%"),
        _figure("memory", "controller, after flapping: memory", [after], "MB"),
        _figure(
            "flapping.moves",
            f"a link flaps at 5 Hz for {seconds:g} s: address updates of all tunnels",
            [moves.number],
            "moves",
        ),
    ]


def _flap(at: Stage, seconds: float) -> None:
    end = time.monotonic() + seconds
    link = at.lab.uplinks[0]
    while time.monotonic() < end:
        at.lab.link_down(link)
        time.sleep(FLAP_DELAY / 2)
        at.lab.link_up(link)
        time.sleep(FLAP_DELAY / 2)


def _used(at: Stage, act: Callable[[], None]) -> float:
    """Per cent of one processor while something goes on."""
    before, begun = _ticks(at), time.monotonic()
    act()
    ticks = _ticks(at) - before
    return round(100 * ticks / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begun), 1)


def _ticks(at: Stage) -> int:
    fields = at.controller.proc("stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime and stime of proc_pid_stat(5)


def _memory(at: Stage) -> float:
    """Resident, in MB."""
    lines = at.controller.proc("status").splitlines()
    (size,) = (int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return round(size / 1024, 1)


# --- together --------------------------------------------------------------------


def _figure(name: str, title: str, values: Iterable[float], unit: str = "ms") -> Figure:
    """Of times the values are seconds."""
    shown = milliseconds(values) if unit == "ms" else tuple(values)
    return Figure(name=name, title=title, unit=unit, values=shown)


def _both_ways(name: str, title: str, up: list[float], down: list[float]) -> list[Figure]:
    return [
        _figure(f"{name}.up", f"{title}: up", up),
        _figure(f"{name}.down", f"{title}: down", down),
    ]
