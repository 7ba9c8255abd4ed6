# SPDX-License-Identifier: Apache-2.0
"""A path comes, or is left by order: when payload is on it, and what the change loses."""

from __future__ import annotations

import time
from functools import partial

from vici_mif.lab.controller import link_of
from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence import pcap
from vici_mif.lab.measure import figures
from vici_mif.lab.measure.bench import (
    ARRIVAL_DELAY,
    RETURN_PATIENCE,
    Moment,
    Say,
    Stage,
    happens,
    in_turns,
    lost_and_late,
    stage,
    streaming,
    wait_for,
)
from vici_mif.lab.measure.figures import Figure
from vici_mif.lab.topology import ROUTER

PAYLOAD = 300
"""Bytes: an ESP packet as large as that carries one of the streams' datagrams, and no probe."""
FAST_RATE = 1000.0
"""Datagrams a second in each direction, for handovers."""


def new_link(say: Say, n: int) -> list[Figure]:
    """A link appears that was never there; the spare takes it. By the capture of that link."""
    waits: list[float] = []
    for run in range(n):
        with stage("m-new", uplinks=2, absent=1, spares=1) as at:
            waits.append(_spare_taken(at))
            say(f"new link, {run + 1} of {n}: {waits[-1] * 1000:.0f} ms")
    return [figures.of("new-link", "a new link appears: payload on it, by the spare", waits)]


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
        lost, late = lost_and_late(at, link, moved)
        lost_calm, late_calm = lost_and_late(at, link, calm)
    say(f"handovers lost {sum(lost)}, reordered {sum(late)}; without: {sum(lost_calm)}")
    title = "at 1,000 packets/s both ways"
    return [
        figures.of("drain.lost", f"handover {title}: lost", lost, "packets"),
        figures.of("drain.late", f"handover {title}: reordered", late, "packets"),
        figures.of("drain.control.lost", f"no handover, {title}: lost", lost_calm, "packets"),
        figures.of("drain.control.late", f"no handover, {title}: reordered", late_calm, "packets"),
    ]


def better_link(say: Say, n: int) -> list[Figure]:
    """A link that is preferred appears, and its tunnel goes to it, at 1,000 datagrams a second."""
    lost: list[int] = []
    late: list[int] = []
    for runs in in_turns(n):
        with stage("m-better", uplinks=2) as at:
            link = at.lab.uplinks[0]
            with streaming(at, FAST_RATE, (link,)):
                moments = [_come_home(at, link) for _ in runs]
                time.sleep(ARRIVAL_DELAY)
            for every, more in zip((lost, late), lost_and_late(at, link, moments), strict=True):
                every.extend(more)
        say(f"better link, {runs.stop} of {n}: lost {sum(lost)}, reordered {sum(late)}")
    title = "a better link appears at 1,000 packets/s both ways"
    return [
        figures.of("better-link.lost", f"{title}: lost", lost, "packets"),
        figures.of("better-link.late", f"{title}: reordered", late, "packets"),
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


def _moved(at: Stage, link: str, *, home: bool) -> None:
    def there() -> bool:
        status = at.controller.ask_status()
        tunnels = status.peers[0].tunnels if status else ()
        mine = [t for t in tunnels if t.home and link_of(t) == link and t.children]
        return any((t.current == t.home) == home and t.current is not None for t in mine)

    wait_for(there, f"the tunnel of {link} to be {'home' if home else 'elsewhere'}")
