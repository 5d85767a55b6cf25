"""Pinging all connections, spread over the interval, and ending dead ones.

Law of this file: one task for all runs, since a timer of its own in each of a thousand quiet runs was what an idle
daemon spent its time on (docs/performance.md). The server's own WebSocket pings need no cooperation from the client
beyond RFC 6455, section 5.5.2, and their round trip is the latency that is reported (docs/protocol.md, "Liveness").
"""

from __future__ import annotations

from math import ceil
from random import Random
from struct import Struct
from typing import Final

import trio

from collabd.hub.connection import Connection, Stage
from collabd.protocol import close_codes
from collabd.protocol.codec import ping_frame

_STEP: Final = 0.2
"""Seconds between two steps of the wheel: connections close together share a wake-up."""

_MOST_SLOTS: Final = 1000

_NUMBER: Final = Struct("!I")


class Heartbeat:
    """A timing wheel: each connection has a place on it and is pinged once a turn, which takes `interval` seconds."""

    def __init__(self, interval: float, random: Random) -> None:
        self.interval = interval
        self._random = random
        count = min(_MOST_SLOTS, max(1, ceil(interval / _STEP)))
        self._slots: list[dict[Connection, None]] = [{} for _ in range(count)]
        self._step = interval / count
        self._size = 0
        self._has_some = trio.Event()

    def add(self, connection: Connection) -> None:
        """Begin with a new connection, at a random point of the interval."""
        self._slots[self._random.randrange(len(self._slots))][connection] = None
        self._size += 1
        self._has_some.set()

    async def run(self) -> None:
        """Turn the wheel while there is anyone on it; runs until cancelled."""
        step = 0
        due = trio.current_time()
        while True:
            if not self._size:
                self._has_some = trio.Event()
                await self._has_some.wait()
                due = trio.current_time()
            due += self._step
            await trio.sleep_until(due)
            step = (step + 1) % len(self._slots)
            self._beat(self._slots[step], trio.current_time())

    def _beat(self, slot: dict[Connection, None], now: float) -> None:
        for connection in list(slot):
            if connection.stage is Stage.CLOSED:
                del slot[connection]
                self._size -= 1
            elif now - connection.last_heard >= 2 * self.interval and _is_expected(connection):
                connection.close(close_codes.HEARTBEAT_TIMEOUT, "heartbeat timeout")
            elif connection.link.hears_pongs:
                _ping(connection, now)


def _ping(connection: Connection, now: float) -> None:
    connection.ping_number += 1
    connection.ping_sent = now
    frame = ping_frame(_NUMBER.pack(connection.ping_number))
    connection.session.run.fanout.write_or_tell(connection, frame)


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
    hub = connection.session.run.hub
    sent = connection.ping_sent - (connection.ping_number - number) * hub.heartbeat.interval
    hub.take_round_trip(connection.session.health, max(0.0, now - sent) * 1000)
