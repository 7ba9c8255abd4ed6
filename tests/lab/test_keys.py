# SPDX-License-Identifier: Apache-2.0
"""Certificates of a lab are good for what they are used for, and keys stay private."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from vici_mif.lab import keys


def test_a_certificate_names_its_identity_and_is_signed_by_the_authority() -> None:
    ca = keys.authority("authority")
    issued = keys.issue(ca, "gateway.lab.example")
    issued.certificate.verify_directly_issued_by(ca.certificate)
    names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["gateway.lab.example"]


def test_a_private_key_is_for_its_owner_alone_and_in_no_text(tmp_path: Path) -> None:
    issued = keys.issue(keys.authority("authority"), "client.lab.example")
    issued.write(tmp_path, "x509", "client")
    assert (tmp_path / "private" / "client.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "x509" / "client.pem").read_bytes().startswith(b"-----BEGIN CERT")
    assert "(hidden)" in repr(issued)
