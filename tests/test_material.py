# SPDX-License-Identifier: Apache-2.0
"""Secrets and certificates come into a request at the last moment and show nowhere before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vici_mif.core.actions import LoadConnection, LoadSecret
from vici_mif.core.model import FromEnvironment, FromFile
from vici_mif.edges.files import FileError
from vici_mif.shell import material


def test_psk_without_its_line_end(tmp_path: Path) -> None:
    """An editor ends a file with a newline; the secret does not have it."""
    (tmp_path / "psk").write_text("s3cret\n")
    wish = LoadSecret("t", "load-shared", {"type": "IKE", "data": FromFile(str(tmp_path / "psk"))})

    assert material.secret(wish).message == {"type": "IKE", "data": b"s3cret"}
    assert "s3cret" not in repr(wish)


def test_key_as_it_is(tmp_path: Path) -> None:
    """DER may end with any byte."""
    (tmp_path / "key").write_bytes(b"\x30\x0a")
    wish = LoadSecret("t", "load-key", {"data": FromFile(str(tmp_path / "key"))})

    assert material.secret(wish).message == {"data": b"\x30\x0a"}


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers give secrets by environment."""
    monkeypatch.setenv("HQ_PASSWORD", "pass word")
    wish = LoadSecret("t", "load-shared", {"data": FromEnvironment("HQ_PASSWORD")})

    assert material.secret(wish).message == {"data": b"pass word"}


def test_environment_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are the secret, as those of a file are."""
    monkeypatch.setenv("HQ_PASSWORD", os.fsdecode(b"pass\xffword"))
    wish = LoadSecret("t", "load-shared", {"data": FromEnvironment("HQ_PASSWORD")})

    assert material.secret(wish).message == {"data": b"pass\xffword"}


def test_certificates_inside_a_connection(tmp_path: Path) -> None:
    """Files stand in lists, in sections, at any depth."""
    (tmp_path / "cert").write_bytes(b"DER")
    wish = LoadConnection("t", "hq", {"local": {"certs": (FromFile(str(tmp_path / "cert")),)}})

    assert material.connection(wish).message == {"local": {"certs": [b"DER"]}}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """The file or the variable, and why."""
    with pytest.raises(FileError, match="nowhere: No such file"):
        material.secret(LoadSecret("t", "load-key", {"data": FromFile(str(tmp_path / "nowhere"))}))
    with pytest.raises(FileError, match="NO_SUCH_VARIABLE: not set"):
        material.secret(
            LoadSecret("t", "load-shared", {"data": FromEnvironment("NO_SUCH_VARIABLE")})
        )
