"""HTTP and WebSocket over any stream: every way that a peer may misbehave has a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from collabd.client import errors
from collabd.client.address import Address, parse_url
from collabd.client.http import Dial, request, tcp_dial
from collabd.client.link import HandshakeRefused, LinkEnded, NeverOpened, open_link

ADDRESS = parse_url("http://fake:1")
Peer = Callable[[trio.abc.Stream], Awaitable[None]]


def dial_to(nursery: trio.Nursery, peer: Peer) -> Dial:
    """Connect to a peer that does what the function does."""

    async def dial(address: Address) -> trio.abc.Stream:
        client, server = memory_stream_pair()
        nursery.start_soon(peer, server)
        await trio.lowlevel.checkpoint()
        return client

    return dial


def says(*chunks: bytes) -> Peer:
    """A peer that reads once, says this, and ends."""

    async def peer(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        for chunk in chunks:
            await stream.send_all(chunk)
        await stream.aclose()

    return peer


async def silent(stream: trio.abc.Stream) -> None:
    """A peer that says nothing and stays."""
    await stream.receive_some()
    await trio.sleep_forever()


@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n", b"1\r\ni\r\n0\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nh", b"i"],
    ],
)
async def test_an_answer_is_read_however_it_is_framed(answer: list[bytes]) -> None:
    """Length, chunks, or the end of the stream (RFC 9112, section 6)."""
    async with trio.open_nursery() as nursery:
        got = await request(dial_to(nursery, says(*answer)), ADDRESS, "GET", "/")
    assert (got.status, got.body) == (200, b"hi")


async def test_a_request_carries_token_and_body() -> None:
    """Host, bearer token, JSON."""
    seen = bytearray()

    async def peer(stream: trio.abc.Stream) -> None:
        while not seen.endswith(b"{}"):
            seen.extend(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        answer = await request(dial_to(nursery, peer), ADDRESS, "POST", "/x", token="t", body="{}")
    assert (answer.status, answer.retry_after_s, answer.problem) == (429, 7.0, (None, ""))
    assert seen.startswith(b"POST /x HTTP/1.1\r\n")
    for line in (b"Host: fake:1", b"Authorization: Bearer t", b"Content-Type: application/json", b"Content-Length: 2"):
        assert line + b"\r\n" in seen


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"])
async def test_what_is_no_http_is_no_collabd(said: bytes) -> None:
    """R44: an end in the middle of an answer too."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(errors.ConnectionProblem):
            await request(dial_to(nursery, says(said)), ADDRESS, "GET", "/")


async def test_a_peer_that_never_answers_is_given_up(autojump_clock: MockClock) -> None:
    """`requestTimeoutMs`."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(errors.ServerUnreachable, match="no answer within 10 s"):
            await request(dial_to(nursery, silent), ADDRESS, "GET", "/")
        nursery.cancel_scope.cancel()


async def test_a_handshake_that_is_answered_with_a_status_says_which() -> None:
    """R43: with the body, so that its code can be used."""
    body = b'{"code":"draining"}'
    answer = b"HTTP/1.1 503 No\r\nRetry-After: 2\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with trio.open_nursery() as nursery:
        with pytest.raises(HandshakeRefused) as caught:
            async with open_link(dial_to(nursery, says(answer)), ADDRESS, "/", None):
                raise AssertionError("never opened")
    assert caught.value.answer.problem[0] == "draining"
    assert caught.value.answer.retry_after_s == 2


@pytest.mark.parametrize(
    "said", [b"", b"no http\r\n\r\n", b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"]
)
async def test_a_stream_that_ends_or_lies_in_the_handshake_never_opened(said: bytes) -> None:
    """R43: found at once, not after the timeout."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(1), pytest.raises(NeverOpened):
            async with open_link(dial_to(nursery, says(said)), ADDRESS, "/", None):
                raise AssertionError("never opened")


async def test_an_error_inside_the_block_comes_out_as_it_is() -> None:
    """No exception group for the caller, and the stream is closed."""
    from tests.client.fake_server import fake_server

    async with fake_server() as server:
        with pytest.raises(ZeroDivisionError):
            async with open_link(server.dial, ADDRESS, "/ws?userId=a", None) as link:
                await link.receive()
                raise ZeroDivisionError


async def test_a_closed_link_says_its_code() -> None:
    """R29: the code decides; an end without one has none."""
    from tests.client.fake_server import fake_server

    async with fake_server() as server:
        async with open_link(server.dial, ADDRESS, "/ws?userId=a", None) as link:
            await link.receive()
            await server.peer.close(4008, "too slow")
            with pytest.raises(LinkEnded) as caught:
                await link.receive()
            assert (caught.value.code, caught.value.reason) == (4008, "too slow")
        server.websocket_dies_after = 0.0
        async with open_link(server.dial, ADDRESS, "/ws?userId=a", None) as link:
            with pytest.raises(LinkEnded) as caught:
                while True:
                    await link.receive()
            assert caught.value.code is None


async def test_a_refused_connection_is_named_in_few_words(unused_port: int) -> None:
    """R44: what the operating system said, without an address list."""
    with pytest.raises(errors.ServerUnreachable, match="Connection refused"):
        await request(tcp_dial(), parse_url(f"http://127.0.0.1:{unused_port}"), "GET", "/")


@pytest.fixture
async def unused_port() -> int:
    """A loopback port that nothing listens on."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    return port


async def test_tls_to_a_plain_server_is_a_named_error() -> None:
    """Errors by name: https where http is meant."""

    async def plain(stream: trio.SocketStream) -> None:
        await says(b"HTTP/1.1 400 Bad request\r\n\r\n")(stream)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, plain, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(errors.ServerUnreachable, match=r"TLS failed|SSL|record"):
            await request(tcp_dial(), parse_url(f"https://localhost:{port}"), "GET", "/")
        nursery.cancel_scope.cancel()
