# SPDX-License-Identifier: Apache-2.0
"""A path comes, or is left by order: when payload is on it, and what the change loses."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from vici_mif.lab.controller import link_of
from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence import pcap
from vici_mif.lab.evidence.pcap import Packet
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
    resumed,
    stage,
    streaming,
    wait_for,
)
from vici_mif.lab.measure.figures import Figure
from vici_mif.lab.topology import ROUTER, bare

Counts = tuple[list[int], list[int]]
"""Lost and reordered, of each time."""

PAYLOAD = 300
"""Bytes: an ESP packet as large as that carries one of the streams' datagrams, and no probe."""
NEW_LINK_BOUND = 350.0
"""Milliseconds."""
FAST_RATE = 1000.0
"""Datagrams a second in each direction, for handovers."""


def new_link(say: Say, n: int) -> list[Figure]:
    """A link appears that was never there; the spare takes it, and its payload is delivered."""
    waits: list[float] = []
    for run in range(n):
        with stage("m-new", uplinks=2, absent=1, spares=1) as at:
            waits.append(_spare_taken(at))
            say(f"new link, {run + 1} of {n}: {waits[-1] * 1000:.0f} ms")
    title = "a new link appears: payload delivered over it, by the spare"
    return [figures.of("new-link", title, waits, bound=NEW_LINK_BOUND)]


def _spare_taken(at: Stage) -> float:
    (link,) = at.absent
    with streaming(at):
        at.lab.start_captures()
        time.sleep(1.0)  # until they listen
        since = time.time()
        at.lab.link_up(link)
        try:
            return _delivered(at, link, _first_payload(at, link, since)) - since
        finally:
            at.lab.stop_captures()


def _delivered(at: Stage, link: str, first: Packet) -> float:
    """When the first datagram came that was sent after the first packet on the new link had passed
    the router, the same way: one sent before may have come by the old path."""
    up, down = at.flows["spare"]
    mine = str(first.src) == bare(at.lab.port(link).addresses[0])
    return resumed(at, up if mine else down, first.time)


def _first_payload(at: Stage, link: str, since: float) -> Packet:
    file = at.lab.captures.file(ROUTER, link)
    deadline = time.monotonic() + RETURN_PATIENCE
    while time.monotonic() < deadline:
        for packet in pcap.read(file):
            esp = pcap.esp_of(packet)
            if esp is not None and len(esp) >= PAYLOAD and packet.time >= since:
                return packet
        time.sleep(0.2)
    raise LabError(f"no payload on {link} within {RETURN_PATIENCE:g} s")


def drained(delay_ms: int) -> Callable[[Say, int], list[Figure]]:
    """A path is drained and used again, at 1,000 datagrams a second both ways.

    Beside each handover stands a time of the same length without any: what this machine loses
    by itself at that rate is none of a handover's.
    """
    title = f"at 1,000 packets/s both ways{_far(delay_ms)}"

    def measure(say: Say, n: int) -> list[Figure]:
        with stage("m-drain", uplinks=2, delay_s=delay_ms / 1000) as at:
            moved, calm = _handovers(at, say, n)
        say(f"handovers lost {sum(moved[0])}, reordered {sum(moved[1])}; without: {sum(calm[0])}")
        return [
            *_counted(f"drain{_dotted(delay_ms)}", f"handover {title}", moved, bound=0),
            *_counted(f"drain{_dotted(delay_ms)}.control", f"no handover, {title}", calm),
        ]

    return measure


def _handovers(at: Stage, say: Say, n: int) -> tuple[Counts, Counts]:
    calm: list[Moment] = []
    moved: list[Moment] = []
    link = at.lab.uplinks[0]
    with streaming(at, FAST_RATE, (link,)):
        for run in range(n):
            for verb in ("drain", "undrain"):
                moved.append(happens(partial(_hand_over, at, link, verb)))
                calm.append(happens(partial(time.sleep, moved[-1].done - moved[-1].begun)))
            say(f"drain, {run + 1} of {n}")
        time.sleep(ARRIVAL_DELAY)
    return lost_and_late(at, link, moved), lost_and_late(at, link, calm)


def better_link(delay_ms: int) -> Callable[[Say, int], list[Figure]]:
    """A link that is preferred appears, and its tunnel goes to it, at 1,000 datagrams a second."""
    title = f"a better link appears at 1,000 packets/s both ways{_far(delay_ms)}"

    def measure(say: Say, n: int) -> list[Figure]:
        both: Counts = ([], [])
        for runs in in_turns(n):
            with stage("m-better", uplinks=2, delay_s=delay_ms / 1000) as at:
                found = _homecomings(at, len(runs))
            for every, more in zip(both, found, strict=True):
                every.extend(more)
            say(f"better link, {runs.stop} of {n}: lost {sum(both[0])}, late {sum(both[1])}")
        return _counted(f"better-link{_dotted(delay_ms)}", title, both, bound=0)

    return measure


def _homecomings(at: Stage, n: int) -> Counts:
    link = at.lab.uplinks[0]
    with streaming(at, FAST_RATE, (link,)):
        moments = [_come_home(at, link) for _ in range(n)]
        time.sleep(ARRIVAL_DELAY)
    return lost_and_late(at, link, moments)


def _counted(name: str, title: str, counts: Counts, bound: float | None = None) -> list[Figure]:
    lost, late = counts
    return [
        figures.of(f"{name}.lost", f"{title}: lost", lost, "packets", bound),
        figures.of(f"{name}.late", f"{title}: reordered", late, "packets"),
    ]


def _far(delay_ms: int) -> str:
    return f", {delay_ms} ms one way" if delay_ms else ""


def _dotted(delay_ms: int) -> str:
    return f".{delay_ms}ms" if delay_ms else ""


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
