"""Limits of a run and of a user in it, over WebSocket and polling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http.asking import Api, refused
from tests.transports.conftest import Join, joining, make_transport, watched
from tests.transports.peer import Peer, Refused, Transport, socket_target
from tests.transports.servers import Server, daemon


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three connections per run, two per user."""
    settings = {"LIMITS__CONNECTIONS_PER_RUN": "3", "LIMITS__CONNECTIONS_PER_USER": "2"}
    with daemon(tmp_path_factory.mktemp("small"), settings) as server:
        yield from watched(server)


@pytest.fixture(params=["plain", "kept-alive"])
def transport(request: pytest.FixtureRequest, small_server: Server) -> Transport:
    """Both kinds of session code."""
    return make_transport(request.param, small_server)


@pytest.fixture
def join(transport: Transport, run: str) -> Iterator[Join]:
    """Brings clients into the test's run."""
    with joining(transport, run) as bring_in:
        yield bring_in


def assert_no_room(transport: Transport, run: str, user: str, **query: object) -> None:
    """One more of this user is one too many, over WebSocket and polling alike."""
    with pytest.raises(Refused) as caught:
        Peer(transport, socket_target(run, userId=user, **query))
    assert (caught.value.status, caught.value.problem["code"]) == (429, "too_many_connections")
    assert int(caught.value.headers["retry-after"]) >= 1
    with Api(transport.server) as api:
        refused(api.ask_poll(run, userId=user), 429, "too_many_connections")
        assert api.poll(run)["runId"] == run


def test_a_run_takes_so_many_connections_and_no_more(join: Join, transport: Transport, run: str) -> None:
    """Whoever asks then is told to come later, and those inside go on."""
    inside = [join(f"user {number}") for number in range(3)]
    assert_no_room(transport, run, "user 4")
    inside[0].tell("GRAFT", {"after": "A"}, "m1")
    inside[0].leave()
    with Api(transport.server) as api:
        while api.http.get(f"/api/admin/websocket/connections/{run}").json()["connectionCount"] == 3:
            pass
    join("user 4")


def test_a_user_takes_so_many_connections_of_a_run_and_no_more(join: Join, transport: Transport, run: str) -> None:
    """Another user still comes in."""
    join("ann")
    join("ann")
    assert_no_room(transport, run, "ann")
    join("bob")


def test_a_session_that_comes_back_takes_its_own_place(join: Join, run: str) -> None:
    """A newer connection replaces the older, so a full run is no reason to refuse it."""
    old = join("ann")
    join("ann")
    join("bob")
    new = join("ann", sessionId=old.welcome["sessionId"])
    assert new.welcome["sessionId"] == old.welcome["sessionId"]
    assert old.wait_closed().code == 4009
