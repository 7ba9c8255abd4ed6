# SPDX-License-Identifier: Apache-2.0
"""What monitors tell of ours that came and went, and when nothing was missing any more."""

from __future__ import annotations

from vici_mif.lab.measure.hands import MONITORS, Told

RULES = """\
Deleted 7777:	from 192.0.2.77 lookup 7777
Deleted 150:	from 10.222.0.2 lookup 7833 proto 77
150:	from 10.222.0.2 lookup 7833 proto 77
Deleted 154:	from 192.168.1.100 lookup 7791 proto 77
Deleted 154:	from 192.168.2.100 lookup 7792 proto 77
154:	from 192.168.2.100 lookup 7792 proto 77
154:	from 192.168.1.100 lookup 7791 proto 77
999:	from 10.9.0.1 lookup 7777
"""
RULESET = """\
add table inet nobody
delete chain inet vici_mif forward
delete table inet vici_mif
# new generation 17 by process 4711 (nft)
add table inet vici_mif
add chain inet vici_mif forward { type filter hook forward priority filter; policy accept; }
# new generation 18 by process 4712 (nft)
"""


def heard(what: str, text: str) -> Told:
    """One line a second."""
    told = Told(MONITORS[what][1])
    for at, line in enumerate(text.splitlines(keepends=True), start=1):
        told.hear(line, at)
    return told


def test_rules_are_whole_when_the_last_one_is_back() -> None:
    """Although nothing was missing in between; others' do not count."""
    told = heard("rule", RULES)

    assert (told.deletions, told.whole_at) == (3, 7.0)
    assert not +told.gone


def test_what_is_missing_is_told() -> None:
    """One rule did not come back."""
    told = heard(
        "rule", RULES.replace("\n154:	from 192.168.1.100", "\n155:	from 192.168.1.100")
    )

    assert list(+told.gone) == ["154: from 192.168.1.100 lookup 7791 proto 77"]


def test_a_table_comes_as_a_whole() -> None:
    """Its parts are in the same transaction."""
    told = heard("table", RULESET)

    assert (told.deletions, told.whole_at) == (1, 5.0)
