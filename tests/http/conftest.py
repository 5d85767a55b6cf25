"""Fixtures: one daemon for all HTTP tests that need no settings of their own; a run for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.http.asking import Api
from tests.transports.conftest import Join, joining, make_transport, watched
from tests.transports.peer import new_run
from tests.transports.servers import Server, daemon

POLLING_INTERVAL_MS: Final = 400
GRACE_S: Final = 0.4
RETENTION: Final = 300
SETTINGS: Final = {
    "CLIENT__POLLING_INTERVAL_MS": str(POLLING_INTERVAL_MS),
    "EVENTS__PERSISTED_EVENT_TYPES": '["NOTE"]',
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "PRESENCE__GRACE_S": str(GRACE_S),
    "STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN": str(RETENTION),
    "STORAGE__RING_BYTES_PER_RUN": "100000",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`collabd serve`, with a ring that is too small for what some tests write: they read from disk as well."""
    with daemon(tmp_path_factory.mktemp("http"), SETTINGS) as running:
        yield from watched(running)


@pytest.fixture(scope="session")
def api(server: Server) -> Iterator[Api]:
    """The server's HTTP routes."""
    with Api(server) as asking:
        yield asking


@pytest.fixture
def run() -> str:
    """A run of the test's own."""
    return new_run()


@pytest.fixture
def join(server: Server, run: str) -> Iterator[Join]:
    """Brings WebSocket clients into the test's run."""
    with joining(make_transport("plain", server), run) as bring_in:
        yield bring_in
