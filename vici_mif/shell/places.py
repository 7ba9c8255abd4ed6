# SPDX-License-Identifier: Apache-2.0
"""Where a controller has its configuration, sockets and orders: by option, by file, by default."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from vici_mif.core.wish.config import Config, ConfigError, Source, parse
from vici_mif.core.wish.daemon import DaemonConfig
from vici_mif.edges import files

CONFIG_PATH = Path("/etc/vici-mif/config.yaml")


@dataclass(frozen=True)
class Places:
    """The paths of one controller."""

    vici: str
    run_dir: Path
    state_dir: Path
    broken: ConfigError | None = None
    """What is wrong with the file that would name them: a controller may run all the same."""


def arguments(sub: argparse.ArgumentParser, *, below: bool = False) -> None:
    """The options that every command has. `below` another that has them: either place is good."""
    unset = argparse.SUPPRESS if below else None

    def add(*names: str, metavar: str, about: str, kind: type = Path) -> None:
        sub.add_argument(*names, type=kind, metavar=metavar, help=about, default=unset)

    add("-c", "--config", metavar="FILE", about=f"configuration (default {CONFIG_PATH})")
    add("--vici", metavar="PATH", about="charon's VICI socket, instead of daemon.vici", kind=str)
    add("--run-dir", metavar="DIR", about="instead of daemon.run_dir")
    add("--state-dir", metavar="DIR", about="instead of daemon.state_dir")


def config(args: argparse.Namespace) -> Config:
    """The configuration the options name. Raises FileError and ConfigError."""
    return read(args.config or CONFIG_PATH)


def read(path: Path) -> Config:
    """The configuration that begins with this file. Raises FileError and ConfigError."""
    return parse(Source(name, text) for name, text in files.read_config(path))


def places(args: argparse.Namespace, config: Config | None) -> Places:
    """An option counts more than the file, and the file more than the default."""
    own = config.daemon if config else DaemonConfig()
    return Places(
        vici=args.vici or own.vici,
        run_dir=args.run_dir or Path(own.run_dir),
        state_dir=args.state_dir or Path(own.state_dir),
    )


def to_ask(args: argparse.Namespace) -> Places:
    """For a question to a running controller: its socket may be read where its file may not."""
    if args.config is None and (args.run_dir or not readable(CONFIG_PATH)):
        return places(args, None)
    try:
        return places(args, config(args))
    except ConfigError as error:
        return replace(places(args, None), broken=error)


def readable(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True
