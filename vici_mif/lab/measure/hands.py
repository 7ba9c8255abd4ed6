# SPDX-License-Identifier: Apache-2.0
"""Others' hands: what they take away of ours in the kernel, and when all of it stands again.

Counted from the moment before the deletion, by what the kernel tells those who listen: who is
late to hear makes it longer, never shorter.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from vici_mif.lab import leftovers
from vici_mif.lab.controller import Controller
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import default_prefix
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.measure import figures
from vici_mif.lab.measure.bench import PATIENCE, Say, stage, wait_for
from vici_mif.lab.measure.figures import Figure
from vici_mif.lab.topology import Profile, Wish

BOUND = 200.0
"""Milliseconds until all of ours stands again."""
MONITORS = {
    "rule": (["ip", "monitor", "rule"], re.compile(r"(Deleted )?(\d+:.* proto 77\b.*)")),
    "table": (["nft", "monitor"], re.compile(r"(?:add|(delete)) (table inet vici_mif)\b")),
}
"""What tells of rules, and of tables; how it names ours, and whether they went."""


@dataclass
class Told:
    """What came and went of ours, in the order in which it was told."""

    pattern: re.Pattern[str]
    gone: Counter[str] = field(default_factory=Counter)
    """What is away now."""
    deletions: int = 0
    whole_at: float = 0.0
    """When nothing was away any more; monotonic seconds."""

    def hear(self, line: str, at: float) -> None:
        """One line of a monitor."""
        found = self.pattern.match(line)
        if not found:
            return
        what = " ".join(found[2].split())
        self.deletions += bool(found[1])
        self.gone[what] += 1 if found[1] else -1
        if not +self.gone:
            self.whole_at = at


def rules_flushed(say: Say, n: int) -> list[Figure]:
    """Somebody deletes all routing rules of ours."""
    with stage("m-rules") as at:
        waits = [_restored(at.lab, "rule", _flush_rules) for _ in _counted(say, "rules", n)]
    return [figures.of("hands.rules", "all rules of ours deleted: put back", waits, bound=BOUND)]


def _flush_rules(lab: Lab) -> float:
    known = [line.partition(":")[0] for line in leftovers.ours(lab) if _is_rule(line)]
    batch = "".join(f"rule del pref {number}\n" for number in known)
    return _tell(lab, ["ip", "-force", "-batch", "-"], batch)


def ruleset_flushed(say: Say, n: int) -> list[Figure]:
    """Somebody flushes all of nftables on a site's gateway, as nftables.service does at a start."""
    title = "`nft flush ruleset` on a site's gateway: put back"
    with _site("m-ruleset") as lab:
        waits = [_restored(lab, "table", _flush_ruleset) for _ in _counted(say, "ruleset", n)]
    return [figures.of("hands.ruleset", title, waits, bound=BOUND)]


def _flush_ruleset(lab: Lab) -> float:
    return _tell(lab, ["nft", "-f", "-"], "flush ruleset\n")


def _tell(lab: Lab, argv: list[str], text: str) -> float:
    """Have a program do something, once it runs; the moment before."""
    hand = lab.client.spawn("hand", argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    running = "\0".join([*argv, ""]).encode()
    wait_for(lambda: Path(f"/proc/{hand.pid}/cmdline").read_bytes() == running, f"{argv[0]} to run")
    at = time.monotonic()
    hand.communicate(text.encode())
    return at


def _counted(say: Say, what: str, n: int) -> Iterator[int]:
    for run in range(n):
        say(f"{what} flushed, {run + 1} of {n}")
        yield run


@contextmanager
def _site(name: str) -> Iterator[Lab]:
    """A site whose controller is up, on its gateway."""
    prefix = default_prefix()
    wish = Wish(name=name, uplinks=2, profile=Profile.SITE)
    with Lab.up(wish, Setup(prefix, prefix), keep=False) as lab:
        controller = Controller(lab, lambda _: None)
        controller.configure({"version": 1, "connections": {"hq": {"links": list(lab.uplinks)}}})
        controller.run()
        try:
            controller.wait("up", PATIENCE)
            yield lab
        finally:
            with suppress(LabError):
                controller.stop()


def _restored(lab: Lab, what: str, take: Callable[[Lab], float]) -> float:
    """Seconds until nothing was missing. Raises LabError."""
    before = _all(lab)
    number = sum(map(_is_rule, before)) if what == "rule" else 1
    with _listening(lab, *MONITORS[what]) as told:
        taken_at = take(lab)
        wait_for(lambda: _all(lab) == before, "all of ours to stand again")
        wait_for(lambda: told.deletions >= number and not +told.gone, "the kernel to tell of it")
    return told.whole_at - taken_at


def _all(lab: Lab) -> list[str]:
    """Everything of ours, and the whole of the tables without their counters."""
    tables = lab.client.exec(["nft", "-s", "list", "ruleset"]).stdout
    return [*sorted(leftovers.ours(lab)), tables]


def _is_rule(line: str) -> bool:
    return bool(re.match(r"\d+:", line)) and "proto 77" in line


@contextmanager
def _listening(lab: Lab, argv: Sequence[str], pattern: re.Pattern[str]) -> Iterator[Told]:
    """A monitor on the client, until the end of the block."""
    told, ready = Told(pattern), threading.Event()
    monitor = lab.client.spawn(
        "monitor", ["stdbuf", "-oL", *argv], stdout=subprocess.PIPE, text=True
    )
    assert monitor.stdout is not None
    lines = monitor.stdout

    def listen() -> None:
        for line in lines:
            ready.set()
            told.hear(line, time.monotonic())

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        wait_for(lambda: _heard(lab, ready), f"{argv[0]} monitor to listen")
        yield told
    finally:
        monitor.kill()
        monitor.wait()
        reader.join()


def _heard(lab: Lab, ready: threading.Event) -> bool:
    """It tells of a rule and a table of nobody's that come and go."""
    for word in ("add", "del"):
        rule = ["from", "192.0.2.77", "lookup", "7777", "pref", "7777"]
        lab.client.exec(["ip", "rule", word, *rule])
    lab.client.exec(["nft", "add table inet nobody; delete table inet nobody"])
    return ready.is_set()
