"""Those who take part in a run while its daemon is killed again and again, and remember all of it.

Law of this file: a client keeps the client's side of the protocol (docs/client-behaviour.md) and tells the oracle what
it saw. Each lives through many daemons: `live` is its life with one of them, until that one is gone.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import urlencode

import trio

from tests.torture.history import History
from tests.torture.raw import GONE, Closed, Http, Refused, WebSocket

WINDOW: Final = 16
BATCH: Final = 12
_STOPPED: Final = 1012
TYPES: Final = ("GRAFT", "NOTE", "NOTE", "PRUNE", "GRAFT", "NOTE")


def message(user: str, counter: int) -> dict[str, Any]:
    """A sender's message by its counter, the same each time it is made."""
    dice = zlib.crc32(f"{user}.{counter}".encode())
    data = {"after": f"K{dice % 9}", "stepId": f"K{dice % 9}", "text": "x" * (dice % 97 if dice % 11 else dice % 3001)}
    return {"eventType": TYPES[dice % len(TYPES)], "data": data, "clientMessageId": f"{user}.{counter}"}


class News:
    """Wakes those who wait for something to have happened."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        """Something has happened."""
        self._event.set()
        self._event = trio.Event()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until it is so."""
        while not happened():
            await self._event.wait()


class Room:
    """One run with one daemon after the other: its oracle, and who is surely inside just now."""

    def __init__(self, run_id: str, history: History, news: News) -> None:
        self.run_id = run_id
        self.history = history
        self.news = news
        self.present: set[str] = set()
        self.came: set[str] = set()
        """All who came, or tried to, since the daemon started."""
        self.gone: dict[str, str] = {}
        """Who was told as gone since the daemon started, and why."""
        self.owed = 0
        """The lowest head that the daemon must have: all of what was acknowledged or seen before it started."""

    def restarted(self) -> None:
        """Another daemon: nobody is inside yet, and it must know all that the one before it told."""
        self.present.clear()
        self.came.clear()
        self.gone.clear()
        self.owed = self.history.safe

    def path(self, route: str, **query: object) -> str:
        """A route of this run with its query."""
        return f"/api/runs/{self.run_id}/collaboration/{route}?{urlencode(query)}"

    def socket_path(self, **query: object) -> str:
        """The WebSocket route of this run with its query."""
        return f"/ws/runs/{self.run_id}/collaboration?{urlencode(query)}"


def _short(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("runState", "events")}


class Sender:
    """What a sender has made and was not answered about, in order."""

    def __init__(self, room: Room, user: str) -> None:
        self.room = room
        self.user = user
        self.made = 0
        self.unanswered: deque[int] = deque()
        self.may_make = 0
        """New messages that it may still make with this daemon, so that nobody falls behind what is retained."""

    def make(self, most: int) -> list[int]:
        """New messages until so many are unanswered."""
        new = []
        while self.may_make and len(self.unanswered) < most:
            self.may_make -= 1
            self.made += 1
            self.unanswered.append(self.made)
            new.append(self.made)
        return new

    def answered(self, ack: dict[str, Any]) -> None:
        """One of them was acknowledged. Answers come in the order in which messages were sent."""
        if "sequenceNumber" not in ack:
            self.room.history.fail(f"{self.user} was answered {ack}")
        counter = int(ack["clientMessageId"].partition(".")[2])
        if not self.unanswered or self.unanswered[0] != counter:
            self.room.history.fail(f"{self.user} was answered {counter} before {list(self.unanswered)[:1]}")
        self.unanswered.popleft()
        self.room.history.acknowledge(ack["clientMessageId"], ack["sequenceNumber"], duplicate=ack["duplicate"])
        self.room.news.tell()


class Member:
    """Lives in a run over WebSocket, sees every event once, resumes, and writes when it has a sender."""

    def __init__(self, room: Room, user: str, dice: Random, sender: Sender | None = None) -> None:
        self.room = room
        self.user = user
        self.position = 0
        self.session_id = ""
        self.resumes = 0
        self._dice = dice
        self._sender = sender
        self._again: list[int] = []

    async def live(self, port: int) -> None:
        """Come back, send again what was not answered, and go on, until the daemon is gone."""
        while True:
            try:
                await self._visit(port)
            except Closed as closed:
                self.room.present.discard(self.user)
                if closed.code != _STOPPED:
                    self.room.history.fail(f"{self.user} was closed with {closed.code}")
                return
            except Refused as refused:
                if refused.status != 503:
                    raise
                return
            except GONE:
                self.room.present.discard(self.user)
                return

    async def _visit(self, port: int) -> None:
        room = self.room
        room.came.add(self.user)
        identity: dict[str, Any] = {"userId": self.user, "afterSequence": self.position, "epoch": room.history.epoch}
        if self.session_id:
            identity["sessionId"] = self.session_id
        socket = await WebSocket.open(port, room.socket_path(**identity))
        try:
            goes_on = True
            while goes_on:
                for message in await socket.receive():
                    self._take(message)
                goes_on = self._dice.random() > 0.002  # now and then a network fails, not the daemon
                await self._write(socket)
        finally:
            room.present.discard(self.user)
            socket.cut()

    async def _write(self, socket: WebSocket) -> None:
        if self._sender is not None:
            new, self._again = [*self._again, *self._sender.make(WINDOW)], []
            if new:
                await socket.send(*(message(self.user, counter) for counter in new))

    def _take(self, message: dict[str, Any]) -> None:
        kind, room = message["eventType"], self.room
        if "sequenceNumber" in message:
            number = message["sequenceNumber"]
            if number != self.position + 1:
                room.history.fail(f"{self.user} was sent {number} after {self.position}")
            self.position = number
            room.history.saw(number, message)
            room.news.tell()
        elif kind == "ACK":
            assert self._sender is not None
            self._sender.answered(message["data"])
        elif kind == "WELCOME":
            self._welcomed(message["data"])
        elif kind == "USER_LEAVE":
            room.gone[message["userId"]] = message["data"]["reason"]
            room.news.tell()
        elif kind == "ERROR":
            room.history.fail(f"{self.user} was refused: {message['data']}")

    def _welcomed(self, welcome: dict[str, Any]) -> None:
        history = self.room.history
        history.same_epoch(welcome["epoch"])
        if welcome["sequenceNumber"] < max(self.room.owed, self.position):
            history.fail(f"the log ends at {welcome['sequenceNumber']}, {self.room.owed} was acknowledged or seen")
        if not welcome["recovered"]:
            history.fail(f"{self.user} cannot resume from {self.position}: {_short(welcome)}")
        self.resumes += 1
        self.session_id = welcome["sessionId"]
        self.room.present.add(self.user)
        self._again = [] if self._sender is None else list(self._sender.unanswered)


class Publisher:
    """Writes in batches over HTTP, one at a time."""

    def __init__(self, room: Room, sender: Sender) -> None:
        self.room = room
        self._sender = sender

    async def live(self, port: int) -> None:
        """Publish until the daemon is gone."""
        try:
            http = await Http.open(port)
        except GONE:
            return
        try:
            while self._sender.may_make or self._sender.unanswered:
                self._sender.make(BATCH)
                events = [message(self._sender.user, counter) for counter in self._sender.unanswered]
                path = self.room.path("events", userId=self._sender.user)
                for ack in (await http.ask(path, {"events": events}))["acks"]:
                    self._sender.answered(ack)
        except Refused as refused:
            if refused.status != 503:
                raise
        except GONE:
            pass
        finally:
            http.cut()


class Poller:
    """Sees every event once by polling."""

    def __init__(self, room: Room, user: str) -> None:
        self.room = room
        self.user = user
        self.position = 0
        self._session_id = ""

    async def live(self, port: int) -> None:
        """Poll until the daemon is gone."""
        self.room.came.add(self.user)
        try:
            http = await Http.open(port)
        except GONE:
            return
        try:
            while True:
                await self._poll(http)
        except Refused as refused:
            if refused.status != 503:
                raise
        except GONE:
            pass
        finally:
            http.cut()

    async def _poll(self, http: Http) -> None:
        room = self.room
        query: dict[str, object] = {"userId": self.user, "afterSequence": self.position, "wait": 30_000, "limit": 50}
        if room.history.epoch is not None:
            query["epoch"] = room.history.epoch
        if self._session_id:
            query["sessionId"] = self._session_id
        answer = await http.ask(room.path("poll", **query))
        room.history.same_epoch(answer["epoch"])
        self._session_id = answer["sessionId"]
        if answer["sequenceNumber"] < max(room.owed, self.position) or not (answer["recovered"] or not self.position):
            room.history.fail(f"{self.user} cannot go on from {self.position}: {_short(answer)}")
        for event in answer["events"]:
            if event["sequenceNumber"] != self.position + 1:
                room.history.fail(f"{self.user} was sent {event['sequenceNumber']} after {self.position}")
            self.position = event["sequenceNumber"]
            room.history.saw(self.position, event)


class LateJoiner:
    """Comes without a past, compares what it is told with what everyone knows, and leaves."""

    def __init__(self, room: Room, user: str) -> None:
        self.room = room
        self.user = user
        self.joined = False
        self._welcome: dict[str, Any] = {}
        self._replayed: list[int] = []
        self._state: list[int] = []

    async def live(self, port: int) -> None:
        """Join, take the replay and a few live events, and leave with 1000."""
        room = self.room
        surely = set(room.present)
        room.came.add(self.user)
        try:
            socket = await WebSocket.open(port, room.socket_path(userId=self.user))
            try:
                await self._listen(socket, surely)
                await socket.leave()
            finally:
                socket.cut()
        except Closed as closed:
            if closed.code not in (_STOPPED, 4008):  # a log trimmed faster than it is read
                room.history.fail(f"{self.user} was closed with {closed.code}")
        except Refused as refused:
            if refused.status != 503:
                raise
        except GONE:
            pass

    async def _listen(self, socket: WebSocket, surely: set[str]) -> None:
        last = 0
        replay = None
        while replay is None or len(self._replayed) < replay or last < self._welcome["sequenceNumber"] + 3:
            for message in await socket.receive():
                if message["eventType"] == "WELCOME":
                    self._welcome = message["data"]
                    replay, last = self._welcome["replayCount"], 0
                    self._welcomed(surely)
                elif "sequenceNumber" in message:
                    last = self._event(message, last, replay or 0)

    def _welcomed(self, surely: set[str]) -> None:
        room, welcome = self.room, self._welcome
        room.history.same_epoch(welcome["epoch"])
        if welcome["sequenceNumber"] < room.owed:
            room.history.fail(f"the log ends at {welcome['sequenceNumber']}, {room.owed} was acknowledged or seen")
        active = set(welcome["activeUsers"])
        if not (surely & room.present) <= active or not active <= room.came - room.gone.keys():
            room.history.fail(
                f"present are {active}, surely {surely & room.present}, at most {room.came}, not {room.gone}"
            )
        self._state = [event["sequenceNumber"] for event in welcome["runState"]]

    def _event(self, event: dict[str, Any], last: int, replay: int) -> int:
        number, head = event["sequenceNumber"], self._welcome["sequenceNumber"]
        live = len(self._replayed) >= replay
        if not (number == max(last, head) + 1 if live else last < number <= head):
            self.room.history.fail(f"{self.user} was sent {number} after {last}, joined at {head}")
        if not live:
            self._replayed.append(number)
        self.joined = len(self._replayed) >= replay
        self.room.history.saw(number, event)
        return int(number)

    @property
    def can_be_judged(self) -> bool:
        """Whether it got its replay, and others have told what it should have been."""
        return self.joined and self.room.history.head >= self._welcome["sequenceNumber"]

    def judge(self) -> None:
        """Have the oracle compare the replay with the history."""
        welcome = self._welcome
        self.room.history.judge_joiner(
            welcome["oldestSequence"], welcome["sequenceNumber"], self._replayed, self._state
        )
