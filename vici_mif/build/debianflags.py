# SPDX-License-Identifier: Apache-2.0
"""Debian's own configure flags, read from the rules in their packaging."""

import re
import tarfile

from vici_mif.build import compile as compiling
from vici_mif.build.compile import Flavour
from vici_mif.build.errors import BuildError
from vici_mif.build.sources import Source

FLAG = re.compile(r"--((?:enable|disable|with)-[a-z0-9-]+(?:=\S+)?)")
# Flags that need a library, and the header by which we see whether it is there.
HEADERS = {
    "enable-connmark": "libiptc/libiptc.h",
    "enable-curl": "curl/curl.h",
    "enable-forecast": "libiptc/libiptc.h",
    "enable-ldap": "ldap.h",
    "enable-systemd": "systemd/sd-daemon.h",
    "enable-tpm": "tss2/tss2_sys.h",
    "enable-tss-tss2": "tss2/tss2_sys.h",
    "enable-xauth-pam": "security/pam_appl.h",
    "with-capabilities=libcap": "sys/capability.h",
}
# NetworkManager's front end has no code of charon's; kernels and users that are not ours.
IGNORED = re.compile(r"enable-nm|with-nm|enable-kernel-pf|disable-kernel-netlink|with-(user|group)")
HARDENING = "-g0 -O2 -fstack-protector-strong -Wformat -Werror=format-security -D_FORTIFY_SOURCE=2"


def parse_rules(text: str) -> list[str]:
    """The flags in debian/rules, without comments, what is not ours left out."""
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    return [flag for flag in dict.fromkeys(FLAG.findall(code)) if not IGNORED.match(flag)]


def flavour(source: Source) -> tuple[Flavour, list[str]]:
    """Debian's way to configure, and the flags whose library is missing here."""
    wanted = parse_rules(_rules(source))
    dropped = [
        flag for flag in wanted if flag in HEADERS and not compiling.has_header(HEADERS[flag])
    ]
    kept = tuple(f"--{flag}" for flag in wanted if flag not in dropped)
    return Flavour(kept, HARDENING, install=False), dropped


def _rules(source: Source) -> str:
    if source.debian is None:
        raise BuildError("Debian's flags stand in its packaging, and this source has none")
    with tarfile.open(source.debian) as archive:
        rules = archive.extractfile("debian/rules")
        if rules is None:
            raise BuildError(f"{source.debian} has no debian/rules")
        return rules.read().decode(errors="replace")
