# SPDX-License-Identifier: Apache-2.0
"""Debian's stanza format (deb822) as dictionaries. Pure."""

Stanza = dict[str, str]


def stanzas(text: str) -> list[Stanza]:
    """All stanzas of a text: field names in lower case, continuation lines joined by newlines."""
    found: list[Stanza] = []
    current: Stanza = {}
    field = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            if current:
                found.append(current)
            current, field = {}, ""
        elif line[0] in " \t":
            if field:
                current[field] = f"{current[field]}\n{line.strip()}".strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            field = name.strip().lower()
            current[field] = value.strip()
    return [*found, current] if current else found


def words(stanza: Stanza, field: str) -> list[str]:
    """The words of a field, none when it is absent."""
    return stanza.get(field.lower(), "").split()
