# SPDX-License-Identifier: Apache-2.0
"""`vici-mif lab …`: the lab's commands."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyroute2 import NetlinkError

from vici_mif.lab import captures, happenings
from vici_mif.lab.entry import FAILED, OK, Command, Entry, named
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import default_prefix
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.listing import names
from vici_mif.lab.measure import measure
from vici_mif.lab.processes import started
from vici_mif.lab.removal import take_down
from vici_mif.lab.scenario import play
from vici_mif.lab.state import State, root
from vici_mif.lab.topology import Auth, Profile, Wish

NOT_PERMITTED = 77


def add_commands(subparsers: Any) -> None:
    """Add `lab` and everything below it to the main command's sub-parsers."""
    lab = subparsers.add_parser("lab", help="client, router and gateway in network namespaces")
    below = lab.add_subparsers(dest="lab_command", required=True, metavar="COMMAND")
    for entry in ENTRIES:
        parser = below.add_parser(entry.name, help=entry.help, description=entry.help)
        parser.add_argument("--lab-dir", type=Path, help=f"where labs lie (default: {root()})")
        entry.arguments(parser)
        parser.set_defaults(run=_guarded(entry.run))


def _guarded(run: Command) -> Command:
    def guarded(args: argparse.Namespace) -> int:
        if os.geteuid():
            print("vici-mif lab: network namespaces need root: run it with sudo", file=sys.stderr)
            return NOT_PERMITTED
        try:
            return run(args)
        except LabError as error:
            print(f"vici-mif lab: {error}", file=sys.stderr)
        except NetlinkError as error:
            why = os.strerror(error.code)
            print(f"vici-mif lab: the kernel refused what was asked: {why}", file=sys.stderr)
        return FAILED

    return guarded


# -- up, down ------------------------------------------------------------------------------------


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    add = parser.add_argument
    add("--uplinks", type=int, default=3, help="of the client (default: 3)")
    add("--remotes", type=int, default=1, help="addresses of the gateway (default: 1)")
    add("--gateways", type=int, default=1, help="2: with a second gateway, `backup` (default: 1)")
    add("--profile", choices=[p.value for p in Profile], default=Profile.ROADWARRIOR.value)
    add("--auth", choices=[a.value for a in Auth], default=Auth.PSK.value)
    add("--ipv6", action="store_true", help="IPv6 beside IPv4, outside and inside")
    add("--outer", type=int, choices=(4, 6), default=4, help="family that IKE and ESP use")
    add("--full", action="store_true", help="the selector for the far side is everything")
    add("--nat", metavar="IF,...", default="", help="uplinks behind a NAT with an address each")
    add("--one-nat", action="store_true", help="all of them behind the same address")
    add("--start-action", choices=("none", "start", "trap"), default="none")
    add("--max-clones", type=int, default=8, help="in strongswan.conf; 0 leaves it out")
    add("--charon", type=Path, help="prefix of the strongSwan to run (default: ours)")
    add("--client-charon", type=Path, help="another one for the client")
    add("--gateway-charon", type=Path, help="another one for the gateway")
    add("--data-plane", choices=("auto", "libipsec", "netlink"), default="auto")
    add("--capture", action="store_true", help="capture all uplinks and remotes at the router")
    add("--keys", action="store_true", help="charon saves its keys, for reading the captures")
    add("--debug", type=int, default=1, choices=range(-1, 5), help="of charon's log (default: 1)")


def _up(args: argparse.Namespace) -> int:
    wish = Wish(
        name=args.name,
        uplinks=args.uplinks,
        remotes=args.remotes,
        gateways=args.gateways,
        profile=Profile(args.profile),
        auth=Auth(args.auth),
        ipv6=args.ipv6,
        outer=args.outer,
        full=args.full,
        max_clones=args.max_clones,
        start_action=args.start_action,
        nat=tuple(name for name in args.nat.split(",") if name),
        one_nat=args.one_nat,
    )
    lab = Lab.up(wish, _setup(args), where=args.lab_dir)
    _print_summary(lab)
    return OK


def _setup(args: argparse.Namespace) -> Setup:
    both = args.charon
    if both is None and None in (args.client_charon, args.gateway_charon):
        both = default_prefix()
    return Setup(
        client_charon=args.client_charon or both,
        gateway_charon=args.gateway_charon or both,
        data_plane=args.data_plane,
        capture=args.capture,
        keys=args.keys,
        debug=args.debug,
    )


def _down(args: argparse.Namespace) -> int:
    known = names(args.lab_dir)
    wanted = list(known) if args.all else [args.name]
    for name in wanted:
        if name not in known:
            raise LabError(f"there is no lab {name}: `vici-mif lab list` shows what there is")
        take_down((args.lab_dir or root()) / name)
        print(f"{name} is gone")
    return OK


def _down_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("--all", action="store_true", help="every lab on this machine")


# -- looking -------------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> int:
    for name, condition in names(args.lab_dir).items():
        print(f"{name:<20} {condition}")
    return OK


def _nothing(_: argparse.ArgumentParser) -> None:
    pass


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("--json", action="store_true")


def _status(args: argparse.Namespace) -> int:
    lab = Lab.find(args.name, args.lab_dir)
    if args.json:
        print(json.dumps(describe(lab), indent=2))
    else:
        _print_summary(lab)
    return OK if lab.state.ready and all(c.process for c in lab.charons.values()) else FAILED


def describe(lab: Lab) -> dict[str, Any]:
    """What `lab status --json` shows."""
    state = lab.state
    hosts = {
        host.name: {
            "namespace": host.namespace,
            "interfaces": {p.name: list(p.addresses) for p in lab.topology.ports(host.name)},
        }
        for host in lab.hosts.values()
    }
    return {
        "name": lab.name,
        "directory": str(lab.directory),
        "ready": state.ready,
        "data_plane": state.data_plane,
        "kernel_esp": state.kernel_esp,
        "hosts": hosts,
        "charons": {name: _describe_charon(lab, name) for name in lab.charons},
        "processes": [{"role": p.role, "pid": p.pid, "alive": p.alive()} for p in state.processes],
    }


def _describe_charon(lab: Lab, name: str) -> dict[str, Any]:
    charon = lab.charons[name]
    process = charon.process
    return {
        "prefix": str(charon.installation.prefix),
        "vici": str(charon.host.vici_socket),
        "pid": process.pid if process else None,
    }


def _print_summary(lab: Lab) -> None:
    state = lab.state
    wish = state.wish
    print(f"lab {lab.name}: {wish.profile.value}, {wish.auth.value}, in {lab.directory}")
    print(f"  {_data_plane(state)}")
    for wire in lab.topology.uplinks:
        print(f"  client {wire.a.name:<6} {', '.join(wire.a.addresses)}")
    for wire in lab.topology.remotes + lab.topology.standby:
        print(f"  {wire.b.host} {wire.b.name:<5} {', '.join(wire.b.addresses)}")
    for name, charon in lab.charons.items():
        process = charon.process
        where = f"pid {process.pid}" if process else "not running"
        print(
            f"  charon on {name}: {where}, {charon.installation.prefix}, {charon.host.vici_socket}"
        )


def _data_plane(state: State) -> str:
    if not state.data_plane:
        return "data plane not chosen yet"
    if state.data_plane == "netlink":
        return "ESP by the kernel, through kernel-netlink"
    why = "as asked, though this kernel has ESP" if state.kernel_esp else "this kernel has no ESP"
    return f"ESP by kernel-libipsec over a TUN device: {why}"


# -- acting --------------------------------------------------------------------------------------


def _exec_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD")


def _exec(args: argparse.Namespace) -> int:
    argv: Sequence[str] = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        raise LabError("no command given: `vici-mif lab exec HOST -- CMD …`")
    host = Lab.find(args.name, args.lab_dir).host(args.host)
    # the command takes this process's place, so `lab down` knows it by our own id
    host.record(started(f"exec@{host.name}", os.getpid()))
    command = host.command(argv)
    os.execvpe(command[0], command, host.environment())  # noqa: S606


def _capture_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("action", choices=("start", "stop"))


def _capture(args: argparse.Namespace) -> int:
    lab = Lab.find(args.name, args.lab_dir)
    if args.action == "stop":
        lab.stop_captures()
        return OK
    lab.start_captures()
    for host, interface in captures.outside(lab.topology):
        print(lab.captures.file(host, interface))
    return OK


ENTRIES = (
    Entry("up", _up, "make a lab and start its charons", _up_arguments),
    Entry("list", _list, "all labs, and what a crash left of some", _nothing),
    Entry("status", _status, "hosts, addresses and charons of a lab", _status_arguments),
    Entry("exec", _exec, "run a command on a host of a lab", _exec_arguments),
    *happenings.ENTRIES,
    Entry("capture", _capture, "start or stop captures of all outside wires", _capture_arguments),
    Entry("play", play.run, "play scenarios, each in a lab of its own", play.arguments),
    measure.ENTRY,
    Entry("down", _down, "remove a lab", _down_arguments),
)


def main(argv: Sequence[str] | None = None) -> int:
    """The lab's commands on their own: `python -m vici_mif.lab.cli lab …`."""
    parser = argparse.ArgumentParser(prog="vici-mif")
    add_commands(parser.add_subparsers(required=True))
    args = parser.parse_args(argv)
    run: Command = args.run
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
