# SPDX-License-Identifier: Apache-2.0
"""The lab's commands for what happens to links and paths."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from vici_mif.lab import links
from vici_mif.lab.entry import OK, Entry, amount, named, prefixed, share
from vici_mif.lab.errors import LabError
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import CLIENT
from vici_mif.lab.wires.impair import DOWN, UP, Impairment


def _lab(args: argparse.Namespace) -> Lab:
    return Lab.find(args.name, args.lab_dir)


# -- links


_ON_CLIENT: Mapping[str, Callable[[Lab, str], None]] = {
    "uncut": Lab.uncut,
    "remove": links.remove,
    "add": links.add,
    "unplug": links.lose_carrier,
    "plug": links.restore_carrier,
}
"""What is done to an uplink of the client and wants nothing more."""


def _link_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("interface", metavar="IF")
    parser.add_argument("action", choices=("down", "up", "cut", "rename", "vlan", *_ON_CLIENT))
    parser.add_argument("value", nargs="?", help="rename: the new name; vlan: its number")
    parser.add_argument("--remote", type=int, help="cut: only towards this remote, from 0")
    parser.add_argument("--only", choices=(UP, DOWN), help="cut: one direction, seen by the client")


def _link(args: argparse.Namespace) -> int:
    lab = _lab(args)
    if args.action in ("down", "up"):
        (lab.link_down if args.action == "down" else lab.link_up)(args.interface, args.host)
        return OK
    if args.host != CLIENT:
        raise LabError(f"{args.action} is for the client's uplinks")
    _uplink(lab, args)
    return OK


def _uplink(lab: Lab, args: argparse.Namespace) -> None:
    if args.action == "cut":
        lab.cut(args.interface, args.remote, (args.only,) if args.only else (UP, DOWN))
    elif args.action in _ON_CLIENT:
        _ON_CLIENT[args.action](lab, args.interface)
    elif not args.value:
        raise LabError(f"`lab link client {args.interface} {args.action}` wants one word more")
    elif args.action == "rename":
        links.rename(lab, args.interface, args.value)
    else:
        links.add_vlan(lab, args.interface, _number(args.value))


def _number(text: str) -> int:
    if not text.isdecimal():
        raise LabError(f"VLAN {text}: expected a number")
    return int(text)


# -- addresses


_ADDRESS: Mapping[str, Callable[[Lab, str, str], None]] = {
    "add": links.add_address,
    "remove": links.remove_address,
    "renew": links.renew,
}


def _address_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("interface", metavar="IF")
    parser.add_argument("action", choices=tuple(_ADDRESS))
    parser.add_argument("address", type=prefixed, metavar="ADDRESS/LENGTH")


def _address(args: argparse.Namespace) -> int:
    _ADDRESS[args.action](_lab(args), args.interface, args.address)
    return OK


def _remote_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("action", choices=("down", "up"))


def _remote(args: argparse.Namespace) -> int:
    change = links.remote_down if args.action == "down" else links.remote_up
    change(_lab(args), args.address)
    return OK


# -- what lies on the way


def _rebind_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("uplink", metavar="IF")


def _rebind(args: argparse.Namespace) -> int:
    _lab(args).rebind(args.uplink)
    return OK


def _impair_arguments(parser: argparse.ArgumentParser) -> None:
    named(parser)
    add = parser.add_argument
    add("uplink", metavar="IF")
    add("--delay", type=amount, default=0, metavar="MS", help="one way")
    add("--jitter", type=amount, default=0, metavar="MS", help="more or less; may reorder")
    add("--loss", type=share, default=0, metavar="PERCENT")
    add("--rate", type=amount, default=0, metavar="MBIT", help="by tbf, which most kernels have")


def _impair(args: argparse.Namespace) -> int:
    wish = Impairment(
        args.delay / 1000, args.jitter / 1000, args.loss, round(args.rate * 1_000_000)
    )
    _lab(args).impair(args.uplink, wish)
    return OK


ENTRIES = (
    Entry("link", _link, "what happens to a link: down, cut, unplugged, gone ...", _link_arguments),
    Entry("address", _address, "add, remove or renew an address of the client", _address_arguments),
    Entry("remote", _remote, "an address of the gateway goes or comes back", _remote_arguments),
    Entry("rebind", _rebind, "the NAT of an uplink forgets its flows", _rebind_arguments),
    Entry("impair", _impair, "delay, jitter, loss and rate of an uplink", _impair_arguments),
)
