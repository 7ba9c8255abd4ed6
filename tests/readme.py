# SPDX-License-Identifier: Apache-2.0
"""What README.md tells to type, section by section, and which test types it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PLAYED = {
    "On Debian's strongSwan": "tests/docker/test_readme.py",
    "Container rig": "tests/docker/test_readme.py",
    "Roll it out with Ansible": "tests/ansible/test_rollout.py",
}
"""By heading: where its commands are typed."""
RUN_BY = {
    "vici-mif check --dropin": "tests/real/test_adoption.py",
    "vici-mif check --plan": "tests/real/test_without.py",
    "vici-mif run": "tests/real/rig.py",
    "vici-mif status": "tests/real/test_gateway.py",
    "vici-mif status --watch": "tests/test_watch.py",
}
"""Commands that stand in the sentences of "Adopt it": what runs them."""
OURSELVES = {"Try it"}
"""`make test` is what runs the tests, and tests/real/test_demo.py plays what `make demo` plays."""
_BLOCK = re.compile(r"(?:^    \S.*\n)+|^```\n(?:.*\n)+?```$", re.MULTILINE)


def commands(heading: str, text: str = README) -> list[str]:
    """The lines of a section that stand alone: indented, or fenced without a language."""
    blocks = _BLOCK.findall(section(heading, text))
    return [line.strip() for block in blocks for line in block.splitlines() if line != "```"]


def inline(heading: str) -> list[str]:
    """Commands of ours in its sentences."""
    return re.findall(r"`(vici-mif [^`]+)`", section(heading))


def section(heading: str, text: str = README) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def headings() -> list[str]:
    """Of the sections that tell to type something."""
    return [each for each in re.findall(r"^## (.+)$", README, re.MULTILINE) if commands(each)]
