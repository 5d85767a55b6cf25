"""How Hypercorn's connections talk to the app: nothing waits for an app that has ended.

Law of this file: with http.py and http_socket.py the only one that knows Hypercorn's inside. Measured of Hypercorn
0.18: what a client sends goes through a bounded channel whose other end is forgotten, not closed, when the app ends.
A client that goes on sending after its answer fills it, and the connection's task waits there for ever, its socket
open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from hypercorn.trio.task_group import TaskGroup

Put = Callable[[Any], Awaitable[None]]


class AppTasks(TaskGroup):
    """Hypercorn's task group, in which messages to an app that has ended are dropped."""

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Put) -> Put:
        """Start the app for one request; answers how to hand it what the client sends."""
        ended = False
        waiting: set[trio.CancelScope] = set()

        async def send_and_note_the_end(message: Any) -> None:
            nonlocal ended
            if message is None:
                ended = True
                for cancel_scope in waiting:
                    cancel_scope.cancel()
            await send(message)

        put: Put = await super().spawn_app(app, config, scope, send_and_note_the_end)
        channel: trio.MemorySendChannel[Any] = put.__self__  # type: ignore[attr-defined]

        async def put_unless_ended(message: Any) -> None:
            if ended:
                return
            with suppress(trio.WouldBlock):
                channel.send_nowait(message)
                return
            with trio.CancelScope() as cancel_scope:
                waiting.add(cancel_scope)
                try:
                    await put(message)
                finally:
                    waiting.discard(cancel_scope)

        return put_unless_ended
