"""A network that fails in every way a proxy can make it fail, and clients who go between WebSocket and polling.

    python -m tests.torture network [--seconds 600] [--switches 1000] [--seed S]

Law of this file: clients see the daemon through the fault proxy alone; the oracle judges what came to each of them and
a last look past the proxy says what the log holds. Whatever happened on the way: each message once, each sender's in
order, everyone level after the network healed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import trio
from trio_websocket import HandshakeError

from tests.support.daemon import Daemon, running_daemon
from tests.support.fault_proxy import FaultProxy, open_fault_proxy
from tests.torture.oracle import Broken, Log, View
from tests.torture.room import Room
from tests.torture.wire import GONE, Wire, joined, poll

SETTINGS: Final = {
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN": "100000",
    "WEBSOCKET__HEARTBEAT_INTERVAL_S": "1",
    "PRESENCE__GRACE_S": "2",
    "EVENTS__PERSISTED_EVENT_TYPES": '["NOTE"]',
    "LOGGING__LEVEL": "warning",
}

PATIENCE_S: Final = 90.0
_DEAD_AFTER_S: Final = 1.5
"""A client that heard nothing for so long drops its connection."""

_UNANSWERED: Final = 5
"""Messages that a sender lets be on their way."""


class Sender:
    """Sends numbered messages, and again whatever was not acknowledged, in order."""

    def __init__(self, user: str, log: Log) -> None:
        self.user = user
        self.stopped = False
        self.acknowledged: dict[int, int] = {}
        self._log = log
        self._next = 0
        self._waiting: list[int] = []

    def name(self, number: int) -> str:
        """The id of a message."""
        return f"{self.user}-{number}"

    def outgoing(self, *, again: bool) -> list[int]:
        """What to send now: all that waits for an answer on a new connection, else what is new."""
        old = list(self._waiting) if again else []
        new = []
        while len(self._waiting) < _UNANSWERED and not self.stopped:
            new.append(self._next)
            self._waiting.append(self._next)
            self._next += 1
        return old + new

    def take(self, answer: dict[str, Any]) -> None:
        """An ACK's data. Raises Broken for anything else."""
        if "sequenceNumber" not in answer:
            raise Broken(f"{self.user} was refused: {answer}")
        number = int(answer["clientMessageId"].rpartition("-")[2])
        self._log.saw_ack(self.user, answer["clientMessageId"], answer["sequenceNumber"])
        self.acknowledged[number] = answer["sequenceNumber"]
        if number in self._waiting:
            self._waiting.remove(number)

    @property
    def is_done(self) -> bool:
        """Nothing is on its way any more."""
        return self.stopped and not self._waiting

    def judge(self) -> None:
        """Every message was committed, in the order in which it was sent."""
        places = [self.acknowledged.get(number) for number in range(self._next)]
        if None in places or places != sorted(places, key=lambda place: place or 0):
            raise Broken(f"{self.user}: sent in order, committed as {places}")


class Persistent:
    """A client who never gives up."""

    def __init__(self, port: int, run_id: str, user: str, log: Log) -> None:
        self.view = View(log, user)
        self.sender = Sender(user, log)
        self.connections = 0
        self._port = port
        self._run_id = run_id

    async def live(self) -> None:
        """Over WebSockets, until cancelled."""
        while True:
            try:
                with trio.move_on_after(PATIENCE_S):
                    await self._attempt()
            except* (*GONE, HandshakeError, trio.TooSlowError):
                pass
            await trio.sleep(0.05)

    async def _attempt(self) -> None:
        with trio.fail_after(_DEAD_AFTER_S) as limit:
            async with joined(self._port, self._run_id, self.view.who, self.view) as wire:
                await wire.receive()
                self.connections += 1
                limit.deadline = trio.current_time() + PATIENCE_S
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, wire)
                    nursery.start_soon(self._receive, wire)

    async def _send(self, wire: Wire) -> None:
        again = True
        while True:
            for number in self.sender.outgoing(again=again):
                await wire.send("GRAFT", {"after": str(number)}, self.sender.name(number))
            again = False
            await wire.send("PING", {})
            await trio.sleep(0.1)

    async def _receive(self, wire: Wire) -> None:
        while True:
            with trio.fail_after(_DEAD_AFTER_S):
                await wire.receive()
            for name in list(wire.acks):
                self.sender.take(wire.acks.pop(name)["data"])

    async def poll_and_publish(self) -> None:
        """The same by HTTP, until cancelled."""
        path = f"/api/runs/{self._run_id}/collaboration/events"
        while True:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", timeout=_DEAD_AFTER_S) as http:
                try:
                    while True:
                        await poll(http, self._run_id, self.view.who, self.view, wait_ms=200)
                        events = [
                            {"eventType": "FLAG", "data": {"stepId": "s"}, "clientMessageId": self.sender.name(number)}
                            for number in self.sender.outgoing(again=True)
                        ]
                        if events:
                            answer = await http.post(path, params={"userId": self.view.who}, json={"events": events})
                            answer.raise_for_status()
                            for ack in answer.json()["acks"]:
                                self.sender.take(ack)
                except httpx.TransportError:
                    self.connections += 1
                await trio.sleep(0.05)


def _refuse(proxy: FaultProxy, _: Random) -> None:
    proxy.refuse()
    proxy.cut()


Fault = Callable[[FaultProxy, Random], None]
FAULTS: Final[dict[str, Fault]] = {
    "cut": lambda proxy, _: proxy.cut(),
    "stall": lambda proxy, _: proxy.stall(),
    "half-open": lambda proxy, _: proxy.half_open(),
    "delay": lambda proxy, random: proxy.delay(random.uniform(0.01, 0.4)),
    "mid-frame cut": lambda proxy, random: proxy.cut_after(random.randrange(1, 400)),
    "held back": lambda proxy, _: proxy.hold(),
    "answers lost": lambda proxy, _: proxy.mute(),
    "refused": _refuse,
}


async def faults(seconds: float, seed: int, data_dir: Path) -> dict[str, Any]:
    """Every fault at least once, then any, for so many seconds; then the network heals. Raises Broken."""
    random = Random(seed)
    log, run_id = Log("faults"), str(uuid.UUID(int=random.getrandbits(128), version=4))
    done: Counter[str] = Counter()
    with running_daemon(data_dir, SETTINGS) as daemon:
        async with open_fault_proxy(daemon.host, daemon.port) as proxy, trio.open_nursery() as nursery:
            clients = [Persistent(proxy.port, run_id, f"user{number}", log) for number in range(6)]
            for number, client in enumerate(clients):
                nursery.start_soon(client.poll_and_publish if number % 3 == 2 else client.live)
            until = trio.current_time() + seconds
            due = random.sample(list(FAULTS), len(FAULTS))
            while due or trio.current_time() < until:
                name = due.pop() if due else random.choice(list(FAULTS))
                done[name] += 1
                await trio.sleep(random.uniform(0.1, 0.6))
                FAULTS[name](proxy, random)
                await trio.sleep(random.choice((0.05, 0.3, 1.0, 2.5)))
                await proxy.heal()
            proxy.cut()  # what was muted stays so until then
            for client in clients:
                client.sender.stopped = True
            head = await _all_level(daemon, run_id, clients)
            nursery.cancel_scope.cancel()
        log.judge(head)
        for client in clients:
            client.sender.judge()
        await _check_log(daemon, run_id, clients, head)
    return {
        "faults": dict(done),
        "messages": head,
        "connections": sum(client.connections for client in clients),
        "events told": sum(client.view.events for client in clients),
    }


async def _all_level(daemon: Daemon, run_id: str, clients: list[Persistent]) -> int:
    """Wait until everybody has seen everything and is there; answers the head."""
    head, here = -1, []
    with trio.move_on_after(PATIENCE_S):
        while True:
            _, seen = await trio.to_thread.run_sync(daemon.request, f"/api/runs/{run_id}/collaboration/poll?limit=1")
            head, here = seen["sequenceNumber"], seen["activeUsers"]
            places = [client.view.place.number if client.view.place else -1 for client in clients]
            is_done = all(client.sender.is_done for client in clients)
            if is_done and places == [head] * len(clients) and here == [client.view.who for client in clients]:
                return int(head)
            await trio.sleep(0.2)
    senders = [client.sender.is_done for client in clients]
    raise Broken(f"{PATIENCE_S:g} s after healing: {places} of {head}, {here} are here, done: {senders}")


async def _check_log(daemon: Daemon, run_id: str, clients: list[Persistent], head: int) -> None:
    """What the log holds is what was acknowledged, no more and no less."""
    events = await trio.to_thread.run_sync(daemon.replay, run_id)
    held = {event["clientMessageId"]: event["sequenceNumber"] for event in events}
    said = {
        client.sender.name(number): place for client in clients for number, place in client.sender.acknowledged.items()
    }
    if held != said or len(events) != head:
        raise Broken(f"the log holds {len(events)} events, {len(said)} were acknowledged; {set(held) ^ set(said)}")
    if lines := daemon.log.read_text():
        raise Broken(f"the daemon warned: {lines[:2000]}")


async def switches(count: int, seed: int, data_dir: Path) -> dict[str, Any]:
    """So many changes between WebSocket and polling under one session, while others write. Raises Broken."""
    with running_daemon(data_dir, SETTINGS) as daemon:
        room = Room(daemon.port, "switching", Random(seed), slower=False)
        while room.done["switches"] < count:
            await room.round(3.0, switchers=4)
        return dict(room.totals())


def main(arguments: list[str]) -> int:
    """Run the long form, and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture network", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--switches", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args(arguments)
    print(f"network: --seconds {options.seconds:g} --switches {options.switches} --seed {options.seed}", flush=True)
    broken: list[BaseException] = []
    with tempfile.TemporaryDirectory(prefix="collabd-network-") as place:
        try:
            if options.seconds:
                print(json.dumps(trio.run(faults, options.seconds, options.seed, Path(place) / "faults")), flush=True)
            if options.switches:
                print(json.dumps(trio.run(switches, options.switches, options.seed, Path(place) / "switches")))
        except* Broken as group:
            broken.append(group)
    for each in broken:
        print(f"BROKEN: {each!r}", file=sys.stderr)
    return 1 if broken else 0
