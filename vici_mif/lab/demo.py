# SPDX-License-Identifier: Apache-2.0
"""The demo: one authentication, three tunnels, an uplink that goes and comes; proved or exit 1."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from vici_mif.lab.controller import Controller, link_of
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import default_prefix
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.listing import names
from vici_mif.lab.state import root
from vici_mif.lab.streams.ends import RATE
from vici_mif.lab.topology import Wish, bare
from vici_mif.lab.trial import Findings, Home, Script, Trial

UP_PATIENCE = 60.0
LINE = 96


class Progress:
    """Lines with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)

    def controller(self, line: str) -> None:
        """What the controller says, as it says it."""
        print(f"          vici-mif | {line}", flush=True)


def heading(text: str) -> None:
    print(f"\n── {text} {'─' * max(0, 74 - len(text))}\n", flush=True)


def play(options: argparse.Namespace, say: Progress) -> Findings:
    """Make the lab, run everything in it, take it down."""
    wish = Wish(name=options.name, uplinks=options.uplinks)
    prefix = options.charon or default_prefix()
    setup = Setup(prefix, prefix, keys=True, data_plane=options.data_plane)
    say(f"lab {wish.name}: client with {wish.uplinks} uplinks, router, gateway, server")
    with Lab.up(wish, setup, keep=False) as lab:
        try:
            return _in_lab(lab, options, say)
        finally:
            if options.evidence:
                keep(lab, options.evidence)


def _in_lab(lab: Lab, options: argparse.Namespace, say: Progress) -> Findings:
    say(f"charons run; ESP by {lab.state.data_plane}")
    lab.start_captures()
    controller = Controller(lab, say.controller)
    links = ", ".join(lab.uplinks)
    controller.start(f"hq: {{links: [{links}], hold_down: {options.hold_down:g}s, spares: 0}}")
    controller.wait("up", UP_PATIENCE * options.slow)
    say("all tunnels are up")
    heading("vici-mif status")
    print(controller.table())
    found = tunnels(controller)
    if len(found) != options.uplinks:
        raise LabError(f"{len(found)} tunnels instead of {options.uplinks}")
    heading("traffic")
    link = options.outage or lab.uplinks[0]
    times = {"hold_down": options.hold_down, "slow": options.slow}
    script = Script(link, rate=options.rate / options.slow, **times)
    findings = Trial(lab, found, script, say).play()
    say("captures and logs are read")
    controller.stop()
    return findings


def tunnels(controller: Controller) -> dict[str, Home]:
    """The tunnels that carry traffic, as the controller shows them: a spare has none to carry."""
    return {
        t.name: Home(link_of(t), tuple(bare(inner) for inner in t.inner))
        for t in controller.peer().tunnels
        if t.children and t.home
    }


def keep(lab: Lab, target: Path) -> None:
    """Copy captures, keys and logs to where the caller wants them."""
    shutil.copytree(lab.directory, target, dirs_exist_ok=True, ignore=_sockets)


def _sockets(directory: str, entries: list[str]) -> set[str]:
    return {name for name in entries if (Path(directory) / name).is_socket()} | {"run"}


def show(findings: Findings) -> None:
    """The ladders and the verdict."""
    heading("the exchange, from the decrypted capture")
    print(findings.setup_ladder())
    heading(f"after {findings.link} went away, and came back")
    print(findings.outage_ladder())
    heading("claims")
    for claim in findings.claims:
        print(claim.text(LINE))
    failed = [claim for claim in findings.claims if not claim.holds]
    print(f"\n{len(findings.claims)} claims, {len(failed)} failed")


def main(arguments: list[str] | None = None) -> int:
    """Exit 0 when everything is proved."""
    options = _parser().parse_args(arguments)
    if os.geteuid():
        print("demo: network namespaces need root: run `make demo`", file=sys.stderr)
        return 77
    say = Progress()
    try:
        findings = play(options, say)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        print("demo: `scripts/demo --evidence DIR` keeps logs and captures", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    show(findings)
    say("the lab is gone" if gone(options.name) else "something of the lab is left")
    return 0 if findings.proved and gone(options.name) else 1


def gone(name: str) -> bool:
    """Whether nothing of the lab is left."""
    return name not in names() and not (root() / name).exists()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vici_mif.lab.demo")
    add = parser.add_argument
    add("--name", default="demo", help="of the lab (default: demo)")
    add("--uplinks", type=int, default=3, choices=range(2, 5), help="default: 3")
    add("--charon", type=Path, help="prefix of the patched strongSwan (default: ours)")
    add("--data-plane", choices=("auto", "libipsec", "netlink"), default="auto")
    add("--outage", metavar="LINK", help="which uplink goes away (default: the first)")
    add("--hold-down", type=float, default=3.0, metavar="S", help="default: 3")
    add("--rate", type=float, default=RATE, help=f"datagrams a second (default: {RATE})")
    add("--slow", type=float, default=1, metavar="N", help="in a guest: all takes N times longer")
    add("--evidence", type=Path, metavar="DIR", help="keep captures, keys and logs here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
