"""What bad requests get over HTTP: the right status and code, in the documented order, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.http.asking import Api, accepted, message, refused
from tests.transports.conftest import Join, joining, make_transport, watched
from tests.transports.peer import Peer, Refused, Transport, new_run, socket_target
from tests.transports.refusals import BAD_QUERIES, BAD_RUN_IDS
from tests.transports.servers import Server, daemon

EVIL: Final = {"Origin": "https://evil.example"}


@pytest.mark.parametrize("run_id", BAD_RUN_IDS.values(), ids=BAD_RUN_IDS.keys())
def test_a_run_id_that_is_no_uuid_is_refused(api: Api, run_id: str) -> None:
    """By every route that takes one."""
    path = f"/api/runs/{run_id}/collaboration"
    refused(api.http.get(f"{path}/poll"), 400, "invalid_parameter")
    refused(api.http.get(f"{path}/replay"), 400, "invalid_parameter")
    refused(api.http.post(f"{path}/events?userId=ann", content=b"{"), 400, "invalid_parameter")
    refused(api.http.get(f"/api/admin/websocket/connections/{run_id}"), 400, "invalid_parameter")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        *BAD_QUERIES.values(),
        ("limit=0", "invalid_parameter"),
        ("limit=1001", "invalid_parameter"),
        ("limit=5000", "invalid_parameter"),
        ("limit=", "invalid_parameter"),
        ("wait=-1", "invalid_parameter"),
        ("wait=30001", "invalid_parameter"),
        ("wait=soon", "invalid_parameter"),
    ],
)
def test_a_wrong_query_is_refused(api: Api, run: str, query: str, code: str) -> None:
    """By poll as by the upgrade, which asks poll why it failed."""
    refused(api.http.get(f"/api/runs/{run}/collaboration/poll?{query}"), 400, code)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "poll", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "poll", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "replay", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "events", {"POST", "OPTIONS"}),
        ("PATCH", "events", {"POST", "OPTIONS"}),
        ("TRACE", "poll", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "poll", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_refused_with_those_that_are_allowed(
    api: Api, run: str, method: str, path: str, allowed: set[str]
) -> None:
    """405 with Allow (RFC 9110, section 15.5.6)."""
    answer = api.http.request(method, f"/api/runs/{run}/collaboration/{path}")
    refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/missing",
        "/api",
        "/api/run",
        "/api/runs/x",
        "/api/runs/00000000-0000-4000-8000-000000000000/collaboration",
        "/api/runs/00000000-0000-4000-8000-000000000000/collaboration/poll/x",
        "/ws/runs/00000000-0000-4000-8000-000000000000/collaboration",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%00",
        "/%ff%fe",
        "/index.html%00.js",
        "/<script>alert(1)</script>",
        "//evil.example/x",
    ],
)
def test_there_is_nothing_at_other_paths(api: Api, path: str) -> None:
    """404, and nothing of the path stands in the answer."""
    answer = api.http.get(path)
    problem = refused(answer, 404, "not_found")
    assert path.strip("/") not in problem["detail"]
    assert "script>" not in answer.text


def test_other_pages_may_read_nothing_and_change_nothing(api: Api, run: str) -> None:
    """No answer allows another origin to read it; unsafe methods of theirs are refused."""
    reading = api.http.get(f"/api/runs/{run}/collaboration/poll", headers=EVIL)
    assert reading.status_code == 200
    preflight = api.http.options(
        f"/api/runs/{run}/collaboration/events", headers=EVIL | {"Access-Control-Request-Method": "POST"}
    )
    for origin in ("https://evil.example", "null", "http://127.0.0.1", "http://localhost"):
        answer = api.ask_publish(run, message("GRAFT"), headers={"Origin": origin})
        refused(answer, 403, "origin_not_allowed")
        for each in (reading, preflight, answer):
            assert not [name for name in each.headers if name.startswith("access-control-")]
    refused(api.http.post("/api/admin/websocket/cleanup-stale", headers=EVIL), 403, "origin_not_allowed")
    assert api.poll(run)["sequenceNumber"] == 0


def test_the_servers_own_pages_may_publish(api: Api, run: str) -> None:
    """Their origin is the server's."""
    accepted(api.ask_publish(run, message("GRAFT"), headers={"Origin": api.server.url}))


def test_a_bad_origin_counts_before_a_bad_body(api: Api, run: str) -> None:
    """A body is read once it is known that its sender may publish; nobody else's is worth keeping."""
    refused(api.ask_publish(run, b"{", headers=EVIL), 403, "origin_not_allowed")
    refused(api.ask_publish(run, message("GRAFT"), user=None, headers=EVIL), 400, "user_required")


# On a server with one connection at most, where runs are not made by joining

KNOWN: Final = new_run()
OTHER: Final = new_run()
LIMIT: Final = 1


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A daemon that knows two runs and makes no others."""
    directory = tmp_path_factory.mktemp("strict")
    with daemon(directory) as server, Api(server) as api:
        for run in (KNOWN, OTHER):
            api.publish(run, message("GRAFT", {"after": "A"}, "m1"))
        server.terminate()
        assert server.wait_stopped() == 0
    settings = {
        "RUNS__AUTO_CREATE": "false",
        "LIMITS__CONNECTIONS": str(LIMIT),
        "PRESENCE__GRACE_S": "0",
        "CLIENT__POLLING_INTERVAL_MS": "100",
    }
    with daemon(directory, settings) as server:
        yield from watched(server)


@pytest.fixture(params=["plain", "kept-alive"])
def strict(request: pytest.FixtureRequest, strict_server: Server) -> Transport:
    """Both kinds of session code on it."""
    return make_transport(request.param, strict_server)


@pytest.fixture
def join_strict(strict: Transport) -> Iterator[Join]:
    """Brings a client into the known run; afterwards the server is empty again."""
    with joining(strict, KNOWN) as bring_in:
        yield bring_in
    with Api(strict.server) as api:
        while api.http.get("/api/admin/websocket/connections").json()["totalConnections"]:
            pass


def refuse_upgrade(transport: Transport, target: str, status: int, code: str, origin: str | None = None) -> None:
    """The upgrade is refused so."""
    with pytest.raises(Refused) as caught:
        Peer(transport, target, [] if origin is None else [("Origin", origin)])
    assert (caught.value.status, caught.value.problem["code"]) == (status, code)
    assert ("retry-after" in caught.value.headers) == (status in (429, 503))


def test_an_unknown_run_is_not_found_anywhere(strict: Transport) -> None:
    """Reading, joining and publishing say so; the known one is served."""
    unknown = new_run()
    with Api(strict.server) as api:
        refused(api.ask_poll(unknown), 404, "run_not_found")
        refused(api.ask_poll(unknown, userId="ann"), 404, "run_not_found")
        refused(api.ask_replay(unknown), 404, "run_not_found")
        refused(api.ask_publish(unknown, message("GRAFT")), 404, "run_not_found")
        refuse_upgrade(strict, socket_target(unknown, userId="ann"), 404, "run_not_found")
        assert api.poll(KNOWN)["sequenceNumber"] == 1
        assert {row["runId"] for row in api.http.get("/api/runs").json()} == {KNOWN, OTHER}


def test_upgrade_and_poll_check_in_the_same_order(strict: Transport, join_strict: Join) -> None:
    """400 path and query, 403 origin, 429 limits, 404: each hides what would come after it."""
    join_strict("first")
    unknown = new_run()
    bad_query = f"/ws/runs/{unknown}/collaboration?userId="
    with Api(strict.server) as api:
        refuse_upgrade(strict, bad_query, 400, "invalid_parameter", origin=EVIL["Origin"])
        refused(api.ask_poll(unknown, userId="", limit=1), 400, "invalid_parameter")
        refuse_upgrade(strict, socket_target(unknown, userId="ann"), 403, "origin_not_allowed", origin=EVIL["Origin"])
        refuse_upgrade(strict, socket_target(unknown, userId="ann"), 429, "too_many_connections")
        problem = refused(api.ask_poll(unknown, userId="ann", limit=1), 429, "too_many_connections")
        assert problem["retryAfterMs"] >= 1000
        refused(api.ask_poll(unknown), 404, "run_not_found")


def test_a_place_that_becomes_free_can_be_taken(strict: Transport, join_strict: Join) -> None:
    """The limit counts who is there, and an anonymous read is nobody."""
    first = join_strict("first")
    refuse_upgrade(strict, socket_target(KNOWN, userId="second"), 429, "too_many_connections")
    with Api(strict.server) as api:
        assert api.poll(KNOWN)["activeUsers"] == ["first"]
        first.leave()
        while api.http.get("/api/admin/websocket/connections").json()["totalConnections"]:
            pass
    assert join_strict("second").welcome["activeUsers"] == ["second"]
