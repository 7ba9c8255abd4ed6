# SPDX-License-Identifier: Apache-2.0
"""What AddressSanitizer found, in a form that two trees can be compared by. Pure."""

import re
from dataclasses import dataclass

ERROR = re.compile(r"==\d+==ERROR: AddressSanitizer: (\S+)")
LEAK = re.compile(r"^(Direct|Indirect) leak of \d+ byte")
FRAME = re.compile(r"^\s+#\d+ 0x[0-9a-f]+ (?:in (\S+) )?")
ALLOCATORS = {"malloc", "calloc", "realloc", "__interceptor_malloc", "__interceptor_calloc",
              "__interceptor_realloc", "__interceptor_strdup", "strdup"}  # fmt: skip
DEPTH = 6


@dataclass(frozen=True, order=True)
class Finding:
    """A kind and the functions it was found in, innermost first; no lines, they move."""

    kind: str
    functions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} in {' < '.join(self.functions) or 'unknown functions'}"


def findings(output: str) -> set[Finding]:
    """All findings in the output of a program."""
    found: set[Finding] = set()
    kind = ""
    functions: list[str] = []
    for line in [*output.splitlines(), ""]:
        if started := ERROR.search(line):
            kind, functions = started[1], []
        elif leak := LEAK.match(line):
            kind, functions = f"{leak[1].lower()} leak", []
        elif frame := FRAME.match(line):
            functions += [frame[1] or "?"]
        elif kind and functions:  # the first stack of a report ends
            named = [name for name in functions if name not in ALLOCATORS]
            found.add(Finding(kind, tuple(named[:DEPTH])))
            kind, functions = "", []
    return found
