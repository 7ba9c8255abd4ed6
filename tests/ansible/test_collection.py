# SPDX-License-Identifier: Apache-2.0
"""The collection as files: its linter, its specifications, its documents. Needs no hosts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.ansible.plays import COLLECTION, Ansible

ROLES = ("gateway", "client")


def read(path: str) -> Any:
    return yaml.safe_load((COLLECTION / path).read_text())


def options(role: str) -> dict[str, Any]:
    found: dict[str, Any] = read(f"roles/{role}/meta/argument_specs.yml")
    return found["argument_specs"]["main"]["options"]  # type: ignore[no-any-return]


def test_the_linter_is_content(ansible: Ansible) -> None:
    """ansible-lint's production profile, offline, on the installed collection."""
    where = ansible.collections / "ansible_collections/vici_mif/ipsec"
    done = ansible.command("ansible-lint", "--offline", "--strict", check=False, cwd=where)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "'production'" in done.stderr, done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_specified(role: str) -> None:
    """Names and defaults of the specification are those of defaults/main.yml."""
    specified = {name: option["default"] for name, option in options(role).items()}

    assert specified == read(f"roles/{role}/defaults/main.yml")


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_reaches_the_tasks(role: str) -> None:
    """What the role takes, it hands down."""
    tasks = (COLLECTION / f"roles/{role}/tasks/main.yml").read_text()

    assert [name for name in options(role) if name not in tasks] == []


@pytest.mark.parametrize("module", ["vici_info", "mif_path"])
def test_modules_are_documented(ansible: Ansible, module: str) -> None:
    """ansible-doc reads the options, the examples and what is returned."""
    said = ansible.command("ansible-doc", "--json", f"vici_mif.ipsec.{module}").stdout
    doc = json.loads(said)[f"vici_mif.ipsec.{module}"]

    assert doc["doc"]["options"]
    assert doc["examples"]
    assert doc["return"]


@pytest.mark.parametrize("role", ROLES)
def test_a_broken_variable_fails_before_anything_is_done(ansible: Ansible, role: str) -> None:
    """The specification refuses it by name; the host is not even looked at."""
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "roles": [{"role": f"vici_mif.ipsec.{role}", f"{role}_security_updates": "perhaps"}],
        }
    ]
    (ansible.directory / "broken.yml").write_text(json.dumps(play))
    run = ansible.play("broken.yml", "--connection", "local")

    assert run.code != 0
    assert f"value of {role}_security_updates must be one of: hold, give_way" in run.failures(
        "localhost"
    )
    assert [result.task for result in run.results["localhost"] if not result.failed] == []


def test_who_is_not_reached_any_more_is_named(ansible: Ansible) -> None:
    """One was drained before it went: its peer stays drained. The other never was."""
    gone = dict.fromkeys(("branch1", "branch2"), "hq")
    left = [{"item": {"key": "branch1"}}, {"item": {"key": "branch2"}, "unreachable": True}]
    role = {"name": "vici_mif.ipsec.base", "tasks_from": "return.yml"}
    task = {
        "ansible.builtin.import_role": role,
        "vars": {"base_clients": gone, "base_left": {"results": left}},
    }
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    (ansible.directory / "returning.yml").write_text(json.dumps(play))
    groups = ansible.directory / "unreached.yml"
    hosts = {name: {"ansible_host": "127.0.0.1", "ansible_port": 1} for name in gone}
    closed = {"ansible_connection": "ssh"}
    groups.write_text(json.dumps({"clients": {"hosts": hosts, "vars": closed}}))
    run = ansible.play("returning.yml", "-i", str(groups))

    said = run.task("localhost", "Say who stays drained")["msg"]
    assert "branch1, peer hq." in said
    assert "branch2" not in said
