# SPDX-License-Identifier: Apache-2.0
"""Opening encrypted IKEv2 messages with keys that strongSwan's save-keys plugin wrote."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vici_mif.lab.evidence.ikev2 import IkeError, Kind, Message, Sealed, Spis, payloads


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """Keys of one IKE SA, as strongSwan's save-keys plugin writes them."""

    spis: Spis
    cipher: str
    initiator: bytes
    responder: bytes

    def __repr__(self) -> str:
        return f"IkeKeys({self.spis[0].hex()}, {self.spis[1].hex()}, {self.cipher}, (hidden))"


def read_keys(text: str) -> dict[Spis, IkeKeys]:
    """The keys of an `ikev2_decryption_table`."""
    found = {}
    for row in csv.reader(line for line in text.splitlines() if line.strip()):
        try:
            spis = (bytes.fromhex(row[0]), bytes.fromhex(row[1]))
            keys = IkeKeys(spis, row[4], bytes.fromhex(row[2]), bytes.fromhex(row[3]))
        except (ValueError, IndexError) as error:
            raise IkeError("a line of the decryption table cannot be read") from error
        found[spis] = keys
    return found


def open_message(parts: Sequence[Message], keys: Mapping[Spis, IkeKeys]) -> Message:
    """The message with its payloads in clear, from all its fragments or the one there is."""
    head = parts[0]
    own = keys.get(head.header.spis)
    if own is None:
        raise IkeError(f"no keys for the IKE SA {head.header.spis[0].hex()}")
    inside, first = b"", Kind.NONE.value
    for part in sorted(parts, key=lambda p: p.sealed.fragment if p.sealed else 0):
        sealed = part.sealed
        if sealed is None:
            raise IkeError("nothing in it is encrypted")
        # only the first fragment names a payload type (RFC 7383, 2.5)
        first = first or sealed.first
        inside += _decrypt(sealed, own, head.header.from_initiator)
    return replace(head, payloads=(*head.payloads[:-1], *payloads(inside, 0, first)))


def _decrypt(sealed: Sealed, keys: IkeKeys, from_initiator: bool) -> bytes:
    """AES-GCM with a 16 octet ICV (RFC 5282): salt behind the key, IV of 8 octets in front."""
    if "GCM" not in keys.cipher or "16 octet" not in keys.cipher:
        raise IkeError(f"{keys.cipher} is not opened here, only AES-GCM with a 16 octet ICV")
    secret = keys.initiator if from_initiator else keys.responder
    nonce = secret[-4:] + sealed.data[:8]
    try:
        plain = AESGCM(secret[:-4]).decrypt(nonce, sealed.data[8:], sealed.authenticated)
    except (InvalidTag, ValueError) as error:
        raise IkeError("the keys do not fit") from error
    if not plain or plain[-1] >= len(plain):
        raise IkeError("the padding is longer than what it pads")
    return plain[: len(plain) - 1 - plain[-1]]
