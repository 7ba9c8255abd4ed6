# SPDX-License-Identifier: Apache-2.0
"""Labs for the tests that need real charons. All of them carry the marker `real`.

`VICI_MIF_CHARON` and `VICI_MIF_STOCK_CHARON` name the prefixes to run; without them the builds
of `vici-mif charon build` and `vici-mif charon build --stock` are taken.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real import rig
from tests.real.rig import Controller, running
from tests.real.traffic import Traffic, traffic
from vici_mif.build.charon import Charon, Request, default_patches
from vici_mif.build.errors import BuildError
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import default_prefix
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.topology import Wish

MakeLab = Callable[..., Lab]

_HERE = Path(__file__).parent
_numbers = itertools.count()
_up: list[Lab] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.real)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What the charons said last stands beside a failure."""
    report: Any = yield
    if report.failed and item.path.is_relative_to(_HERE):
        for lab in _up:
            for name, charon in lab.charons.items():
                log = charon.host.log
                text = log.read_text(errors="replace") if log.exists() else ""
                report.sections.append((f"charon of {lab.name}-{name}", text[-6000:]))
            said = lab.client.directory / "controller.log"
            if said.exists():
                text = said.read_text(errors="replace")[-8000:]
                report.sections.append((f"controller of {lab.name}", text))
    return report


@pytest.fixture(scope="session")
def root() -> None:
    if os.geteuid():
        pytest.skip("needs root: makes network namespaces")


@pytest.fixture(scope="session")
def patched_charon() -> Path:
    """The prefix of a charon with the series."""
    try:
        return default_prefix()
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def stock_charon() -> Path:
    """The prefix of the same charon without the series."""
    named = os.environ.get("VICI_MIF_STOCK_CHARON", "")
    if named:
        return Path(named)
    try:
        return Charon().path(Request(default_patches(), stock=True))
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _maker(root: None, patched_charon: Path) -> MakeLab:
    def make(
        *,
        client_charon: Path | None = None,
        gateway_charon: Path | None = None,
        capture: bool = False,
        keys: bool = False,
        data_plane: str = "auto",
        start_charons: bool = True,
        **wish: Any,
    ) -> Lab:
        setup = Setup(
            client_charon=client_charon or patched_charon,
            gateway_charon=gateway_charon or patched_charon,
            capture=capture,
            keys=keys,
            data_plane=data_plane,
            start_charons=start_charons,
        )
        name = f"t{os.getpid()}-{next(_numbers)}"
        lab = Lab.up(Wish(name=name, **wish), setup, keep=False)
        _up.append(lab)
        return lab

    return make


def _scope(make: MakeLab) -> Iterator[MakeLab]:
    """A maker whose labs go when its scope ends."""
    made: list[Lab] = []

    def recording(**options: Any) -> Lab:
        lab = make(**options)
        made.append(lab)
        return lab

    yield recording
    for lab in reversed(made):
        _up.remove(lab)
        lab.down()


@pytest.fixture
def make_lab(_maker: MakeLab) -> Iterator[MakeLab]:
    """Makes labs for one test: `make_lab(uplinks=2, ipv6=True, capture=True)`.

    Takes the fields of `Wish`, and of `Setup`.
    """
    yield from _scope(_maker)


@pytest.fixture(scope="module")
def make_module_lab(_maker: MakeLab) -> Iterator[MakeLab]:
    """The same for labs that all tests of a module share."""
    yield from _scope(_maker)


@pytest.fixture(scope="module")
def lab(make_module_lab: MakeLab) -> Lab:
    """A road warrior with three uplinks, shared by the tests of a module."""
    return make_module_lab()


@pytest.fixture
def client(make_lab: MakeLab, request: pytest.FixtureRequest) -> Iterator[Controller]:
    """A controller with the module's CONFIG, two uplinks, each tunnel at home.

    After the test nothing protected may have been seen in clear.
    """
    lab = make_lab(uplinks=len(rig.UPLINKS), capture=True)
    with running(lab, request.module.CONFIG) as controller:
        controller.until(rig.all_home)
        yield controller
    assert rig.in_clear(lab) == {}


@pytest.fixture
def flows(client: Controller) -> Iterator[Traffic]:
    """Streams through all tunnels of `client`, both ways."""
    with traffic(client.lab, rig.inner(client.peer)) as going:
        yield going
