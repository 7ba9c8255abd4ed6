# SPDX-License-Identifier: Apache-2.0
"""Reading a series of patches."""

from dataclasses import replace

import pytest

from vici_mif.build import series
from vici_mif.build.errors import BuildError

BASE = f"""\
Version: 6.1.0
Tag: 6.1.0
Tarball: strongswan-6.1.0.tar.bz2
SHA256: {"0" * 64}
Debian: 6.1.0-2
Suites: sid forky
"""
PATCH = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Someone <someone@example.org>
Date: Fri, 20 Nov 2026 21:00:00 +0000
Subject: [PATCH] notify-payload: Add the notify types of RFC 7791 and then some more
 words

Why it is so.

Forwarded: no
Last-Update: 2026-11-20
---
 src/a.c | 1 +
 1 file changed, 1 insertion(+)

diff --git a/src/a.c b/src/a.c
index 111..222 100644
--- a/src/a.c
+++ b/src/a.c
@@ -1 +1,2 @@
 one
+Fake: trailer
"""


def test_base() -> None:
    """Every field has its place."""
    base = series.parse_base(BASE)
    assert (base.version, base.suites, base.needs_debian) == ("6.1.0", ("sid", "forky"), False)


def test_base_that_stands_on_debian() -> None:
    """Needs-Debian: yes."""
    assert series.parse_base(BASE + "Needs-Debian: yes\n").needs_debian


@pytest.mark.parametrize("field", ["Version", "Tarball", "SHA256", "Suites"])
def test_base_names_what_is_missing(field: str) -> None:
    """An incomplete base is refused, by the field's name."""
    lines = [line for line in BASE.splitlines() if not line.startswith(field)]
    with pytest.raises(BuildError, match=field.lower()):
        series.parse_base("\n".join(lines))


def test_base_with_a_short_checksum() -> None:
    """Half a checksum checks nothing."""
    with pytest.raises(BuildError, match="64"):
        series.parse_base(BASE.replace("0" * 64, "0" * 63))


def test_order_skips_comments() -> None:
    """Quilt's format: a name, perhaps options, perhaps a comment."""
    assert series.parse_order("# why\n0001-a.patch -p1\n\n0002-b.patch # x\n") == [
        "0001-a.patch",
        "0002-b.patch",
    ]


def test_patch_header() -> None:
    """Subject unfolded, trailers of the message only, files it writes."""
    patch = series.Patch("0001-x.patch", PATCH)
    assert patch.subject == (
        "notify-payload: Add the notify types of RFC 7791 and then some more words"
    )
    assert patch.trailers == {"Forwarded": "no", "Last-Update": "2026-11-20"}
    assert patch.files == ["src/a.c"]


def test_a_last_paragraph_of_prose_is_no_trailer() -> None:
    """All lines of the paragraph have to be fields."""
    patch = series.Patch("x", PATCH.replace("Forwarded: no\n", "Forwarded: no\nand prose\n"))
    assert patch.trailers == {}


def test_digest_follows_diffs_and_order() -> None:
    """What changes the build changes the digest, another message does not."""
    base = series.parse_base(BASE)
    first, second = series.Patch("a", PATCH), series.Patch("b", PATCH.replace("+Fake", "+More"))
    orders = [(), (first,), (second,), (first, second), (second, first)]
    digests = {series.Series(base, patches).digest for patches in orders}
    reworded = replace(first, name="c", text=first.text.replace("Why it is so", "Because"))
    assert len(digests) == 5
    assert series.Series(base, (reworded,)).digest in digests


def test_releases_are_compared_as_numbers() -> None:
    """6.0.10 is newer than 6.0.9."""
    assert series.number("6.0.10") > series.number("6.0.9")
