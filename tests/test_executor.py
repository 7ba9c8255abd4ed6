# SPDX-License-Identifier: Apache-2.0
"""Every action ends as exactly one fact, also where the world lacks what it needs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.speaker import Speaker, answer, until
from vici_mif.core import actions, events
from vici_mif.core.model import FromEnvironment, FromFile, GuardWish, Order, OrderKind, Pair
from vici_mif.edges import names, orders
from vici_mif.edges.charon import Charon
from vici_mif.edges.guard import Guard
from vici_mif.edges.prober import Prober
from vici_mif.edges.sources import Sources
from vici_mif.edges.steering import Range, Steerer
from vici_mif.shell import executor
from vici_mif.shell.executor import Executor
from vici_mif.shell.log import Log

Carry = Callable[..., list[events.Event]]
PAIR = Pair(ip_address("192.0.2.1"), ip_address("203.0.113.1"))


@pytest.fixture
def carry(tmp_path: Path) -> Carry:
    """Carries actions out where no charon is, and returns the facts."""

    async def run(wanted: tuple[actions.Action, ...]) -> list[events.Event]:
        facts: list[events.Event] = []
        charon = Charon(str(tmp_path / "charon.vici"), facts.append)
        prober = Prober(facts.append)
        log = Log(verbose=False)
        work = Executor(
            charon, Steerer(Range()), Guard(), Sources(print), prober, tmp_path, facts.append, log
        )
        work.begin(wanted)
        await work.settle(10)
        assert work.failure is None
        return facts

    return lambda *wanted: asyncio.run(run(wanted))


@pytest.mark.parametrize(
    "action",
    [
        actions.CreateIke("t", "hq", PAIR, childless=True),
        actions.Clone("t", 1),
        actions.Migrate("t", 1, PAIR, 30),
        actions.Unpin("t", 1),
        actions.Probe("t", 1, PAIR),
        actions.CreateChild("t", 1, "net", "net"),
        actions.Initiate("t", "hq", "net"),
        actions.Terminate("t", 1),
        actions.TerminateChild("t", 1),
        actions.LoadConnection("t", "hq", {}),
        actions.LoadSecret("t", "load-shared", {}),
        actions.ReadSa("t", 1),
        actions.ReadAll("t"),
    ],
    ids=lambda action: type(action).__name__,
)
def test_without_charon(carry: Carry, action: actions.CharonAction) -> None:
    """Each order to charon fails at once and says that there is none."""
    assert carry(action) == [events.ActionFailed("t", "failed", "charon is not there")]


def test_a_secret_that_is_not_there(carry: Carry, tmp_path: Path) -> None:
    """The file is named; nothing goes out."""
    wish = actions.LoadSecret("t", "load-shared", {"data": FromFile(str(tmp_path / "psk"))})

    (failed,) = carry(wish)

    assert isinstance(failed, events.ActionFailed)
    assert str(tmp_path / "psk") in failed.text


async def test_what_vici_cannot_carry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the one action, in words without a secret; the next is carried out."""
    speaker, facts = Speaker(), list[events.Event]()
    speaker.instead["load-conn"] = lambda: answer(success=True)
    (tmp_path / "ca.pem").write_bytes(b"x" * 220_000)
    monkeypatch.setenv("PSK", "s3cret" * 11_000)
    certs = {"local": {"certs": (FromFile(str(tmp_path / "ca.pem")),)}}
    path = str(tmp_path / "charon.vici")
    charon = Charon(path, facts.append)
    log = Log(verbose=False)
    work = Executor(
        charon,
        Steerer(Range()),
        Guard(),
        Sources(print),
        Prober(facts.append),
        tmp_path,
        facts.append,
        log,
    )
    async with await asyncio.start_unix_server(speaker.serve, path):
        edge = asyncio.create_task(charon.run())
        await until(lambda: any(isinstance(fact, events.SasSeen) for fact in facts))
        facts.clear()
        for action in (
            actions.LoadConnection("file", "hq", certs),
            actions.LoadSecret("variable", "load-shared", {"data": FromEnvironment("PSK")}),
            actions.LoadConnection("value", "hq", {"local": {"id": "x" * 65_536}}),
            actions.LoadConnection("name", "h" * 256, {}),
            actions.LoadConnection("good", "hq", {}),
        ):
            work.begin([action])
            await work.settle(10)
        edge.cancel()
        await asyncio.gather(edge, return_exceptions=True)

    assert work.failure is None
    assert facts.pop() == events.ActionDone("good")
    said = [(f.tag, f.text) for f in facts if isinstance(f, events.ActionFailed)]
    assert said == [
        ("file", f"{tmp_path}/ca.pem: larger than 65535 bytes"),
        ("variable", "environment variable PSK: larger than 65535 bytes"),
        ("value", "hq.local.id: larger than 65535 bytes, the most that VICI carries"),
        ("name", f"the name '{'h' * 20}'…: larger than 255 bytes, the most that VICI carries"),
    ]


def test_orders_are_stored(carry: Carry, tmp_path: Path) -> None:
    """The fact comes after the file is there."""
    order = Order(1, OrderKind.DOWN, "hq", "2026-11-20T21:00:00Z")

    assert carry(actions.StoreOrders("t", (order,))) == [events.ActionDone("t")]
    assert orders.read(tmp_path) == (order,)


def test_orders_that_cannot_be_stored(carry: Carry, tmp_path: Path) -> None:
    """A state directory that is a file: the reason is told, and nothing ends."""
    (tmp_path / "orders.json").mkdir()

    (failed,) = carry(actions.StoreOrders("t", ()))

    assert isinstance(failed, events.ActionFailed)
    assert "orders.json" in failed.text


def test_a_name(carry: Carry) -> None:
    """The addresses come before the end."""
    resolved, done = carry(actions.Resolve("t", "localhost"))

    assert isinstance(resolved, events.NameResolved)
    assert {str(address) for address in resolved.addresses} & {"127.0.0.1", "::1"}
    assert done == events.ActionDone("t")


def test_a_name_that_is_none(carry: Carry) -> None:
    """No resolver takes an empty label: the name is in the reason, and the controller lives."""
    (failed,) = carry(actions.Resolve("t", "gw..example"))

    assert isinstance(failed, events.ActionFailed)
    assert "gw..example" in failed.text


def test_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has an end, and the end of the process does not wait for it either."""
    hangs = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hangs.wait(30) and [])

    with pytest.raises(names.NameFailed, match=r"slow\.example: no answer within 0\.05 s"):
        asyncio.run(names.resolve("slow.example", within=0.05))

    hangs.set()


def test_no_nft(carry: Carry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The guard's tool is missing: the reason names the package."""
    monkeypatch.setenv("PATH", str(tmp_path))

    (failed,) = carry(actions.Guard("t", GuardWish()))

    assert isinstance(failed, events.ActionFailed)
    assert "nftables" in failed.text


def test_say_needs_no_end(carry: Carry, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and that is all."""
    assert carry(actions.Say("t", "hq: up")) == []
    assert "hq: up" in capsys.readouterr().err


def test_a_mistake_of_ours_ends_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither the operator's fault nor the world's is not swallowed."""

    async def run() -> tuple[BaseException | None, list[events.Event]]:
        facts: list[events.Event] = []
        charon = Charon("", facts.append)
        log = Log(verbose=False)
        prober = Prober(facts.append)
        work = Executor(
            charon, Steerer(Range()), Guard(), Sources(print), prober, tmp_path, facts.append, log
        )
        monkeypatch.setattr(executor.orders, "write", lambda *_: [][1])
        work.begin([actions.StoreOrders("t", ())])
        await work.settle(5)
        return work.failure, facts

    failure, facts = asyncio.run(run())

    assert isinstance(failure, IndexError)
    assert facts == [events.Ticked()]
