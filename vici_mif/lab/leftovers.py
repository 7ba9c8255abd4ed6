# SPDX-License-Identifier: Apache-2.0
"""What of the controller's is in the client's kernel, as `ip` and `nft` show it."""

from __future__ import annotations

from collections.abc import Iterator

from vici_mif.lab.lab import Lab

_PROTOCOL = "proto 77"
_TABLE = "vici_mif"


def ours(lab: Lab) -> list[str]:
    """Rules, routes, tables and interfaces of ours."""
    return [*_routing(lab), *_tables(lab), *_links(lab)]


def _routing(lab: Lab) -> Iterator[str]:
    for version in ("-4", "-6"):
        for words in (["rule"], ["route", "show", "table", "all"]):
            said = lab.client.exec(["ip", version, *words]).stdout
            yield from (line for line in said.splitlines() if _PROTOCOL in line)


def _tables(lab: Lab) -> Iterator[str]:
    said = lab.client.exec(["nft", "list", "tables"]).stdout
    yield from (line for line in said.splitlines() if _TABLE in line)


def _links(lab: Lab) -> Iterator[str]:
    said = lab.client.exec(["ip", "-o", "link"]).stdout
    yield from (line for line in said.splitlines() if ": mif" in line)
