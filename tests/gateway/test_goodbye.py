"""Leaving while much is still on its way to one: a goodbye like any other."""

from __future__ import annotations

import socket

import pytest
import trio

from collabd.gateway.handshake import Upgrade
from collabd.gateway.plain_socket import serve_plain
from collabd.gateway.poller import Poller
from collabd.hub.connection import Stage
from collabd.hub.hub import Hub
from tests.hub.support import RUN, come, running_hub

HEAD = (
    f"GET /ws/runs/{RUN}/collaboration?userId=deaf HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


async def serve(hub: Hub, poller: Poller, sock: socket.socket) -> None:
    """What the gateway does for a connection once it has read the head."""
    upgrade = Upgrade(HEAD, b"", peer="127.0.0.1", scheme="http", proxies=hub.proxies, max_message_bytes=65536)
    with sock:
        await serve_plain(hub, poller, sock, upgrade)


@pytest.mark.real_time
async def test_who_leaves_with_a_backlog_leaves_and_the_task_that_wrote_it_ends() -> None:
    """1000 from a client whose socket is full of what it never read: told as left, and no fault of the server."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    poller = Poller()
    with theirs, trio.fail_after(60):
        async with running_hub() as hub, trio.open_nursery() as background:
            background.start_soon(poller.run, hub.tick, hub.committer.wait_room)
            loud = await come(hub, "loud")
            async with trio.open_nursery() as serving:
                serving.start_soon(serve, hub, poller, ours)
                await trio.lowlevel.wait_readable(theirs)
                assert theirs.recv(12) == b"HTTP/1.1 101"
                (deaf,) = (c for c in hub.runs[RUN].fanout.connections() if c is not loud.connection)
                for number in range(10):
                    loud.send("SHOUT", "x" * 50_000, f"m{number}")
                    await trio.testing.wait_all_tasks_blocked()
                assert deaf.stage is Stage.BACKLOGGED
                theirs.send(b"\x88\x82\0\0\0\0\x03\xe8")
            await trio.testing.wait_all_tasks_blocked()
            (leave,) = loud.of_type("USER_LEAVE")
            assert leave["data"]["reason"] == "left"
            # Whoever would still wait for the socket would do so in its run's nursery.
            assert len(hub.runs[RUN]._nursery.child_tasks) == 2
            background.cancel_scope.cancel()
