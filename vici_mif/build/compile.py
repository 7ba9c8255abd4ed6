# SPDX-License-Identifier: Apache-2.0
"""From a patched tree to programs: autoreconf, configure, make, with progress and a log."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vici_mif.build import logged
from vici_mif.build.errors import BuildError
from vici_mif.build.progress import Progress

# What a client or a gateway of this project needs, and the lab: keys for captures
# (save-keys), EAP-MSCHAPv2, both ways to do ESP.
FEATURES = """
    charon ikev2 vici swanctl pki counters updown resolve attr socket-default
    kernel-netlink kernel-libipsec save-keys
    eap-identity eap-mschapv2 eap-tls
    openssl random nonce kdf hmac sha1 sha2 aes gcm des md4 gmp curve25519 ml
    pem pkcs1 pkcs8 x509 pubkey constraints revocation
"""

SANITIZER = "-fsanitize=address -fno-omit-frame-pointer"

# command or header -> the Debian package that has it
COMMANDS = {
    "cc": "gcc",
    "make": "make",
    "patch": "patch",
    "autoreconf": "autoconf",
    "automake": "automake",
    "libtoolize": "libtool",
    "pkg-config": "pkg-config",
}
HEADERS = {"stdio.h": "libc6-dev", "openssl/ssl.h": "libssl-dev", "gmp.h": "libgmp-dev"}


@dataclass(frozen=True)
class Flavour:
    """How a tree is configured and compiled."""

    configure: tuple[str, ...]
    cflags: str = "-g -O2"
    install: bool = True

    @property
    def words(self) -> tuple[str, ...]:
        """All of it as words, for a key."""
        return (*self.configure, self.cflags, str(self.install))


PLAIN = Flavour(("--disable-defaults", *(f"--enable-{name}" for name in FEATURES.split())))
# One library each, so that plugins are still there when the leak checker names frames.
SANITIZED = Flavour((*PLAIN.configure, "--enable-monolithic"), f"-g -O1 {SANITIZER}", install=False)
# For building it again and again: what counts is whether it compiles and passes.
QUICK = Flavour(PLAIN.configure, "-g0 -O0", install=False)


def require_tools() -> None:
    """Everything the build calls and includes; what is missing is named with its package."""
    packages = {pkg for tool, pkg in COMMANDS.items() if not shutil.which(tool)}
    if "gcc" not in packages:
        packages |= {pkg for header, pkg in HEADERS.items() if not has_header(header)}
    if packages:
        wanted = " ".join(sorted(packages))
        raise BuildError(
            f"building charon needs packages that are missing: {wanted}. "
            f"Install them with: apt-get install {wanted}"
        )


def has_header(header: str) -> bool:
    """Whether the compiler finds a header."""
    done = subprocess.run(
        ["cc", "-E", "-x", "c", "-"],
        input=f"#include <{header}>\n".encode(),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


class Builder:
    """One tree on its way to a prefix."""

    def __init__(self, tree: Path, log: Path, progress: Progress) -> None:
        self.tree = tree
        self._log = log
        self._progress = progress

    def configure(self, flavour: Flavour, prefix: Path) -> None:
        """Make Makefiles. The shipped ones are older than our changes to Makefile.am."""
        self._progress.step("preparing the build system (autoreconf)")
        self._run(["autoreconf", "-fi"])
        self._progress.step("configuring")
        # Without Python the rules for changed .opt files would empty the .conf files.
        self._run(
            [
                "./configure",
                f"--prefix={prefix}",
                f"--sysconfdir={prefix}/etc",
                "--enable-silent-rules",
                *flavour.configure,
                f"PYTHON={sys.executable}",
                f"CFLAGS={flavour.cflags}",
            ]
        )

    def make(self, *targets: str, directory: str = ".", what: str = "compiling") -> None:
        """Run make, counting what it compiles."""
        self._progress.step(what)
        self._run(["make", f"-j{os.cpu_count() or 1}", "-C", directory, *targets], count=True)

    def install(self) -> None:
        """Into the prefix."""
        self._progress.step("installing")
        self._run(["make", "install"])

    def _run(self, command: Iterable[str], count: bool = False) -> None:
        files = 0

        def each(line: str) -> None:
            nonlocal files
            if count and line.lstrip().startswith("CC "):
                files += 1
                self._progress.count(f"{files} files compiled")

        logged.run(command, self._log, self.tree, each)
