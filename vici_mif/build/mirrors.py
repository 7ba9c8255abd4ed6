# SPDX-License-Identifier: Apache-2.0
"""Which Debian mirrors the machine's own apt configuration names. Pure but for `mirror+file:`.

Only archives of Debian itself are taken, and only over HTTP(S): third parties also publish
suites called `bookworm main`, so a foreign Signed-By rules an entry out.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vici_mif.build.deb822 import stanzas, words

RELEASES = (
    "sid unstable testing stable oldstable oldoldstable experimental "
    "buster bullseye bookworm trixie forky duke"
)
DEBIAN_KEYS = re.compile(r"debian-archive|debian-keyring|debian-release|BEGIN PGP")
ONE_LINE = re.compile(r"^\s*(deb(?:-src)?)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*$")


@dataclass(frozen=True)
class Entry:
    """One entry of sources.list, in either format."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True)
class Mirrors:
    """Archive roots in the order of the configuration."""

    main: tuple[str, ...]
    security: tuple[str, ...]

    def of(self, suite: str) -> tuple[str, ...]:
        """The roots that carry a suite."""
        return self.security if suite.endswith("-security") else self.main


def parse_list(text: str) -> list[Entry]:
    """Entries of the one-line format."""
    return [
        Entry((m[3],), (m[4],), tuple(m[5].split()), _option(m[2] or "", "signed-by"))
        for line in text.splitlines()
        if (m := ONE_LINE.match(line.partition("#")[0]))
    ]


def _option(options: str, name: str) -> str:
    pairs = (option.partition("=") for option in options.split())
    return next((value for key, _, value in pairs if key.lower() == name), "")


def parse_sources(text: str) -> list[Entry]:
    """Entries of the deb822 format, disabled ones left out."""
    return [
        Entry(
            tuple(words(stanza, "URIs")),
            tuple(words(stanza, "Suites")),
            tuple(words(stanza, "Components")),
            stanza.get("signed-by", ""),
        )
        for stanza in stanzas(text)
        if stanza.get("enabled", "yes").lower() not in ("no", "false", "without", "off", "disable")
    ]


def derive(entries: Iterable[Entry], read_text: Callable[[str], str]) -> Mirrors:
    """The mirrors of Debian among the entries; `read_text` opens a `mirror+file:` list."""
    main: dict[str, None] = {}
    security: dict[str, None] = {}
    for entry in filter(_is_debian, entries):
        for uri in _http(entry.uris, read_text):
            secure = any(_is_security(suite) for suite in entry.suites)
            (security if secure else main)[uri.rstrip("/")] = None
    if not security:  # a list without the security suite: mirrors carry it next door
        security = {f"{uri}-security": None for uri in main if uri.endswith("/debian")}
    return Mirrors(tuple(main), tuple(security))


def _is_debian(entry: Entry) -> bool:
    release = any(re.split(r"[-/]", suite)[0] in RELEASES.split() for suite in entry.suites)
    ours = not entry.signed_by or DEBIAN_KEYS.search(entry.signed_by) is not None
    return release and ours and "main" in entry.components


def _is_security(suite: str) -> bool:
    return suite.endswith(("-security", "/updates"))


def _http(uris: Iterable[str], read_text: Callable[[str], str]) -> list[str]:
    found: list[str] = []
    for uri in uris:
        if uri.startswith("mirror+file:"):  # Debian's cloud images
            path = "/" + uri.removeprefix("mirror+file:").lstrip("/")
            lines = (line.split() for line in read_text(path).splitlines())
            found += _http((line[0] for line in lines if line), read_text)
        elif uri.startswith(("http://", "https://")):
            found.append(uri)
    return found


def lines(kind: str, mirrors: Mirrors, suites: Iterable[str], keyring: str) -> str:
    """A private sources.list: `deb` or `deb-src` of these suites, main only."""
    option = f"[signed-by={keyring}] " if keyring else ""
    found = (f"{kind} {option}{uri} {suite} main" for suite in suites for uri in mirrors.of(suite))
    return "".join(f"{line}\n" for line in found)
