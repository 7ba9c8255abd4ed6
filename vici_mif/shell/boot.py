# SPDX-License-Identifier: Apache-2.0
"""`guard`: what is protected is refused in clear from before the network is up.

A oneshot for the moment when neither charon nor the controller runs. It only lays what is missing
as a whole: where something of ours stands, a tunnel may stand on it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from vici_mif.core.ground import dataplane, footprint, guarding
from vici_mif.core.model import Footprint, GuardWish, OrderKind, Steering
from vici_mif.core.wish import budget
from vici_mif.core.wish.config import Config
from vici_mif.core.wish.numbers import Numbers
from vici_mif.edges import footprints, guard, orders, steering
from vici_mif.edges.control import Holder, hold_namespace
from vici_mif.edges.files import FileError
from vici_mif.edges.footprints import FootprintsError
from vici_mif.edges.guard import GuardError
from vici_mif.edges.netlink import KernelError
from vici_mif.edges.orders import OrdersError
from vici_mif.shell import places, words
from vici_mif.shell.asking import complain
from vici_mif.shell.exits import FAILED, NOT_PERMITTED, OK

NOTHING = "nothing is known to protect: no inline connection, and no controller has laid anything"


def guard_arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)


def lay(args: argparse.Namespace) -> int:
    """Lay what is known; 1 where something could not be read or laid, the rest is laid then."""
    config = places.config(args)
    if os.geteuid() != 0:
        return _complain(["rules and nftables need root: run it with sudo"], NOT_PERMITTED)
    held = hold_namespace()
    if isinstance(held, Holder) and held.is_root:
        print("a controller runs in this network namespace: it lays what is wanted")
        return OK
    with nullcontext() if isinstance(held, Holder) else held:  # no user keeps root from it
        wanted, faults = known(config, places.places(args, config).state_dir)
        faults += asyncio.run(_lay(config, wanted))
    return _complain(faults, FAILED) if faults else OK


def known(config: Config, state_dir: Path) -> tuple[list[Footprint], list[str]]:
    """What each peer that is not down had laid, or declares; and what could not be read."""
    faults: list[str] = []
    down: set[str] = set()
    kept: dict[str, Footprint] = {}
    try:
        down = {o.peer for o in orders.read(state_dir) if o.kind is OrderKind.DOWN}
    except (OrdersError, FileError) as error:
        faults.append(str(error))
    try:
        kept = {found.peer: found for found in footprints.read(state_dir)}
    except (FootprintsError, FileError) as error:
        faults.append(str(error))
    wanted = []
    for name, wish in sorted(config.connections.items(), key=lambda item: config.rank(item[0])):
        found = kept.get(name) or footprint.declared(name, wish)
        if found is not None and name not in down and "" not in down:
            wanted.append(footprint.at_boot(found, wish))
    return wanted, faults


async def _lay(config: Config, wanted: Iterable[Footprint]) -> list[str]:
    """Rules first, then the table; the one is laid where the other fails."""
    own, found = config.daemon, list(wanted)
    numbers, firsts = Numbers(own.tables, own.rules), budget.firsts(config.most_tunnels)
    rules = dataplane.join(
        footprint.steering(numbers.of(firsts[each.peer]), each) for each in found
    )
    table = guarding.join(each.guard for each in found)
    if not rules.rules and table is None:
        print(NOTHING)
    faults = []
    for step in (_steer(steering.Range(own.tables, own.rules), rules), _guard(table)):
        try:
            await step
        except (KernelError, GuardError) as error:
            faults.append(str(error))
    return faults


async def _steer(own: steering.Range, wish: Steering) -> None:
    if not wish.rules:
        return
    if await steering.stands(own):
        print("rules and routes of ours stand already: left as they are")
        return
    await steering.Steerer(own).apply(wish)
    print("\n".join(words.steering(wish)))


async def _guard(wish: GuardWish | None) -> None:
    if wish is None:
        return
    if await guard.present():
        print("the nftables table of ours stands already: left as it is")
        return
    await guard.apply(wish)
    print("\n".join(words.guard(wish)))


def _complain(faults: Iterable[str], code: int) -> int:
    for fault in faults:
        complain(fault, code)
    return code
