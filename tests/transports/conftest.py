"""Fixtures: one process of each kind for the whole suite, each transport to them, and clients that are cleaned up.

Tests share the processes and are kept apart by runs of their own. At the end of the suite the servers' logs must not
tell of a fault of the server's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import pytest

from tests.transports.peer import Peer, Transport, new_run, socket_target
from tests.transports.servers import Server, daemon, hypercorn_alone, make_certificate
from tests.transports.wires import Headers, Http1Wire, Http2Wire

GRACE_S: Final = 0.4
RETENTION: Final = 20
HEARTBEAT_S: Final = 600
SETTINGS: Final = {
    "WEBSOCKET__HEARTBEAT_INTERVAL_S": str(HEARTBEAT_S),  # no ping comes between the frames that a test reads
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "PRESENCE__GRACE_S": str(GRACE_S),
    "STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN": str(RETENTION),
    "EVENTS__PERSISTED_EVENT_TYPES": '["NOTE"]',
}
NAMES: Final = ("plain", "tls", "kept-alive", "http2", "hypercorn")


class Join(Protocol):
    """Brings a client into a run."""

    def __call__(self, user: str = "ann", *, run: str = ..., headers: Headers | None = None, **query: object) -> Peer:
        """A client that is in; its connection is closed after the test."""


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for everything that the servers of this suite write."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def plain_daemon(directory: Path) -> Iterator[Server]:
    """`collabd serve` without TLS."""
    with daemon(directory / "plain", SETTINGS) as server:
        yield from watched(server)


@pytest.fixture(scope="session")
def tls_daemon(directory: Path) -> Iterator[Server]:
    """`collabd serve` with its own TLS."""
    with daemon(directory / "tls", SETTINGS, certificate=make_certificate(directory)) as server:
        yield from watched(server)


@pytest.fixture(scope="session")
def hypercorn(directory: Path) -> Iterator[Server]:
    """The app under Hypercorn alone."""
    with hypercorn_alone(directory / "hypercorn", SETTINGS) as server:
        yield from watched(server)


def watched(server: Server) -> Iterator[Server]:
    """The server, which must have lived through all tests without a fault of its own."""
    yield server
    assert server.is_alive(), server.log()
    log = server.log()
    assert "fault of the server" not in log, log
    assert "Traceback" not in log, log


def make_transport(name: str, server: Server) -> Transport:
    """One of NAMES, to a server that can be reached by it."""
    if name in ("plain", "tls"):
        return Transport(name, server, partial(Http1Wire, server), True, True, True, True)
    if name == "kept-alive":
        return Transport(name, server, partial(Http1Wire, server, requests_before=1), False, True, True, True)
    if name == "http2":
        return Transport(name, server, partial(Http2Wire, server), False, True, True, True)
    return Transport(name, server, partial(Http1Wire, server), False, False, False, False)


SERVER_OF: Final = {
    "plain": "plain_daemon",
    "kept-alive": "plain_daemon",
    "tls": "tls_daemon",
    "http2": "tls_daemon",
    "hypercorn": "hypercorn",
}


@pytest.fixture(params=NAMES)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport in turn: what holds on one holds on all."""
    server: Server = request.getfixturevalue(SERVER_OF[request.param])
    return make_transport(request.param, server)


@pytest.fixture
def run() -> str:
    """A run of the test's own."""
    return new_run()


@pytest.fixture
def join(transport: Transport, run: str) -> Iterator[Join]:
    """Brings clients into the test's run, or another, over the transport."""
    with joining(transport, run) as bring_in:
        yield bring_in


@contextmanager
def joining(transport: Transport, run: str) -> Iterator[Join]:
    """Bring clients in over a transport for the length of a block."""
    peers: list[Peer] = []

    def bring_in(user: str = "ann", *, run: str = run, headers: Headers | None = None, **query: object) -> Peer:
        peer = Peer(transport, socket_target(run, userId=user, **query), headers)
        peers.append(peer)
        return peer

    try:
        yield bring_in
    finally:
        for peer in peers:
            peer.wire.close()
