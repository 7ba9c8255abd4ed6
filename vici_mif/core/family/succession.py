# SPDX-License-Identifier: Apache-2.0
"""A new family is built beside an old one that works, and the old one goes last.

For a reauthentication before charon's own, which breaks before it makes; for an IKE_SA that the
peer began or that was built without cloning, where both ends can now; for a connection that was
changed; for more inner addresses than were asked for. Which family is the older one stands in its
id, so a successor of a killed controller goes on: the newer family of ours takes over as soon as
it has all it can have.
"""

from __future__ import annotations

from collections.abc import Iterable

from vici_mif.core.actions import Clone
from vici_mif.core.family.authentication import PATH_REASONS
from vici_mif.core.family.closing import Closing
from vici_mif.core.family.family import Family, families, strongest
from vici_mif.core.family.shortage import Shortage
from vici_mif.core.family.silence import Silence
from vici_mif.core.model import Connection, Sa
from vici_mif.core.turn import Turn

MARGIN_DELAY = 300.0
"""Seconds before charon's reauthentication at which we begin ours: it takes some exchanges, but
a gateway that is being restarted shall have its minutes."""

MARGIN_PART = 4
"""The margin is no longer than this part of the whole time."""

ADOPT_DELAY = 10.0
"""Seconds to leave alone what was found: a restart shall order nothing of its own at once."""

RETRY_DELAY = 3600.0
"""Seconds between two tries whether the peer can clone now: each is an authentication."""

RIPE_DELAY = 60.0
"""Seconds after which a new family that works takes over though something of it is missing."""

COST_DELAY = 30.0
"""Seconds after a try in which a loss counts as its doing: charon replaces after ten."""

LEAVE_DELAY = 3.0
"""Seconds the old family is kept after the switch: packets under way arrive."""

VERIFY_DELAY = 8.0
"""Seconds for a family of which nothing was heard to be heard of after all, once another was
authenticated: moves and tests go on."""

SHORT_DELAY = 3.0
"""The same where each member was asked after the peer had deleted one."""

FORGOTTEN = "the peer answers nothing of it"
EXPIRING = "reauthentication is due"
CHANGED = "the connection was changed"
SHORT = "more tunnels are wanted than inner addresses were asked for"
ELSEWHERE = "the peer has other addresses now, and does not know this family there"
PASSIVE = "the peer began this IKE SA, so only the peer may move it (RFC 4555, 3.3)"
CLONELESS = "cloning was not agreed when it was authenticated"


class Succession:
    """The families of one peer: the one in use, its heir, and what leaves."""

    def __init__(self, peer: str, closing: Closing) -> None:
        self._closing = closing
        self._key = ("succeed", peer)
        self._auth = ("auth", peer)
        self.current: Family | None = None
        self.heir: Family | None = None
        self.silence = Silence()
        """Of the family in use."""
        self.shortage = Shortage()
        self._reason = ""
        """Why the last one was authenticated."""
        self._expected: int | None = None
        """The family that was authenticated to follow."""
        self._leaving: dict[int, float] = {}
        self._since_at: dict[int, float] = {}
        self._under: dict[int, Connection] = {}
        """The connection as it was when a family was seen first."""
        self._read: dict[int, Sa] = {}
        self._ends_at: dict[int, float] = {}
        self._own: set[int] = set()
        """Families that this controller authenticated: they were just tried."""
        self._tried: tuple[int, float] = (0, 0.0)
        """The family beside which cloning was tried last, and when."""
        self._together = False
        self.stranded = False
        """The family is only where it should no longer be, and can go nowhere else."""
        self._hopeless = False
        """A try cost the family that worked: the peer replaces what it has."""

    # --- looking -------------------------------------------------------------

    def see(
        self,
        sas: Iterable[Sa],
        connection: Connection,
        now: float,
        without_clone: str,
        patched: bool = True,
    ) -> None:
        """Which family is in use, and which one follows it.

        `without_clone: authenticate`: those that cannot clone are used side by side, as one.
        """
        found = {family.key: family for family in families(sas)}
        self._remember(found, connection, now)
        mine = [f for f in found.values() if f.ours or not patched]  # a stock one does not tell
        cloneless = bool(mine) and not any(f.clones for f in mine)
        self._together = without_clone == "authenticate" and cloneless
        if self._together:
            self.current, self.heir = Family(tuple(sa for f in mine for sa in f.members)), None
            return
        before, self.current = self.current, self._in_use(found)
        if before is not None and before.key not in found:
            self._hopeless |= self._paid(before, now)
        self.silence.see(self.current.members if self.current else (), now)
        self.heir = self._heir(found.values())

    def _paid(self, gone: Family, now: float) -> bool:
        """It went because cloning was tried beside it."""
        key, at = self._tried
        return gone.key == key and now <= at + COST_DELAY

    def _heir(self, found: Iterable[Family]) -> Family | None:
        key = self.current.key if self.current else 0
        newer = [f for f in found if f.key > key and f.ours]
        return next((f for f in reversed(newer) if self._follows(f)), None)

    def _in_use(self, found: dict[int, Family]) -> Family | None:
        if self.current is not None and self.current.key in found:
            return found[self.current.key]
        staying = [f for f in found.values() if f.key not in self._leaving]
        return strongest(staying or found.values())

    def _follows(self, family: Family) -> bool:
        """Authenticated for that, or on its way when a controller died."""
        return family.key not in self._leaving and (
            family.key == self._expected or (family.clones and family.carrying > 0)
        )

    def answered(self, ike_id: int, now: float) -> None:
        """A move or a test of this IKE_SA had its answer."""
        if self._uses(ike_id):
            self.silence.heard(now)

    def echoed(self, ike_ids: Iterable[int], now: float) -> None:
        """What is sent inside these comes back. Beside an heir with the same inner addresses it
        may have taken the heir's CHILD_SA, and says nothing."""
        if self.heir is None and any(map(self._uses, ike_ids)):
            self.silence.heard(now)

    def unanswered(self, ike_id: int, *, nobody: bool = False) -> None:
        """A move or a test had none, with all its transmissions; `nobody` of the family answers."""
        if self._uses(ike_id):
            self.silence.unanswered(nobody=nobody)

    def tells(self, ike_id: int) -> bool:
        """What this IKE SA is asked in vain says something about the path."""
        sa = self._read.get(ike_id)
        leaves = sa is not None and sa.family in self._leaving
        return not leaves and not self.suspects(ike_id)

    def suspects(self, ike_id: int) -> bool:
        """The peer, which answered an heir, may have forgotten this one."""
        return self.heir is not None and self._reason == FORGOTTEN and self._uses(ike_id)

    def _uses(self, ike_id: int) -> bool:
        members = self.current.members if self.current else ()
        return ike_id in [sa.unique_id for sa in members]

    def _remember(self, found: dict[int, Family], connection: Connection, now: float) -> None:
        self._leaving = {k: at for k, at in self._leaving.items() if k in found}
        self._since_at = {k: self._since_at.get(k, now) for k in found}
        self._own &= found.keys() | {self._expected}
        self._under = {k: self._under.get(k, connection) for k in found}
        self._connection = connection
        alive = {sa.unique_id: sa for family in found.values() for sa in family.members}
        for ike_id, sa in alive.items():
            if self._read.get(ike_id) is not sa and sa.reauth_delay is not None:
                self._ends_at[ike_id] = now + sa.reauth_delay
        self._ends_at = {i: at for i, at in self._ends_at.items() if i in alive}
        self._read = alive

    def staying(self, sas: Iterable[Sa]) -> list[Sa]:
        """Those that neither follow nor leave."""
        heirs = self.heir.members if self.heir else ()
        return [sa for sa in sas if sa.family not in self._leaving and sa not in heirs]

    # --- wishing -------------------------------------------------------------

    def reason(self, turn: Turn) -> str:
        """Why a new family is wanted; empty where none is."""
        family = self.current
        if family is None or self._leaving or self._together:
            return ""
        if self._forgotten(turn):
            return FORGOTTEN
        if self._expires(turn, family):
            return EXPIRING
        if _changed(self._under[family.key], self._connection):
            return CHANGED
        if self.shortage.of(family) and not self._hopeless:
            return SHORT
        if self.stranded:
            return ELSEWHERE
        patience = RETRY_DELAY if family.key in self._own else ADOPT_DELAY
        due_at = self._since_at[family.key] + patience
        turn.wake(due_at)
        if turn.now < due_at or self._hopeless:
            return ""
        if not family.ours:
            return PASSIVE
        return "" if family.clones else CLONELESS

    def _forgotten(self, turn: Turn) -> bool:
        """Maybe: a new IKE_SA_INIT is answered by one that forgot, and not by one out of reach."""
        suspect_at = self.silence.suspect_at
        if suspect_at is not None:
            turn.wake(suspect_at)
        return suspect_at is not None and turn.now >= suspect_at

    def _expires(self, turn: Turn, family: Family) -> bool:
        for sa in family.members:
            ends_at = self._ends_at.get(sa.unique_id)
            if ends_at is None or sa.reauth_delay is None:
                continue
            whole = sa.reauth_delay + (sa.established_delay or 0.0)
            begins_at = ends_at - min(MARGIN_DELAY, whole / MARGIN_PART)
            if turn.now >= begins_at:
                return True
            turn.wake(begins_at)
        return False

    def wants(self, turn: Turn, calm: bool) -> bool:
        """Authenticate now, or go on with it. `calm`: nothing moves, and all works."""
        self._spare_the_first(turn)
        if turn.book.under_way(self._auth) is not None:
            return True
        reason = self.reason(turn) if self.heir is None else ""
        if not reason or not turn.book.free(self._key, turn.now):
            return False
        self._reason = reason
        if reason in {CLONELESS, SHORT} and calm and self.current is not None:
            self._tried = (self.current.key, turn.now)
        return calm or reason in {EXPIRING, FORGOTTEN}

    @property
    def stays_behind(self) -> bool:
        """Where the heir is, the family in use is not known: it may not follow there."""
        return self.heir is not None and self._reason == ELSEWHERE

    def _spare_the_first(self, turn: Turn) -> None:
        """What fails beside a family that works must not delay its healing later."""
        failure = turn.book.failure(self._auth)
        if failure is not None:
            turn.book.forgive(self._auth)
            reason = self.reason(turn)
            unheard = reason == SHORT and failure.reason in PATH_REASONS
            urgent = reason in {EXPIRING, CHANGED, ELSEWHERE, FORGOTTEN} or unheard
            delay = None if urgent else RETRY_DELAY
            turn.book.fail(self._key, turn.now, failure.reason, failure.text, delay)

    def authenticated(self, ike_id: int | None, addresses: int) -> None:
        """A family's id is the number that its first IKE_SA had then; `addresses`: asked for."""
        if ike_id is not None:
            self._own.add(ike_id)
            self.shortage.asked(ike_id, addresses)
        if self.current is not None:
            self._expected = ike_id

    # --- going over ------------------------------------------------------------

    def step(
        self, turn: Turn, works: bool, heir_works: bool, ripe: bool, refused: bool = False
    ) -> None:
        """`ripe`: the heir has all that it can have; `refused`: it may have nothing."""
        self._dismiss(turn, works)
        self._leave(turn)
        heir, current = self.heir, self.current
        if heir is None or current is None:
            return
        if refused or (not heir.clones and not current.clones and current.ours):
            self._give_up(turn, heir, CLONELESS, RETRY_DELAY)
            return
        if self._reason == SHORT and self.shortage.stays(current, heir):
            self._give_up(turn, heir, SHORT, RETRY_DELAY)
            return
        since_at = self._since_at[heir.key]
        late_at = since_at + RIPE_DELAY
        verified_at = since_at + (SHORT_DELAY if self.silence.nobody else VERIFY_DELAY)
        turn.wake(late_at)
        turn.wake(verified_at)
        if self._reason == FORGOTTEN:
            if not self._forgotten(turn) or not self.silence.lasts(since_at):
                self._give_up(turn, heir, "", None)  # it was out of reach, and lives
            elif turn.now >= verified_at:
                self._switch(turn, current, heir)
            return
        if heir_works and (ripe or not works or turn.now >= late_at):
            self._switch(turn, current, heir)

    def _give_up(self, turn: Turn, heir: Family, why: str, delay: float | None) -> None:
        """Nothing was won, for now or as the peer still cannot clone; what works stays."""
        turn.book.fail(self._key, turn.now, "not-negotiated", why, delay)
        self._expected = None
        self._leaving[heir.key] = turn.now - LEAVE_DELAY
        self._leave(turn)

    def _switch(self, turn: Turn, old: Family, new: Family) -> None:
        same = set(old.vips) <= set(new.vips)
        told = "with the same inner addresses" if same else "with other inner addresses"
        turn.say(f"{self._key[1]}: family {new.key} follows {old.key}, {told}")
        turn.book.forgive(self._key)
        self._drop_clone(turn, old)
        self.current, self.heir, self._expected = new, None, None
        self._leaving[old.key] = turn.now
        turn.wake(turn.now + LEAVE_DELAY)

    def _drop_clone(self, turn: Turn, old: Family) -> None:
        """Nobody waits any more for what was asked of a member that goes."""
        members = {sa.unique_id for sa in old.members}
        for request in turn.book.about("clone"):
            if isinstance(request.action, Clone) and request.action.ike_id in members:
                turn.book.drop(request.key)

    def _dismiss(self, turn: Turn, works: bool) -> None:
        """An older family of ours was followed before this controller began."""
        older = {sa.family for sa in self._read.values() if sa.original_initiator and sa.children}
        for key in older:
            if works and self.current and key is not None and key < self.current.key:
                self._leaving.setdefault(key, turn.now)

    def _leave(self, turn: Turn) -> None:
        for key, since_at in self._leaving.items():
            turn.wake(since_at + LEAVE_DELAY)
            if turn.now >= since_at + LEAVE_DELAY:
                going = [sa for sa in self._read.values() if sa.family == key]
                self._closing.terminate(turn, going, replaced=True)

    def reset(self) -> None:
        """charon is gone with all its families."""
        self.current = self.heir = self._expected = None
        self.silence = Silence()
        self.shortage.reset()
        for known in (self._leaving, self._since_at, self._under, self._read, self._ends_at):
            known.clear()


def _changed(before: Connection, now: Connection) -> bool:
    """What a family was negotiated for. A child more or less needs no other family (charon gives
    it to what is up), and addresses of the peer may change under it."""
    old = {child.name: child for child in before.children}
    other = any(old.get(child.name, child) != child for child in now.children)
    return other or (before.vips, before.version) != (now.vips, now.version)
