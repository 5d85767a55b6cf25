"""Watching the hub from inside: how late its event loop is, and what its figures were in the last half hour.

Law of this file: two small tasks that only look.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from collabd.hub.history import INTERVAL_S, Moment, moment
from collabd.hub.overview import take_overview

if TYPE_CHECKING:
    from collabd.hub.hub import Hub

LAG_INTERVAL_S: Final = 0.1
"""How often the event loop is asked whether it is on time."""


@asynccontextmanager
async def watching(hub: Hub) -> AsyncIterator[None]:
    """Watch a running hub for the length of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_measure_lag, hub)
        nursery.start_soon(_keep_history, hub)
        yield
        nursery.cancel_scope.cancel()


async def _measure_lag(hub: Hub) -> None:
    lag = hub.counters.loop_lag
    while True:
        due = trio.current_time() + LAG_INTERVAL_S
        await trio.sleep_until(due)
        lag.observe(trio.current_time() - due)


async def _keep_history(hub: Hub) -> None:
    while True:
        await trio.sleep(INTERVAL_S)
        hub.history.add(await take_moment(hub))


async def take_moment(hub: Hub) -> Moment:
    """The hub's figures as they stand now."""
    overview = await take_overview(hub)
    return moment(hub.counters, overview, at=hub.now_ms(), steady=trio.current_time())
