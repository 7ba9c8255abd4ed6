# SPDX-License-Identifier: Apache-2.0
"""How requests ended, told to the part of the peer that asked: the key of a request says which."""

from __future__ import annotations

from collections.abc import Sequence

from vici_mif.core import events as e
from vici_mif.core.actions import (
    Action,
    Clone,
    CreateChild,
    CreateIke,
    Migrate,
    Probe,
    Terminate,
)
from vici_mif.core.family import stock
from vici_mif.core.family.family import slots_of
from vici_mif.core.model import PathName
from vici_mif.core.peers.peer import Peer
from vici_mif.core.requests import Request
from vici_mif.core.turn import Turn


def about(peer: Peer, action: Action) -> str:
    """What a request is about, for the log: its peer, and its path or else its IKE SA."""
    path = peer.paths.of(action.pair) if isinstance(action, CreateIke | Migrate | Probe) else None
    if path is not None:
        return f"{peer.name}: {path}"
    if isinstance(action, Clone | CreateChild | Terminate | Migrate | Probe):
        return f"{peer.name}: IKE SA {action.ike_id}"
    return peer.name


def taken(peer: Peer, request: Request, event: e.ActionTaken) -> None:
    """charon took it; its end is to come."""
    if request.key[0] == "auth":
        peer.authentication.taken(event.ike_id)


def done(peer: Peer, turn: Turn, request: Request, event: e.ActionDone) -> None:
    """It ended well."""
    turn.book.forgive(request.key)
    match request.key:
        case ("auth", _):
            peer.authentication.done(peer.paths, turn.now)
            peer.succession.authenticated(event.ike_id, _asked(request))
        case ("clone", _):
            peer.growth.done(turn, event.ike_id)
        case ("load", _, str(part)):
            peer.loading.done(turn, int(part), event.key_id, bool(event.is_new))
        case ("unload", _, str(command), str(name)):
            peer.loading.undone(turn, command, name)
        case ("initiate", *_):
            stock.asked(turn, request.key)
        case ("child", _, int(ike_id), str(template)):
            peer.children.opened(turn, request.key, ike_id, template)
        case _:
            _done_on_a_path(peer, turn, request, event)


def _asked(request: Request) -> int:
    """Inner addresses that an authentication asked for, of each IP version."""
    action = request.action
    return max(1, len(slots_of(action.vips))) if isinstance(action, CreateIke) else 1


def _done_on_a_path(peer: Peer, turn: Turn, request: Request, event: e.ActionDone) -> None:
    match request.key:
        case ("move", _, int(ike_id)):
            peer.succession.answered(ike_id, turn.now)
            peer.moves.moved(turn, peer.paths, ike_id)
        case ("doubt" | "glance", _, *of):
            _looked(peer, turn, of)
        case ("test", _, PathName() as path):
            peer.succession.answered(_tried(request), turn.now)
            peer.suspicion.answered(_tried(request))
            peer.moves.tested(turn, peer.paths, path, event.rtt_delay)
            peer.probing.tested(turn, peer.paths, path, event.rtt_delay)
        case ("pin", _, int(ike_id)):
            peer.pins.renewed(ike_id, turn.now)


def _looked(peer: Peer, turn: Turn, of: Sequence[object]) -> None:
    if of:
        ike_id = int(str(of[0]))
        tells = peer.succession.tells(ike_id)
        match peer.moves.looked(turn, peer.paths, ike_id, tells):
            case True:
                peer.succession.answered(ike_id, turn.now)
            case False:
                peer.succession.unanswered(ike_id)
    else:
        peer.probing.looked(turn, peer.tunnels, peer.paths, peer.moves)


def failed(peer: Peer, turn: Turn, request: Request, reason: str, text: str) -> None:
    """It ended badly."""
    match request.key:
        case ("auth", _):
            peer.authentication.failed(turn, peer.paths, reason, text)
            if reason == "peer-refused":
                peer.loading.doubt(turn)
        case ("clone", _):
            peer.growth.failed(turn, reason, text)
        case ("move", _, int(ike_id)):
            if reason == "timeout":
                peer.succession.unanswered(ike_id)
            tells = peer.succession.tells(ike_id)
            peer.moves.not_moved(turn, peer.paths, ike_id, reason, text, tells)
        case ("test", _, PathName() as path):
            ike_id = _tried(request)
            tells = peer.succession.tells(ike_id)
            if peer.moves.not_tested(turn, peer.paths, path, request.action, reason, text, tells):
                nobody = peer.suspicion.unanswered(turn, peer.paths, ike_id)
                peer.succession.unanswered(ike_id, nobody=nobody)
        case ("unload", _, str(command), str(name)):
            peer.loading.undone(turn, command, name)  # mostly it was not there any more
        case ("resolve", _, name):
            peer.loading.unresolved(name)
            turn.book.fail(request.key, turn.now, reason, text)
        case _:
            turn.book.fail(request.key, turn.now, reason, text)


def _tried(test: Request) -> int:
    """The IKE_SA that tested a path."""
    assert isinstance(test.action, Probe)
    return test.action.ike_id
