"""The upgrade: what is selected, what is never negotiated, and refusals that are plain HTTP and change nothing."""

from __future__ import annotations

import pytest

from tests.transports.conftest import Join
from tests.transports.peer import Peer, Refused, Transport, new_run, socket_target
from tests.transports.refusals import BAD_QUERIES, BAD_RUN_IDS
from tests.transports.wires import Headers


def refuse(transport: Transport, target: str, headers: Headers | None = None) -> Refused:
    """The answer to an upgrade that is not granted."""
    with pytest.raises(Refused) as caught:
        Peer(transport, target, headers)
    return caught.value


def assert_problem(refused: Refused, status: int, code: str) -> None:
    """An RFC 9457 answer with this status and code."""
    assert refused.status == status, refused
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["cache-control"] == "no-store"
    problem = refused.problem
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, "about:blank")
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ("collabd.v1", "collabd.v1"),
        ("collabd.v1, bearer.secret", "collabd.v1"),
        ("bearer.secret, collabd.v1", "collabd.v1"),
        ("chat,collabd.v1", "collabd.v1"),
        ("bearer.secret", None),
        ("collabd.v2", None),
        ("", None),
    ],
)
def test_only_our_subprotocol_is_ever_selected(join: Join, offered: str, selected: str | None) -> None:
    """A bearer token is never selected and never echoed; offering none is fine."""
    answer = join("ann", headers=[("Sec-WebSocket-Protocol", offered)]).answer
    assert answer.headers.get("sec-websocket-protocol") == selected
    assert "secret" not in str(answer)


@pytest.mark.parametrize(
    "offered",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame",
        "permessage-deflate; server_no_context_takeover",
    ],
)
def test_compression_is_never_negotiated(transport: Transport, offered: str) -> None:
    """A small compressed frame can hold megabytes. (Hypercorn alone decides without asking the application.)"""
    wire = transport.open_wire()
    answer = wire.upgrade(socket_target(new_run(), userId="ann"), [("Sec-WebSocket-Extensions", offered)])
    wire.close()
    assert answer.status in (101, 200)
    assert ("sec-websocket-extensions" not in answer.headers) == transport.refuses_compression


def test_answers_name_no_server(join: Join, transport: Transport) -> None:
    """Nobody needs to know what it is built of, and how old that is. (Hypercorn alone names itself.)"""
    granted = join("ann").answer
    refused = refuse(transport, f"/ws/runs/{new_run()}/collaboration")
    if transport.name != "hypercorn":
        assert "server" not in granted.headers.keys() | refused.headers.keys()


@pytest.mark.parametrize("run_id", BAD_RUN_IDS.values(), ids=BAD_RUN_IDS.keys())
def test_a_run_id_that_is_no_uuid_is_refused(transport: Transport, run_id: str) -> None:
    """Only the form 8-4-4-4-12 of ASCII digits is one. (Quart has no route for a path with a line feed.)"""
    no_route = run_id.endswith("%0A") and not transport.hears_control_frames
    refused = refuse(transport, f"/ws/runs/{run_id}/collaboration?userId=ann")
    assert_problem(refused, *((404, "not_found") if no_route else (400, "invalid_parameter")))


@pytest.mark.parametrize(("query", "code"), BAD_QUERIES.values(), ids=BAD_QUERIES.keys())
def test_a_wrong_query_is_refused(transport: Transport, query: str, code: str) -> None:
    """With 400 and the code that says what is wrong."""
    refused = refuse(transport, f"/ws/runs/{new_run()}/collaboration?{query}")
    assert (refused.status, refused.problem["code"]) == (400, code)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "user_required"),
        ("sessionId=x", "user_required"),
        ("userId=a&afterSequence=1", "epoch_required"),
        ("userId=a&epoch=e", "epoch_required"),
        ("userId=a&reconnectAttempt=-1", "invalid_parameter"),
        ("userId=a&reconnectAttempt=many", "invalid_parameter"),
    ],
)
def test_a_socket_needs_a_user_and_a_whole_position(transport: Transport, query: str, code: str) -> None:
    """What poll leaves open has to be there."""
    assert_problem(refuse(transport, f"/ws/runs/{new_run()}/collaboration?{query}"), 400, code)


@pytest.mark.parametrize("path", ["/ws", "/ws/runs", "/", "/api/runs", "/ws/runs/x/other"])
def test_there_are_no_other_sockets(transport: Transport, path: str) -> None:
    """Any other path is a 404."""
    assert_problem(refuse(transport, f"{path}?userId=ann"), 404, "not_found")


def test_an_unknown_query_parameter_is_ignored(join: Join) -> None:
    """Caches and proxies add their own; where one comes twice, the first counts."""
    ann = join("ann", utm_source="x", userID="bob")
    assert ann.welcome["userId"] == "ann"
    twice = Peer(ann.transport, socket_target(ann.welcome["runId"], userId="bob") + "&userId=cid")
    assert twice.welcome["userId"] == "bob"
    twice.vanish()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://", "http://127.0.0.1", "file://", "http://127.0.0.1.evil"]
)
def test_a_page_of_another_origin_is_refused(transport: Transport, origin: str) -> None:
    """Browsers send Origin with every upgrade; whoever sends none is no browser."""
    refused = refuse(transport, socket_target(new_run(), userId="ann"), [("Origin", origin)])
    assert_problem(refused, 403, "origin_not_allowed")


def test_a_page_of_the_servers_own_origin_may_connect(join: Join, transport: Transport) -> None:
    """Scheme, host and port are the same; the same host under another scheme is another origin."""
    join("ann", headers=[("Origin", transport.server.url)])
    other = {"http": "https", "https": "http"}[transport.server.scheme]
    refused = refuse(
        transport, socket_target(new_run(), userId="ann"), [("Origin", f"{other}://{transport.server.host}")]
    )
    assert_problem(refused, 403, "origin_not_allowed")


def test_a_wrong_query_counts_before_a_wrong_origin(transport: Transport) -> None:
    """The checks have an order: path and query first."""
    target = f"/ws/runs/{new_run()}/collaboration"
    assert_problem(refuse(transport, target, [("Origin", "https://evil.example")]), 400, "user_required")


@pytest.mark.parametrize(
    "headers",
    [
        [("Sec-WebSocket-Version", "12")],
        [("Sec-WebSocket-Version", "")],
        [("Sec-WebSocket-Key", "")],
        [("Sec-WebSocket-Key", "short")],
    ],
    ids=["old version", "no version", "no key", "short key"],
)
def test_an_upgrade_that_is_none_is_refused(transport: Transport, headers: Headers) -> None:
    """RFC 6455, section 4.2.1. Hypercorn refuses these itself, without a body, and takes any key as one."""
    target = socket_target(new_run(), userId="ann")
    name, value = headers[0]
    if transport.name == "http2" and name == "Sec-WebSocket-Key":
        return  # RFC 8441: there is none
    if value == "short" and not transport.hears_control_frames:
        return
    refused = refuse(transport, target, headers)
    assert refused.status in (400, 426)
    if transport.hears_control_frames:
        assert_problem(refused, refused.status, "invalid_parameter")
    if transport.hears_control_frames and name == "Sec-WebSocket-Version":
        assert refused.headers["sec-websocket-version"] == "13"


def test_a_refusal_leaves_no_trace(join: Join, transport: Transport, run: str) -> None:
    """No user came, no run was made."""
    refuse(transport, socket_target(run, userId="ann"), [("Origin", "https://evil.example")])
    assert join("bob").welcome["activeUsers"] == ["bob"]
