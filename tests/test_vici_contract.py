# SPDX-License-Identifier: Apache-2.0
"""docs/vici.md from the controller's side: what we send is what it names."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from vici_mif.core import actions, events
from vici_mif.core.model import Pair
from vici_mif.edges import requests, vici

CONTRACT = (Path(__file__).parent.parent / "docs/vici.md").read_text()
PAIR = Pair(ip_address("192.0.2.1"), ip_address("203.0.113.1"))
MARK = "a1b2"

ORDERS: list[requests.Order] = [
    actions.CreateIke("t", "hq", PAIR, (ip_address("0.0.0.1"),), childless=True),
    actions.CreateIke("t", "hq", PAIR, child="net"),
    actions.Clone("t", 1),
    actions.Migrate("t", 1, PAIR, 30),
    actions.Migrate("t", 1, PAIR, 0),
    actions.Unpin("t", 1),
    actions.Probe("t", 1, PAIR, 3),
    actions.CreateChild("t", 1, "net", "net@eth0/203.0.113.1", ("10.3.0.1/32",), (), 7),
    actions.Terminate("t", 1, force=True, replaced=True),
]


def named(command: str) -> set[str]:
    """The keys of a request, as the contract lists them."""
    found = re.search(rf"^    {command} \{{(.*?)\}}", CONTRACT, re.DOTALL | re.MULTILINE)
    assert found, command
    return {key.strip() for key in found[1].split(",")}


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_requests_have_no_other_keys(order: requests.Order) -> None:
    """charon refuses a key that its command does not know."""
    command, message = requests.request(order, MARK)

    assert vici.decode(vici.encode(message)).keys() <= named(command)


def test_values_are_text_as_charon_reads_it() -> None:
    """Addresses, truth values, lists and numbers on the wire."""
    command, message = requests.request(ORDERS[0], MARK)

    assert command == "create-ike"
    assert vici.decode(vici.encode(message)) == {
        "ike": "hq",
        "local": "192.0.2.1",
        "remote": "203.0.113.1",
        "vips": ["0.0.0.1"],
        "childless": "yes",
        "tag": "a1b2/t",
        "timeout": "-1",
    }


def test_no_pin_is_no_key() -> None:
    """`pin = 0` would be a lease of no time; without the key there is none."""
    assert "pin" not in vici.decode(vici.encode(requests.request(ORDERS[4], MARK)[1]))


@pytest.mark.parametrize(
    "command", ["clone", "migrate", "unpin", "probe", "create-child", "terminate"]
)
def test_every_command_of_the_contract_is_spoken(command: str) -> None:
    """None of them is only written down."""
    assert command in {requests.request(order, MARK)[0] for order in ORDERS}


SECTION = {"uniqueid": "7", "local-host": "192.0.2.1", "remote-host": "203.0.113.1"}


@pytest.mark.parametrize(
    ("name", "message", "fact"),
    [
        (
            "ike-clone",
            {"success": "yes", "ike-id": "1", "clone-id": "7", "clone-family": "1"},
            events.ActionDone("t", ike_id=7, family=1),
        ),
        (
            "ike-migrate",
            {"success": "yes", "ike-id": "7", "hq": {**SECTION, "clone-family": "1"}},
            events.ActionDone("t", ike_id=7, family=1),
        ),
        (
            "ike-probe",
            {"success": "yes", "ike-id": "7", "rtt-us": "1500"},
            events.ActionDone("t", ike_id=7, rtt_delay=0.0015),
        ),
        (
            "child-updown",
            {
                "up": "yes",
                "success": "yes",
                "ike-id": "7",
                "hq": {**SECTION, "child-sas": {"net-3": {"name": "net", "uniqueid": "3"}}},
            },
            events.ActionDone("t", ike_id=7, child_id=3),
        ),
    ],
    ids=["clone", "migrate", "probe", "child"],
)
def test_final_events_become_ends(name: str, message: vici.Tree, fact: events.ActionDone) -> None:
    """The numbers of each final event are where the planner looks for them."""
    assert requests.ended_well(message)
    assert requests.done("t", name, message) == fact


REASONS = CONTRACT.partition("| `reason` | meaning |")[2].partition("## Commands")[0]


@pytest.mark.parametrize("word", re.findall(r"^\| `([a-z-]+)` \|", REASONS, re.MULTILINE))
def test_reasons_are_handed_on(word: str) -> None:
    """A word of the contract reaches the planner as it is."""
    message = {"success": "no", "reason": word, "errmsg": "in words"}

    assert not requests.ended_well(message)
    assert requests.failed("t", message) == events.ActionFailed("t", word, "in words")


def test_an_answer_without_a_reason_is_a_plain_failure() -> None:
    """A stock charon knows no reasons."""
    message = {"success": "no", "errmsg": "no matching SAs to terminate found"}

    assert requests.failed("t", message).reason == "failed"
