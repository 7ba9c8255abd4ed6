# SPDX-License-Identifier: Apache-2.0
"""A lab: composes hosts, wires, charons and captures, and takes them down again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from vici_mif.lab import captures, charons, namespaces
from vici_mif.lab.captures import Captures, Counts
from vici_mif.lab.charons import Charon
from vici_mif.lab.errors import LabError
from vici_mif.lab.foreign import Foreign
from vici_mif.lab.guardian import Guardian, clean_up, draft_directory
from vici_mif.lab.hosts import Host
from vici_mif.lab.installation import Installation
from vici_mif.lab.removal import take_down
from vici_mif.lab.roots import RootHost
from vici_mif.lab.state import State, StateFile, root
from vici_mif.lab.topology import (
    BACKUP,
    CLIENT,
    GATEWAY,
    INSIDE_CLIENT,
    POOLS,
    ROUTER,
    Port,
    Profile,
    Topology,
    Wish,
    design,
    family,
    inside_net,
)
from vici_mif.lab.wires import impair, nat
from vici_mif.lab.wires.delay import Qualities
from vici_mif.lab.wires.impair import DOWN, UP, Impairment
from vici_mif.lab.wires.lines import Lines

# of the client's rule for its own LAN: before charon's 220 and the controller's 150 to 169
KEEP_LAN = 100

_FORWARD = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
_QUIET = {
    # addresses are given, not asked for, and nobody else has them
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    # loose, as systemd's and most distributions' defaults; the greater of all and own counts
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "2",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """How a lab is equipped, beside what it looks like."""

    client_charon: Path
    gateway_charon: Path
    # auto, libipsec or netlink
    data_plane: str = "auto"
    capture: bool = False
    keys: bool = False
    debug: int = 1
    start_charons: bool = True
    # host -> container image, or a directory with its files; charons' prefixes are inside then
    images: Mapping[str, str] = field(default_factory=dict)


class Lab:
    """A lab that is up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = StateFile(directory)
        state = self._file.read()
        self.name = state.wish.name
        self.topology: Topology = design(state.wish)
        self.hosts = {name: self._host(name, state) for name in self.topology.hosts}
        self.charons = {
            name: (Foreign if self.hosts[name].foreign else Charon)(self.hosts[name], directory)
            for name in self.topology.charon_hosts
        }
        self.captures = Captures(directory, self.hosts)
        self.lines = Lines(directory, self.router, self.topology)
        self._guardian: Guardian | None = None

    # -- making and finding ------------------------------------------------------------------

    @classmethod
    def up(cls, wish: Wish, setup: Setup, *, where: Path | None = None, keep: bool = True) -> Lab:
        """Make a lab. Unless it is to be kept, it goes when this process goes, however that is."""
        directory = (where or root()) / wish.name
        guardian = Guardian(directory)
        try:
            _claim(directory, wish, setup, guardian.token)
            lab = cls(directory)
            lab._guardian = guardian
            lab._build(setup)
        except BaseException:
            clean_up(directory, guardian.token)
            guardian.dismiss()
            raise
        if keep:
            guardian.dismiss()
            lab._guardian = None
        return lab

    @classmethod
    def find(cls, name: str, where: Path | None = None) -> Lab:
        """The lab of that name, made by whomever."""
        return cls((where or root()) / name)

    def down(self) -> None:
        """Remove everything; what was not recorded as ours stays."""
        take_down(self.directory)
        for host in self.hosts.values():
            host.reap()
        if self._guardian:
            self._guardian.dismiss()
            self._guardian = None

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    # -- what is in it -----------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._file.read()

    @property
    def client(self) -> Host:
        return self.hosts[CLIENT]

    @property
    def router(self) -> Host:
        return self.hosts[ROUTER]

    @property
    def gateway(self) -> Host:
        return self.hosts[GATEWAY]

    @property
    def keys_directory(self) -> Path:
        return self.directory / "keys"

    @property
    def uplinks(self) -> tuple[str, ...]:
        return tuple(wire.a.name for wire in self.topology.uplinks)

    def designed(self, uplink: str) -> str:
        """What the plan calls an interface of the client."""
        return self.state.names.get(uplink, uplink)

    def port(self, uplink: str) -> Port:
        """An uplink of the client as it is called now, with the addresses DHCP gives it now."""
        state = self.state
        designed = state.names.get(uplink, uplink)
        port = self.topology.port(CLIENT, designed)
        addresses = tuple(state.leases.get(designed, port.addresses))
        return replace(port, name=uplink, addresses=addresses)

    def note_name(self, uplink: str, name: str) -> None:
        """An uplink was renamed."""
        with self._file.change() as state:
            state.names[name] = state.names.pop(uplink, uplink)

    def note_lease(self, uplink: str, addresses: tuple[str, ...]) -> None:
        """An uplink has these addresses from now on."""
        with self._file.change() as state:
            state.leases[state.names.get(uplink, uplink)] = list(addresses)

    def host(self, name: str) -> Host:
        try:
            return self.hosts[name]
        except KeyError:
            known = ", ".join(self.hosts)
            raise LabError(f"there is no host {name} in lab {self.name} (hosts: {known})") from None

    # -- what can be done to it --------------------------------------------------------------

    def link_down(self, interface: str, host: str = CLIENT) -> None:
        """As `ip link set down`: its routes and IPv6 addresses go with it."""
        self.topology.port(host, self.designed(interface) if host == CLIENT else interface)
        namespaces.set_up(self.hosts[host].namespace, interface, up=False)

    def link_up(self, interface: str, host: str = CLIENT) -> None:
        """Up again, with the addresses and routes that DHCP or the admin gives it."""
        port = self.port(interface) if host == CLIENT else self.topology.port(host, interface)
        namespaces.raise_port(self.hosts[host].namespace, port)

    def cut(
        self, uplink: str, remote: int | None = None, directions: tuple[str, ...] = (UP, DOWN)
    ) -> None:
        """Drop everything silently in the router; the client's link stays up."""
        impair.cut(self.router, self.topology, self.designed(uplink), remote, directions)

    def uncut(self, uplink: str) -> None:
        impair.uncut(self.router, self.topology, self.designed(uplink))

    def impair(self, uplink: str, impairment: Impairment) -> None:
        """The same in both directions; an impairment of nothing clears."""
        self.topology.port(CLIENT, uplink)
        by_kernel = impair.shape(self.hosts, uplink, impairment)
        self.lines.set(uplink, Qualities() if by_kernel else impairment.qualities)

    def rebind(self, uplink: str) -> None:
        """The NAT of an uplink forgets its flows: what comes next leaves it with another port."""
        designed = self.designed(uplink)
        with self._file.change() as state:
            state.rebindings[designed] = state.rebindings.get(designed, 0) + 1
            nat.rebind(self.router, self.topology, designed, state.rebindings)

    def upgrade(self, name: str, prefix: Path, image: str = "") -> None:
        """Another charon in the place of a host's: as a package does it, the operator's files stay.

        In a container it comes with another image.
        """
        host = self.host(name)
        self.charons[name].stop()
        host.replace(prefix, image)
        with self._file.change() as state:
            state.charons[name] = str(prefix)
            if image:
                state.images[name] = image
        charons.write_strongswan(self.topology, self.state, host, self.directory)
        self.charons[name].start()

    def start_captures(self) -> None:
        self.captures.start(captures.outside(self.topology))

    def stop_captures(self) -> dict[str, Counts]:
        return self.captures.stop()

    # -- building ----------------------------------------------------------------------------

    def _host(self, name: str, state: State) -> Host:
        prefix = Path(state.charons[name]) if name in state.charons else None
        if name not in state.images:
            return Host(self.name, name, self.directory, prefix)
        if state.images[name].startswith("/"):
            return RootHost(self.name, name, self.directory, Path(state.images[name]))
        # only here: the docker SDK is for those who have containers
        from vici_mif.lab.containers import ContainerHost

        return ContainerHost(self.name, name, self.directory, prefix, state.images[name])

    def _build(self, setup: Setup) -> None:
        for host in self.hosts.values():
            host.create()
            namespaces.sysctl(host.namespace, _QUIET)
            namespaces.add_addresses(
                host.namespace, "lo", self.topology.loopback.get(host.name, ())
            )
        self._wire()
        impair.prepare(self.router)
        nat.prepare(self.router, self.topology)
        self._reach_the_world()
        self._choose_data_plane(setup.data_plane)
        charons.write_files(self.topology, self.state, self.hosts, self.directory)
        if setup.capture:
            self.start_captures()
        if setup.start_charons:
            for name in self.topology.charon_hosts:
                self.charons[name].start()
        with self._file.change() as state:
            state.ready = True

    def _wire(self) -> None:
        for wire in self.topology.wires:
            a, b = (self.hosts[end.host].namespace for end in (wire.a, wire.b))
            namespaces.connect(wire, a, b)
        site = self.topology.wish.profile is Profile.SITE
        forwarding = [ROUTER, GATEWAY] + [CLIENT] * site + [BACKUP] * (BACKUP in self.hosts)
        for name in forwarding:
            namespaces.sysctl(self.hosts[name].namespace, _FORWARD)

    def _reach_the_world(self) -> None:
        wish = self.topology.wish
        if wish.full:
            dual = wish.ipv6 or wish.outer == 6
            site = wish.profile is Profile.SITE
            pools = POOLS if dual else POOLS[:1]
            sources = inside_net(INSIDE_CLIENT, dual) if site else pools
            impair.masquerade(self.gateway, sources, (w.b.name for w in self.topology.remotes))
            # what an operator does who sends everything away: charon's route would take his LAN
            for lan in inside_net(INSIDE_CLIENT, dual) if site else ():
                namespaces.keep_local(self.client.namespace, lan, KEEP_LAN)

    def _choose_data_plane(self, asked: str) -> None:
        esp = has_esp(self.client.namespace, self.topology)
        if asked == "netlink" and not esp:
            raise LabError(
                "this kernel has no ESP, so kernel-netlink carries nothing: "
                "leave --data-plane at auto, or run the lab in a guest kernel, `make guest CMD=…`"
            )
        with self._file.change() as state:
            state.kernel_esp = esp
            state.data_plane = asked if asked != "auto" else ("netlink" if esp else "libipsec")


def has_esp(namespace_name: str, topology: Topology) -> bool:
    versions = {family(address) for address in topology.remote_addresses}
    return all(namespaces.kernel_has_esp(namespace_name, version) for version in versions)


def _claim(directory: Path, wish: Wish, setup: Setup, token: str) -> None:
    """Make the lab's directory, with its record, under its name at one blow or not at all."""
    prefixes = {CLIENT: setup.client_charon, GATEWAY: setup.gateway_charon}
    if wish.gateways > 1:
        prefixes[BACKUP] = setup.gateway_charon
    for host, prefix in prefixes.items():
        if host not in setup.images:
            _ = Installation(prefix.resolve()).charon
    _check_length(directory)
    draft = draft_directory(directory, token)
    _make_private(draft)
    outside = {host: prefix.resolve() for host, prefix in prefixes.items()}
    charon_of = {h: str(p if h in setup.images else outside[h]) for h, p in prefixes.items()}
    state = State(wish, charon_of, token, dict(setup.images))
    state.capture, state.keys, state.debug = setup.capture, setup.keys, setup.debug
    StateFile(draft).write(state)
    try:
        draft.rename(directory)
    except OSError as error:
        raise LabError(
            f"lab {wish.name} is there already: `vici-mif lab down --name {wish.name}` removes it"
        ) from error


def _make_private(directory: Path) -> None:
    """A directory for keys and passwords. The end of the last lab removes the parent: try again."""
    for _ in range(5):
        try:
            directory.mkdir(mode=0o700, parents=True)
        except FileNotFoundError:
            continue
        return
    raise LabError(f"{directory.parent} vanishes again and again: does something else clean it?")


def _check_length(directory: Path) -> None:
    # sun_path of unix(7) holds 108 bytes with its terminating zero
    longest = str(directory / GATEWAY / "run" / "charon.vici")
    if len(longest.encode()) > 107:
        raise LabError(f"{directory} is too long for a socket below it: choose a shorter --lab-dir")


__all__ = ["DOWN", "UP", "Impairment", "Lab", "Setup", "Wish"]
