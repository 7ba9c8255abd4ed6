#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What charon says of itself over VICI."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vici_info
short_description: Families, tunnels and connections of a running charon
version_added: 0.1.0
description:
  - Asks charon over its VICI socket and changes nothing.
  - A family is what came of one authentication, the first IKE SA and its clones. On a charon
    without the series of vici-mif each IKE SA is a family of its own.
  - Counters of bytes are left out, so that two answers are the same as long as the tunnels are.
options:
  socket:
    description: charon's VICI socket.
    type: path
    default: /run/charon.vici
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 10
  python:
    description:
      - A Python that has the package C(vici), where the one that runs the modules has not.
    type: path
    default: /opt/vici-mif/venv/bin/python
attributes:
  check_mode:
    description: Changes nothing, so it does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author:
  - The vici-mif authors (@vici-mif)
seealso:
  - module: vici_mif.ipsec.mif_path
"""

EXAMPLES = r"""
- name: Ask charon
  vici_mif.ipsec.vici_info:
  register: vici

- name: Show who is connected
  ansible.builtin.debug:
    msg: "{{ vici.families | map(attribute='identity') }}"
"""

RETURN = r"""
running:
  description: Whether charon answered. Where not, all the rest is empty.
  type: bool
  returned: always
  sample: true
why:
  description: Why charon did not answer.
  type: str
  returned: always
  sample: ""
version:
  description: charon's version.
  type: str
  returned: always
  sample: 6.1.0
patched:
  description: Whether charon has the series of vici-mif, by its event C(ike-clone).
  type: bool
  returned: always
  sample: true
connections:
  description: Names of the loaded connections, in order.
  type: list
  elements: str
  returned: always
  sample: [rw]
families:
  description: One entry for each authentication, in the order of their ids.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: The unique id that the first IKE SA had.
      type: int
    connection:
      description: Name of the connection.
      type: str
    identity:
      description: Who was authenticated, by EAP where that was used.
      type: str
    tunnels:
      description: Unique ids of the IKE SAs.
      type: list
      elements: int
tunnels:
  description: One entry for each IKE SA, in the order of their unique ids.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: charon's unique id; a rekeying changes it.
      type: int
    family:
      description: The family it belongs to.
      type: int
    cloned:
      description: Whether it came of a clone and not of an authentication.
      type: bool
    connection:
      description: Name of the connection.
      type: str
    identity:
      description: The peer's identity.
      type: str
    state:
      description: charon's word for its state.
      type: str
      sample: ESTABLISHED
    local:
      description: Address and port of this end.
      type: str
      sample: 192.0.2.1:4500
    remote:
      description: Address and port of the peer.
      type: str
      sample: 198.51.100.7:4500
    spis:
      description: SPIs of the initiator and the responder.
      type: list
      elements: str
    children:
      description: The CHILD SAs.
      type: list
      elements: dict
      contains:
        name:
          description: Its name.
          type: str
        state:
          description: charon's word for its state.
          type: str
          sample: INSTALLED
        spi_in:
          description: SPI of what comes in.
          type: str
        spi_out:
          description: SPI of what goes out.
          type: str
        local_ts:
          description: Selectors of this end.
          type: list
          elements: str
        remote_ts:
          description: Selectors of the peer.
          type: list
          elements: str
"""

import socket

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import (
    has_respawned,
    probe_interpreters_for_module,
    respawn_module,
)

try:
    from vici.exception import EventUnknownException
    from vici.session import Session

    HAS_VICI = True
except ImportError:
    HAS_VICI = False


def main():
    """Ask, or run again with the Python that can."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/run/charon.vici"},
            "timeout": {"type": "float", "default": 10},
            "python": {"type": "path", "default": "/opt/vici-mif/venv/bin/python"},
        },
        supports_check_mode=True,
    )
    if not HAS_VICI:
        _with_vici(module)
    try:
        found = _ask(module.params["socket"], module.params["timeout"])
    except OSError as error:
        why = f"{module.params['socket']}: {error.strerror or error}"
        found = {"running": False, "why": why, "version": "", "patched": False}
        found.update(connections=[], families=[], tunnels=[])
    module.exit_json(changed=False, **found)


def _with_vici(module):
    """Does not come back: the module runs again there, or has failed."""
    if not has_respawned():
        found = probe_interpreters_for_module([module.params["python"]], "vici")
        if found:
            respawn_module(found)
    module.fail_json(msg=missing_required_lib("vici") + " See the option python.")


def _ask(path, timeout):
    """All that is returned. Raises OSError when charon does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        session = Session(sock)
        version = _plain(session.version())["version"]
        patched = _patched(session)
        loaded = {name for item in session.list_conns() for name in item}
        tunnels = sorted(_tunnels(session), key=lambda tunnel: tunnel["id"])
    return {
        "running": True,
        "why": "",
        "version": version,
        "patched": patched,
        "connections": sorted(loaded),
        "families": _families(tunnels),
        "tunnels": tunnels,
    }


def _patched(session):
    """Whether charon knows the event: registering for it is the question (docs/vici.md)."""
    events = session.listen(["ike-clone"], timeout=0.01)
    try:
        next(events)
    except EventUnknownException:
        return False
    events.close()
    return True


def _tunnels(session):
    for item in session.list_sas():
        for connection, section in _plain(item).items():
            yield _tunnel(connection, section)


def _tunnel(connection, section):
    number = int(section["uniqueid"])
    return {
        "id": number,
        "family": int(section.get("clone-family", number)),
        "cloned": section.get("cloned") == "yes",
        "connection": connection,
        "identity": section.get("remote-eap-id") or section.get("remote-id", ""),
        "state": section["state"],
        "local": _address(section, "local"),
        "remote": _address(section, "remote"),
        "spis": [section.get("initiator-spi", ""), section.get("responder-spi", "")],
        "children": [_child(child) for child in section.get("child-sas", {}).values()],
    }


def _child(section):
    return {
        "name": section["name"],
        "state": section["state"],
        "spi_in": section.get("spi-in", ""),
        "spi_out": section.get("spi-out", ""),
        "local_ts": section.get("local-ts", []),
        "remote_ts": section.get("remote-ts", []),
    }


def _address(section, end):
    host = section.get(end + "-host", "")
    port = section.get(end + "-port", "")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _families(tunnels):
    found = {}
    for tunnel in tunnels:
        family = found.setdefault(
            tunnel["family"],
            {
                "id": tunnel["family"],
                "connection": tunnel["connection"],
                "identity": tunnel["identity"],
                "tunnels": [],
            },
        )
        family["tunnels"].append(tunnel["id"])
    return [found[number] for number in sorted(found)]


def _plain(value):
    """Text, lists and dictionaries in place of the library's bytes."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
