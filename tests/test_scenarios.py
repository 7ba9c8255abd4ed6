# SPDX-License-Identifier: Apache-2.0
"""Every scenario of tests/scenarios on the simulated stage, and what their format refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulated import GATEWAY, THREE, up
from tests.simulated_stage import SimulatedStage
from tests.test_guest_controller import FOR_THE_GUEST
from vici_mif.core.family import pins
from vici_mif.core.wish.document import ConfigError, Source
from vici_mif.lab.abilities import KERNEL_ESP, NAT, OWN_CLOCK, VLAN
from vici_mif.lab.scenario import stage, words
from vici_mif.lab.scenario.checks import CHECKS
from vici_mif.lab.scenario.lab import LabStage
from vici_mif.lab.scenario.model import Expect, Scenario, Step, Story, Topology, parse, schema
from vici_mif.lab.scenario.runner import ExpectationError, StageError, play
from vici_mif.lab.wires.impair import DOWN, UP

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))
DOCS = Path(__file__).parent.parent / "docs"
KNOWN_NEEDS = {"patched", "stock", NAT, VLAN, KERNEL_ESP, OWN_CLOCK}
GUEST_ONLY = {VLAN, KERNEL_ESP, OWN_CLOCK}
"""What not every development machine has: such a scenario is also played in the guest."""
HEAD = "scenario: a test\n"


def read(path: Path) -> Scenario:
    return parse(path.stem, Source(f"tests/scenarios/{path.name}", path.read_text()))


def of(text: str) -> Scenario:
    return parse("a-test", Source("a-test.yaml", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_on_the_simulated_stage(path: Path) -> None:
    """What this stage knows it plays; what it does not know is for real packets."""
    scenario = read(path)
    missing = stage.unknown(scenario, SimulatedStage())
    if missing:
        pytest.skip(f"no such thing without packets: {', '.join(missing)}")
    told: list[object] = []
    try:
        play(scenario, SimulatedStage(), told.append)
    except Exception:
        print(*told, sep="\n")
        raise


@pytest.mark.parametrize(
    ("direction", "silent"), [("both", {UP, DOWN}), (UP, {UP}), (DOWN, {DOWN})]
)
def test_a_cut_is_of_one_direction(direction: str, silent: set[str]) -> None:
    """The other one's payload goes on to arrive, and an exchange fails either way."""
    it = SimulatedStage()
    it.open(of(f"{HEAD}topology: {{uplinks: 2}}\nsteps:\n  - expect: {{peer: up}}\n"))
    it.world.run(5)
    it.do_traffic_start()
    cut_at = it.now()
    it.do_cut("eth0", direction)
    it.world.run(0.5)
    it.do_uncut("eth0")

    longest = it.silences(cut_at)
    (here,) = (
        tunnel.inner[0] for tunnel in it.world.hq.tunnels if tunnel.home == f"eth0/{GATEWAY}"
    )
    assert {way for way in (UP, DOWN) if longest[f"{here}/32 {way}"] > 0.4} == silent
    assert {way for way in (UP, DOWN) if longest[f"{here}/32 {way}"] == 0.0} == {UP, DOWN} - silent


@pytest.mark.parametrize(("direction", "moves"), [(UP, False), (DOWN, True)])
def test_without_targets_a_stream_that_still_arrives_hides_a_cut(
    direction: str, moves: bool
) -> None:
    """What comes in shows that a path works; that nothing gets out only an answer could tell."""
    world = up(THREE)
    world.streaming = True
    world.one_way["eth0"] = direction
    world.run(30)

    assert ("eth0" not in {str(t.current).partition("/")[0] for t in world.hq.tunnels}) == moves


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_on_a_real_stage_somewhere(path: Path) -> None:
    """Nothing is for the simulated stage alone, and what it needs is known by name."""
    scenario = read(path)

    assert stage.unknown(scenario, LabStage) == []
    assert scenario.needs <= KNOWN_NEEDS
    assert path.stem in FOR_THE_GUEST or not scenario.needs & GUEST_ONLY


def test_there_are_scenarios_and_nothing_else() -> None:
    """A file with another ending would never be played."""
    known = set(FILES)

    assert known
    assert [p.name for p in (Path(__file__).parent / "scenarios").iterdir() if p not in known] == []


MISTAKES = {
    "a word": (
        HEAD + "steps:\n  - do: link eth0 donw\n  - expect: {peer: up}\n",
        "a-test.yaml:3:9: steps.0.do: unknown word `link eth0 donw`; nearest known: link LINK down",
    ),
    "a word in a list": (
        HEAD + "steps:\n  - do:\n    - remember\n    - dance\n  - expect: {peer: up}\n",
        "a-test.yaml:5:7: steps.0.do.1: unknown word `dance`",
    ),
    "a time": (
        HEAD + "steps:\n  - do: suspend long\n  - expect: {peer: up}\n",
        "a-test.yaml:3:9: steps.0.do: expected a time such as 5s or 500ms, found long",
    ),
    "an expectation": (
        HEAD + "steps:\n  - expect:\n      per: up\n",
        "a-test.yaml:4:7: steps.0.expect.per: unknown key; nearest known: peer",
    ),
    "a state": (
        HEAD + "steps:\n  - expect: {peer: upp}\n",
        "a-test.yaml:3:20: steps.0.expect.peer: expected 'up', 'degraded', 'down', 'standby' "
        "or 'waiting', found 'upp'",
    ),
    "a count": (
        HEAD + "steps:\n  - expect: {moves: few}\n",
        "a-test.yaml:3:21: steps.0.expect.moves: expected a number, or one such as `<= 8`",
    ),
    "two kinds of step": (
        HEAD + "steps:\n  - {wait: 1s, expect: {peer: up}}\n",
        "a-test.yaml:3:5: steps.0: expected one of do, expect, wait, repeat",
    ),
    "nothing expected": (
        HEAD + "steps:\n  - wait: 1s\n",
        "a-test.yaml:3:3: steps: nothing is expected: such a scenario cannot fail",
    ),
    "the configuration inside": (
        HEAD + "connections: {hq: {links: [eth0], hold_dwn: 1s}}\nsteps:\n  - expect: {peer: up}\n",
        "a-test.yaml:2:35: connections.hq.hold_dwn: unknown key; nearest known: hold_down",
    ),
    "the topology": (
        HEAD + "topology: {uplinks: 9}\nsteps:\n  - expect: {peer: up}\n",
        "a-test.yaml:2:21: topology.uplinks: expected less than or equal to 8, found 9",
    ),
    "no steps": (HEAD, "a-test.yaml:1:1: steps: missing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_with_their_place(mistake: str) -> None:
    """File, line, column, key, and what would be right."""
    text, expected = MISTAKES[mistake]
    with pytest.raises(ConfigError) as error:
        of(text)

    assert str(error.value) == expected


ALL_HOME = "  - expect: {peer: up, spares: 1, seats: {eth0: eth0, wlan0: wlan0, wwan0: wwan0}}\n"
WRONG = {
    "peer: down": "peer is up, not down",
    "mode: one": "mode is per-path, not one",
    "why: banana": "`banana` does not stand in why",
    "seats: {wlan0: eth0}": "the tunnel of wlan0 is wlan0/203.0.113.1, not on eth0",
    "seats: {eth0: nowhere}": "the tunnel of eth0 is eth0/203.0.113.1, not on nowhere",
    "over: [eth0, wlan0]": "tunnels are on eth0/203.0.113.1, wlan0/203.0.113.1, wwan0/203.0.113.1",
    "over: [eth0, eth0, wlan0]": "wwan0/203.0.113.1, not on eth0, eth0, wlan0",
    "tunnels: 4": "tunnels: 3, not 4",
    "spares: '>= 5'": ", not >= 5",
    "authentications: 2": "authentications: 1, not 2",
    "clones: 0": "clones: ",
    "moves: '>= 99'": ", not >= 99",
    "paths: {eth0: failed}": "eth0/203.0.113.1 is active",
    "paths: {eth9: active}": "there is no path eth9",
    "probe: {eth0: inner}": "eth0/203.0.113.1 is told by ike",
    "probe: {eth9: ike}": "there is no path eth9",
    "links: [eth0]": "links are eth0, wlan0, wwan0, not eth0",
    "mtu: 1": "mtu: ",
    "spis: changed": "spis not changed",
    "inner: changed": "inner not changed",
    "family: changed": "family not changed",
    "traffic: {eth0: wlan0}": "payload of eth0 goes over eth0, not over wlan0",
    "silence: 1s": "there is no stream",
    "sas: 0": "sas: ",
    "pins: 0": "pins: ",
    "left: nothing": "left in the kernel: ",
    "controller: gone": "the controller is not gone",
}


@pytest.mark.parametrize("claim", WRONG)
def test_what_is_not_so_is_said(claim: str) -> None:
    """Each claim can fail, at its line, in words that tell what was found."""
    text = HEAD + f"steps:\n{ALL_HOME}  - do: remember\n  - expect: {{{claim}}}\n    within: 1s\n"
    with pytest.raises(ExpectationError) as error:
        play(of(text), SimulatedStage())

    assert str(error.value).startswith("a-test.yaml:5:5: on the simulated stage, not within 1 s:")
    assert WRONG[claim] in str(error.value)


def test_each_claim_is_shown_to_fail() -> None:
    """Those that the simulated stage can tell; the others are shown by the lab's tests."""
    shown = {claim.partition(":")[0] for claim in WRONG}
    told = {name for name in CHECKS if hasattr(SimulatedStage, stage.LOOKS.get(name, "sas"))}

    assert told - shown == {"tcp"}
    assert Expect.model_fields.keys() == CHECKS.keys() | {"of"}


def test_silence_is_measured() -> None:
    """A stream that hears nothing for a while is caught, though it is heard again."""
    steps = (
        "  - do: [traffic start, remember, cut eth0 both]\n  - wait: 2s\n  - do: uncut eth0\n"
        "  - wait: 5s\n  - expect: {silence: 1900ms}\n    within: 1s\n"
    )
    with pytest.raises(ExpectationError, match=r"silent for 2\.000 s, longer than 1\.9 s"):
        play(of(HEAD + f"steps:\n{ALL_HOME}{steps}"), SimulatedStage())


def test_what_holds_must_go_on_holding() -> None:
    """`throughout` catches what was so only for a moment."""
    text = (
        f"{HEAD}steps:\n{ALL_HOME}  - do: [link eth0 down, link eth0 up]\n"
        "  - expect: {peer: degraded}\n    throughout: 20s\n"
    )
    with pytest.raises(ExpectationError, match=r"a-test.yaml:5:5: .*held no longer than"):
        play(of(text), SimulatedStage())


def test_a_planner_that_decides_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run is decided again at its end, from its journal."""

    class Forgetful(SimulatedStage):
        def verdict(self) -> list[str]:
            monkeypatch.setattr(pins, "PIN_DELAY", pins.PIN_DELAY - 1)
            return super().verdict()

    with pytest.raises(ExpectationError, match=r"a-test on the simulated stage:\n  journal.jsonl:"):
        play(of(HEAD + f"steps:\n{ALL_HOME}"), Forgetful())


def test_a_word_that_a_stage_lacks_is_named() -> None:
    """The scenario does not run there, and says why."""
    text = HEAD + f"steps:\n  - do: flush ruleset\n{ALL_HOME}"
    with pytest.raises(StageError, match="needs what the simulated stage has not: flush ruleset"):
        play(of(text), SimulatedStage())


def test_words_are_unique_and_well_formed() -> None:
    """Two words of one name would be one method."""
    names = [word.name for word in words.WORDS]

    assert len(set(names)) == len(names)
    capitals = {p for word in words.WORDS for p in word.usage.split() if not p.islower()}
    assert capitals <= words.KINDS.keys()


def test_the_document_has_every_word_and_claim() -> None:
    """docs/scenarios.md tells all of them, with the same words."""
    text = (DOCS / "scenarios.md").read_text()

    assert [w.usage for w in words.WORDS if f"| `{w.usage}` | {w.help}" not in text] == []
    assert [key for key in Expect.model_fields if f"| `{key}` |" not in text] == []
    tops = [*Story.model_fields, *Step.model_fields, *Topology.model_fields]
    assert [key for key in tops if f"`{key}`" not in text] == []


def test_the_schema_is_current() -> None:
    """`scripts/schemas` writes it."""
    assert json.loads((DOCS / "vici-mif-scenario.schema.json").read_text()) == schema()
