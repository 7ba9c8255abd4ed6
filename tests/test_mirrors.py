# SPDX-License-Identifier: Apache-2.0
"""Debian's mirrors as the machine's own apt configuration names them."""

import pytest

from vici_mif.build import mirrors
from vici_mif.build.deb822 import stanzas, words

DEBIAN_12_IMAGE = """\
# comment
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security/
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
CLOUD_IMAGE = """\
Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: trixie trixie-updates
Components: main

Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian-security.list
Suites: trixie-security
Components: main
"""
MIRROR_FILES = {
    "/etc/apt/mirrors/debian.list": "https://deb.debian.org/debian\n",
    "/etc/apt/mirrors/debian-security.list": "https://deb.debian.org/debian-security\tpriority:1\n",
}


def derive(*, sources: str = "", lists: str = "") -> mirrors.Mirrors:
    """The mirrors of two texts, with the cloud image's mirror files at hand."""
    entries = mirrors.parse_sources(sources) + mirrors.parse_list(lists)
    return mirrors.derive(entries, lambda path: MIRROR_FILES.get(path, ""))


def test_stanzas_join_continuation_lines() -> None:
    """A field goes on over indented lines; field names have no case."""
    found = stanzas("Suites: a\n b\n\n\nOther:\n x\n y\n")
    assert [words(found[0], "suites"), words(found[1], "OTHER")] == [["a", "b"], ["x", "y"]]


def test_stanzas_skip_comments_inside() -> None:
    """A comment line between two fields belongs to neither."""
    assert stanzas("A: 1\n# B: 2\nC: 3") == [{"a": "1", "c": "3"}]


def test_deb822_of_a_container_image() -> None:
    """The file that Debian's images carry; a trailing slash is no other mirror."""
    expected = mirrors.Mirrors(
        ("http://deb.debian.org/debian",), ("http://deb.debian.org/debian-security",)
    )
    assert derive(sources=DEBIAN_12_IMAGE) == expected


def test_deb822_of_a_cloud_image() -> None:
    """mirror+file: is followed to the HTTP(S) mirrors it lists."""
    expected = mirrors.Mirrors(
        ("https://deb.debian.org/debian",), ("https://deb.debian.org/debian-security",)
    )
    assert derive(sources=CLOUD_IMAGE) == expected


def test_one_line_format_with_options() -> None:
    """Options in brackets are read, comments are not."""
    found = derive(
        lists="deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        "http://mirror.example/debian bookworm main contrib # near\n"
        "#deb http://old.example/debian buster main\n"
        "deb http://security.example/debian-security bookworm-security main\n"
    )
    expected = mirrors.Mirrors(
        ("http://mirror.example/debian",), ("http://security.example/debian-security",)
    )
    assert found == expected


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("deb https://packages.example/apt cloud-sdk-bookworm main", id="other suite"),
        pytest.param("deb https://packages.example/debian bookworm stable", id="other component"),
        pytest.param(
            "deb [signed-by=/usr/share/keyrings/other.gpg] https://x.example/debian bookworm main",
            id="other key",
        ),
        pytest.param("deb http://archive.example/ubuntu noble main", id="other distribution"),
        pytest.param("deb cdrom:[Debian] bookworm main", id="disc"),
        pytest.param("deb file:/srv/debian bookworm main", id="no HTTP"),
    ],
)
def test_what_is_no_archive_of_debian(line: str) -> None:
    """Third parties and other transports are left out."""
    assert derive(lists=line) == mirrors.Mirrors((), ())


def test_disabled_entries_do_not_count() -> None:
    """Enabled: no."""
    assert derive(sources=f"Enabled: no\n{DEBIAN_12_IMAGE.split('comment')[1].lstrip()}").main == ()


def test_security_is_next_door_when_it_is_not_configured() -> None:
    """A list with the main archive only still finds security updates of the source."""
    found = derive(lists="deb http://mirror.example/debian sid main")
    assert found.security == ("http://mirror.example/debian-security",)


def test_private_list() -> None:
    """Each suite from the archive that has it, source packages only."""
    found = mirrors.Mirrors(("http://a/debian",), ("http://b/debian-security",))
    assert mirrors.lines("deb-src", found, ["trixie-security", "sid"], "/k.gpg") == (
        "deb-src [signed-by=/k.gpg] http://b/debian-security trixie-security main\n"
        "deb-src [signed-by=/k.gpg] http://a/debian sid main\n"
    )
