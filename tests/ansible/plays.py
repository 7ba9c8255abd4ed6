# SPDX-License-Identifier: Apache-2.0
"""Runs playbooks on the containers, and reads what came of it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLLECTION = Path(__file__).parents[2] / "ansible"
BIN = Path(sys.executable).parent
ENGINE = "unix:///var/run/docker.sock"
Vars = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """One task on one host."""

    task: str
    said: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.said.get("changed"))

    @property
    def failed(self) -> bool:
        return bool(self.said.get("failed"))


@dataclass(frozen=True)
class Run:
    """One run of a playbook."""

    code: int
    text: str
    results: Mapping[str, Sequence[Result]]
    stats: Mapping[str, Mapping[str, int]]

    def changed(self, host: str) -> list[str]:
        """Names of the tasks that changed something."""
        return [result.task for result in self.results.get(host, ()) if result.changed]

    def task(self, host: str, name: str) -> Mapping[str, Any]:
        """What a task said."""
        return next(r.said for r in self.results[host] if r.task.endswith(name))

    def failures(self, host: str) -> str:
        """The messages of all that failed."""
        return "\n".join(
            str(r.said.get("msg", r.said)) for r in self.results.get(host, ()) if r.failed
        )


class Ansible:
    """An installed collection, an inventory, and the commands on them."""

    def __init__(self, directory: Path, hosts: Vars, variables: Vars | None = None) -> None:
        self.directory = directory
        self.collections = directory / "collections"
        engine = os.environ.get("DOCKER_HOST", ENGINE)
        reached = {
            "ansible_connection": "community.docker.docker_api",
            "ansible_docker_docker_host": engine,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become": False,  # root already
        }
        self._groups = {**hosts, "all": {"vars": reached | dict(variables or {})}}
        self._write(self._groups)

    def _write(self, groups: Vars) -> None:
        (self.directory / "inventory.yml").write_text(json.dumps(groups, indent=1))

    @contextmanager
    def another(self, group: str, name: str, **variables: Any) -> Iterator[None]:
        """One more host in a group, after the others; without variables nobody can reach it."""
        groups = copy.deepcopy(self._groups)
        groups[group]["hosts"][name] = variables
        self._write(groups)
        try:
            yield
        finally:
            self._write(self._groups)

    def install(self) -> None:
        """The collection, built from the tree, without a server."""
        self.command("ansible-galaxy", "collection", "install", str(COLLECTION), "--offline")

    def play(self, playbook: str, *options: str, **extra: Any) -> Run:
        """A playbook of the collection, or a file."""
        argv = ["ansible-playbook", "-i", "inventory.yml", playbook, *options]
        argv += ["--extra-vars", json.dumps(extra)] if extra else []
        done = self.command(*argv, check=False, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
        return _read(done)

    def roll_out(self, *options: str, **extra: Any) -> dict[str, Run]:
        """Both playbooks, the gateway first; each by its name."""
        return {
            name: self.play(f"vici_mif.ipsec.{name}", *options, **extra)
            for name in ("gateways", "clients")
        }

    def module(self, host: str, name: str, *options: str, **arguments: Any) -> Run:
        """One module on one host."""
        play = [{"hosts": host, "gather_facts": False, "tasks": [{name: arguments, "name": "it"}]}]
        file = self.directory / "module.json"
        file.write_text(json.dumps(play))
        return self.play(str(file), *options)

    def command(
        self, *argv: str, check: bool = True, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """One of Ansible's commands. Its own files stay in the test's directory."""
        env = os.environ | {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            **environment,
        }
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, cwd=cwd or self.directory
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done


def _read(done: subprocess.CompletedProcess[str]) -> Run:
    start = done.stdout.find("{\n")
    assert start >= 0, f"{done.args}: {done.stdout}\n{done.stderr}"
    told, _ = json.JSONDecoder().raw_decode(done.stdout[start:])
    results: dict[str, list[Result]] = {}
    for play in told["plays"]:
        for task in play["tasks"]:
            for host, said in task["hosts"].items():
                results.setdefault(host, []).append(Result(task["task"]["name"], said))
    return Run(done.returncode, done.stdout + done.stderr, results, told["stats"])
