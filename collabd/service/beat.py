"""What the service manager hears while all is well: a sign of life, and one line on what goes on.

Law of this file: two small tasks that ask and tell. The sign of life is given by whoever could not give it if the
event loop stood still or the log took no more commits: this task runs on the one, and asks the other each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from collabd.hub.hub import Hub
from collabd.service.notify import ServiceManager

STATUS_INTERVAL_S: Final = 5.0


@asynccontextmanager
async def telling(manager: ServiceManager, hub: Hub) -> AsyncIterator[None]:
    """Tell the manager, if there is one, for the length of the block. Raises StorageFailed where the log has failed."""
    if not manager.address:
        yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_status, manager, hub)
        if manager.watchdog_s:
            nursery.start_soon(_feed_watchdog, manager, hub)
        yield
        nursery.cancel_scope.cancel()


async def _feed_watchdog(manager: ServiceManager, hub: Hub) -> None:
    """At half of the time given, as sd_watchdog_enabled(3) recommends."""
    while True:
        await hub.store.probe()
        manager.alive()
        await trio.sleep(manager.watchdog_s / 2)


async def _tell_status(manager: ServiceManager, hub: Hub) -> None:
    told = ""
    while True:
        await trio.sleep(STATUS_INTERVAL_S)
        if not hub.draining and (text := status_of(hub)) != told:
            manager.status(text)
            told = text


def status_of(hub: Hub) -> str:
    """What goes on, in one line for `systemctl status`."""
    sessions = hub.connection_count + hub.polling_count
    polling = f" ({hub.polling_count} polling)" if hub.polling_count else ""
    parts = [f"serving {_counted(sessions, 'session')}{polling} in {_counted(len(hub.runs), 'run')}"]
    if hub.committer.storage_error is not None:
        parts.append("the disk refuses writes")
    return "; ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
