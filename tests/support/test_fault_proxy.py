"""The fault proxy does to connections what its commands say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.support.fault_proxy import FaultProxy, open_fault_proxy


async def _echo(stream: trio.SocketStream) -> None:
    """Answer every chunk with itself in capitals, and an upgrade with 101."""
    try:
        async for chunk in stream:
            await stream.send_all(b"HTTP/1.1 101\r\n" if chunk == b"upgrade" else bytes(chunk).upper())
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def _proxied_echo() -> AsyncIterator[FaultProxy]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, _echo, 0, host="127.0.0.1"))
        async with open_fault_proxy("127.0.0.1", listeners[0].socket.getsockname()[1]) as proxy:
            yield proxy
        nursery.cancel_scope.cancel()


async def _connect(proxy: FaultProxy) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", proxy.port)


async def _ask(stream: trio.SocketStream, chunk: bytes) -> bytes:
    await stream.send_all(chunk)
    return bytes(await stream.receive_some(100))


pytestmark = pytest.mark.real_time  # real sockets: silence can only be waited for


async def _is_silent(stream: trio.SocketStream) -> bool:
    with trio.move_on_after(0.02) as scope:
        await stream.receive_some(100)
    return scope.cancelled_caught


async def test_a_healthy_proxy_passes_bytes_and_orderly_ends() -> None:
    """Without a fault the proxy is not seen."""
    async with _proxied_echo() as proxy:
        stream = await _connect(proxy)
        assert await _ask(stream, b"a") == b"A"
        await stream.send_eof()
        assert await stream.receive_some(100) == b""


async def test_refuse_refuses_new_connections_and_heal_takes_the_same_port_again() -> None:
    """`refuse` is a closed port; those that are connected stay so."""
    async with _proxied_echo() as proxy:
        old = await _connect(proxy)
        proxy.refuse()
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            await _connect(proxy)
        assert await _ask(old, b"old") == b"OLD"
        await proxy.heal()
        assert await _ask(await _connect(proxy), b"new") == b"NEW"


@pytest.mark.parametrize("turns", range(12))
async def test_cut_resets_a_connection_that_is_on_its_way_to_the_server(turns: int) -> None:
    """However far it has come: none of them serves anybody afterwards."""
    async with _proxied_echo() as proxy:
        stream = await _connect(proxy)
        while not proxy.accepted:
            await trio.lowlevel.checkpoint()
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        proxy.cut()
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(1):
            await _ask(stream, b"a")
            await stream.receive_some(100)


async def test_cut_resets_every_connection_once() -> None:
    """`cut` is a reset for those that exist and nothing for later ones."""
    async with _proxied_echo() as proxy:
        old = await _connect(proxy)
        await _ask(old, b"a")
        proxy.cut()
        with pytest.raises(trio.BrokenResourceError):
            await old.receive_some(100)
        assert await _ask(await _connect(proxy), b"b") == b"B"


async def test_a_stalled_proxy_says_nothing_and_loses_nothing() -> None:
    """`stall` keeps every byte until `heal`."""
    async with _proxied_echo() as proxy:
        stream = await _connect(proxy)
        proxy.stall()
        await stream.send_all(b"a")
        assert await _is_silent(stream)
        await proxy.heal()
        assert await stream.receive_some(100) == b"A"


async def test_delay_passes_everything_on_later() -> None:
    """`delay` counts once for each direction."""
    async with _proxied_echo() as proxy:
        stream = await _connect(proxy)
        proxy.delay(0.01)
        started = trio.current_time()
        assert await _ask(stream, b"a") == b"A"
        assert trio.current_time() - started >= 0.02


async def test_mute_loses_the_servers_answers_for_good() -> None:
    """`mute` swallows answers; that connection stays mute, a new one after `heal` is whole."""
    async with _proxied_echo() as proxy:
        stream = await _connect(proxy)
        proxy.mute()
        await stream.send_all(b"a")
        assert await _is_silent(stream)
        await proxy.heal()
        await stream.send_all(b"b")
        assert await _is_silent(stream)
        assert await _ask(await _connect(proxy), b"c") == b"C"


async def test_a_half_open_connection_is_silent_for_the_client_and_stays_open() -> None:
    """`halfopen` is what a sleeping laptop's network leaves behind: no end, no answer."""
    async with _proxied_echo() as proxy:
        stream = await _connect(proxy)
        await _ask(stream, b"a")
        proxy.half_open()
        await stream.send_all(b"b")
        assert await _is_silent(stream)
        assert await _ask(await _connect(proxy), b"c") == b"C"


async def test_a_connection_is_cut_in_the_middle_of_an_answer() -> None:
    """`cut-after` lets exactly so many bytes of the server's through."""
    async with _proxied_echo() as proxy:
        stream = await _connect(proxy)
        await _ask(stream, b"a")
        proxy.cut_after(2)
        await stream.send_all(b"abc")
        assert await stream.receive_some(100) == b"AB"
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(100)
        assert await _ask(await _connect(proxy), b"def") == b"DEF"


async def test_what_was_held_back_arrives_after_what_came_later() -> None:
    """`hold`: a new connection overtakes, and the old one's bytes come though its client is gone."""
    came: list[bytes] = []
    everything = trio.Event()

    async def note(stream: trio.SocketStream) -> None:
        async for chunk in stream:
            came.append(bytes(chunk))
        if len(came) == 2:
            everything.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, note, 0, host="127.0.0.1"))
        async with open_fault_proxy("127.0.0.1", listeners[0].socket.getsockname()[1]) as proxy:
            old = await _connect(proxy)
            while not proxy.connected:  # noqa: ASYNC110
                await trio.sleep(0.01)
            proxy.hold()
            await old.send_all(b"old")
            await old.aclose()
            async with await _connect(proxy) as new:
                await new.send_all(b"new")
                while not came:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await proxy.heal()
            with trio.fail_after(60):
                await everything.wait()
        nursery.cancel_scope.cancel()
    assert came == [b"new", b"old"]


async def test_a_websocket_is_reset_a_while_after_its_upgrade() -> None:
    """`close-ws-after` spares connections that are no WebSockets."""
    async with _proxied_echo() as proxy:
        proxy.close_websockets_after(0.01)
        plain, upgraded = await _connect(proxy), await _connect(proxy)
        assert await _ask(plain, b"a") == b"A"
        assert await _ask(upgraded, b"upgrade") == b"HTTP/1.1 101\r\n"
        with pytest.raises(trio.BrokenResourceError):
            await upgraded.receive_some(100)
        assert await _ask(plain, b"b") == b"B"


def test_the_command_line_obeys_one_command_a_line() -> None:
    """The proxy's port comes first, then an answer to each command, and it ends with its input."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.fault_proxy", "--upstream", "127.0.0.1:1"],
        input="stall\nheal\ndelay 5\nnonsense\nconnections\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    port, *answers = done.stdout.splitlines()
    assert int(port) > 0
    assert answers == ["ok stall", "ok heal", "ok delay 5", "error not understood: nonsense", "ok connections 0"]
