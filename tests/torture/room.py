"""One run and the people in it: rounds of joining, writing, reading, leaving and coming back, each round judged.

Law of this file: every actor runs until the round's end, judges through the room's log, and raises what it did not
expect: a soak has no errors that are only counted.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import httpx
import trio

from tests.torture.oracle import Broken, Log, View
from tests.torture.wire import Wire, joined, poll

TYPES = ("GRAFT", "PRUNE", "FLAG", "NOTE")
"""NOTE is persisted and not critical: SETTINGS in soak.py."""

PATIENCE_S = 60.0


class Room:
    """A run for a long time. `slower`: its WebSockets go through Hypercorn."""

    def __init__(self, port: int, name: str, random: Random, *, slower: bool) -> None:
        self.name = name
        self.run_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        self.log = Log(name)
        self.done: Counter[str] = Counter()
        self._port = port
        self._random = random
        self._slower = slower
        self._watchers = [View(self.log, f"{name}-watcher{number}") for number in range(2)]
        self._known = [View(self.log, f"{name}-known{number}") for number in range(3)]
        self._until = 0.0
        self._http: httpx.AsyncClient

    async def round(self, seconds: float, *, switchers: int = 0) -> None:
        """People come, work for so many seconds, and go; then what they saw is judged. Raises Broken.

        `switchers` more go between WebSocket and polling.
        """
        while len(self._known) < 3 + switchers:
            self._known.append(View(self.log, f"{self.name}-switcher{len(self._known)}"))
        self._until = trio.current_time() + seconds
        base_url = f"http://127.0.0.1:{self._port}"
        async with (
            httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_S) as self._http,
            trio.open_nursery() as watching,
        ):
            for view in self._watchers:
                await watching.start(self._watch, view)
            async with trio.open_nursery() as working:
                for actor in self._actors():
                    working.start_soon(actor)
            await self._judge()
            watching.cancel_scope.cancel()
        self.done["rounds"] += 1

    def _actors(self) -> list[Callable[[], Awaitable[None]]]:
        resumer, poller, *switchers = self._known
        return [
            lambda: self._write("ann"),
            lambda: self._write("ben"),
            lambda: self._publish("carl"),
            self._come_and_go,
            lambda: self._resume(resumer),
            *(partial(self._switch, view) for view in switchers),
            lambda: self._poll(poller),
            self._replay,
        ]

    async def _judge(self) -> None:
        head = 0
        with trio.move_on_after(PATIENCE_S) as limit:
            while True:
                seen = (await self._http.get(f"/api/runs/{self.run_id}/collaboration/poll?limit=1")).json()
                head = seen["sequenceNumber"]
                places = [view.place.number for view in self._watchers if view.place is not None]
                if places == [head] * len(self._watchers) and seen["activeUsers"] == [v.who for v in self._watchers]:
                    break
                await trio.sleep(0.1)
        if limit.cancelled_caught:
            raise Broken(
                f"{self.name}: {PATIENCE_S:g} s after the last write: {places} of {head}, {seen['activeUsers']}"
            )
        self.log.judge(head)

    def _pause(self, mean_s: float) -> float:
        return min(self._random.expovariate(1 / mean_s), 5 * mean_s)

    def _goes_on(self) -> bool:
        return trio.current_time() < self._until

    def _join(self, view: View) -> Any:
        self.done["joins"] += 1
        return joined(self._port, self.run_id, view.who, view, slower=self._slower)

    async def _watch(self, view: View, task_status: trio.TaskStatus[None]) -> None:
        async with self._join(view) as wire:
            await wire.receive()
            task_status.started()
            while True:
                await wire.receive()

    async def _end(self, wire: Wire) -> None:
        """Half of all goodbyes are none."""
        if self._random.random() < 0.5:
            await wire.leave()
        else:
            wire.cut()

    async def _read_for(self, wire: Wire, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while True:
                await wire.receive()

    # Writers

    async def _write(self, user: str) -> None:
        """Messages one after the other over WebSockets that get lost: sent again under their id until acknowledged."""
        view = View(self.log, user)
        pending: tuple[str, Any, str] | None = None
        while self._goes_on():
            async with self._join(view) as wire:
                lasts_until = trio.current_time() + self._pause(4)
                while self._goes_on() and trio.current_time() < lasts_until:
                    pending = pending or self._message()
                    await wire.send(*pending)
                    if self._random.random() < 0.3:
                        await wire.send("CURSOR_MOVE", {"nodeId": pending[2]})
                    if self._random.random() < 0.03:
                        break  # gone before the answer
                    await self._wait_for_answer(wire, user, pending[2])
                    if self._random.random() > 0.03:  # else once more, to be told that it is a duplicate
                        pending = None
                    await self._read_for(wire, self._pause(0.1))
                await self._end(wire)

    async def _wait_for_answer(self, wire: Wire, user: str, message_id: str) -> None:
        wire.acks.pop(message_id, None)
        with trio.fail_after(PATIENCE_S):
            while message_id not in wire.acks:
                await wire.receive()
        self._take_answer(user, wire.acks.pop(message_id)["data"])

    def _take_answer(self, user: str, answer: dict[str, Any]) -> None:
        if "sequenceNumber" not in answer:
            raise Broken(f"{self.name}: {user} was refused: {answer}")
        self.done["acknowledged"] += 1
        self.done["duplicates"] += answer["duplicate"]
        self.log.saw_ack(user, answer["clientMessageId"], answer["sequenceNumber"])

    def _message(self) -> tuple[str, Any, str]:
        step = f"step-{self._random.randrange(40)}"
        data = {"after": step, "stepId": step, "note": "n" * self._random.randrange(300)}
        return self._random.choice(TYPES), data, f"{self._random.getrandbits(128):032x}"

    async def _publish(self, user: str) -> None:
        """Batches over HTTP, some of them twice."""
        while self._goes_on():
            messages = [self._message() for _ in range(self._random.randint(1, 6))]
            body = [{"eventType": kind, "data": data, "clientMessageId": name} for kind, data, name in messages]
            for _ in range(2 if self._random.random() < 0.1 else 1):
                path = f"/api/runs/{self.run_id}/collaboration/events"
                answer = await self._http.post(path, params={"userId": user}, json={"events": body})
                answer.raise_for_status()
                for ack in answer.json()["acks"]:
                    self._take_answer(user, ack)
            await trio.sleep(self._pause(0.4))

    # Readers

    async def _come_and_go(self) -> None:
        """People who were never here before."""
        while self._goes_on():
            view = View(self.log, f"guest{self._random.getrandbits(32):x}")
            async with self._join(view) as wire:
                await self._read_for(wire, self._pause(0.7))
                await self._end(wire)
            self.done["events"] += view.events

    async def _resume(self, view: View) -> None:
        """Somebody whose connection is lost again and again, now and then for longer than is retained."""
        while self._goes_on():
            async with self._join(view) as wire:
                await self._read_for(wire, self._pause(1))
                await self._end(wire)
            away_s = self._random.choice((0, self._pause(0.5), self._pause(2), self._pause(8)))
            await trio.sleep(max(0.0, min(away_s, self._until - trio.current_time())))

    async def _switch(self, view: View) -> None:
        """WebSocket and polls in turn, under one session and from one position."""
        while self._goes_on():
            async with self._join(view) as wire:
                await self._read_for(wire, self._pause(0.5))
                await self._end(wire)
            for _ in range(self._random.randint(1, 3)):
                await poll(self._http, self.run_id, view.who, view)
            self.done["switches"] += 2

    async def _poll(self, view: View) -> None:
        """Polls, held back or not."""
        while self._goes_on():
            await poll(self._http, self.run_id, view.who, view, wait_ms=self._random.choice((0, 500, 2000)))
            self.done["polls"] += 1
            await trio.sleep(self._pause(0.3))

    async def _replay(self) -> None:
        """All that is retained, page by page: gapless, and what everyone else saw."""
        while self._goes_on():
            following: int | None = 1
            last = 0
            while following is not None:
                page = (
                    await self._http.get(
                        f"/api/runs/{self.run_id}/collaboration/replay",
                        params={"fromSequence": following, "limit": 200},
                    )
                ).json()
                for event in page["events"]:
                    self.log.saw_event(event)
                    if last and event["sequenceNumber"] != last + 1 and page["oldestSequence"] <= last + 1:
                        raise Broken(f"{self.name}: {event['sequenceNumber']} follows {last} in a replay")
                    last = event["sequenceNumber"]
                following = page["nextSequence"]
            self.done["replays"] += 1
            await trio.sleep(self._pause(1))

    def totals(self) -> Counter[str]:
        """What was done so far."""
        known = [*self._watchers, *self._known]
        return self.done + Counter(
            events=sum(view.events for view in known), resets=sum(view.resets for view in known), head=self.log.head
        )
