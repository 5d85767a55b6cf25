"""One attached client: its outbox, its place in the log and the order of what it sends.

Law of this file: state only. The run's fan-out writes it, its transport's task reads for it, and nothing here waits.
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from typing import TYPE_CHECKING

from collabd.errors import ProtocolError
from collabd.protocol import close_codes
from collabd.protocol.codec import error_frame
from collabd.protocol.rate import Rates
from collabd.protocol.sender_order import SenderOrder

if TYPE_CHECKING:
    from collabd.hub.link import Link
    from collabd.hub.session import Session


class Stage(IntEnum):
    """Where a connection stands in its run's fan-out."""

    NEWCOMER = 0
    """Has all of history; gets the tail of the running tick, then is level."""
    LEVEL = 1
    """Gets the bytes that everyone gets."""
    BACKLOGGED = 2
    """Its socket did not take everything: a task of its own brings it level again from the ring."""
    CLOSED = 3


class Connection:
    """One WebSocket of a session. `position` is the last sequence number handed to its outbox."""

    __slots__ = (
        "address",
        "catching_up",
        "client_pings",
        "close_code",
        "close_reason",
        "counted_from",
        "critical_until",
        "is_viewer",
        "lane",
        "lane_bytes",
        "last_heard",
        "link",
        "order",
        "ping_answered",
        "ping_number",
        "ping_sent",
        "position",
        "private",
        "rates",
        "send",
        "sent",
        "session",
        "skip",
        "stage",
        "strikes",
        "superseded",
        "unsent",
        "unsent_events",
    )

    def __init__(self, session: Session, link: Link, now: float) -> None:
        self.session = session
        self.link = link
        self.send = link.send
        self.order = SenderOrder()
        self.rates: Rates | None = None
        self.address = ""
        self.strikes = 0
        self.is_viewer = False
        self.stage = Stage.NEWCOMER
        self.skip = 0
        self.position = 0
        self.critical_until = 0
        self.private: list[bytes] = []
        self.unsent: bytes | memoryview = b""
        self.unsent_events = 0
        self.catching_up = True
        self.lane: dict[tuple[str, str], bytes] = {}
        self.lane_bytes = 0
        self.superseded = 0
        self.sent = 0
        self.counted_from = 0
        self.last_heard = now
        self.client_pings = False
        self.ping_answered = 0
        self.ping_number = 0
        self.ping_sent = 0.0
        self.close_code: int | None = None
        self.close_reason = ""

    def tell(self, frame: bytes) -> None:
        """Queue a frame for this client alone: ACK, ERROR, PONG, ping, AUTH_OK, DRAIN."""
        self.session.run.fanout.tell_one(self, frame)

    def refuse(self, error: ProtocolError) -> None:
        """Tell the client why a message of its was not accepted; the connection stays open."""
        self.tell(error_frame(error))

    def close(self, code: int, reason: str) -> None:
        """End this connection from the server's side; its transport's task says goodbye and detaches it."""
        if self.stage is Stage.CLOSED:
            return
        self.session.run.fanout.give_up(self)
        self.close_code = code
        self.close_reason = reason
        self.link.end()

    def lost(self, events: int) -> None:
        """The peer is gone: a write of so many events failed."""
        if self.stage is Stage.CLOSED:
            return
        self.sent -= events
        self.count_failures(events)
        self.close(close_codes.ABNORMAL, "connection lost")

    def count_failures(self, events: int) -> None:
        """Count events that should have reached the session and did not."""
        if not events:
            return
        session = self.session
        hub = session.run.hub
        session.health.messages_failed += events
        session.health.note(hub.now_ms(), "failed", events)
        hub.counters.message_failures += events

    def lose_socket(self) -> None:
        """Write nothing from now on: the socket is about to be closed, and its number may soon be another's."""
        self.send = _send_nothing

    def queued_bytes(self) -> int:
        """Bytes of its own that wait for its socket; what its ring holds for it comes on top."""
        return len(self.unsent) + sum(map(len, self.private)) + self.lane_bytes

    def take_unsent(self) -> bytes:
        """All that was queued for this client and not written; the outbox is empty after."""
        rest = b"".join((self.unsent, *self.private))
        self.unsent = b""
        self.private.clear()
        return rest

    def put_in_lane(self, key: tuple[str, str], frame: bytes) -> None:
        """Keep only the newest transient event of each (user, type) for a client under pressure."""
        superseded = self.lane.pop(key, None)
        if superseded is not None:
            self.superseded += 1
            self.lane_bytes -= len(superseded)
        self.lane_bytes += len(frame)
        self.lane[key] = frame

    def take_lane(self) -> list[bytes]:
        """The transient events kept back, oldest first."""
        frames = list(self.lane.values())
        self.lane.clear()
        self.lane_bytes = 0
        return frames


def _send_nothing(data: bytes | memoryview, /) -> int:
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
