# SPDX-License-Identifier: Apache-2.0
"""What a charon of the lab tells those who listen, kept in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vici_mif.edges.vici import Connection, Tree
from vici_mif.lab.lab import Lab


@contextmanager
def heard(lab: Lab, host: str, event: str) -> Iterator[list[Tree]]:
    """The events of that name from now on, appended as they come."""
    found: list[Tree] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        connection = await Connection.open(str(lab.host(host).vici_socket))
        await connection.register(event)
        ready.set()
        async for _, message in connection.events():
            found.append(message)

    task = loop.create_task(listen())

    def run() -> None:
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, name=f"heard-{host}", daemon=True)
    thread.start()
    assert ready.wait(10), f"{host}: cannot register for {event}"
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
