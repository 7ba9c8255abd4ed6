# SPDX-License-Identifier: Apache-2.0
"""Prometheus' text format, version 0.0.4. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from vici_mif.core.health.tally import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "vicimif_"

Labels = Mapping[str, str]


class Text:
    """Families of samples, each said to be what it is before its first sample."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def family(self, name: str, kind: str, about: str) -> Family:
        """`kind`: counter, gauge or histogram."""
        full = PREFIX + name
        lines = self._lines.setdefault(
            full, [f"# HELP {full} {_escaped(about)}", f"# TYPE {full} {kind}"]
        )
        return Family(full, lines)

    def __str__(self) -> str:
        return "".join(f"{line}\n" for lines in self._lines.values() for line in lines)


class Family:
    """Samples of one name."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self._name = name
        self._lines = lines

    def add(self, value: float, **labels: str) -> None:
        self._sample("", value, labels)

    def histogram(self, found: Histogram, **labels: str) -> None:
        for bound, count in found.buckets():
            self._sample("_bucket", count, {**labels, "le": _number(bound)})
        self._sample("_sum", found.sum, labels)
        self._sample("_count", found.count, labels)

    def _sample(self, suffix: str, value: float, labels: Labels) -> None:
        said = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
        braces = f"{{{said}}}" if said else ""
        self._lines.append(f"{self._name}{suffix}{braces} {_number(value)}")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    if value != value:
        return "NaN"
    return str(value) if isinstance(value, int) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
