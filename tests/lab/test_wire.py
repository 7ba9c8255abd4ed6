# SPDX-License-Identifier: Apache-2.0
"""Claims of scenarios about the wire: what they count, and that each can fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vici_mif.core.wish.document import ConfigError, Source
from vici_mif.lab.evidence.ikev2 import Exchange, N
from vici_mif.lab.scenario import wire
from vici_mif.lab.scenario.model import WireClaim, parse
from vici_mif.lab.scenario.wire import Heard

DATA = Path(__file__).parent / "data"
ROOT, CLONE = ("a", "b"), ("c", "d")


def _heard(
    spis: tuple[str, str], exchange: Exchange, number: int, *notifies: N, response: bool = False
) -> Heard:
    by = "gateway" if response else "client"
    return Heard(spis, exchange, number, response, by, frozenset(notifies))


MESSAGES = [
    _heard(ROOT, Exchange.IKE_AUTH, 1, N.CLONE_IKE_SA_SUPPORTED),
    _heard(ROOT, Exchange.IKE_AUTH, 1, N.CLONE_IKE_SA_SUPPORTED, response=True),
    _heard(ROOT, Exchange.CREATE_CHILD_SA, 2, N.CLONE_IKE_SA),
    _heard(ROOT, Exchange.CREATE_CHILD_SA, 2, response=True),
    _heard(CLONE, Exchange.INFORMATIONAL, 0, N.UPDATE_SA_ADDRESSES),
    _heard(CLONE, Exchange.CREATE_CHILD_SA, 1),
]

HOLDS = [
    {"exchange": "IKE_AUTH", "notify": "CLONE_IKE_SA_SUPPORTED", "times": 2},
    {"exchange": "IKE_AUTH", "by": "gateway", "times": 1},
    {"notify": "CLONE_IKE_SA", "kind": "request", "times": 1},
    {"notify": "CLONE_IKE_SA", "kind": "response", "times": 0},
    {"exchange": "CREATE_CHILD_SA", "times": ">= 3"},
    {"sequence": ["UPDATE_SA_ADDRESSES", "CREATE_CHILD_SA"]},
]
WRONG = {
    "CREATE_CHILD_SA request: 2, not 9": {
        "exchange": "CREATE_CHILD_SA",
        "kind": "request",
        "times": 9,
    },
    "CLONE_IKE_SA by the gateway: 0, not 1": {
        "notify": "CLONE_IKE_SA",
        "by": "gateway",
        "times": 1,
    },
    # on the root there is a CREATE_CHILD_SA before, but no move: families are not mixed
    "no IKE SA has CREATE_CHILD_SA, then UPDATE_SA_ADDRESSES": {
        "sequence": ["CREATE_CHILD_SA", "UPDATE_SA_ADDRESSES"]
    },
}


@pytest.mark.parametrize("claim", HOLDS, ids=str)
def test_a_claim_that_holds(claim: dict[str, object]) -> None:
    """Nothing is said of it."""
    assert list(wire.judge(WireClaim.model_validate(claim), MESSAGES)) == []


@pytest.mark.parametrize("said", WRONG)
def test_a_claim_that_does_not_hold(said: str) -> None:
    """What was found and what was claimed."""
    found = list(wire.judge(WireClaim.model_validate(WRONG[said]), MESSAGES))

    assert found == [f"on the wire: {said}"]


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_a_capture_is_read_with_its_keys(tmp_path: Path) -> None:
    """A family of a real lab: who sent what, each message once, however often it went."""
    (tmp_path / "captures").mkdir()
    (tmp_path / "keys" / "client").mkdir(parents=True)
    shutil.copy(DATA / "family.pcap", tmp_path / "captures" / "router-gw0.pcap")
    shutil.copy(DATA / "family.ikev2", tmp_path / "keys" / "client" / wire.TABLE)

    heard = wire.heard(tmp_path, {"203.0.113.1"})

    clones = [m for m in heard if N.CLONE_IKE_SA in m.notifies]
    assert clones
    assert {m.by for m in heard} == {"client", "gateway"}
    assert len({(m.spis, m.message_id, m.response, m.by) for m in heard}) == len(heard)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{notify: CLONE, times: 1}", "unknown: CLONE"),
        ("{sequence: [CREATE_CHILD_SA], times: 1}", "expected one of times, sequence"),
        ("{exchange: IKE_AUTH}", "expected one of times, sequence"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(line: str, said: str) -> None:
    """With its place in the file."""
    text = f"scenario: a test\nwire:\n  - {line}\nsteps:\n  - expect: {{peer: up}}\n"
    with pytest.raises(ConfigError, match=said):
        parse("a-test", Source("a-test.yaml", text))
