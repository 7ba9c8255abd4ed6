# SPDX-License-Identifier: Apache-2.0
"""An inline `connection:` in swanctl's own terms.

Names and meanings are those of swanctl.conf's `connections.<conn>`; values are handed to charon
as they are. Two things differ: `secrets` stand inside, and a secret is never written here but
named, by file or by environment variable.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vici_mif.core.wish.values import Name


def _text(value: object) -> object:
    """YAML reads `yes` as a truth value and `4500` as a number; charon wants the words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else value


def _texts(value: object) -> object:
    """swanctl's lists are separated by commas; a YAML list is as good."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    text = _text(value)
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


Text = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(_texts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _words(text: str) -> list[str]:
    return text.split()


CONNECTION_TEXT = _words(
    "version local_port remote_port aggressive pull dscp encap mobike dpd_delay dpd_timeout "
    "fragmentation childless send_certreq send_cert ocsp ppk_id ppk_required keyingtries unique "
    "reauth_time rekey_time over_time rand_time if_id_in if_id_out"
)
CONNECTION_TEXTS = _words("proposals pools")

AUTH_TEXT = _words("round auth id eap_id aaa_id xauth_id ca_id revocation")
AUTH_TEXTS = _words("certs cacerts pubkeys groups cert_policy")

CHILD_TEXT = _words(
    "sha256_96 rekey_time life_time rand_time rekey_bytes life_bytes rand_bytes rekey_packets "
    "life_packets rand_packets updown hostaccess mode policies policies_fwd_out dpd_action ipcomp "
    "inactivity reqid priority interface mark_in mark_in_sa mark_out set_mark_in set_mark_out "
    "label label_mode tfc_padding replay_window per_cpu_sas hw_offload copy_df "
    "copy_ecn copy_dscp icmp close_action"
)
CHILD_TEXTS = _words("ah_proposals esp_proposals")


class Frozen(BaseModel):
    """Parsed once, never changed, nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _swanctl(name: str, about: str, texts: list[str], lists: list[str]) -> type[Frozen]:
    fields: dict[str, Any] = dict.fromkeys(texts, (Text | None, None))
    fields |= dict.fromkeys(lists, (Texts, ()))
    return create_model(name, __base__=Frozen, __doc__=about, **fields)


_Auth = _swanctl("_Auth", "", AUTH_TEXT, AUTH_TEXTS)
_Child = _swanctl("_Child", "", CHILD_TEXT, CHILD_TEXTS)
_Connection = _swanctl("_Connection", "", CONNECTION_TEXT, CONNECTION_TEXTS)


class Auth(_Auth):  # type: ignore[misc, valid-type]
    """One authentication round of one side."""


class InlineChild(_Child):  # type: ignore[misc, valid-type]
    """A child's template."""

    local_ts: Texts = ()
    remote_ts: Texts = ()
    start_action: Text | None = None
    if_id_in: Text | None = None
    if_id_out: Text | None = None


class SecretSource(Frozen):
    """Where a secret is read at the moment it is handed to charon."""

    file: str | None = Field(default=None, description="A file whose content is the secret.")
    env: str | None = Field(default=None, description="An environment variable of the controller.")

    @model_validator(mode="after")
    def _one(self) -> SecretSource:
        if (self.file is None) == (self.env is None):
            raise PydanticCustomError("place", "expected either `file` or `env`")
        return self


def _not_literal(value: object) -> object:
    if not isinstance(value, dict):
        raise PydanticCustomError(
            "place", "a secret does not stand here: expected {file: PATH} or {env: NAME}"
        )
    return value


class SecretEntry(Frozen):
    """One secret: `ike*` a PSK, `eap*` a password, `private*` a private key's file."""

    id: Texts = ()
    secret: Annotated[SecretSource, BeforeValidator(_not_literal)] | None = Field(
        None, description="For `ike*` and `eap*`: where the secret is."
    )
    file: str | None = Field(default=None, description="For `private*`: the key, PEM or DER.")


SECRET_KINDS = ("ike", "eap", "private")


def secret_kind(name: str) -> str | None:
    """`ike-moon` is an `ike` secret."""
    return next((kind for kind in SECRET_KINDS if name.startswith(kind)), None)


class InlineConnection(_Connection):  # type: ignore[misc, valid-type]
    """A connection that charon does not have by itself."""

    local_addrs: Texts = ()
    remote_addrs: Texts = ()
    vips: Texts = ()

    local: Auth = Field(default_factory=Auth)
    local_1: Auth | None = Field(default=None, alias="local-1")
    local_2: Auth | None = Field(default=None, alias="local-2")
    remote: Auth = Field(default_factory=Auth)
    remote_1: Auth | None = Field(default=None, alias="remote-1")
    remote_2: Auth | None = Field(default=None, alias="remote-2")
    children: dict[Name, InlineChild] = Field(min_length=1)
    secrets: dict[str, SecretEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _secrets_fit(self) -> InlineConnection:
        for name, entry in self.secrets.items():
            if fault := _misfit(name, entry):
                raise PydanticCustomError("place", fault, {"at": ("secrets", name)})
        return self

    @model_validator(mode="after")
    def _has_remote(self) -> InlineConnection:
        if not self.remote_addrs:
            raise PydanticCustomError("place", "missing: `remote_addrs`, the peer's address")
        return self


def _misfit(name: str, entry: SecretEntry) -> str | None:
    kind = secret_kind(name)
    if kind is None:
        return "expected a name that begins with ike, eap or private, as in swanctl.conf"
    if kind == "private":
        return None if entry.file and not entry.secret else "expected `file`, the private key"
    return None if entry.secret and not entry.file else "expected `secret` with `file` or `env`"
