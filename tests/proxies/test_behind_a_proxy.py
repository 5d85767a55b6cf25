"""The shipped proxy configurations before the real daemon: everything works below them that works without."""

from __future__ import annotations

import re
import signal
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import httpx
import pytest
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from collabd.protocol.requests import MAX_WAIT_MS
from tests.proxies.stack import PREFIX, ROOT, Shape, Stack, stack
from tests.support.daemon import receive, receive_until, send

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_time]  # a proxy's timeouts run on real time

LONGEST_S = 60.0
SHAPES = {
    "nginx": Shape("nginx"),
    "nginx, prefix, Unix socket": Shape("nginx", prefix=PREFIX, unix=True),
    "nginx, prefix taken off": Shape("nginx", prefix=PREFIX, strips_prefix=True),
    "nginx, TLS twice": Shape("nginx", daemon_tls=True),
    "caddy": Shape("caddy"),
    "caddy, prefix, Unix socket": Shape("caddy", prefix=PREFIX, unix=True),
    "caddy, prefix taken off": Shape("caddy", prefix=PREFIX, strips_prefix=True),
    "caddy, TLS twice": Shape("caddy", daemon_tls=True),
}


@pytest.fixture(scope="module", params=list(SHAPES.values()), ids=list(SHAPES))
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A proxy and a daemon, in each shape."""
    with stack(tmp_path_factory.mktemp("stack"), request.param) as running:
        yield running


@asynccontextmanager
async def joined(
    front: Stack, run: str, query: str = "", *, address: str = "127.0.0.1", **headers: str
) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket through the proxy, from this loopback address."""
    host = f"localhost:{front.port}"
    path = f"{front.shape.prefix}/ws/runs/{run}/collaboration?userId=ann{query}"
    context = ssl.create_default_context(cafile=front.authority)
    given = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    stream = await trio.open_tcp_stream("127.0.0.1", front.port, local_address=address)
    secure = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
    try:
        async with trio.open_nursery() as nursery:
            socket = await wrap_client_stream(
                nursery, secure, host, path, subprotocols=["collabd.v1"], extra_headers=given
            )
            async with socket:
                yield socket
    except* LocalProtocolError:
        pass  # trio-websocket 0.12 tries to answer a ping that comes while it closes, which wsproto forbids


def try_upgrade(front: Stack, run: str, headers: dict[str, str]) -> httpx.Response:
    """The answer to an upgrade that is refused."""
    asked = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with front.http() as http:
        return http.get(f"/ws/runs/{run}/collaboration?userId=ann", headers=asked | headers)


def path_of(run: str, what: str) -> str:
    """A collaboration route."""
    return f"/api/runs/{run}/collaboration/{what}"


async def test_a_session_is_joined_and_resumed(front: Stack) -> None:
    """Every event once, across a reconnect, as without a proxy."""
    run = str(uuid4())
    async with joined(front, run) as socket:
        welcome = (await receive(socket, LONGEST_S))["data"]
        await send(socket, "GRAFT", {"after": "A"}, "m1")
        assert (await receive_until(socket, "GRAFT", LONGEST_S))["sequenceNumber"] == 1
    with front.http() as http:
        body = {"eventType": "PRUNE", "data": {"stepId": "B", "isPruned": True}, "clientMessageId": "m2"}
        assert http.post(path_of(run, "events?userId=ben"), json=body).json()["acks"][0]["sequenceNumber"] == 2
    position = f"&afterSequence=1&epoch={welcome['epoch']}&sessionId={welcome['sessionId']}"
    async with joined(front, run, position) as socket:
        again = (await receive(socket, LONGEST_S))["data"]
        assert (again["recovered"], again["replayCount"], again["sessionId"]) == (True, 1, welcome["sessionId"])
        assert (await receive(socket, LONGEST_S))["sequenceNumber"] == 2


async def test_a_websocket_takes_the_fast_way_even_after_requests(front: Stack) -> None:
    """The daemon pings it, which it cannot on the slower way, that of upgrades on kept connections."""
    run = str(uuid4())
    with front.http() as http, front.operator() as operator:
        for _ in range(3):
            assert http.get("/actuator/health").json() == {"status": "UP"}
        async with joined(front, run) as socket:
            session = (await receive(socket, LONGEST_S))["data"]["sessionId"]
            with trio.fail_after(LONGEST_S):
                while (await figures(operator, session))["averageLatencyMs"] is None:
                    await receive_nothing(socket)


async def receive_nothing(socket: WebSocketConnection) -> None:
    """Let a moment pass in which nothing is expected."""
    with trio.move_on_after(0.05):
        await socket.get_message()


async def figures(operator: httpx.Client, session: str) -> dict[str, Any]:
    """A session's figures."""
    answer = await trio.to_thread.run_sync(operator.get, f"/api/admin/websocket/metrics/{session}")
    found: dict[str, Any] = answer.json()
    return found


async def test_the_daemon_sees_the_clients_address(front: Stack) -> None:
    """Not the proxy's, nor what the client says of itself."""
    run = str(uuid4())
    with front.operator() as operator:
        async with joined(front, run, address="127.0.0.9", x_forwarded_for="203.0.113.7") as socket:
            await receive(socket, LONGEST_S)
            answer = await trio.to_thread.run_sync(operator.get, f"/api/admin/websocket/connections/{run}")
    assert [entry["remoteAddress"] for entry in answer.json()["connections"]] == ["127.0.0.9"]


def test_operators_need_their_token(front: Stack) -> None:
    """A request through a proxy is nobody's on this machine, and the token works."""
    with front.http() as http, front.operator() as operator:
        for path in ("/api/admin/websocket/health", "/metrics"):
            assert http.get(path).status_code == 401
            assert operator.get(path).status_code == 200


async def test_our_own_page_may_connect_and_others_may_not(front: Stack) -> None:
    """The own origin is that of public_url, whatever the daemon itself is called."""
    run = str(uuid4())
    own = front.url.removesuffix(front.shape.prefix)
    async with joined(front, run, origin=own) as socket:
        await receive(socket, LONGEST_S)
    for origin in ("https://evil.example", "http://127.0.0.1:8080"):
        refused = await trio.to_thread.run_sync(try_upgrade, front, run, {"origin": origin})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")


def test_a_poll_waits_and_brings_more_than_the_proxy_buffers(front: Stack) -> None:
    """An answer of a megabyte comes whole, and one that is held back comes when there is something."""
    run = str(uuid4())
    events = [{"eventType": "GRAFT", "data": {"after": str(n), "text": "x" * 9_000}} for n in range(100)]
    with front.http() as http:
        assert http.post(path_of(run, "events?userId=ben"), json={"events": events}).status_code == 200
        page = http.get(path_of(run, "poll"))
        assert len(page.content) > 800_000
        assert [event["sequenceNumber"] for event in page.json()["events"]] == list(range(1, 101))
        started = time.monotonic()
        assert http.get(path_of(run, "poll?afterSequence=100&wait=600")).json()["events"] == []
        assert time.monotonic() - started > 0.55


def test_refusals_are_the_daemons_own(front: Stack) -> None:
    """As problem+json, whatever the proxy thinks of the status."""
    run = str(uuid4())
    with front.http() as http:
        big = http.post(path_of(run, "events?userId=ben"), content=b" " * 1_100_000)
        assert (big.status_code, big.json()["code"]) == (413, "message_too_big")
        assert http.get(path_of(run, "poll?limit=x")).json()["code"] == "invalid_parameter"
        assert http.get("/api/nothing").json()["code"] == "not_found"


def test_pages_and_all_they_link_to_are_served(front: Stack) -> None:
    """Links are relative, so that they work below a prefix."""
    with front.http() as http:
        for page in ("/", f"/runs/{uuid4()}", "/admin"):
            answer = http.get(page)
            assert answer.status_code == 200
            links = re.findall(r'(?:src|href)="([^"#]+)"', answer.text)
            for link in links:
                assert http.get(urljoin(f"{front.url}{page}", link)).status_code == 200, link
        if front.shape.prefix and not front.shape.strips_prefix and front.shape.proxy != "nginx":
            bare = http.get(front.url)
            assert (bare.status_code, bare.headers["location"]) == (308, f"{front.shape.prefix}/")


async def test_clients_come_back_after_a_restart_of_the_daemon(front: Stack) -> None:
    """The proxy needs no restart, and the daemon no other address; after kill -9 a Unix socket is taken over."""
    run = str(uuid4())
    async with joined(front, run) as socket:
        welcome = (await receive(socket, LONGEST_S))["data"]
        await send(socket, "GRAFT", {"after": "A"}, "m1")
        await receive_until(socket, "GRAFT", LONGEST_S)
        await trio.to_thread.run_sync(front.backend.stop, signal.SIGKILL)
        refused = await trio.to_thread.run_sync(try_upgrade, front, run, {})
        assert refused.status_code == 502
    await trio.to_thread.run_sync(front.backend.start)
    position = f"&afterSequence=0&epoch={welcome['epoch']}&sessionId={welcome['sessionId']}"
    async with joined(front, run, position) as again:
        assert (await receive(again, LONGEST_S))["data"]["recovered"] is True
        assert (await receive(again, LONGEST_S))["sequenceNumber"] == 1


def test_the_shipped_timeouts_are_above_heartbeat_and_long_poll() -> None:
    """nginx cuts what is silent for proxy_read_timeout: pings and held answers must come sooner."""
    from collabd.config import Config

    text = (ROOT / "packaging" / "nginx.conf").read_text()
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", text)
    assert int(seconds) > 2 * Config().websocket.heartbeat_interval_s
    assert int(seconds) * 1000 > 2 * MAX_WAIT_MS


async def test_pings_keep_an_idle_websocket_open_through_a_short_timeout(tmp_path: Path) -> None:
    """With a timeout of 1 s and a ping each half second, silence of 3 s is survived."""
    with stack(tmp_path, Shape("nginx"), {"timeout 75s": "timeout 1s"}) as front:
        async with joined(front, str(uuid4())) as socket:
            await receive(socket, LONGEST_S)
            await trio.sleep(3)
            await send(socket, "PING", {"sentAt": 1})
            assert (await receive_until(socket, "PONG", LONGEST_S))["data"]["sentAt"] == 1
