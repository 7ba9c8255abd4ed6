# SPDX-License-Identifier: Apache-2.0
"""A family as a capture shows it: one authentication, a clone, its move, its child."""

from __future__ import annotations

from collections.abc import Sequence

from tests.lab import wire
from tests.lab.wire import INITIATOR, RESPONSE, Body, notify, proposal, selectors
from vici_mif.lab.evidence.ikekeys import IkeKeys
from vici_mif.lab.evidence.ikev2 import PROTOCOL_ESP, PROTOCOL_IKE, Exchange, Kind, N, Spis
from vici_mif.lab.evidence.pcap import Packet, ip_packet

FIBRE, WLAN, GATEWAY = "192.0.2.1", "198.51.100.7", "203.0.113.1"
ROOT, CLONE = (b"rootinit", b"rootresp"), (b"cloninit", b"clonresp")
ALL_KEYS = {ROOT: wire.keys(ROOT, 1), CLONE: wire.keys(CLONE, 3)}
INNER = ("10.222.0.1", "10.222.0.2")
SPIS_OF = {INNER[0]: (b"cl-1", b"gw-1"), INNER[1]: (b"cl-2", b"gw-2")}
"""Inbound SPIs of client and gateway, by inner address."""

INIT: list[Body] = [proposal(PROTOCOL_IKE, b""), wire.KE, wire.NONCE]
CLONE_REQUEST = [notify(N.CLONE_IKE_SA), proposal(PROTOCOL_IKE, CLONE[0]), wire.NONCE, wire.KE]
CLONE_RESPONSE = [proposal(PROTOCOL_IKE, CLONE[1]), wire.NONCE, wire.KE]


class Story:
    """Messages between client and gateway, a hundredth of a second apart."""

    def __init__(self, began: float = 1000.0) -> None:
        self.packets: list[Packet] = []
        self.now = began
        self.from_address = FIBRE

    def init(self, spis: Spis = ROOT, message_id: int = 0) -> None:
        """IKE_SA_INIT."""
        asked = wire.message((spis[0], bytes(8)), 34, INITIATOR, message_id, INIT)
        self._put(True, asked, 500)
        self._put(False, wire.message(spis, 34, RESPONSE, message_id, INIT), 500)

    def exchange(
        self,
        keys: IkeKeys,
        kind: Exchange,
        number: int,
        bodies: tuple[Sequence[Body], Sequence[Body]],
        from_client: bool = True,
        fragments: int = 1,
    ) -> None:
        """A request and its response; the client is each SA's original initiator."""
        request = INITIATOR if from_client else 0
        response = RESPONSE | (0 if from_client else INITIATOR)
        for part in wire.sealed(keys, kind, request, number, bodies[0], fragments):
            self._put(from_client, bytes(4) + part, 4500)
        for part in wire.sealed(keys, kind, response, number, bodies[1], fragments):
            self._put(not from_client, bytes(4) + part, 4500)

    def authenticate(self, spis: Spis = ROOT, fragments: int = 1) -> None:
        """IKE_AUTH with the first CHILD_SA."""
        own = ALL_KEYS.get(spis, wire.keys(spis, 9))
        asked = [(Kind.IDI.value, b"\2\0\0\0c"), (Kind.AUTH.value, bytes(36))]
        asked += [*child(SPIS_OF[INNER[0]][0], INNER[0]), notify(N.CLONE_IKE_SA_SUPPORTED)]
        answer = [(Kind.IDR.value, b"\2\0\0\0g"), (Kind.AUTH.value, bytes(36))]
        answer += [*child(SPIS_OF[INNER[0]][1], INNER[0]), notify(N.CLONE_IKE_SA_SUPPORTED)]
        self.exchange(own, Exchange.IKE_AUTH, 1, (asked, answer), True, fragments)

    def clone(self, from_client: bool = True) -> None:
        """RFC 7791, 5.2."""
        bodies = (CLONE_REQUEST, CLONE_RESPONSE)
        number = 2 if from_client else 0
        self.exchange(ALL_KEYS[ROOT], Exchange.CREATE_CHILD_SA, number, bodies, from_client)

    def move(self) -> None:
        """UPDATE_SA_ADDRESSES from the other uplink (RFC 4555, 3.5)."""
        self.from_address = WLAN
        bodies = ([notify(N.UPDATE_SA_ADDRESSES)], [])
        self.exchange(ALL_KEYS[CLONE], Exchange.INFORMATIONAL, 0, bodies)

    def child_of_clone(self) -> None:
        """CREATE_CHILD_SA on the clone."""
        client, gateway = SPIS_OF[INNER[1]]
        bodies = (
            [wire.NONCE, *child(client, INNER[1])],
            [wire.NONCE, *child(gateway, INNER[1])],
        )
        self.exchange(ALL_KEYS[CLONE], Exchange.CREATE_CHILD_SA, 1, bodies)

    def whole(self) -> Story:
        """Everything, one after the other."""
        self.init()
        self.authenticate()
        self.clone()
        self.move()
        self.child_of_clone()
        return self

    def again(self, index: int, source: str | None = None) -> None:
        """The same bytes once more, from the same or another address."""
        packet = self.packets[index]
        self._put(True, packet.data, packet.dport, source)

    def _put(self, from_client: bool, data: bytes, port: int, source: str | None = None) -> None:
        here = source or self.from_address
        ends = (here, GATEWAY) if from_client else (GATEWAY, here)
        packet = ip_packet(wire.udp(*ends, port, port, data), self.now, "client")
        assert packet is not None
        self.packets.append(packet)
        self.now += 0.01


def child(spi: bytes, inner: str) -> list[Body]:
    """What names a CHILD_SA in a request or a response."""
    return [
        proposal(PROTOCOL_ESP, spi),
        selectors(Kind.TSI, inner, inner),
        selectors(Kind.TSR, "10.100.0.0", "10.100.0.255"),
    ]
