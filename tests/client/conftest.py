"""Opening runs against the fake server under a virtual clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from collabd.client import Run, open_run
from collabd.client.engine import Surroundings
from tests.client.fake_server import FakeServer

RUN = "8f14e45f-ceea-467f-9c2b-0a1b2c3d4e5f"
URL = "http://fake:1"


class Wall:
    """A wall clock that goes with the virtual one until a test makes it jump."""

    def __init__(self) -> None:
        self.jumped = 1_000_000.0

    def __call__(self) -> float:
        return trio.current_time() + self.jumped


Opener = Callable[..., AbstractAsyncContextManager[Run]]


@pytest.fixture
def wall() -> Wall:
    """The wall clock of the clients that the test opens."""
    return Wall()


@pytest.fixture
def opened(wall: Wall) -> Opener:
    """Open a run on a fake server: full jitter draws 1.0, ids are i1, i2, …"""
    numbers = itertools.count(1)

    def opener(server: FakeServer, **options: Any) -> AbstractAsyncContextManager[Run]:
        surroundings = Surroundings(
            dial=server.dial,
            wall=wall,
            random=options.pop("random", lambda: 1.0),
            new_id=lambda: f"i{next(numbers)}",
        )
        return open_run(URL, RUN, user_id="ann", surroundings=surroundings, **options)

    return opener
