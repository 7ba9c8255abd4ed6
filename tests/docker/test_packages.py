# SPDX-License-Identifier: Apache-2.0
"""Our Debian packages in clean containers: from Debian's to ours, and back to Debian's."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
import vici
from vici.exception import SessionException

from tests.docker.conftest import ROOT, has_image
from vici_mif import __version__
from vici_mif.build import wheelhouse
from vici_mif.build.charon import default_patches
from vici_mif.build.container import Docker, Job, Mmdebstrap, Place
from vici_mif.build.deb import Debs, Order, Packages
from vici_mif.build.errors import BuildError, UnavailableError

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

NAMES = (
    "libstrongswan libstrongswan-standard-plugins strongswan-libcharon libcharon-extauth-plugins "
    "libcharon-extra-plugins strongswan-swanctl charon-systemd"
)
APT = "DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends"
# the commands of the documentation are what is played
DOCUMENTED = (ROOT / "docs/charon.md").read_text()
LIST = "\n".join(re.findall(r"echo '(deb .*)' >", DOCUMENTED)) + "\n"
HOLD = "\n".join(re.findall(r"^ {6}((?:Package|Pin|Pin-Priority): .*)", DOCUMENTED, re.M)) + "\n"
ON_THE_HOST = re.compile(r"[Oo]n the host, .*?\n\n((?: {4}\S[^\n]*\n)+)", re.DOTALL)
# no kernel here has to have ESP; the socket is where the test can reach it
STRONGSWAN = """\
charon {
    clone_ike_sa { max_clones = 4 }
    plugins {
        kernel-libipsec { load = yes }
        vici { socket = unix:///srv/vici/charon.vici }
    }
}
"""
SWANCTL = """\
connections {
    mif {
        version = 2
        encap = yes
        local_addrs = %any
        remote_addrs = HOST
        local { auth = psk
            id = ME }
        remote { auth = psk
            id = PEER }
        children { mif { local_ts = MINE
            remote_ts = THEIRS } }
    }
}
secrets { ike { secret = "of this test alone" } }
"""
URI = "--uri unix:///srv/vici/charon.vici"


class Host:
    """One end of a tunnel."""

    def __init__(self, container: Any, name: str, inner: str, run: Path) -> None:
        self._container = container
        self.name = name
        self.inner = inner
        self.vici = run / "charon.vici"

    @property
    def address(self) -> str:
        """Where the other end reaches it."""
        self._container.reload()
        networks = self._container.attrs["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def run(self, command: str) -> str:
        """What a command prints; it has to succeed."""
        status, output = self.attempt(command)
        assert status == 0, f"{self.name}: {command}\n{output}"
        return output

    def attempt(self, command: str) -> tuple[int, str]:
        """Exit status and output of a command."""
        done = self._container.exec_run(["sh", "-c", command])
        return done.exit_code, done.output.decode(errors="replace")

    def write(self, path: str, text: str) -> None:
        """A file."""
        self.copy(path.rpartition("/")[0], {path.rpartition("/")[2]: text.encode()})

    def copy(self, directory: str, files: dict[str, bytes]) -> None:
        """Files into a directory, which is made."""
        self.run(f"mkdir -p {directory}")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
        self._container.put_archive(directory, packed.getvalue())

    def versions(self) -> set[str]:
        """Of what is installed of strongSwan."""
        listed = self.run("dpkg-query -W -f '${Version} ${db:Status-Abbrev}\\n' " + NAMES)
        assert all(line.endswith("ii ") for line in listed.splitlines()), listed
        return {line.split()[0] for line in listed.splitlines()}

    def configure(self, peer: Host) -> None:
        """The same files whatever charon is installed."""
        values = {"HOST": peer.address, "ME": self.name, "PEER": peer.name}
        text = SWANCTL
        for word, value in {**values, "MINE": self.inner, "THEIRS": peer.inner}.items():
            text = text.replace(word, value)
        self.write("/etc/swanctl/conf.d/mif.conf", text)
        self.write("/etc/strongswan.d/zz-mif.conf", STRONGSWAN)
        self.run(f"ip address replace {self.inner} dev lo")

    def restart(self) -> None:
        """As its unit would; in these containers nothing runs units."""
        self.run("kill $(pidof charon-systemd) 2>/dev/null || true")
        until(lambda: self.attempt("pidof charon-systemd")[0] != 0)
        self.vici.unlink(missing_ok=True)
        self.run("setsid charon-systemd </dev/null >/var/log/charon.log 2>&1 &")
        until(self.vici.exists)
        loaded = self.run(f"swanctl --load-all {URI}")
        assert "loaded connection 'mif'" in loaded, loaded

    def connect(self, peer: Host) -> None:
        """The tunnel comes up and carries a packet."""
        self.run(f"swanctl --initiate --child mif --timeout 20 {URI}")
        self.run(f"ping -c 1 -W 5 -I {self.inner} {peer.inner}")

    def ask(self, command: str, message: dict[str, object]) -> dict[str, object]:
        """A command of VICI."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.vici))
            answer: dict[str, object] = vici.Session(connection).request(command, message)
            return answer

    def sas(self) -> list[str]:
        """The IKE SAs that are up, one line each."""
        lines = self.run(f"swanctl --list-sas {URI}").splitlines()
        return [line for line in lines if line.startswith("mif: ") and "ESTABLISHED" in line]


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Look again until something is so."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.1)


@contextlib.contextmanager
def host(suite: str, name: str, inner: str, run: Path) -> Iterator[Host]:
    """A clean container of a suite."""
    run.mkdir()
    container = docker.from_env().containers.run(
        f"debian:{suite}-slim", ["sleep", "infinity"], detach=True, init=True,
        name=f"debs-{name}-{suite}-{os.getpid()}", cap_add=["NET_ADMIN"],
        devices=["/dev/net/tun"], volumes={str(run): {"bind": "/srv/vici", "mode": "rw"}},
    )  # fmt: skip
    try:
        ready = Host(container, name, inner, run)
        ready.run(f"{APT} update && {APT} install iproute2 iputils-ping procps")
        yield ready
    finally:
        container.remove(force=True)


def deliver_to(to: Host, packages: Packages) -> None:
    """Our directory, where docs/charon.md expects it."""
    files = {p.name: p.read_bytes() for p in packages.directory.iterdir() if p.suffix == ".deb"}
    to.copy("/srv/vici-mif", files | {"Packages": (packages.directory / "Packages").read_bytes()})


def offer(to: Host, packages: Packages) -> None:
    """Our directory as an archive for apt, and the wish to keep what is in it."""
    deliver_to(to, packages)
    to.write("/etc/apt/sources.list.d/vici-mif.list", LIST)
    to.write("/etc/apt/preferences.d/vici-mif", HOLD)
    to.run(f"{APT} update")


def debians(at: Host, packages: Packages) -> str:
    """Debian's version that ours was made from, while its archive has it."""
    version = packages.version.partition("+mif")[0]
    if f"libstrongswan | {version} |" not in at.run("apt-cache madison libstrongswan"):
        pytest.skip(f"Debian's archive no longer has strongswan {version} to upgrade from")
    return version


def install(at: Host, version: str) -> None:
    """All of strongSwan in one version."""
    wanted = " ".join(f"{name}={version}" for name in NAMES.split())
    at.run(f"{APT} --allow-downgrades install {wanted}")
    assert at.versions() == {version}


@pytest.fixture(params=["trixie", "bookworm"])
def packages(request: pytest.FixtureRequest, engine: None) -> tuple[str, Packages]:
    """Those of a suite, built unless they are in the cache."""
    suite = str(request.param)
    has_image(suite)
    try:
        return suite, Debs().build(Order(suite, default_patches()))
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("place", [Docker(), Mmdebstrap()], ids=lambda place: place.name)
def test_a_script_runs_in_a_fresh_system(engine: None, place: Place, tmp_path: Path) -> None:
    """Of that suite, on files that were brought; what it leaves is brought back."""
    if why := place.missing("trixie"):
        pytest.skip(why)
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in/word").write_text("brought\n")
    lines: list[str] = []
    script = "set -e\nmkdir out\n. /etc/os-release\necho == $VERSION_CODENAME\ncp word out/"
    job = Job("trixie", script, tmp_path / "in", tmp_path / "log", lines.append)
    place.run(job, tmp_path / "out")
    assert (tmp_path / "out/word").read_text() == "brought\n"
    assert "== trixie\n" in lines
    with pytest.raises(BuildError, match=r"failed.*the whole log is"):
        place.run(replace(job, script="false"), tmp_path / "out")


def test_up_from_debians_package_and_back(packages: tuple[str, Packages], tmp_path: Path) -> None:
    """The same files load and come up with each, and ours clones in between."""
    suite, built = packages
    with (
        host(suite, "gateway", "10.1.0.1", tmp_path / "gateway") as gateway,
        host(suite, "client", "10.2.0.1", tmp_path / "client") as client,
    ):
        before = debians(client, built)
        install(client, before)
        for end, other in ((client, gateway), (gateway, client)):
            end.configure(other)
        # a fresh installation at the one end, an upgrade at the other
        offer(gateway, built)
        gateway.run(f"{APT} install {NAMES}")
        assert gateway.versions() == {built.version}
        gateway.restart()
        client.restart()
        client.connect(gateway)
        no_clones(client)

        offer(client, built)
        client.run(f"{APT} -o Dpkg::Options::=--force-confold upgrade")
        assert client.versions() == {built.version}
        assert client.run("dpkg --audit") == ""
        client.restart()
        client.connect(gateway)
        clone(client)

        client.run("rm /etc/apt/sources.list.d/vici-mif.list /etc/apt/preferences.d/vici-mif")
        client.run(f"{APT} update")
        install(client, before)
        client.restart()
        client.connect(gateway)
        no_clones(client)
        assert client.run("dpkg --audit") == ""


def test_purged_it_leaves_nothing(packages: tuple[str, Packages], tmp_path: Path) -> None:
    """No file that was not there before, no package half removed, no settings of a removed one."""
    suite, built = packages
    with host(suite, "purged", "10.5.0.1", tmp_path / "vici") as clean:
        before = paths(clean)
        offer(clean, built)
        clean.run(f"{APT} install {NAMES}")
        assert clean.versions() == {built.version}
        brought = set(clean.run(f"dpkg -L {NAMES}").split()) - before
        assert {"/usr/sbin/charon-systemd", "/etc/strongswan.conf"} <= brought & paths(clean)

        clean.run("rm -r /srv/vici-mif")
        clean.run("rm /etc/apt/sources.list.d/vici-mif.list /etc/apt/preferences.d/vici-mif")
        clean.run(f"{APT} purge {NAMES}")
        clean.run(f"{APT} purge --auto-remove")
        assert sorted(paths(clean) & brought) == []
        assert sorted(paths(clean) - before) == []
        assert clean.run("dpkg --audit") == ""
        left = clean.run("dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\\n'")
        assert [line for line in left.splitlines() if "swan" in line or "+mif" in line] == []


def paths(at: Host) -> set[str]:
    """Everything on the disk but what apt and dpkg note, and what is made from what is there."""
    notes = "/var/lib/apt /var/lib/dpkg /var/cache /var/log /proc /sys /dev /run /tmp"
    pruned = " -o ".join(f"-path {each}" for each in notes.split())
    return set(at.run(f"find / -xdev \\( {pruned} \\) -prune -o -print").splitlines())


def no_clones(client: Host) -> None:
    """Debian's charon knows no such command."""
    with pytest.raises(SessionException):
        client.ask("clone", {"ike-id": 1})
    assert len(client.sas()) == 1


def clone(client: Host) -> None:
    """One more IKE SA, of the same authentication."""
    answer = client.ask("clone", {"ike-id": 1})
    assert answer["success"] == b"yes", answer
    assert len(client.sas()) == 2


def test_an_update_of_debians_is_held_or_let_in(packages: tuple[str, Packages]) -> None:
    """With the preferences ours stays; without them apt takes what is newest."""
    suite, built = packages
    with (
        tempfile.TemporaryDirectory() as room,
        host(suite, "held", "10.3.0.1", Path(room) / "vici") as held,
    ):
        offer(held, built)
        held.run(f"{APT} install libstrongswan")
        newest = newest_of(held)
        held.run(f"{APT} upgrade")
        assert version_of(held) == built.version
        held.run("rm /etc/apt/preferences.d/vici-mif")
        held.run(f"{APT} upgrade")
        assert version_of(held) == newest


def test_a_host_is_set_up_as_the_pages_say(packages: tuple[str, Packages], tmp_path: Path) -> None:
    """docs/charon.md and docs/operating.md, line by line: charon, then the controller beside it."""
    suite, built = packages
    house = tmp_path / "wheelhouse"
    house.mkdir()
    try:
        wheelhouse.fill(house, [wheelhouse.PYTHONS[suite]], "tui")
    except UnavailableError as error:
        pytest.skip(f"no package index: {error}")
    with host(suite, "byhand", "10.4.0.1", tmp_path / "vici") as clean:
        deliver_to(clean, built)
        clean.copy("/root/wheelhouse", {p.name: p.read_bytes() for p in house.iterdir()})
        clean.write("/etc/apt/preferences.d/vici-mif", HOLD)
        clean.write("/etc/apt/apt.conf.d/90yes", 'APT::Get::Assume-Yes "true";\n')
        for page in ("charon.md", "operating.md"):
            clean.run("cd /root; set -ex\n" + documented(page))

        assert clean.run("dpkg-query -W -f '${Version}' charon-systemd") == built.version
        assert clean.run("vici-mif --version").split()[-1] == __version__
        assert "[Service]" in clean.run("vici-mif units")


def documented(page: str) -> str:
    """What a page tells to type on the host."""
    found = ON_THE_HOST.search((ROOT / "docs" / page).read_text())
    assert found, page
    return "export DEBIAN_FRONTEND=noninteractive\n" + found[1]


def newest_of(at: Host) -> str:
    """The newest libstrongswan in all lists, whosever it is."""
    lines = at.run("apt-cache madison libstrongswan").splitlines()
    versions = {line.split("|")[1].strip() for line in lines}
    best = versions.pop()
    for version in versions:
        if at.attempt(f"dpkg --compare-versions {version} gt {best}")[0] == 0:
            best = version
    return best


def version_of(at: Host) -> str:
    """The libstrongswan that is installed."""
    return at.run("dpkg-query -W -f '${Version}' libstrongswan")
