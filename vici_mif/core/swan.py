# SPDX-License-Identifier: Apache-2.0
"""VICI's messages and the model, both ways. VICI's bytes and hyphens end here.

Decoding is strict: what is there must be well formed (SwanError names the key), what is missing
falls back to what a stock charon means by leaving it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from vici_mif.core.model import (
    Child,
    ChildTemplate,
    Connection,
    FromEnvironment,
    FromFile,
    IPAddress,
    Sa,
    Section,
)
from vici_mif.core.wish.inline import Frozen, InlineConnection, SecretEntry, secret_kind

Message = Mapping[str, Any]
"""Values (text, or bytes as the vici package gives them), lists of them, mappings."""


class SwanError(ValueError):
    """charon sent what docs/vici.md and strongSwan's own README do not allow."""


# --- reading -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reader:
    """One section of a message and what it is called in errors."""

    section: Message
    name: str

    def text(self, *keys: str) -> str | None:
        """The first of `keys` that is there, as text."""
        for key in keys:
            if (value := self.section.get(key)) is not None:
                return self._decode(key, value)
        return None

    def number(self, key: str, base: int = 10) -> int | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            return int(text, base)
        except ValueError:
            raise SwanError(f"{self.name}.{key}: expected a number, found {text!r}") from None

    def yes(self, key: str) -> bool:
        text = self.text(key)
        if text not in {None, "yes", "no"}:
            raise SwanError(f"{self.name}.{key}: expected yes or no, found {text!r}")
        return text == "yes"

    def address(self, key: str) -> IPAddress:
        text = self.text(key)
        if text is None:
            raise SwanError(f"{self.name}.{key}: missing")
        return address(text)

    def texts(self, *keys: str) -> tuple[str, ...]:
        for key in keys:
            value = self.section.get(key)
            if value is not None:
                items = value if isinstance(value, list) else [value]
                return tuple(self._decode(key, item) for item in items)
        return ()

    def sections(self, key: str) -> Iterable[tuple[str, _Reader]]:
        inner = self.section.get(key, {})
        if not isinstance(inner, Mapping):
            raise SwanError(f"{self.name}.{key}: expected a section")
        for name, section in inner.items():
            if not isinstance(section, Mapping):
                raise SwanError(f"{self.name}.{key}.{name}: expected a section")
            yield name, _Reader(section, f"{self.name}.{key}.{name}")

    def _decode(self, key: str, value: object) -> str:
        if isinstance(value, str):
            return value  # the edge has decoded it
        if not isinstance(value, bytes):
            raise SwanError(f"{self.name}.{key}: expected a value")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise SwanError(f"{self.name}.{key}: not UTF-8") from None


@lru_cache(maxsize=4096)
def address(text: str) -> IPAddress:
    """`192.0.2.1`, `%any` and `%any6` (no address), also with `[..]:port` around it."""
    bare = {"%any": "0.0.0.0", "%any4": "0.0.0.0", "%any6": "::"}.get(text, text)  # noqa: S104
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return ip_address(bare.partition("%")[0])
    except ValueError:
        raise SwanError(f"expected an address, found {text!r}") from None


def sas(message: Message) -> tuple[Sa, ...]:
    """Each `list-sa` event of list-sas, and the sections inside other events: name -> SA."""
    return tuple(
        sa(name, section)
        for name, section in message.items()
        if isinstance(section, Mapping) and "uniqueid" in section
    )


def sa(name: str, section: Message) -> Sa:
    """One IKE_SA as list-sas shows it."""
    it = _Reader(section, name)
    unique_id = it.number("uniqueid")
    if unique_id is None:
        raise SwanError(f"{name}.uniqueid: missing")
    return Sa(
        unique_id=unique_id,
        name=name,
        state=it.text("state") or "",
        local=it.address("local-host"),
        remote=it.address("remote-host"),
        local_port=it.number("local-port") or 0,
        remote_port=it.number("remote-port") or 0,
        initiator=it.yes("initiator"),
        original_initiator=it.yes("original-initiator"),
        spi_in=it.text("initiator-spi") or "",
        spi_responder=it.text("responder-spi") or "",
        local_id=it.text("local-id") or "",
        remote_id=it.text("remote-id") or "",
        remote_eap_id=it.text("remote-eap-id") or "",
        remote_vips=tuple(map(address, it.texts("remote-vips"))),
        local_vips=tuple(map(address, it.texts("local-vips"))),
        family=it.number("clone-family"),
        cloned=it.yes("cloned"),
        clones=it.number("clones") or 0,
        clones_refused=it.number("clones-refused") or 0,
        clone_supported=it.yes("clone-supported"),
        pinned_delay=it.number("pinned"),
        mobike=it.yes("mobike"),
        nat_local=it.yes("nat-local"),
        stale=it.yes("stale"),
        established_delay=it.number("established"),
        rekey_delay=it.number("rekey-time"),
        reauth_delay=it.number("reauth-time"),
        remote_addresses=tuple(map(address, it.texts("remote-addresses"))),
        tasks_queued=it.texts("tasks-queued"),
        tasks_active=it.texts("tasks-active"),
        tasks_passive=it.texts("tasks-passive"),
        children=tuple(_child(name, child) for name, child in it.sections("child-sas")),
    )


def _standing(it: _Reader) -> _Reader:
    """child-rekey shows { name = { old = {...}, new = {...} } }: the new one stands."""
    new = it.section.get("new")
    return _Reader(new, f"{it.name}.new") if isinstance(new, Mapping) else it


def _child(section_name: str, section: _Reader) -> Child:
    it = _standing(section)
    unique_id = it.number("uniqueid")
    if unique_id is None:
        raise SwanError(f"{it.name}.uniqueid: missing")
    return Child(
        name=it.text("name") or section_name,
        unique_id=unique_id,
        state=it.text("state") or "",
        local_ts=it.texts("local-ts"),
        remote_ts=it.texts("remote-ts"),
        mode=it.text("mode") or "TUNNEL",
        encap=it.yes("encap"),
        encryption=it.text("encr-alg") or "",
        integrity=it.text("integ-alg") or "",
        spi_in=it.text("spi-in") or "",
        spi_out=it.text("spi-out") or "",
        if_id_in=it.number("if-id-in", 16) or 0,
        if_id_out=it.number("if-id-out", 16) or 0,
        bytes_in=it.number("bytes-in") or 0,
        bytes_out=it.number("bytes-out") or 0,
        packets_in=it.number("packets-in") or 0,
        packets_out=it.number("packets-out") or 0,
    )


def connections(message: Message) -> tuple[Connection, ...]:
    """Each `list-conn` event of list-conns: name -> connection."""
    return tuple(
        connection(name, section)
        for name, section in message.items()
        if isinstance(section, Mapping)
    )


def connection(name: str, section: Message) -> Connection:
    """One connection as list-conns shows it."""
    it = _Reader(section, name)
    return Connection(
        name=name,
        version=it.text("version") or "",
        local_addrs=it.texts("local_addrs"),
        remote_addrs=it.texts("remote_addrs"),
        vips=it.texts("vips"),
        pools=it.texts("pools"),
        childless=it.text("childless"),
        mobike=it.yes("mobike") if "mobike" in section else True,
        unique=it.text("unique"),
        children=tuple(_template(name, child) for name, child in it.sections("children")),
    )


def _template(name: str, it: _Reader) -> ChildTemplate:
    return ChildTemplate(
        name=name,
        mode=it.text("mode") or "TUNNEL",
        local_ts=it.texts("local-ts", "local_ts"),
        remote_ts=it.texts("remote-ts", "remote_ts"),
        start_action=it.text("start_action"),
        if_id_in=it.text("if_id_in") or "0",
        if_id_out=it.text("if_id_out") or "0",
    )


# --- writing: an inline connection -------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """One request that brings an inline connection into charon."""

    command: str
    """load-shared, load-key or load-conn."""
    message: Section
    """Of load-conn: what stands under the connection's name."""


def loads(name: str, wish: InlineConnection, base: str = "") -> tuple[Load, ...]:
    """Secrets first, then the connection. `base`: the directory relative files are in."""
    secrets = [
        _secret(f"vici-mif-{name}-{key}", key, entry, base) for key, entry in wish.secrets.items()
    ]
    return (*secrets, Load("load-conn", _connection(wish, base)))


def _secret(unique: str, key: str, entry: SecretEntry, base: str) -> Load:
    if entry.file is not None:
        return Load("load-key", {"type": "any", "data": FromFile(_path(base, entry.file))})
    source = entry.secret
    assert source is not None
    data = FromEnvironment(source.env) if source.env else FromFile(_path(base, source.file or ""))
    return Load(
        "load-shared",
        {
            "id": unique,
            "type": "IKE" if secret_kind(key) == "ike" else "EAP",
            "data": data,
            "owners": entry.id,
        },
    )


def _connection(wish: InlineConnection, base: str) -> Section:
    message: dict[str, Any] = {"version": "2", **_plain(wish, base)}
    for key in ("local", "local_1", "local_2", "remote", "remote_1", "remote_2"):
        auth = getattr(wish, key)
        if auth is not None:
            message[key.replace("_", "-")] = _plain(auth, base)
    # what we drive must not begin by itself; the operator's word still wins
    message["children"] = {
        child: {"start_action": "none", **_plain(template, base)}
        for child, template in wish.children.items()
    }
    return message


BLOBS = frozenset({"certs", "cacerts", "pubkeys"})
"""Lists of files whose content goes into the message."""


def _plain(model: Frozen, base: str) -> dict[str, Any]:
    """The values and lists of a section that were set, without the sections below."""
    out: dict[str, Any] = {}
    for key in type(model).model_fields:
        value = getattr(model, key)
        if isinstance(value, str):
            out[key] = value
        elif isinstance(value, tuple) and value:
            out[key] = (
                tuple(FromFile(_path(base, file)) for file in value) if key in BLOBS else value
            )
    return out


def _path(base: str, file: str) -> str:
    """Relative files stand beside the configuration."""
    return file if file.startswith("/") or not base else f"{base.rstrip('/')}/{file}"
