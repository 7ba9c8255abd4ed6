# SPDX-License-Identifier: Apache-2.0
"""Where the source comes from."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.release import TARBALL, packaging, release
from vici_mif.build.cache import Cache
from vici_mif.build.errors import BuildError
from vici_mif.build.sources import Sources, in_directory, upstream_version


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a directory and keeps silent."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@contextlib.contextmanager
def site(directory: Path) -> Iterator[str]:
    """A release site on the loopback."""
    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("name", [TARBALL, "strongswan_9.9.9.orig.tar.bz2"])
def test_named_directory(tmp_path: Path, name: str) -> None:
    """The tarball under upstream's name or Debian's."""
    base = release(tmp_path, name)
    assert in_directory(tmp_path, base).tarball == tmp_path / name


def test_the_packaging_beside_it_is_taken(tmp_path: Path) -> None:
    """The version of base first, else the newest."""
    base = release(tmp_path)
    packaging(tmp_path, "9.9.9-3")
    newest = in_directory(tmp_path, base)
    packaging(tmp_path, "9.9.9-1")
    assert [newest.label, in_directory(tmp_path, base).label] == [
        "Debian source package 9.9.9-3",
        "Debian source package 9.9.9-1",
    ]


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    """Neither the expected nor the found sum is kept back."""
    base = replace(release(tmp_path), sha256="1" * 64)
    with pytest.raises(BuildError, match=r"is not the release: its SHA-256 is .*, base says 1111"):
        in_directory(tmp_path, base)


def test_a_series_that_stands_on_debian_wants_its_packaging(tmp_path: Path) -> None:
    """The bare release would not take the patches."""
    base = replace(release(tmp_path), needs_debian=True)
    with pytest.raises(BuildError, match="lacks Debian's patches"):
        in_directory(tmp_path, base)


def test_upstream_is_fetched_and_kept(tmp_path: Path) -> None:
    """The second site is tried when the first has nothing; a second call needs neither."""
    base = release(tmp_path / "site")
    with site(tmp_path / "site") as url:
        sites = (f"{url}/old/{{tarball}}", f"{url}/{{tarball}}")
        sources = Sources(Cache(tmp_path / "cache"), sites=sites)
        assert sources.upstream(base).tarball.read_bytes()
    assert "downloaded before" in sources.kept(base).label


def test_a_wrong_file_upstream_is_not_kept(tmp_path: Path) -> None:
    """What does not have the checksum leaves nothing behind."""
    base = replace(release(tmp_path / "site"), sha256="1" * 64)
    with site(tmp_path / "site") as url:
        sources = Sources(Cache(tmp_path / "cache"), sites=(f"{url}/{{tarball}}",))
        with pytest.raises(BuildError, match="is not the release"):
            sources.upstream(base)
    assert list((tmp_path / "cache/sources").iterdir()) == []


def test_a_named_directory_comes_first_and_the_reasons_are_told(tmp_path: Path) -> None:
    """Which way was taken, and why those before it were not."""
    base = release(tmp_path / "kept")
    cache = Cache(tmp_path / "cache")
    (cache.room("sources/9.9.9") / TARBALL).write_bytes((tmp_path / "kept" / TARBALL).read_bytes())
    (tmp_path / "empty").mkdir()
    source, reasons = Sources(cache, tmp_path / "empty").find(base)
    assert "downloaded before" in source.label
    assert len(reasons) == 1
    assert reasons[0].startswith("named directory: ")


@pytest.mark.parametrize(
    ("version", "expected"),
    [("6.0.1-6+deb13u7", "6.0.1"), ("1:6.1.0-2", "6.1.0"), ("6.1.0", "6.1.0")],
)
def test_upstream_version(version: str, expected: str) -> None:
    """Epoch and revision are Debian's."""
    assert upstream_version(version) == expected
