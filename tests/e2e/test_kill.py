"""What kill -9 leaves behind: every acknowledged event once, in order, without a hole."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, HandshakeError

from tests.support.daemon import Daemon, joined, receive_until, running_daemon, send

pytestmark = pytest.mark.e2e

SETTINGS = {
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN": "1000000",
    "LOGGING__LEVEL": "error",
}
WRITERS = 4
CYCLES = 6
KILL_AFTER = 400


class Storm:
    """Writers that keep a window of messages outstanding, and remember what was acknowledged."""

    def __init__(self) -> None:
        self.run_id = str(uuid.uuid4())
        self.acknowledged: dict[str, int] = {}
        self.unanswered: dict[str, set[str]] = {f"writer{number}": set() for number in range(WRITERS)}
        self._made = 0

    async def rage(self, daemon: Daemon) -> None:
        """Write until enough was acknowledged, then kill the daemon in the middle of it."""
        goal = len(self.acknowledged) + KILL_AFTER
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for user in self.unanswered:
                    nursery.start_soon(self._write, daemon, user, goal)

    async def _write(self, daemon: Daemon, user: str, goal: int) -> None:
        try:
            async with joined(daemon, self.run_id, user) as socket:
                for message_id in sorted(self.unanswered[user]):
                    await self._send(socket, user, message_id)
                while True:
                    while len(self.unanswered[user]) < 32:
                        self._made += 1
                        await self._send(socket, user, f"{user}.{self._made:08}")
                    await self._take_answer(socket, user)
                    if len(self.acknowledged) >= goal and daemon.process.poll() is None:
                        daemon.kill()
        except (ConnectionClosed, HandshakeError, OSError):
            return

    async def _send(self, socket: Any, user: str, message_id: str) -> None:
        self.unanswered[user].add(message_id)
        await send(socket, "GRAFT", {"after": "X", "id": message_id}, message_id)

    async def _take_answer(self, socket: Any, user: str) -> None:
        data = (await receive_until(socket, "ACK"))["data"]
        known = self.acknowledged.setdefault(data["clientMessageId"], data["sequenceNumber"])
        assert known == data["sequenceNumber"], "an id keeps its number"
        self.unanswered[user].discard(data["clientMessageId"])

    def judge(self, events: list[dict[str, Any]]) -> None:
        """0 acknowledged lost, 0 doubled, 0 holes."""
        assert [event["sequenceNumber"] for event in events] == list(range(1, len(events) + 1))
        ids = Counter(event["clientMessageId"] for event in events)
        assert max(ids.values(), default=1) == 1
        numbers = {event["clientMessageId"]: event["sequenceNumber"] for event in events}
        lost = {key: number for key, number in self.acknowledged.items() if numbers.get(key) != number}
        assert lost == {}


def test_no_acknowledged_event_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    """A write storm, kill -9 in the middle of it, restart, the unanswered sent again; several times over."""
    storm = Storm()
    for _ in range(CYCLES):
        with running_daemon(tmp_path / "data", SETTINGS) as daemon:
            storm.judge(daemon.replay(storm.run_id))
            trio.run(storm.rage, daemon)
    with running_daemon(tmp_path / "data", SETTINGS) as daemon:
        events = daemon.replay(storm.run_id)
        storm.judge(events)
        assert len(storm.acknowledged) >= CYCLES * KILL_AFTER
        for user, messages in storm.unanswered.items():
            _resend(daemon, storm, user, sorted(messages))
        events = daemon.replay(storm.run_id)
        storm.judge(events)
        for user in storm.unanswered:
            mine = [event["clientMessageId"] for event in events if event["userId"] == user]
            assert mine == sorted(mine), "a sender's messages keep their order"
        assert not any(storm.unanswered.values())


def _resend(daemon: Daemon, storm: Storm, user: str, messages: list[str]) -> None:
    body = {
        "events": [
            {"eventType": "GRAFT", "data": {"after": "X", "id": message_id}, "clientMessageId": message_id}
            for message_id in messages
        ]
    }
    status, answer = daemon.request(f"/api/runs/{storm.run_id}/collaboration/events?userId={user}", body)
    assert status == 200, answer
    for ack in answer["acks"]:
        assert "sequenceNumber" in ack, json.dumps(ack)
        assert storm.acknowledged.setdefault(ack["clientMessageId"], ack["sequenceNumber"]) == ack["sequenceNumber"]
        storm.unanswered[user].discard(ack["clientMessageId"])


def test_an_event_is_on_disk_when_its_ack_comes(tmp_path: Path) -> None:
    """Killed at the very ACK of the only event under way, it is there after the restart."""
    run_id = str(uuid.uuid4())
    for number in range(1, 5):
        with running_daemon(tmp_path / "data", SETTINGS) as daemon:
            trio.run(_write_one_and_kill, daemon, run_id, number)
    with running_daemon(tmp_path / "data", SETTINGS) as daemon:
        assert [event["sequenceNumber"] for event in daemon.replay(run_id)] == [1, 2, 3, 4]


async def _write_one_and_kill(daemon: Daemon, run_id: str, number: int) -> None:
    with suppress(ConnectionClosed):
        async with joined(daemon, run_id, "ann") as socket:
            await send(socket, "GRAFT", {"after": "X"}, f"m{number}")
            ack = await receive_until(socket, "ACK")
            daemon.kill()
            assert ack["data"]["sequenceNumber"] == number
