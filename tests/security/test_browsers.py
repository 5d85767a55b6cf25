"""What pages in browsers may do, and what every answer carries."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from collabd.errors import ProtocolError
from collabd.gateway.handshake import refusal
from collabd.protocol.origin import origin_listed
from collabd.protocol.problems import SECURITY_HEADERS
from tests.security.gate import ADMIN_TOKEN, Answer, Gate, token_mode
from tests.security.signing import RUN

POLL = f"/api/runs/{RUN}/collaboration/poll"
EVENTS = f"/api/runs/{RUN}/collaboration/events"
GRAFT = {"eventType": "GRAFT", "data": {"after": "A"}}
LISTED = "https://app.example"
ROUTES = [
    ("GET", "/"), ("GET", "/admin"), ("GET", f"/runs/{RUN}"), ("GET", POLL), ("POST", EVENTS), ("GET", "/api/runs"),
    ("GET", "/api/client-config"), ("GET", "/api/admin/websocket/health"), ("POST", "/api/admin/tokens/revoke"),
    ("GET", "/metrics"), ("GET", "/actuator/health"), ("GET", "/nothing"), ("PUT", POLL), ("OPTIONS", POLL),
]  # fmt: skip

every_route = pytest.mark.parametrize(("method", "path"), ROUTES)


@every_route
async def test_a_request_under_an_unknown_name_is_refused(method: str, path: str, autojump_clock: MockClock) -> None:
    """On every route, with a good token too (DNS rebinding)."""
    async with token_mode() as gate:
        answer = await gate.ask(path, ADMIN_TOKEN, method=method, Host="evil.example")
        assert (answer.status, answer.code) == (403, "origin_not_allowed")


async def test_an_upgrade_under_an_unknown_name_is_refused(autojump_clock: MockClock) -> None:
    """Before anything else is looked at; so is one without any."""
    async with token_mode() as gate:
        with pytest.raises(ProtocolError, match="not known by that name"):
            await gate.join(gate.token(), headers={"host": "evil.example", "origin": "http://evil.example"})
        with pytest.raises(ProtocolError, match="must have a Host"):
            await gate.join(gate.token(), headers={"host": None})


@every_route
async def test_every_answer_says_what_browsers_may_do_with_it(
    method: str, path: str, autojump_clock: MockClock
) -> None:
    """Pages and errors too: no sniffing, no referrer, no frame, no embedding, no server's name."""
    async with token_mode() as gate:
        for token in (ADMIN_TOKEN, None):
            answer = await gate.ask(path, token, method=method)
            for name in SECURITY_HEADERS:
                assert name in answer.headers
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers


def test_a_refused_upgrade_carries_them_too() -> None:
    """It is answered without the web framework."""
    text = refusal(ProtocolError("unauthorized", "x")).decode()
    for name, value in SECURITY_HEADERS.items():
        assert f"\r\n{name}: {value}\r\n" in text
    assert "\r\nserver:" not in text.lower()


# Acting: the Origin check


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200), ("http://localhost", 200), ("http://localhost:80", 200), (LISTED, 200),
        ("null", 403), ("https://localhost", 403), ("http://localhost:81", 403), ("http://127.0.0.1", 403),
        ("https://app.example.evil.example", 403), ("https://evil.example", 403), (f"{LISTED}, {LISTED}", 403),
    ],
)  # fmt: skip
async def test_only_our_own_pages_and_listed_ones_act(
    origin: str | None, status: int, autojump_clock: MockClock
) -> None:
    """Publishing and joining alike: same scheme, host and port, or in the list."""
    async with token_mode(server={"allowed_origins": (LISTED,)}) as gate:
        headers = {} if origin is None else {"Origin": origin}
        answer = await gate.ask(EVENTS, gate.token(), method="POST", body=GRAFT, **headers)
        assert answer.status == status
        joined = await _joined(gate, origin)
        assert joined == (status == 200)


async def _joined(gate: Gate, origin: str | None) -> bool:
    try:
        await gate.join(gate.token(), headers={"origin": origin})
    except ProtocolError as error:
        if error.code != "origin_not_allowed":
            raise
        return False
    return True


async def test_behind_a_proxy_the_public_url_is_the_own_origin(autojump_clock: MockClock) -> None:
    """The one that browsers see, and only that."""
    async with token_mode(server={"public_url": "https://collab.example"}) as gate:
        assert await _joined(gate, "https://collab.example")
        assert not await _joined(gate, "http://localhost")


async def test_a_trusted_proxy_says_that_the_page_came_over_tls(autojump_clock: MockClock) -> None:
    """X-Forwarded-Proto, from a listed peer only."""
    for trusted, expected in [(("127.0.0.1",), True), (("10.0.0.1",), False)]:
        async with token_mode(server={"trusted_proxies": trusted}) as gate:
            headers = {"origin": "https://localhost", "x-forwarded-proto": "https"}
            try:
                await gate.join(gate.token(), headers=headers)
                joined = True
            except ProtocolError:
                joined = False
            assert joined == expected


@pytest.mark.parametrize("origin", ["http://evil.example", "null", LISTED])
async def test_no_other_page_acts_as_an_operator(origin: str, autojump_clock: MockClock) -> None:
    """Not even a listed one: where admin is free, any page in the operator's browser can send requests."""
    async with token_mode(server={"allowed_origins": (LISTED,)}) as gate:
        for path in ("/api/admin/websocket/cleanup-stale", "/api/admin/tokens/revoke"):
            answer = await gate.ask(path, ADMIN_TOKEN, method="POST", body={"sub": "ann"}, Origin=origin)
            assert (answer.status, answer.code) == (403, "origin_not_allowed")
        assert await gate.hub.store.revocations() == []


# Reading: CORS


async def preflight(gate: Gate, origin: str, path: str = EVENTS) -> Answer:
    """What a browser asks before a request that is not simple."""
    headers: dict[str, Any] = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return await gate.ask(path, None, method="OPTIONS", **headers)


def cors_headers(answer: Answer) -> set[str]:
    """Those that allow anything."""
    return {name for name in answer.headers if name.startswith("access-control-")}


async def test_a_listed_page_may_read_and_ask_first(autojump_clock: MockClock) -> None:
    """With a token of its own; cookies and the like are never allowed."""
    async with token_mode(server={"allowed_origins": (LISTED,)}) as gate:
        asked = await preflight(gate, LISTED)
        assert asked.status == 204
        assert asked.headers["access-control-allow-origin"] == LISTED
        assert "authorization" in asked.headers["access-control-allow-headers"]
        for answer in (await gate.ask(POLL, gate.token(), Origin=LISTED), await gate.ask(POLL, None, Origin=LISTED)):
            assert answer.headers["access-control-allow-origin"] == LISTED
            assert answer.headers["vary"] == "origin"
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://app.example", "http://localhost"])
async def test_other_pages_may_not_read(origin: str, autojump_clock: MockClock) -> None:
    """Whether some are listed or none."""
    for listed in ((LISTED,), ()):
        async with token_mode(server={"allowed_origins": listed}) as gate:
            assert cors_headers(await preflight(gate, origin)) == set()
            answer = await gate.ask(POLL, gate.token(), Origin=origin)
            assert cors_headers(answer) == set()
            assert ("vary" in answer.headers) == bool(listed)


def test_null_is_nobodys_origin() -> None:
    """Not even when somebody lists it: every sandboxed page is null."""
    assert not origin_listed("null", ("null",))


@pytest.mark.parametrize(
    "path", ["/api/admin/websocket/health", "/api/admin/tokens/revoke", "/metrics", "/actuator/health"]
)
async def test_nobody_elses_page_reads_what_operators_see(path: str, autojump_clock: MockClock) -> None:
    """Listed or not."""
    async with token_mode(server={"allowed_origins": (LISTED,)}) as gate:
        assert cors_headers(await preflight(gate, LISTED, path)) == set()
        assert cors_headers(await gate.ask(path, ADMIN_TOKEN, Origin=LISTED)) == set()


# Nothing reflected


@pytest.mark.parametrize(
    "path",
    [
        "/<script>alert(1)</script>", "/api/runs/<img src=x onerror=alert(1)>/collaboration/poll", "/runs/<b>",
        f"{POLL}?limit=<script>", f"{POLL}?<script>=1&userId=%3Cscript%3E", "/api/admin/websocket/metrics/<script>",
        "//evil.example/%2f..", "/\\evil.example", "/%0d%0aset-cookie:x", "/http://evil.example",
    ],
)  # fmt: skip
async def test_nothing_of_a_request_comes_back_as_a_page(path: str, autojump_clock: MockClock) -> None:
    """No markup in an answer that is not JSON, no redirect to another host, no header that was not ours."""
    async with token_mode() as gate:
        answer = await gate.ask(path, ADMIN_TOKEN)
        if "json" not in answer.headers["content-type"]:
            assert b"<script>alert" not in answer.body
            assert b"<b>" not in answer.body
        location = answer.headers.get("location", "/")
        assert location.startswith(("/", "http://localhost/"))
        assert not location.startswith(("//", "/\\"))
        assert "set-cookie" not in answer.headers
