"""Limits on sockets, before a byte of them is trusted."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from collabd.gateway.crowd import Crowd
from collabd.gateway.http import HttpServer
from collabd.gateway.listener import Accepted
from collabd.gateway.server import Gateway
from collabd.hub.hub import Hub
from tests.hub.support import running_hub

FAR = "192.0.2.1"


class Door:
    """A gateway that is handed sockets as if they came from anywhere."""

    def __init__(self, hub: Hub, nursery: trio.Nursery) -> None:
        self.hub = hub
        self._nursery = nursery
        self._gateway = Gateway(hub, cast(HttpServer, None), None)

    def knock(self, address: str) -> socket.socket:
        """A new connection from this address; the peer's end of it."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._nursery.start_soon(self._serve, Accepted(ours, (address, 5)))
        return theirs

    async def _serve(self, accepted: Accepted) -> None:
        async with accepted:
            await self._gateway.handle(accepted)


@asynccontextmanager
async def open_door(**tables: dict[str, Any]) -> AsyncIterator[Door]:
    """Such a gateway for the length of the block."""
    async with running_hub(None, **tables) as hub, trio.open_nursery() as nursery:
        yield Door(hub, nursery)
        nursery.cancel_scope.cancel()


def turned_away(peer: socket.socket) -> bool:
    """Whether the server has answered 429 and closed."""
    try:
        head, _, body = peer.recv(4096).partition(b"\r\n\r\n")
    except BlockingIOError:
        return False
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nretry-after: " in head
    assert json.loads(body)["code"] == "too_many_connections"
    assert peer.recv(10) == b""
    return True


async def test_so_many_sockets_per_address(autojump_clock: MockClock) -> None:
    """Silent ones too: one too many is answered 429 at once and counted, and others come in."""
    async with open_door(limits={"sockets_per_address": 2}, server={"handshake_timeout_s": 5}) as door:
        inside = [door.knock(FAR) for _ in range(2)]
        await wait_all_tasks_blocked()  # Trio runs new tasks in no particular order
        extra = door.knock(FAR)
        await wait_all_tasks_blocked()
        assert turned_away(extra)
        assert [turned_away(peer) for peer in inside] == [False, False]
        assert door.hub.counters.limited["sockets_per_address"] == 1
        others = [door.knock(address) for address in ("192.0.2.2", *["127.0.0.1"] * 4)]
        await wait_all_tasks_blocked()
        assert not any(turned_away(peer) for peer in others)
        inside[0].close()
        await wait_all_tasks_blocked()
        after = door.knock(FAR)
        await wait_all_tasks_blocked()
        assert not turned_away(after)


async def test_a_trusted_proxy_is_many_people(autojump_clock: MockClock) -> None:
    """Its sockets are not one peer's; those whom it forwards are limited by their own address."""
    tables: dict[str, Any] = {"limits": {"sockets_per_address": 1}, "server": {"trusted_proxies": ("10.0.0.0/8",)}}
    async with open_door(**tables) as door:
        peers = [door.knock("10.1.2.3") for _ in range(5)]
        await wait_all_tasks_blocked()
        assert not any(turned_away(peer) for peer in peers)


async def test_a_head_that_does_not_end_is_cut_at_the_deadline(autojump_clock: MockClock) -> None:
    """One byte a second gains no time, and it is counted."""
    async with open_door(server={"handshake_timeout_s": 3}) as door:
        silent, slow = door.knock(FAR), door.knock(FAR)
        for byte in b"GET / HTTP/1.1":
            await trio.sleep(1)
            try:
                slow.send(bytes([byte]))
            except OSError:
                break
        assert trio.current_time() < 6
        await wait_all_tasks_blocked()
        assert silent.recv(10) == b""
        assert door.hub.counters.limited["handshake_timeout_s"] == 2


async def test_a_head_that_is_too_large_is_refused(autojump_clock: MockClock) -> None:
    """413 in words, whether it ends or not."""
    async with open_door(limits={"request_head_max_bytes": 2000}) as door:
        endless, ended = door.knock(FAR), door.knock(FAR)
        endless.send(b"GET /" + b"x" * 3000)
        ended.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 3000 + b"\r\n\r\n")
        await wait_all_tasks_blocked()
        for peer in (endless, ended):
            assert peer.recv(100).startswith(b"HTTP/1.1 413 ")
        assert door.hub.counters.limited["request_head_max_bytes"] == 2


def test_a_crowd_that_went_leaves_nothing() -> None:
    """Also when it was too large."""
    crowd = Crowd(lambda: 1, lambda peer: peer == "127.0.0.1")
    with crowd.joined(FAR) as first, crowd.joined(FAR) as second, crowd.joined("127.0.0.1") as exempt:
        assert (first, second, exempt) == (True, False, True)
    assert crowd._open == {}
    with Crowd(lambda: 0, lambda peer: False).joined(FAR) as any_number:
        assert any_number
