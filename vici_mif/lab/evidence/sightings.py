# SPDX-License-Identifier: Apache-2.0
"""Which wire the packets of an SPI are seen on."""

from __future__ import annotations

from pathlib import Path

from vici_mif.lab.evidence import pcap
from vici_mif.lab.evidence.pcap import Packet, esp_of
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import ROUTER


class Sightings:
    """Where each SPI was seen last, by the captures of the uplinks, which go on growing."""

    def __init__(self, lab: Lab) -> None:
        self._files = {link: lab.captures.file(ROUTER, link) for link in lab.uplinks}
        self._read: dict[str, int] = {}
        self._seen: dict[str, Packet] = {}

    def last(self, spi: str) -> Packet | None:
        """The last one; its place is the uplink, as the plan names it."""
        for link, file in self._files.items():
            for packet in self._new(link, file):
                self._note(packet)
        return self._seen.get(spi)

    def _note(self, packet: Packet) -> None:
        esp = esp_of(packet)
        if esp is None or len(esp) < 8:
            return
        spi = esp[:4].hex()
        before = self._seen.get(spi)
        if before is None or before.time <= packet.time:
            self._seen[spi] = packet

    def _new(self, link: str, file: Path) -> list[Packet]:
        """Packets that came since the last look; one that is half written waits."""
        with file.open("rb") as stream:
            head = stream.read(pcap.HEAD)
            stream.seek(self._read.get(link, pcap.HEAD))
            raw = stream.read()
        whole = pcap.whole(head, raw)
        self._read[link] = self._read.get(link, pcap.HEAD) + whole
        return list(pcap.packets(head + raw[:whole], link)) if len(head) == pcap.HEAD else []
