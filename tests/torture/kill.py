"""kill -9, thousands of times: at random moments, and at every named point of a start, a commit, telling and stopping.

Each cycle starts a daemon on the data directory that the one before left behind, lets everyone come back and work, and
has it die. The oracle judges all the while: 0 acknowledged lost, 0 doubled, 0 holes, the same for all.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import trio

from tests.torture import failpoints
from tests.torture.clients import LateJoiner, Member, News, Poller, Publisher, Room, Sender
from tests.torture.fork_server import ForkServer
from tests.torture.history import History
from tests.torture.raw import GONE, Http, WebSocket

KEPT: Final = 300
SETTINGS: Final = {
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN": str(KEPT),
    "STORAGE__RING_BYTES_PER_RUN": "20000",
    "STORAGE__RING_BYTES_TOTAL": "60000",
    "EVENTS__PERSISTED_EVENT_TYPES": '["NOTE"]',
    "SERVER__DRAIN_TIMEOUT_S": "2",
    "LOGGING__LEVEL": "error",
}
READY: Final = b"collabd is ready at "
REACHED: Final = b"reached"
MOST_ACKS: Final = 60
"""How long a failpoint is waited for, in acknowledgements, before the daemon is killed in passing."""

MOST_MADE: Final = 20
"""New messages of each sender in a cycle; five times as many are more than MOST_ACKS."""

GRACE_OF_GHOSTS_S: Final = 0.2
CYCLE_TIMEOUT_S: Final = 60.0
START_TIMEOUT_S: Final = 30.0


class Plan(NamedTuple):
    """How a daemon is to die: at a failpoint come by for the nth time, or after so many acknowledgements."""

    point: str | None = None
    nth: int = 0
    acks: int = MOST_ACKS
    stop: bool = False
    """SIGTERM instead of SIGKILL."""
    ghost: bool = False
    """Before it, somebody vanishes and must be told as gone within the grace time."""


@dataclass
class Report:
    """What happened, summed up."""

    cycles: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    duplicates: int = 0
    resumes: int = 0
    joiners: int = 0
    ghosts: int = 0
    events: int = 0
    seconds: float = 0.0

    @property
    def never(self) -> list[str]:
        """The named points at which no daemon died."""
        return [point for point in failpoints.POINTS if not self.reached[point]]

    def text(self) -> str:
        """A few lines for a person."""
        return (
            f"{self.cycles} cycles in {self.seconds:.0f} s ({self.seconds / max(1, self.cycles):.3f} s each), "
            f"{sum(self.reached.values())} of them at {len(+self.reached)} of {len(failpoints.POINTS)} named points"
            f"{' (never: ' + ', '.join(self.never) + ')' if self.never else ''}\n"
            f"{self.events} events, {self.acknowledged} acknowledgements ({self.duplicates} of messages sent again), "
            f"{self.resumes} resumes, {self.joiners} late joiners compared, "
            f"{self.ghosts} ghosts seen to leave: 0 lost, 0 doubled, 0 holes"
        )


def plans(dice: Random, cycles: int, reached: Counter[str]) -> Iterable[Plan]:
    """Random kills, and in between the named points in turn; those not yet `reached` come again sooner."""
    tried: Counter[str] = Counter()
    for cycle in range(cycles):
        if cycle % 5 == 0:
            yield Plan(acks=dice.randint(1, 40), stop=dice.random() < 0.2, ghost=cycle % 50 == 0)
            continue
        lowest = min(tried[point] + (reached[point] > 0) for point in failpoints.POINTS)
        point = dice.choice([p for p in failpoints.POINTS if tried[p] + (reached[p] > 0) == lowest])
        tried[point] += 1
        if failpoints.is_of_a_stop(point):
            yield Plan(point, 1, dice.randint(1, 40), stop=True)
        else:
            yield Plan(point, dice.randint(1, failpoints.times(point)) if reached[point] else 1)


class Lane:
    """One data directory and all who live with it. `name` tells lanes apart that run beside each other."""

    def __init__(self, data_dir: Path, dice: Random, forks: ForkServer, report: Report) -> None:
        self._data_dir = data_dir
        self._dice = dice
        self._forks = forks
        self._report = report
        self._pid = 0
        self._epoch: str | None = None
        self._news = News()
        self.rooms = [
            Room(str(uuid.UUID(int=dice.getrandbits(128))), History(name, KEPT), self._news) for name in ("one", "two")
        ]
        one, two = self.rooms
        ann, bob, cid = (Sender(one, name) for name in ("ann", "bob", "cid"))
        dan, eve = (Sender(two, name) for name in ("dan", "eve"))
        self._senders = [ann, bob, cid, dan, eve]
        self._members = [
            Member(one, "ann", dice, ann),
            Member(one, "bob", dice, bob),
            Member(two, "dan", dice, dan),
            Member(two, "fay", dice),
        ]
        self._others: list[Publisher | Poller] = [Publisher(one, cid), Publisher(two, eve), Poller(one, "gus")]
        self._joiners: list[LateJoiner] = []
        self._joined = 0

    # One daemon's life

    async def cycle(self, plan: Plan) -> None:
        """Start, live, die. A start that is to die is followed by one that is not."""
        if plan.point is not None and failpoints.is_of_a_start(plan.point):
            if await self._start((plan.point, plan.nth)) is not None:
                raise AssertionError(f"no start comes by {plan.point!r}")
            plan = Plan(acks=self._dice.randint(1, 40))
        self._report.cycles += 1
        failpoint = None if plan.point is None else (plan.point, plan.nth)
        started = await self._start(failpoint, grace_s=GRACE_OF_GHOSTS_S if plan.ghost else 15)
        if started is None:  # the point was come by on the way to being ready
            return
        port, output = started
        with os.fdopen(output, "rb", buffering=0):
            await self._live(port, plan)
            status = self._forks.wait(self._pid)
            reached = REACHED in os.read(output, 4096)
        if plan.point is not None and reached:
            self._report.reached[plan.point] += 1
        if status not in (-signal.SIGKILL, 0):
            raise AssertionError(f"the daemon ended with {status}; see {self._data_dir}.log")

    async def _start(
        self, failpoint: tuple[str, int] | None, *, grace_s: float = 15, may_make: int = MOST_MADE
    ) -> tuple[int, int] | None:
        """The port and standard output of a daemon that is ready; None for one that died of its failpoint."""
        for room in self.rooms:
            room.restarted()
        for sender in self._senders:
            sender.may_make = may_make
        settings = {**SETTINGS, "PRESENCE__GRACE_S": str(grace_s)}
        self._pid, output = self._forks.start(self._data_dir, settings, failpoint)
        said = b""
        with trio.fail_after(START_TIMEOUT_S):
            while not (READY in said and said.endswith(b"\n")):
                await trio.lowlevel.wait_readable(output)
                data = os.read(output, 4096)
                said += data
                if not data:
                    break
        if data:
            return int(said.split(READY)[1].split(b"\n")[0].rpartition(b":")[2]), output
        os.close(output)
        self._forks.wait(self._pid)
        if failpoint is None or REACHED not in said:
            raise AssertionError(f"the daemon did not start ({said!r}); see {self._data_dir}.log")
        self._report.reached[failpoint[0]] += 1
        return None

    async def _live(self, port: int, plan: Plan) -> None:
        """Everyone comes, until the daemon is gone."""
        with trio.fail_after(CYCLE_TIMEOUT_S):
            await self._learn_epoch(port)
            async with trio.open_nursery() as ending:
                ending.start_soon(self._end, port, plan)
                if plan.point is not None and "sql: run" in plan.point:
                    ending.start_soon(self._found_a_run, port)
                if not plan.ghost:
                    ending.start_soon(self._join_late, port)
                async with trio.open_nursery() as clients:
                    for live in self._lives():
                        clients.start_soon(live, port)
                ending.cancel_scope.cancel()
        self._judge()

    def _lives(self) -> list[Callable[[int], Awaitable[None]]]:
        return [*(member.live for member in self._members), *(other.live for other in self._others)]

    async def _learn_epoch(self, port: int) -> None:
        for room in self.rooms:
            if room.history.epoch is None:
                with suppress(*GONE):
                    http = await Http.open(port)
                    room.history.same_epoch((await http.ask(room.path("poll")))["epoch"])
                    http.cut()

    async def _join_late(self, port: int) -> None:
        await self._acknowledged(self._dice.randint(0, 20))
        self._joined += 1
        room = self._dice.choice(self.rooms)
        joiner = LateJoiner(room, f"late{self._joined}")
        self._joiners.append(joiner)
        await joiner.live(port)

    async def _end(self, port: int, plan: Plan) -> None:
        """Have the daemon die when it is time, where no failpoint did it before."""
        goal = self.acknowledged + plan.acks
        if plan.ghost:
            await self._see_a_ghost_leave(port)
        await self._news.until(lambda: self.acknowledged >= goal)
        if plan.point is None:
            await trio.sleep(self._dice.random() * 0.003)
        self._forks.kill(self._pid, signal.SIGTERM if plan.stop else signal.SIGKILL)

    async def _found_a_run(self, port: int) -> None:
        """The first event of a run makes its row."""
        run_id = uuid.UUID(int=self._dice.getrandbits(128))
        with suppress(*GONE):
            http = await Http.open(port)
            await http.ask(f"/api/runs/{run_id}/collaboration/events?userId=ida", {"eventType": "GRAFT", "data": None})
            http.cut()

    async def _acknowledged(self, count: int) -> None:
        goal = self.acknowledged + count
        await self._news.until(lambda: self.acknowledged >= goal)

    async def _see_a_ghost_leave(self, port: int) -> None:
        """One who vanished without a word is told as gone, after the grace time, by the daemon it came to."""
        room = self.rooms[1]
        socket = await WebSocket.open(port, room.socket_path(userId="ghost"))
        await socket.receive()
        socket.cut()
        since = trio.current_time()
        await self._news.until(lambda: "ghost" in room.gone)
        seconds = trio.current_time() - since
        if room.gone["ghost"] != "timeout" or seconds < GRACE_OF_GHOSTS_S - 0.01:
            room.history.fail(f"the ghost left by {room.gone['ghost']!r}, {seconds:.3f} s after it vanished")
        self._report.ghosts += 1

    # Judging

    @property
    def acknowledged(self) -> int:
        """How many acknowledgements came so far, in all runs."""
        return sum(room.history.acknowledged for room in self.rooms)

    def _judge(self) -> None:
        judged = [joiner for joiner in self._joiners if joiner.can_be_judged]
        for joiner in judged:
            joiner.judge()
        self._report.joiners += len(judged)
        # Those who got no replay before the end have nothing to be judged by.
        self._joiners = [joiner for joiner in self._joiners if joiner.joined and joiner not in judged]

    async def finish(self) -> None:
        """One more daemon, nothing new: all that was ever sent is acknowledged and there, and everyone has seen it."""
        started = await self._start(None, may_make=0)
        assert started is not None
        port, output = started
        with os.fdopen(output, "rb", buffering=0), trio.fail_after(CYCLE_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for live in self._lives():
                    nursery.start_soon(live, port)
                await self._news.until(self._all_is_said)
                for room in self.rooms:
                    await self._compare_replay(port, room)
                self._forks.kill(self._pid, signal.SIGTERM)
            if self._forks.wait(self._pid) != 0:
                raise AssertionError("the last daemon did not stop cleanly")
        self._judge()
        for room in self.rooms:
            room.history.judge_finished({s.user: s.made for s in self._senders if s.room is room})
            self._report.events += room.history.head
            self._report.acknowledged += room.history.acknowledged
            self._report.duplicates += room.history.duplicates
        self._report.resumes += sum(member.resumes for member in self._members)

    def _all_is_said(self) -> bool:
        level = all(member.position >= member.room.history.safe for member in self._members)
        return level and not any(sender.unanswered for sender in self._senders)

    async def _compare_replay(self, port: int, room: Room) -> None:
        """What is retained, read by number, is what everyone saw."""
        http = await Http.open(port)
        page: dict[str, Any] = {"nextSequence": 1}
        while page["nextSequence"] is not None:
            page = await http.ask(room.path("replay", fromSequence=page["nextSequence"], limit=1000))
            for event in page["events"]:
                room.history.saw(event["sequenceNumber"], event)
        http.cut()
        oldest = max(1, room.history.head - KEPT + 1)
        if (page["sequenceNumber"], page["oldestSequence"]) != (room.history.head, oldest):
            room.history.fail(f"the log holds {page['oldestSequence']} to {page['sequenceNumber']}")


def torture(cycles: int, seed: int, place: Path, *, lanes: int = 1, say: Callable[[str], None] = print) -> Report:
    """So many cycles in all, on data directories below `place`. Raises Violation, with the cycle and how to repeat it.

    Everything but the moments at which the system runs which process follows from `seed`.
    """
    report = Report()
    started = time.monotonic()
    trio.run(_run_lanes, cycles, seed, place, lanes, report, say)
    report.seconds = time.monotonic() - started
    return report


async def _run_lanes(
    cycles: int, seed: int, place: Path, lanes: int, report: Report, say: Callable[[str], None]
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(lanes):
            mine = cycles // lanes + (number < cycles % lanes)
            nursery.start_soon(_run_lane, mine, Random(f"{seed}/{number}"), place / f"lane{number}", report, say)


async def _run_lane(cycles: int, dice: Random, data_dir: Path, report: Report, say: Callable[[str], None]) -> None:
    with ForkServer() as forks:
        lane = Lane(data_dir, dice, forks, report)
        for number, plan in enumerate(plans(dice, cycles, report.reached), 1):
            try:
                await lane.cycle(plan)
            except BaseException:
                say(f"{data_dir}: cycle {number} of {cycles}, {plan}")
                raise
            if number % 500 == 0:
                say(f"{data_dir.name}: {number} cycles, {lane.acknowledged} acknowledgements")
        await lane.finish()


def main(arguments: list[str]) -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture kill", description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000, help="daemons to kill (10000)")
    parser.add_argument("--lanes", type=int, default=2, help="data directories worked on side by side (2)")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32), help="repeats what it draws")
    parser.add_argument("--place", type=Path, help="directory to work in (a temporary one)")
    asked = parser.parse_args(arguments)
    print(f"seed {asked.seed}", flush=True)
    with TemporaryDirectory(prefix="collabd-kill-", dir=asked.place) as place:
        print(torture(asked.cycles, asked.seed, Path(place), lanes=asked.lanes).text())
    return 0
