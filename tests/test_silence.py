# SPDX-License-Identifier: Apache-2.0
"""When a family may be forgotten: silence alone is not enough, and any answer ends it."""

from __future__ import annotations

from ipaddress import ip_address

from vici_mif.core.family.silence import SILENT_DELAY, Silence
from vici_mif.core.model import Child, Sa

A, B = ip_address("192.0.2.1"), ip_address("203.0.113.1")


def sa(number: int, packets: int) -> Sa:
    child = Child("net", number, "INSTALLED", (), (), packets_in=packets)
    return Sa(number, "hq", "ESTABLISHED", A, B, children=(child,))


def silent() -> Silence:
    made = Silence()
    made.see([sa(1, 10), sa(2, 0)], 100.0)
    made.unanswered()
    return made


def test_quiet_is_no_silence() -> None:
    """Nobody sends: nothing was asked, so nothing is suspected however long it lasts."""
    quiet = Silence()
    quiet.see([sa(1, 10)], 100.0)

    assert quiet.suspect_at is None


def test_what_is_asked_in_vain_is_suspected_after_a_while() -> None:
    """Counted from when something was heard last."""
    assert silent().suspect_at == 100.0 + SILENT_DELAY


def test_counters_and_answers_end_it() -> None:
    """One packet that came in through any tunnel, one answer, or a new member."""
    for members in ([sa(1, 11), sa(2, 0)], [sa(1, 10), sa(3, 0)]):
        made = silent()
        made.see(members, 105.0)
        assert made.suspect_at is None
    made = silent()
    made.see([sa(1, 10)], 105.0)
    assert made.suspect_at is not None
    made.heard(106.0)
    assert made.suspect_at is None
    assert made.lasts(107.0)
    assert not made.lasts(106.0)
