# SPDX-License-Identifier: Apache-2.0
"""What the operator's own files need so that a connection can be driven. Pure text."""

from __future__ import annotations

from collections.abc import Iterable

from vici_mif.core.model import ChildTemplate, Connection
from vici_mif.core.wish.config import Config

FILE = "/etc/swanctl/conf.d/zz-vici-mif.conf"
QUIET = "none"


def dropin(config: Config, loaded: Iterable[Connection]) -> str:
    """A file for swanctl's conf.d, in terms that every charon knows.

    charon discards a whole connection over one unknown key, so no key of ours stands in it.
    """
    known = {connection.name: connection for connection in loaded}
    blocks = []
    for name, wish in config.connections.items():
        if wish.connection is None and name in known:
            blocks += _connection(known[name], wish.children)
    body = ["connections {", *blocks, "}"] if blocks else ["# nothing is needed here"]
    return "\n".join([f"# {FILE}, then: swanctl --load-all", *body, "", *_strongswan_conf(config)])


def _connection(connection: Connection, driven: tuple[str, ...]) -> list[str]:
    """`start_action = none` for each child we open: it must not come up by itself."""
    wanted = driven or tuple(child.name for child in connection.children)
    loud = [c for c in connection.children if c.name in wanted and not _is_quiet(c)]
    if not loud:
        return []
    lines = [f"  {connection.name} {{", "    children {"]
    for child in loud:
        lines += [f"      {child.name} {{", f"        start_action = {QUIET}", "      }"]
    return [*lines, "    }", "  }"]


def _is_quiet(child: ChildTemplate) -> bool:
    """A charon without the series does not tell; then the line costs nothing."""
    return child.start_action == QUIET


def _strongswan_conf(config: Config) -> list[str]:
    if not config.connections:
        return ["# In strongswan.conf, for the peers that come: charon.clone_ike_sa.max_clones"]
    wanted = max(config.most_tunnels.values()) - 1  # clones beside the first IKE SA
    return [
        "# In strongswan.conf, here and at the gateway (a charon without the series ignores it):",
        f"#   charon {{ clone_ike_sa {{ max_clones = {wanted} }} }}",
    ]
