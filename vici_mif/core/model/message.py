# SPDX-License-Identifier: Apache-2.0
"""A VICI message before it goes out, without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FromFile:
    """Stands for the content of a file, read by the shell at the moment of sending."""

    path: str


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """Stands for the value of an environment variable, read at the moment of sending."""

    name: str


Value = str | FromFile | FromEnvironment
Section = Mapping[str, "Value | tuple[Value, ...] | Section"]
"""A VICI message before it goes out: values, lists, sections."""
