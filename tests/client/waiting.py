"""Waiting for what a run shows."""

from __future__ import annotations

from typing import Any

import trio

from collabd.client import Event, Message, Run


async def take(run: Run, count: int) -> list[Any]:
    """The next items: numbers of events, and resets."""
    items: list[Any] = []
    with trio.fail_after(120):
        while len(items) < count:
            item = await anext(run)
            items.append(item.sequence_number if isinstance(item, Event) else item)
    return items


async def until(run: Run, condition: Any) -> None:
    """Wait until the run's observable values fulfil a condition."""
    with trio.fail_after(300):
        while not condition():
            await run.wait_changed()


async def until_sent(message: Message) -> None:
    """Wait until a message is on the wire."""
    async for state in message.states():
        if state == "sent":
            return
