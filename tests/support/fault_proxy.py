"""A TCP proxy that breaks connections on command: what networks do to clients, on demand.

Law of this file: it knows bytes and connections, of WebSocket only that an upgrade is answered with `101`. It uses
nothing of collabd, so that it serves the tests of any client.

In a program:     async with open_fault_proxy("127.0.0.1", 8080) as proxy: proxy.cut()
On its own:       python -m tests.support.fault_proxy --upstream 127.0.0.1:8080
                  prints its port on a line of its own, then obeys one command a line on standard input and answers
                  each with `ok COMMAND` (or `error WHY`); it ends with its standard input.

    refuse               new connections are refused; those that exist stay
    cut                  every existing connection is reset, once
    stall                nothing passes any more on any connection, old or new, and nothing is lost: `heal` lets it flow
    delay MS             everything passes MS milliseconds later
    mute                 the server's bytes are swallowed, the client's pass: answers get lost. A connection that lost
                         bytes stays mute until it is cut
    halfopen             every existing connection dies for the server (reset) and stays open and silent for the client
    cut-after N          every existing connection is reset when N more bytes of the server's have passed: in mid-frame
    hold                 nothing passes on existing connections until `heal`, not even their ends; new ones pass
    close-ws-after MS    every WebSocket is reset MS milliseconds after the server's `101`
    heal                 ends refuse, stall, hold, delay, mute and close-ws-after; brings no connection back
    connections          answers `ok connections N`: how many were accepted so far
"""

from __future__ import annotations

import argparse
import math
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

_CHUNK = 65536


def _reset(stream: trio.SocketStream) -> None:
    """Close so that the peer sees a reset, not an orderly end."""
    if stream.socket.fileno() == -1:
        return
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


class _Link:
    """One proxied connection: the client's stream, the server's, and what was done to it."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self.client = client
        self.server = server
        self.muted = False
        self.silent = False
        self.is_websocket = False
        self.is_late = False
        self.flowing = trio.Event()
        self.flowing.set()
        self.bytes_left: float = math.inf
        self.scope = trio.CancelScope()

    def cut(self) -> None:
        """Reset both sides and end the link's tasks."""
        _reset(self.client)
        _reset(self.server)
        self.scope.cancel()

    def hold(self) -> None:
        """Let nothing pass until `flowing` is set; after that what was held back still arrives, whoever is gone."""
        self.is_late = True
        self.flowing = trio.Event()

    def half_open(self) -> None:
        """Reset the server's side only; the client is left with a connection that says nothing."""
        self.silent = True
        _reset(self.server)


class FaultProxy:
    """The proxy's state and commands; made by `open_fault_proxy`."""

    def __init__(self, host: str, port: int, nursery: trio.Nursery) -> None:
        self._upstream = (host, port)
        self._nursery = nursery
        self._links: set[_Link] = set()
        self._waiting: set[trio.SocketStream] = set()
        self._listener: trio.SocketListener | None = None
        self._listening = trio.CancelScope()
        self._flowing = trio.Event()
        self._flowing.set()
        self._delay_s = 0.0
        self._mute = False
        self._close_ws_after_s: float | None = None
        self.accepted = 0
        self.port = 0

    @property
    def connected(self) -> int:
        """Connections that lead to the server now."""
        return len(self._links)

    def set_upstream(self, host: str, port: int) -> None:
        """Send new connections elsewhere: a server that came back on another port."""
        self._upstream = (host, port)

    async def listen(self) -> None:
        """Open the listening socket: any free port the first time, the same one later."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self._listener = listeners[0]
        self.port = self._listener.socket.getsockname()[1]
        self._listening = trio.CancelScope()
        self._nursery.start_soon(self._accept, self._listener, self._listening)

    async def _accept(self, listener: trio.SocketListener, scope: trio.CancelScope) -> None:
        with scope:
            await trio.serve_listeners(self._serve, [listener], handler_nursery=self._nursery)

    def refuse(self) -> None:
        """Close the listening socket: new connections are refused."""
        if self._listener is not None:
            self._listener.socket.close()
            self._listening.cancel()
            self._listener = None

    def cut(self) -> None:
        """Reset every existing connection, also one that is on its way to the server."""
        for link in list(self._links):
            link.cut()
        for client in self._waiting:
            _reset(client)
        self._waiting.clear()

    def stall(self) -> None:
        """Let nothing pass until `heal`."""
        self._flowing = trio.Event()

    def cut_after(self, size: int) -> None:
        """Reset every existing connection when so many more bytes of the server's have passed."""
        for link in self._links:
            link.bytes_left = size

    def hold(self) -> None:
        """Hold every existing connection back until `heal`, while new ones pass."""
        for link in self._links:
            link.hold()

    def delay(self, seconds: float) -> None:
        """Pass everything on `seconds` later."""
        self._delay_s = seconds

    def mute(self) -> None:
        """Swallow what the server says."""
        self._mute = True

    def half_open(self) -> None:
        """Kill every existing connection for the server only."""
        for link in list(self._links):
            link.half_open()

    def close_websockets_after(self, seconds: float) -> None:
        """Reset every WebSocket (those that exist too) `seconds` after its upgrade, or after now."""
        self._close_ws_after_s = seconds
        for link in self._links:
            if link.is_websocket:
                self._nursery.start_soon(self._cut_later, link, seconds)

    async def heal(self) -> None:
        """End all lasting faults."""
        self._flowing.set()
        self._delay_s = 0.0
        self._mute = False
        self._close_ws_after_s = None
        for link in self._links:
            link.flowing.set()
        if self._listener is None:
            await self.listen()

    async def _serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        self._waiting.add(client)
        await self._flowing.wait()
        try:
            server = await trio.open_tcp_stream(*self._upstream)
        except OSError:
            self._waiting.discard(client)
            _reset(client)
            return
        if client not in self._waiting:  # cut meanwhile
            await server.aclose()
            return
        self._waiting.remove(client)
        link = _Link(client, server)
        self._links.add(link)
        try:
            with link.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, link, client, server, False)
                    nursery.start_soon(self._pump, link, server, client, True)
        finally:
            self._links.discard(link)
            with trio.CancelScope(shield=True, deadline=-math.inf):
                await client.aclose()
            with trio.CancelScope(shield=True, deadline=-math.inf):
                await server.aclose()

    async def _pump(self, link: _Link, source: trio.SocketStream, sink: trio.SocketStream, from_server: bool) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, link, receive, sink, from_server)
            async with send:
                while chunk := await self._read(link, source):
                    send.send_nowait((trio.current_time() + self._delay_s, chunk))
            if link.silent and from_server:
                await trio.sleep_forever()

    async def _read(self, link: _Link, source: trio.SocketStream) -> bytes:
        try:
            return bytes(await source.receive_some(_CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if not link.silent and not link.is_late:
                link.cut()
            return b""

    async def _write(
        self,
        link: _Link,
        receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
        sink: trio.SocketStream,
        from_server: bool,
    ) -> None:
        async for due, chunk in receive:
            await trio.sleep_until(due)
            await self._flowing.wait()
            await link.flowing.wait()
            if link.silent:
                continue
            if from_server:
                link.muted = link.muted or self._mute
                if link.muted:
                    continue
                self._notice_upgrade(link, chunk)
                chunk = chunk[: int(min(link.bytes_left, len(chunk)))]
                link.bytes_left -= len(chunk)
            try:
                await sink.send_all(chunk)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                if link.is_late and from_server:
                    continue
                if not link.silent:
                    link.cut()
                return
            if not link.bytes_left:
                link.cut()
        await self._end(link, sink, from_server)

    async def _end(self, link: _Link, sink: trio.SocketStream, from_server: bool) -> None:
        """Pass an orderly end on; a silent link ends only with its client."""
        await self._flowing.wait()
        await link.flowing.wait()
        if link.silent:
            if not from_server:
                link.scope.cancel()
            return
        try:
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            link.cut()

    def _notice_upgrade(self, link: _Link, chunk: bytes) -> None:
        if not link.is_websocket and chunk.startswith(b"HTTP/1.1 101"):
            link.is_websocket = True
            if self._close_ws_after_s is not None:
                self._nursery.start_soon(self._cut_later, link, self._close_ws_after_s)

    async def _cut_later(self, link: _Link, seconds: float) -> None:
        await trio.sleep(seconds)
        if link in self._links:
            link.cut()


@asynccontextmanager
async def open_fault_proxy(host: str, port: int) -> AsyncIterator[FaultProxy]:
    """Serve a fault proxy before `host:port` on a free loopback port until the block ends."""
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(host, port, nursery)
        await proxy.listen()
        yield proxy
        proxy.refuse()
        proxy.cut()
        nursery.cancel_scope.cancel()


async def _obey(proxy: FaultProxy, line: str) -> str:
    """Do one command line; what to answer."""
    name, *arguments = line.split()
    plain: dict[str, Callable[[], None]] = {
        "refuse": proxy.refuse,
        "cut": proxy.cut,
        "stall": proxy.stall,
        "mute": proxy.mute,
        "halfopen": proxy.half_open,
        "hold": proxy.hold,
    }
    timed: dict[str, Callable[[float], None]] = {"delay": proxy.delay, "close-ws-after": proxy.close_websockets_after}
    if name in plain and not arguments:
        plain[name]()
    elif name in timed and len(arguments) == 1 and arguments[0].isdigit():
        timed[name](int(arguments[0]) / 1000)
    elif name == "cut-after" and len(arguments) == 1 and arguments[0].isdigit():
        proxy.cut_after(int(arguments[0]))
    elif name == "heal" and not arguments:
        await proxy.heal()
    elif name == "connections" and not arguments:
        return f"ok connections {proxy.accepted}"
    else:
        return f"error not understood: {line}"
    return f"ok {line}"


async def _main(host: str, port: int) -> None:
    async with open_fault_proxy(host, port) as proxy:
        print(proxy.port, flush=True)
        async for line in trio.wrap_file(sys.stdin):
            if line.strip():
                print(await _obey(proxy, line.strip()), flush=True)


def main() -> None:
    """Run the proxy from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", required=True, metavar="HOST:PORT")
    host, _, port = parser.parse_args().upstream.rpartition(":")
    trio.run(_main, host, int(port))


if __name__ == "__main__":
    main()
