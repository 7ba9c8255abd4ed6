#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""A path of the controller: in use, drained, or gone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mif_path
short_description: Takes a path of vici-mif out of use, or back into it
version_added: 0.1.0
description:
  - Speaks to the controller of the host through its command C(vici-mif), make before break.
  - The last path that works is never given up. A drain that waits for another path to work is
    ordered, and the task fails at its timeout with what it waits for; the order stays.
options:
  path:
    description:
      - C(LINK/REMOTE) as C(vici-mif status) shows it, or C(LINK) for all its paths. Patterns are
        good as in the controller's configuration.
    type: str
    required: true
  peer:
    description: Only of this peer; of all without it.
    type: str
  state:
    description:
      - With V(present) no order keeps the path out of use. It has to be there.
      - With V(drained) an order keeps it out of use, and no tunnel is on it any more.
      - With V(absent) the path is not there any more, and no order about it is left. It is the
        configuration, or the link itself, that takes a path away; this waits until the tunnel
        has left it, and clears the orders.
    type: str
    choices: [present, drained, absent]
    default: present
  timeout:
    description: Seconds to wait for that state.
    type: float
    default: 60
  program:
    description: The command of the controller.
    type: path
    default: /opt/vici-mif/venv/bin/vici-mif
  config:
    description: The configuration of the controller, where it is not the usual one.
    type: path
attributes:
  check_mode:
    description: Tells what would be ordered, and orders nothing. It does not wait.
    support: full
  diff_mode:
    description: Shows the orders about the path before and after.
    support: full
author:
  - The vici-mif authors (@vici-mif)
seealso:
  - module: vici_mif.ipsec.vici_info
"""

EXAMPLES = r"""
- name: Take the modem out of use before somebody pulls it
  vici_mif.ipsec.mif_path:
    path: wwan0
    state: drained

- name: Leave a gateway for another one that protects the same
  vici_mif.ipsec.mif_path:
    peer: hq
    path: "*"
    state: drained

- name: Use the modem again
  vici_mif.ipsec.mif_path:
    path: wwan0

- name: Wait until a link that was taken out of the configuration carries nothing
  vici_mif.ipsec.mif_path:
    peer: hq
    path: eth1
    state: absent
"""

RETURN = r"""
paths:
  description: The paths that are meant, as they are afterwards.
  type: list
  elements: dict
  returned: always
  contains:
    peer:
      description: Whose path it is.
      type: str
    name:
      description: C(LINK/REMOTE).
      type: str
    state:
      description: As in C(vici-mif status).
      type: str
      sample: drained
    order:
      description: What was ordered of it by hand.
      type: str
      sample: drain
    why:
      description: Why it is in that state.
      type: str
"""

import json
import time
from fnmatch import fnmatchcase

from ansible.module_utils.basic import AnsibleModule

LOOK_DELAY = 0.5
KINDS = ("drain", "prefer")
SHOWN = ("name", "state", "order", "why")
STATES_OF_PEERS = (0, 1, 2)
"""`vici-mif status` ends so: up, degraded, down. Anything else is no status."""


class Controller:
    """The running controller, asked through its command."""

    def __init__(self, module):
        self._module = module
        self.params = module.params
        self.orders = []
        self.paths = []

    def look(self):
        """How it stands now: the orders and the paths that are meant."""
        status = json.loads(self._run(["status", "--json"], STATES_OF_PEERS))
        self.orders = [order for order in status["orders"] if self._means(order)]
        self.paths = [
            dict({key: path[key] for key in SHOWN}, peer=peer["name"])
            for peer in status["peers"]
            if self.params["peer"] in (None, peer["name"])
            for path in peer["paths"]
            if _covers(self.params["path"], path["name"])
        ]

    @property
    def drains(self):
        """Orders that keep nothing but these paths out of use."""
        return [order for order in self.orders if order["kind"] == "drain"]

    @property
    def held(self):
        """Paths that some order keeps out of use."""
        return [path for path in self.paths if path["order"] == "drain"]

    def drain(self):
        """Order it. That it has not come to its end yet is no failure here."""
        peer = [self.params["peer"]] if self.params["peer"] else []
        self._run(["path", "drain", *peer, self.params["path"]], (0, 1))

    def clear(self, orders):
        """Take these orders back."""
        for order in orders:
            self._run(["orders", "clear", str(order["id"])], (0,))

    def until(self, missing, changed):
        """Look until nothing is missing. Fails at the timeout with what stands in the way."""
        end = time.monotonic() + self.params["timeout"]
        while True:
            self.look()
            said = missing(self)
            if not said:
                return
            if time.monotonic() >= end:
                self.fail(said, changed=changed)
            time.sleep(LOOK_DELAY)

    def fail(self, text, **more):
        self._module.fail_json(msg=text, paths=self.paths, **more)

    def _means(self, order):
        if order["kind"] not in KINDS or self.params["peer"] not in (None, order["peer"]):
            return False
        return order["path"] == self.params["path"] or _covers(self.params["path"], order["path"])

    def _run(self, words, good):
        where = ["-c", self.params["config"]] if self.params["config"] else []
        code, said, complaint = self._module.run_command([self.params["program"], *words, *where])
        if code not in good:
            self.fail(complaint.strip() or said.strip(), rc=code)
        return said


def _covers(words, name):
    """As the controller reads them: LINK/REMOTE or LINK, each part may be a pattern."""
    link, _slash, remote = words.partition("/")
    path = name.partition("/")
    return fnmatchcase(path[0], link) and (not remote or fnmatchcase(path[2], remote))


# --- the three states ------------------------------------------------------------
# Each tells whether something is to be changed, and which orders are there afterwards.


def present(controller, check_mode):
    """No order keeps it out of use."""
    drains = controller.drains
    if controller.held and not drains:
        controller.fail(f"a wider order keeps it out of use: {controller.held[0]['why']}")
    after = [order for order in controller.orders if order not in drains]
    if not check_mode:
        controller.clear(drains)
        controller.until(_not_usable, bool(drains))
    return bool(drains), after


def _not_usable(controller):
    if not controller.paths:
        return "the controller knows no such path"
    return controller.held[0]["why"] if controller.held else ""


def drained(controller, check_mode):
    """An order keeps it out of use, and the tunnel has left it."""
    missing = len(controller.held) < len(controller.paths)
    missing = missing or not (controller.paths or controller.drains)
    after = list(controller.orders)
    if missing:
        after.append(
            {
                "kind": "drain",
                "peer": controller.params["peer"] or "",
                "path": controller.params["path"],
            }
        )
    if not check_mode:
        if missing:
            controller.drain()
        controller.until(_not_drained, missing)
    return missing, after


def _not_drained(controller):
    left = [path for path in controller.paths if path["state"] != "drained"]
    return f"ordered; {left[0]['name']}: {left[0]['why']}" if left else ""


def absent(controller, check_mode):
    """It is gone, and then so are the orders: a path that is still there stays drained."""
    found = list(controller.orders)
    if not check_mode:
        controller.until(_still_there, False)
        controller.clear(found)
        controller.look()
    return bool(found), []


def _still_there(controller):
    names = [path["name"] for path in controller.paths]
    return f"still configured or in use: {', '.join(names)}" if names else ""


def _lines(orders):
    """For the diff."""
    return "".join(f"{o['kind']} {o['peer']} {o['path']}\n" for o in orders)


def main():
    """Look, order what is missing, wait."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "peer": {"type": "str"},
            "state": {
                "type": "str",
                "choices": ["present", "drained", "absent"],
                "default": "present",
            },
            "timeout": {"type": "float", "default": 60},
            "program": {"type": "path", "default": "/opt/vici-mif/venv/bin/vici-mif"},
            "config": {"type": "path"},
        },
        supports_check_mode=True,
    )
    controller = Controller(module)
    controller.look()
    before = controller.orders
    bring = {"present": present, "drained": drained, "absent": absent}[module.params["state"]]
    changed, after = bring(controller, module.check_mode)
    diff = {"before": _lines(before), "after": _lines(after)}
    module.exit_json(changed=changed, paths=controller.paths, diff=diff)


if __name__ == "__main__":
    main()
