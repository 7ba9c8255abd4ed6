# SPDX-License-Identifier: Apache-2.0
"""A Debian kernel with ESP, booted on this machine's files."""

import os
from pathlib import Path

import pytest

from vici_mif.build import guest, kernel
from vici_mif.build.cache import Cache
from vici_mif.build.errors import BuildError
from vici_mif.build.guest import Guest

pytestmark = pytest.mark.guest

ESP = """
set -e
ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel if_id 42 \
    aead 'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 128
ip link add mif0 type xfrm if_id 42
ip xfrm state > state
ip -d link show mif0 > link
touch /vici-mif-was-here
exit 7
"""


@pytest.fixture(autouse=True)
def _tools() -> None:
    try:
        guest.require_tools()
        kernel.find(Cache())
    except BuildError as error:
        pytest.skip(str(error))


@pytest.mark.timeout(600)
def test_esp_status_share_and_overlay(tmp_path: Path) -> None:
    """What this machine's kernel may lack works there; only the share keeps what is written."""
    status = guest.run(Guest(ESP, tmp_path, share=tmp_path))
    assert status == 7
    assert "spi 0x00001001" in (tmp_path / "state").read_text()
    assert "xfrm" in (tmp_path / "link").read_text()
    assert not Path("/vici-mif-was-here").exists()


@pytest.mark.timeout(600)
def test_a_command_that_does_not_end() -> None:
    """124, as timeout(1) has it, and no process is left."""
    assert guest.run(Guest("sleep 1000", Path("/"), timeout=8)) == 124
    assert _children() == []


def _children() -> list[str]:
    """The programs that this process has started and that still run."""
    stats = (Path(f"/proc/{name}/stat") for name in os.listdir("/proc") if name.isdigit())
    # after the name in parentheses: state, parent
    found = (text.rpartition(")") for text in map(_text, stats))
    return [name for name, _, rest in found if rest.split()[1:2] == [str(os.getpid())]]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
