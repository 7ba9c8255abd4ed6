# SPDX-License-Identifier: Apache-2.0
"""The demo's proof on a Debian kernel with ESP: kernel-netlink instead of kernel-libipsec."""

import sys
from pathlib import Path

import pytest

from vici_mif.build import guest, kernel
from vici_mif.build.cache import Cache
from vici_mif.build.errors import BuildError
from vici_mif.build.guest import Guest
from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence import pcap
from vici_mif.lab.installation import default_prefix

pytestmark = pytest.mark.guest

ROOT = Path(__file__).parent.parent
PATIENCE = 1200.0
SLOW = 8


@pytest.mark.timeout(PATIENCE + 60)
def test_the_demo_is_proved_over_the_kernels_esp(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same script, the same judge, plain ESP on the wire; nothing is in UDP."""
    prefix = _needs()
    demo = f"{sys.executable} -m vici_mif.lab.demo --data-plane netlink --slow {SLOW}"
    command = f"{demo} --charon {prefix} --evidence {tmp_path}/evidence"
    status = guest.run(Guest(command, ROOT, share=tmp_path, timeout=PATIENCE))

    assert status == 0, capfd.readouterr().out[-4000:]
    seen = list(pcap.read(tmp_path / "evidence" / "captures" / "router-eth0.pcap"))
    assert sum(packet.protocol == pcap.ESP for packet in seen) > 100
    assert not any(pcap.esp_of(packet) for packet in seen if pcap.is_natt(packet))


def _needs() -> Path:
    """The charon to run, or why there can be no guest."""
    try:
        guest.require_tools()
        kernel.find(Cache())
        return default_prefix()
    except (BuildError, LabError) as error:
        pytest.skip(str(error))
