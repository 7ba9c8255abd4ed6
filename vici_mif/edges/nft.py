# SPDX-License-Identifier: Apache-2.0
"""The program nft: transactions, listings, and who took a table away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

TIMEOUT = 10.0

Expression = dict[str, Any]


class NftError(Exception):
    """nft is not there or refused; the text says what it said."""


async def load(commands: Iterable[Expression]) -> None:
    """One transaction. Raises NftError."""
    await run("-j", "-f", "-", stdin=json.dumps({"nftables": list(commands)}))


async def listing(*what: str) -> list[Expression]:
    """What `nft -j list` says of something. Raises NftError where there is no such thing."""
    found: list[Expression] = json.loads(await run("-j", "list", *what))["nftables"]
    return found


async def present(family: str, table: str) -> bool:
    """Whether there is such a table."""
    tables = [item["table"] for item in await listing("tables") if "table" in item]
    return any(t.get("name") == table and t.get("family") == family for t in tables)


async def watch(destroyed: Callable[[], Awaitable[None]]) -> None:
    """Call at once, and after every deletion of a table, for ever. Raises NftError without nft."""
    monitor = await _start("monitor", "destroy", "tables", before=await _dying_with_us())
    assert monitor.stdout is not None
    try:
        await destroyed()  # what went while nobody watched
        while await monitor.stdout.readline():
            await destroyed()
        raise NftError("nft monitor ended")
    finally:
        with suppress(ProcessLookupError):
            monitor.kill()
        await monitor.wait()


async def run(*arguments: str, stdin: str = "") -> str:
    """What nft prints. Raises NftError."""
    process = await _start(*arguments)
    try:
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError as error:
        process.kill()
        raise NftError(f"nft gave no answer within {TIMEOUT:g} s") from error
    if process.returncode:
        raise NftError(f"nft: {err.decode(errors='replace').strip()[:500]}")
    return out.decode()


async def _dying_with_us() -> tuple[str, ...]:
    """Who is killed can end nobody: what waits for ever would hold the namespace (prctl(2)).

    Without CAP_SETPCAP some setpriv refuse; under systemd, which ends all of a unit, it may.
    """
    words, nothing = ("setpriv", "--pdeathsig", "KILL"), asyncio.subprocess.DEVNULL
    try:
        trial = await asyncio.create_subprocess_exec(*words, "true", stderr=nothing)
    except OSError:
        return ()
    return () if await trial.wait() else words


async def _start(*arguments: str, before: Sequence[str] = ()) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            *before, "nft", *arguments, stdin=pipe, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise NftError(f"nft: {error.strerror}; install the package nftables") from error
