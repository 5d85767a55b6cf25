"""Pinging a run's connections, spread over the interval, and ending dead ones.

Law of this file: one task per run. The server's own WebSocket pings need no cooperation from the client beyond
RFC 6455, section 5.5.2, and their round trip is the latency that is reported (docs/protocol.md, "Liveness").
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import ceil
from random import Random
from struct import Struct
from typing import TYPE_CHECKING, Final

import trio

from collabd.hub.connection import Connection, Stage
from collabd.protocol import close_codes
from collabd.protocol.codec import ping_frame

if TYPE_CHECKING:
    from collabd.hub.run import Run

_GRAIN: Final = 20
"""Pings are sent at multiples of 1/20 s, so that those close together share a wake-up."""

_NUMBER: Final = Struct("!I")


class Heartbeat:
    """Pings each connection every `interval` seconds and ends one that was silent for twice that."""

    def __init__(self, run: Run, interval: float, random: Random) -> None:
        self._run = run
        self.interval = interval
        self._random = random
        self._due: list[tuple[float, int, Connection]] = []
        self._tie = count()
        self._earlier = trio.Event()

    def add(self, connection: Connection) -> None:
        """Begin with a new connection, at a random point of the interval."""
        self._schedule(connection, trio.current_time() + self._random.random() * self.interval)

    def _schedule(self, connection: Connection, due: float) -> None:
        due = ceil(due * _GRAIN) / _GRAIN
        if not self._due or due < self._due[0][0]:
            self._earlier.set()
        heappush(self._due, (due, next(self._tie), connection))

    async def run(self) -> None:
        """Ping whoever is due; runs until cancelled."""
        while True:
            self._earlier = trio.Event()
            with trio.move_on_at(self._due[0][0] if self._due else float("inf")):
                await self._earlier.wait()
            self._beat(trio.current_time())

    def _beat(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            connection = heappop(self._due)[2]
            if connection.stage is Stage.CLOSED:
                continue
            if now - connection.last_heard >= 2 * self.interval and _is_expected(connection):
                connection.close(close_codes.HEARTBEAT_TIMEOUT, "heartbeat timeout")
                continue
            if connection.link.hears_pongs:
                self._ping(connection, now)
            self._schedule(connection, now + self.interval)

    def _ping(self, connection: Connection, now: float) -> None:
        connection.ping_number += 1
        connection.ping_sent = now
        connection.tell(ping_frame(_NUMBER.pack(connection.ping_number)))


def _is_expected(connection: Connection) -> bool:
    """Whether a living client would have been heard: it answers pings, or it has shown that it PINGs by itself."""
    return connection.link.hears_pongs or connection.client_pings


def take_pong(connection: Connection, payload: bytes, now: float) -> None:
    """A pong came: the first that answers a ping is a measurement (unsolicited ones, RFC 6455 5.5.3, are ignored).

    A round trip longer than the interval answers an older ping, which went out a whole number of intervals before.
    """
    if len(payload) != _NUMBER.size:
        return
    (number,) = _NUMBER.unpack(payload)
    if not connection.ping_answered < number <= connection.ping_number:
        return
    connection.ping_answered = number
    run = connection.session.run
    sent = connection.ping_sent - (connection.ping_number - number) * run.heartbeat.interval
    run.hub.take_round_trip(connection.session.health, max(0.0, now - sent) * 1000)
