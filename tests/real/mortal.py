# SPDX-License-Identifier: Apache-2.0
"""`vici-mif` that dies of SIGKILL in the middle of an action of its own.

    python -m tests.real.mortal NTH DELAY KIND run -c FILE

NTH counts actions from the first one of KIND on (`any`: from the start); DELAY is how many
seconds that action may last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from vici_mif.core.actions import Action
from vici_mif.shell.cli import main
from vici_mif.shell.executor import Executor

NTH, DELAY, KIND = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

carry_out = Executor._carry_out
counted: list[str] = []


async def mortal(self: Executor, action: Action) -> None:
    kind = type(action).__name__
    if counted or KIND in {"any", kind}:
        counted.append(kind)
        if len(counted) == NTH:
            print(f"dies {DELAY:g} s after the begin of {kind}", flush=True)
            asyncio.get_running_loop().call_later(DELAY, os.kill, os.getpid(), signal.SIGKILL)
    await carry_out(self, action)


if __name__ == "__main__":
    Executor._carry_out = mortal  # type: ignore[method-assign]
    sys.exit(main(sys.argv[4:]))
