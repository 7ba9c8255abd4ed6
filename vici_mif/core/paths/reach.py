# SPDX-License-Identifier: Apache-2.0
"""How one peer can be reached: links × remotes, by the configuration and by what was learned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from vici_mif.core.model import Connection, IPAddress, IPNetwork, Link, PathName
from vici_mif.core.paths import ranking
from vici_mif.core.paths.learned import Learned
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path
from vici_mif.core.paths.remotes import Remote, dialable, remotes
from vici_mif.core.paths.withdrawal import Withdrawal
from vici_mif.core.turn import Turn
from vici_mif.core.wish.config import ConnectionConfig


@dataclass(frozen=True, slots=True)
class View:
    """What the candidates depend on at this moment."""

    turn: Turn
    connection: Connection
    inner: Collection[IPAddress]
    """Never a link's own address."""
    protected: Collection[IPNetwork]
    """What lies behind the peer."""
    occupied: Collection[PathName | None]
    """Where tunnels are, or may have to return to."""
    homes: Collection[PathName | None] = ()
    """Where they belong."""


class Reach:
    """Candidates of one peer."""

    def __init__(self, peer: str, config: ConnectionConfig) -> None:
        self._peer = peer
        self._config = config
        self._learned = Learned(config.remotes.learn)
        self._withdrawal = Withdrawal()
        self._called: tuple[str, ...] = ()
        """Where the peer was, by the configuration or by the connection."""
        self.links: tuple[Link, ...] = ()
        """The kernel's, without inner addresses."""

    def configure(self, config: ConnectionConfig) -> None:
        """What is no longer configured stays as long as a tunnel is on it."""
        self._withdrawal.note(self._config)
        self._learned.configure(config.remotes.learn)
        self._config = config

    def addresses(self, connection: Connection) -> tuple[str, ...]:
        """Addresses and names, best first: the configured ones, else the connection's."""
        return _addresses(self._config, connection)

    def see(self, view: View, paths: Paths) -> list[PathName]:
        """Tells the paths what there is now; returns those whose link came back."""
        self.links = ranking.without(view.turn.world.links or (), view.inner)
        self._note(self.addresses(view.connection))
        config, peers = self._config, self._remotes(view, self._config)
        found = ranking.candidates(config.links, self.links, peers, config.pairs)
        before = self._withdrawal.keep(found, partial(self._former, view), view.occupied)
        gone = {path.name for path in before}
        exact = {link.match for link in config.links if link.exact}
        paths.configure(self._configured, exact, gone)
        labels = {remote.label for remote in peers} | {name.remote for name in gone}
        both = (*(path for path in found if path.name not in gone), *before)
        return paths.see(both, view.turn.now, labels, view.homes)

    def _note(self, called: tuple[str, ...]) -> None:
        """charon's connection was loaded with other addresses: a change like one of ours."""
        if self._called not in {(), called}:
            remotes = self._config.remotes.model_copy(update={"use": self._called})
            self._withdrawal.note(self._config.model_copy(update={"remotes": remotes}))
        self._called = called

    def _configured(self, link: str) -> bool:
        return any(match.fits(link) for match in self._config.links)

    def _former(self, view: View, config: ConnectionConfig) -> Sequence[Path]:
        peers = [*self._remotes(view, config), *self._learned.before]
        return ranking.candidates(config.links, self.links, peers, config.pairs)

    def _remotes(self, view: View, config: ConnectionConfig) -> tuple[Remote, ...]:
        """Those that are named, then those that were learned."""
        world = view.turn.world
        named = remotes(_addresses(config, view.connection), world.names)
        configured = {remote.address for remote in named}
        learned = self._learned.see(world.named(self._peer), configured, view.protected)
        return (*named, *learned)


def _addresses(config: ConnectionConfig, connection: Connection) -> tuple[str, ...]:
    return dialable(config.remotes.use or connection.remote_addrs)
