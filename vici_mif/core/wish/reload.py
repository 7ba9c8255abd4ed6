# SPDX-License-Identifier: Apache-2.0
"""What a running controller can take over from a new configuration, and what it cannot. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vici_mif.core.wish import budget, document
from vici_mif.core.wish.config import Config, parse
from vici_mif.core.wish.document import ConfigError, Key, Problem, Source

AT_RUN_TIME = frozenset({"hooks"})
"""Keys of `daemon` that may change while it runs."""

RESTART = "cannot change while the controller runs: restart it"
DOWN_FIRST = "cannot change while its tunnels are up: `vici-mif down {}` first"

Refusal = tuple[Key, str]


def read(sources: Iterable[Source], now: Config, up: Collection[str]) -> Config:
    """The new configuration. `up`: peers that have tunnels.

    Raises ConfigError with every problem, also with what is good and cannot be taken over.
    """
    files = list(sources)
    config = parse(files)
    refused = [*_daemon(now, config), *_peers(now, config, up)]
    if refused:
        places = document.read(files)
        raise ConfigError(
            Problem(places.place(key, of_key=True), document.dotted(key), text)
            for key, text in refused
        )
    return config


def _daemon(now: Config, new: Config) -> list[Refusal]:
    keys = type(now.daemon).model_fields.keys() - AT_RUN_TIME
    changed = [key for key in keys if getattr(now.daemon, key) != getattr(new.daemon, key)]
    return [(("daemon", key), RESTART) for key in sorted(changed)]


def _peers(now: Config, new: Config, up: Collection[str]) -> list[Refusal]:
    """`inner` decides what the whole family is made of; tables are given once per run."""
    both = sorted(now.connections.keys() & new.connections.keys())
    before, after = now.most_tunnels, new.most_tunnels
    inner: list[Refusal] = [
        (("connections", name, "inner"), DOWN_FIRST.format(name))
        for name in both
        if name in up and now.connections[name].inner != new.connections[name].inner
    ]
    larger = [name for name in both if budget.grows(before[name], after[name])]
    return inner + [(("connections", name, "tunnels"), RESTART) for name in larger]
