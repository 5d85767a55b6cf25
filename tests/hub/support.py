"""A hub over a store without threads, and clients whose sockets take as much as a test lets them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from collabd.config import Config
from collabd.hub.admission import Caller
from collabd.hub.connection import Connection
from collabd.hub.hub import Hub
from collabd.hub.joining import admit, join
from collabd.hub.receive import receive
from collabd.store.memory import MemoryStore

RUN = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"
UNLIMITED = 1 << 60


def make_config(**tables: dict[str, Any]) -> Config:
    """A configuration with some values changed: make_config(presence={"grace_s": 1}). No rate limit by default."""
    import msgspec

    limits = tables.setdefault("limits", {})
    limits.setdefault("messages_per_second", 0)
    limits.setdefault("bytes_per_second", 0)
    default = Config()
    changed = {name: msgspec.structs.replace(getattr(default, name), **values) for name, values in tables.items()}
    return msgspec.structs.replace(default, **changed)


@asynccontextmanager
async def running_hub(store: MemoryStore | None = None, **tables: dict[str, Any]) -> AsyncIterator[Hub]:
    """A hub on virtual time."""
    config = make_config(**tables)
    store = store or MemoryStore(retention=config.storage.max_persisted_messages_per_run)
    hub = Hub(config, store, now_ms=lambda: int(trio.current_time() * 1000), random=Random(1))
    async with hub.running():
        yield hub


class FakeLink:
    """A socket that takes `room` bytes and then blocks; what it took is read as messages."""

    hears_pongs = True

    def __init__(self, room: int = UNLIMITED) -> None:
        self.remote_address = "127.0.0.1"
        self.room = room
        self.received = b""
        self.writes: list[int] = []
        self.ended = False
        self.broken = False
        self._may_write = trio.Event()

    def send(self, data: bytes | memoryview, /) -> int:
        if self.broken:
            raise BrokenPipeError("gone")
        if not self.room:
            raise BlockingIOError
        taken = min(self.room, len(data))
        self.room -= taken
        self.received += bytes(data[:taken])
        self.writes.append(taken)
        return taken

    async def wait_writable(self) -> None:
        if self.ended:
            raise trio.ClosedResourceError
        if not self.room:
            await self._may_write.wait()
        if self.ended:
            raise trio.ClosedResourceError

    def give_room(self, size: int) -> None:
        """Let the socket take so many bytes more."""
        self.room += size
        self._may_write.set()
        self._may_write = trio.Event()

    def end(self) -> None:
        self.ended = True
        self._may_write.set()


class FakeClient:
    """One client of a run: what it is told, in order."""

    def __init__(self, hub: Hub, connection: Connection, link: FakeLink) -> None:
        self.hub = hub
        self.connection = connection
        self.link = link

    def messages(self) -> list[dict[str, Any]]:
        """Everything told so far that is whole: frames still on their way are left out."""
        return [json.loads(payload) for opcode, payload in self._whole_frames() if opcode == 1]

    def pings(self) -> list[bytes]:
        """Payloads of the pings."""
        return [payload for opcode, payload in self._whole_frames() if opcode == 9]

    def _whole_frames(self) -> list[tuple[int, bytes]]:
        data, frames, position = self.link.received, [], 0
        while position + 2 <= len(data):
            opcode, size, start = data[position] & 15, data[position + 1], position + 2
            if size > 125:
                extra = 2 if size == 126 else 8
                size, start = int.from_bytes(data[start : start + extra]), start + extra
            if start + size > len(data):
                break
            frames.append((opcode, data[start : start + size]))
            position = start + size
        return frames

    def of_type(self, event_type: str) -> list[dict[str, Any]]:
        """Messages of one type."""
        return [message for message in self.messages() if message["eventType"] == event_type]

    def welcome(self) -> dict[str, Any]:
        """WELCOME's data; it is always first."""
        first = self.messages()[0]
        assert first["eventType"] == "WELCOME"
        data: dict[str, Any] = first["data"]
        return data

    def numbers(self) -> list[int]:
        """Sequence numbers of the persisted events told, in order."""
        return [message["sequenceNumber"] for message in self.messages() if "sequenceNumber" in message]

    def send(self, event_type: str, data: Any = None, message_id: str | None = None) -> None:
        """Send one message."""
        message: dict[str, Any] = {"eventType": event_type, "data": data}
        if message_id is not None:
            message["clientMessageId"] = message_id
        receive(self.connection, json.dumps(message).encode())

    def leave(self, code: int | None = None) -> None:
        """Go: with the client's close code, or without a word."""
        self.connection.session.run.detach(self.connection, code, "")


async def come(
    hub: Hub,
    user: str,
    *,
    run: str = RUN,
    session: str | None = None,
    position: tuple[str, int] | None = None,
    room: int = UNLIMITED,
) -> FakeClient:
    """Join as a client would."""
    query = f"userId={user}"
    if session is not None:
        query += f"&sessionId={session}"
    if position is not None:
        query += f"&epoch={position[0]}&afterSequence={position[1]}"
    caller = Caller("GET", {"host": "localhost"}, "http", "127.0.0.1", upgrade=True)
    admitted = await admit(hub, caller, f"/ws/runs/{run}/collaboration", query.encode())
    link = FakeLink(room)
    return FakeClient(hub, join(hub, admitted, link, b""), link)


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    await wait_all_tasks_blocked()
