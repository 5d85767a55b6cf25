from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collabd.store.interface import Store
from collabd.store.memory import MemoryStore
from collabd.store.sqlite import open_store
from tests.store.support import HandClock

OpenStore = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture
def clock() -> HandClock:
    """The time, set by hand."""
    return HandClock()


@pytest.fixture(params=["sqlite", "memory"])
def open_any(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> OpenStore:
    """Opens a store of each kind with the settings given: one test body, every implementation."""
    if request.param == "sqlite":
        return partial(open_store, tmp_path, clock_ms=clock)

    @asynccontextmanager
    async def open_memory(**settings: Any) -> Any:
        yield MemoryStore(clock_ms=clock, **settings)

    return open_memory
