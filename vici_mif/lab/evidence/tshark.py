# SPDX-License-Identifier: Apache-2.0
"""tshark as the outside judge of what our own reader found in a capture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence.ikev2 import N
from vici_mif.lab.evidence.proof import Claim
from vici_mif.lab.evidence.transcript import Step

_FIELDS = ("isakmp.exchangetype", "isakmp.messageid", "isakmp.notify.msgtype")
_WHOSE = ("isakmp.ispi", "isakmp.rspi", "isakmp.flags", "ip.src", "ipv6.src")
# tshark of Debian 12 has no names above 16431: numbers are compared
Packet = Mapping[str, Mapping[str, Mapping[str, list[str]]]]
Row = tuple[int, int, tuple[int, ...]]
"""Exchange type, message id, notify types in order."""


def installed() -> bool:
    """Whether there is a tshark to ask."""
    return shutil.which("tshark") is not None


@dataclass(frozen=True, slots=True)
class Full:
    """A message, and whose it is."""

    spis: tuple[str, str]
    exchange: int
    message_id: int
    flags: int
    source: str
    notifies: tuple[int, ...]


def messages(capture: Path, keys: Path) -> list[Row]:
    """The IKE messages of a capture, opened by tshark with the table that save-keys wrote."""
    return [_row(packet) for packet in _ask(capture, keys.read_text(), _FIELDS)]


def full(capture: Path, table: str) -> list[Full]:
    """The same with SPIs, flags and senders; `table` is the text of a decryption table."""
    return [_full(packet) for packet in _ask(capture, table, _FIELDS + _WHOSE)]


def _ask(capture: Path, table: str, names: Sequence[str]) -> list[Packet]:
    with tempfile.TemporaryDirectory() as home:
        # it reads the table from its configuration directory only; this one is not the user's
        own = Path(home) / "wireshark"
        own.mkdir()
        (own / "ikev2_decryption_table").write_text(table)
        return _run(capture, home, names)


def _run(capture: Path, home: str, names: Sequence[str]) -> list[Packet]:
    fields = [part for field in names for part in ("-e", field)]
    # an ICMP error quotes the message that it is about
    only = ["-Y", "isakmp && !icmp && !icmpv6"]
    done = subprocess.run(
        ["tshark", "-n", "-r", str(capture), *only, "-T", "json", *fields],
        env={**os.environ, "XDG_CONFIG_HOME": home, "HOME": home},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"tshark cannot read {capture}: {done.stderr.strip()}")
    found: list[Packet] = json.loads(done.stdout or "[]")
    return found


def _full(packet: Packet) -> Full:
    layers = packet["_source"]["layers"]
    exchange, message_id, notifies = _row(packet)
    first, second, flags = (layers[field][0] for field in _WHOSE[:3])
    source = next(layers[field][0] for field in _WHOSE[3:] if field in layers)
    return Full((first, second), exchange, message_id, int(flags, 0), source, notifies)


def _row(packet: Packet) -> Row:
    layers = packet["_source"]["layers"]
    exchange, message_id, notifies = (layers.get(field, []) for field in _FIELDS)
    return int(exchange[0]), int(message_id[0], 0), tuple(int(value) for value in notifies)


def ours(steps: list[Step]) -> Counter[Row]:
    """The same of our own reading; each transmission counts."""
    found: Counter[Row] = Counter()
    for step in steps:
        header = step.message.header
        notifies = tuple(notify.type for notify in step.message.notifies())
        found[(header.exchange, header.message_id, notifies)] += step.sent
    return found


def agrees(steps: list[Step], theirs: Counter[Row]) -> Claim:
    """It reads the same exchanges, message ids and notifies."""
    mine = ours(steps)
    differ = (mine - theirs) + (theirs - mine)
    clones = sum(count for row, count in theirs.items() if N.CLONE_IKE_SA in row[2])
    return Claim(
        "tshark reads the same",
        bool(theirs) and not differ,
        f"{theirs.total()} IKE messages, {clones} with CLONE_IKE_SA; "
        f"{differ.total()} read otherwise",
    )
