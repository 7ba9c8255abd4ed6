# SPDX-License-Identifier: Apache-2.0
"""A gateway and a client for Ansible. All of these tests carry the marker `ansible`.

`VICI_MIF_DEBS` names the directory with the packages of each suite, `VICI_MIF_WHEELHOUSE` the
one with the wheels; scripts/ansible-test makes both. What is `long` is left to `make full`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.hosts import IMAGE, Host, link, unreached
from tests.ansible.plays import COLLECTION, Ansible
from tests.ansible.rollout import CLIENT, GATEWAY, LINKS, TARGET, VAULT, inventory
from tests.ansible.site import Site

SUITE = os.environ.get("VICI_MIF_SUITE", "trixie")
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.ansible)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What the hosts said last stands beside a failure."""
    report: Any = yield
    used = getattr(item, "funcargs", {})
    site = used.get("site") or used.get("stock")
    if report.failed and site is not None:
        for host in (site.gateway, site.client):
            report.sections.append((host.name, host.logs()))
    return report


@pytest.fixture(scope="session")
def engine() -> Any:
    docker = pytest.importorskip("docker", reason="no docker SDK: scripts/ansible-test")
    try:
        found = docker.from_env()
        found.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no docker engine answers (scripts/ansible-test starts one): {error}")
    return found


@pytest.fixture(scope="session")
def image(engine: Any) -> str:
    """A Debian with systemd. Its base is made by scripts/base-image."""
    from docker.errors import BuildError

    base, tag = f"debian:{SUITE}-slim", f"vici-mif-ansible:{SUITE}"
    if not engine.images.list(name=base):
        pytest.skip(f"no image {base}: scripts/base-image {SUITE}")
    try:
        engine.images.build(path=str(IMAGE), tag=tag, buildargs={"BASE": base}, rm=True)
    except BuildError as error:
        said = "".join(part.get("stream", "") for part in error.build_log)
        if line := unreached(said):
            pytest.skip(f"Debian's archive cannot be reached from a build: {line}")
        raise AssertionError(said) from error
    return tag


@pytest.fixture(scope="session")
def debs() -> Path:
    """Packages of the patched charon."""
    found = Path(os.environ.get("VICI_MIF_DEBS", "/nowhere")) / SUITE
    if not list(found.glob("charon-systemd_*.deb")):
        pytest.skip(f"no packages for {SUITE} in $VICI_MIF_DEBS: make deb")
    return found


@pytest.fixture(scope="session")
def wheels() -> Path:
    """The controller and what it needs, as wheels."""
    found = Path(os.environ.get("VICI_MIF_WHEELHOUSE", "/nowhere"))
    if not list(found.glob("vici_mif-*.whl")):
        pytest.skip("no wheels in $VICI_MIF_WHEELHOUSE: make wheelhouse")
    return found


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """The collection, installed."""
    made = Ansible(tmp_path_factory.mktemp("ansible"), inventory())
    made.install()
    return made


@pytest.fixture(scope="session")
def site(
    engine: Any, image: str, debs: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """README's gateway and client, converged once. Later tests leave them as they found them."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "packages").symlink_to(debs)
    (directory / "wheels").symlink_to(wheels)
    (directory / "ansible").symlink_to(COLLECTION)
    hosts: list[Host] = []
    try:
        for name in (GATEWAY, CLIENT):
            hosts.append(Host(engine, f"ansible-{name}-{os.getpid()}", image))
        gateway, client = hosts
        for number, (interface, net) in enumerate(LINKS.items()):
            ends = (client, interface, f"{net}.2/24"), (gateway, f"up{number}", f"{net}.1/24")
            link(ends)
        gateway.run("ip", "address", "add", f"{TARGET}/32", "dev", "lo", check=True)
        for host in hosts:
            host.boot()
        # one of them has the files already: they are not copied again, and that saves a minute
        client.bring("/var/cache/vici-mif/packages", debs.glob("*.deb"))
        client.bring("/var/cache/vici-mif/wheels", wheels.glob("*.whl"))
        names = {GATEWAY: gateway.name, CLIENT: client.name}
        ansible = Ansible(directory, inventory(names), VAULT)
        ansible.install()
        yield Site(ansible, gateway, client, ansible.roll_out())
    finally:
        for host in hosts:
            host.remove()
