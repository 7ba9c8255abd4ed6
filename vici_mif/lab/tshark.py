# SPDX-License-Identifier: Apache-2.0
"""tshark as the outside judge of what our own reader found in a capture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from vici_mif.lab.errors import LabError
from vici_mif.lab.ikev2 import N
from vici_mif.lab.proof import Claim
from vici_mif.lab.transcript import Step

_FIELDS = ("isakmp.exchangetype", "isakmp.messageid", "isakmp.notify.msgtype")
# tshark of Debian 12 has no names above 16431: numbers are compared
Row = tuple[int, int, tuple[int, ...]]
"""Exchange type, message id, notify types in order."""


def installed() -> bool:
    """Whether there is a tshark to ask."""
    return shutil.which("tshark") is not None


def messages(capture: Path, keys: Path) -> list[Row]:
    """The IKE messages of a capture, opened by tshark with the table that save-keys wrote."""
    with tempfile.TemporaryDirectory() as home:
        # it reads the table from its configuration directory only; this one is not the user's
        own = Path(home) / "wireshark"
        own.mkdir()
        shutil.copy(keys, own / "ikev2_decryption_table")
        return [_row(packet) for packet in _ask(capture, home)]


def _ask(capture: Path, home: str) -> list[dict[str, dict[str, dict[str, list[str]]]]]:
    fields = [part for field in _FIELDS for part in ("-e", field)]
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
    found: list[dict[str, dict[str, dict[str, list[str]]]]] = json.loads(done.stdout or "[]")
    return found


def _row(packet: dict[str, dict[str, dict[str, list[str]]]]) -> Row:
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
