# SPDX-License-Identifier: Apache-2.0
"""Lets through what is decided upon, and keeps what is only counted.

A look at thousands of IKE_SAs says mostly what is known. Who decides, and the journal that notes
it, are told what differs: so a step is as small as what happened.
"""

from __future__ import annotations

from collections.abc import Iterable

from vici_mif.core import events as e
from vici_mif.core.gateway.counts import Counts
from vici_mif.core.gateway.families import is_member
from vici_mif.core.model import Child, Sa, Source
from vici_mif.core.wish.config import Config

QUIET_DELAY = 60.0
"""Seconds between two looks that can be compared."""

CEASED_DELAY = 7.0
"""Seconds without a packet after which a newcomer does not send any more."""

Facts = tuple[e.Event, ...]


class Sieve:
    """Facts in; what is left of them out, in their order."""

    def __init__(self, config: Config) -> None:
        self.counts = Counts()
        self._connections = _connections(config)
        self._told: dict[int, object] = {}
        """What was told of each member, by unique id."""
        self._newcomers: frozenset[Source] = frozenset()
        self._heard: dict[int, int] = {}
        """Bytes that had come in at the last look that could be compared."""
        self._heard_at: float | None = None

    def facts(self, event: e.Event, now: float) -> Facts:
        """Nothing where nothing differs."""
        match event:
            case e.SasSeen(sas) if self._connections:
                return self._looked(sas, now)
            case e.SaSeen(sa) if self._is_ours(sa):
                return self._said(seen=[sa])
            case e.SaRekeyed(old_id, new) if self._is_ours(new):
                return self._rekeyed(old_id, new)
            case e.SaClosed(Sa(unique_id=number)) | e.SaGone(number) if number in self._told:
                return self._said(gone=[number])
            case e.CloneRefused(number, reason, count):
                ours = number in self._told
                return (event,) if ours and self.counts.refuse(number, reason, count) else ()
            case e.SourcesSeen():
                return self._sources(event)
        self._changed(event)
        return (event,)

    def _changed(self, event: e.Event) -> None:
        """Everything will be told anew."""
        if isinstance(event, e.ConfigRead):
            before, self._connections = self._connections, _connections(event.config)
            if before == self._connections:
                return
        elif not isinstance(event, e.CharonConnected | e.CharonGone):
            return
        self.counts.forget()
        self._told.clear()
        self._heard, self._heard_at = {}, None

    def _is_ours(self, sa: Sa) -> bool:
        return is_member(sa, self._connections)

    # --- members ------------------------------------------------------------------

    def _looked(self, sas: tuple[Sa, ...], now: float) -> Facts:
        """All there are: who is not in it is gone."""
        ours = {sa.unique_id: sa for sa in sas if self._is_ours(sa)}
        gone = [number for number in self._told if number not in ours]
        left = e.SasSeen(tuple(sa for sa in sas if sa.unique_id not in ours))
        self.counts.read_at = now
        return (left, *self._said(ours.values(), gone, self._quiet(ours, now)))

    def _said(
        self,
        seen: Iterable[Sa] = (),
        gone: Iterable[int] = (),
        quiet: tuple[int, ...] | None = None,
    ) -> Facts:
        """One fact, unless there is nothing new."""
        seen = list(seen)
        new = tuple(_reduced(sa) for sa in seen if self._is_new(sa))
        over = (*gone, *(sa.unique_id for sa in seen if sa.closing and sa.unique_id in self._told))
        for number in over:
            self._told.pop(number, None)
            self.counts.gone(number)
        fact = e.MembersSeen(new, (), over, quiet)
        return (fact,) if fact != e.MembersSeen() else ()

    def _is_new(self, sa: Sa) -> bool:
        if not sa.established:
            return False
        self.counts.see(sa)
        before, shape = self._told.get(sa.unique_id), _shape(sa)
        self._told[sa.unique_id] = shape
        return before != shape

    def _rekeyed(self, old_id: int, new: Sa) -> Facts:
        """The children went over: the new one is counted before the old one goes."""
        seen = (_reduced(new),) if self._is_new(new) else ()
        self._told.pop(old_id, None)
        self.counts.gone(old_id)
        return (e.MembersSeen(seen, ((old_id, new.unique_id),)),)

    def _quiet(self, ours: dict[int, Sa], now: float) -> tuple[int, ...] | None:
        """Who sent nothing since the last time."""
        if self._heard_at is not None and now - self._heard_at < QUIET_DELAY:
            return None
        before, self._heard_at = self._heard, now
        self._heard = {
            number: sum(child.bytes_in for child in sa.children) for number, sa in ours.items()
        }
        return tuple(number for number, size in self._heard.items() if before.get(number) == size)

    # --- outer sources --------------------------------------------------------------

    def _sources(self, seen: e.SourcesSeen) -> Facts:
        """Who goes on sending need not be told again."""
        self.counts.sources = seen.counts
        sending = {source: age for source, age in seen.newcomers if age <= CEASED_DELAY}
        began = tuple((s, age) for s, age in sending.items() if s not in self._newcomers)
        ceased = tuple(sorted(s for s in self._newcomers if s not in sending))
        self._newcomers = frozenset(sending)
        return (e.NewcomersSeen(began, ceased),) if began or ceased else ()


def _connections(config: Config) -> frozenset[str]:
    return frozenset(config.gateway.connections if config.gateway else ())


def _shape(sa: Sa) -> object:
    """All that may be decided upon: without counters, and without what only time changes."""
    children = tuple((child.unique_id, child.state, child.spi_in) for child in sa.children)
    where = (sa.name, sa.state, sa.local, sa.remote, sa.local_port, sa.family)
    who = (sa.remote_id, sa.remote_eap_id, sa.remote_vips, sa.remote_addresses)
    return where, who, children


def _reduced(sa: Sa) -> Sa:
    """The same as an IKE_SA, with its age as it is now."""
    return Sa(
        unique_id=sa.unique_id,
        name=sa.name,
        state=sa.state,
        local=sa.local,
        remote=sa.remote,
        local_port=sa.local_port,
        initiator=sa.initiator,
        remote_id=sa.remote_id,
        remote_eap_id=sa.remote_eap_id,
        remote_vips=sa.remote_vips,
        family=sa.family,
        established_delay=sa.established_delay,
        remote_addresses=sa.remote_addresses,
        children=tuple(
            Child(child.name, child.unique_id, child.state, (), (), spi_in=child.spi_in)
            for child in sa.children
        ),
    )
