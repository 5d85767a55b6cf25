"""What all tasks of one open run share: the pure parts, what changed, and the few steps that several tasks take.

Law of this file: state and short steps, no loops; the tasks are in connecting.py, conversation.py and http_tasks.py,
the application's view in run.py. Everything runs on one Trio thread, so a step without an `await` is atomic.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import trio

from collabd.client.address import Place
from collabd.client.credentials import Credentials, TokenSource
from collabd.client.errors import ConnectionProblem, MessageTooBig, RunClosed, ServerBusy, WebSocketBlocked
from collabd.client.health import ConnectionState, Health, Transport, delivery_rate
from collabd.client.http import Dial, tcp_dial
from collabd.client.inbox import Inbox
from collabd.client.messages import (
    Ack,
    Event,
    Position,
    Refusal,
    Snapshot,
    Welcome,
    check_data,
    check_event_type,
    encode_message,
)
from collabd.client.outbox import Outbox, Outcome, Outgoing
from collabd.client.people import People
from collabd.client.position import Intake, Item
from collabd.client.pulse import Pulse
from collabd.client.queue_file import QueueFile
from collabd.client.reconnect import OWN_WILL, Ending, Reconnection, after_status
from collabd.client.settings import Limits, Settings


def _new_id() -> str:
    return secrets.token_urlsafe(16)


@dataclass(frozen=True)
class Surroundings:
    """What the client takes from outside, so that tests can give something else. `wall` is seconds since 1970."""

    dial: Dial = field(default_factory=tcp_dial)
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    new_id: Callable[[], str] = _new_id


class Engine:
    """One open run."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        surroundings: Surroundings,
        token: TokenSource | None,
        queue_file: QueueFile | None,
        position: Position | None,
    ) -> None:
        self.place = place
        self.settings = settings
        self.outside = surroundings
        self.queue_file = queue_file
        self.url = str(place.address)
        self.limits = _first_limits(settings)
        self.outbox = Outbox(settings, self.limits)
        self.intake = Intake(position)
        self.people = People()
        self.reconnection = Reconnection(self.limits)
        self.server_clock_ahead_s = 0.0
        self.credentials = Credentials(token, self.server_now, trio.current_time)

        self.outbox_changed = Pulse()  # something to send, or something settled
        self.mode_changed = Pulse()  # live, fallen back, connected for the first time, closed
        self.intake_changed = Pulse()  # a hole may have come up, or room may have come
        self.observed = Pulse()  # anything that an application may watch
        self.inbox = Inbox(self.intake_changed)

        self.is_live = False
        self.is_closed = False
        self.is_leaving = False
        self.is_waiting = False
        self.was_connected = False
        self.welcomes = 0
        self.latency_ms: float | None = None
        self.problem: ConnectionProblem | None = None
        self.cursor: Any = None
        self.has_cursor = False
        self.quiet_until = 0.0
        self.posting = trio.Lock()
        self.polling = trio.CancelScope()
        self.work = trio.CancelScope()
        self.drop_socket: Callable[[Ending], None] | None = None
        self.close_socket: Callable[[], Any] | None = None
        self.first_try = Pulse()
        self.first_try_over = False
        self.first_error: ConnectionProblem | None = None
        for message in queue_file.kept if queue_file is not None else []:
            self.outbox.add(message)

    # Seen from outside

    @property
    def falls_back(self) -> bool:
        """HTTP polling stands in for the WebSocket."""
        return not self.is_live and not self.is_closed and self.reconnection.falls_back

    @property
    def state(self) -> ConnectionState:
        """R80."""
        if self.is_closed:
            return "closed"
        if self.is_live:
            return "live"
        if self.falls_back:
            return "polling"
        return "waiting" if self.is_waiting else "connecting"

    def health(self) -> Health:
        """R81."""
        transport: Transport = "websocket" if self.is_live else "polling" if self.falls_back else "none"
        return Health(
            state=self.state,
            transport=transport,
            latency=self.latency_ms,
            reconnection_count=max(0, self.welcomes - 1),
            message_delivery_rate=delivery_rate(self.outbox.committed, self.outbox.rejected),
            queued_messages=len(self.outbox),
            storage="memory" if self.queue_file is None else "durable",
        )

    def server_now(self) -> float:
        """The server's wall clock, seconds since 1970 (R52)."""
        return self.outside.wall() + self.server_clock_ahead_s

    def wall_ahead(self) -> float:
        """How far the wall clock is ahead of the monotonic one, in seconds: it grows by what the machine sleeps."""
        return self.outside.wall() - trio.current_time()

    # Sending

    def submit(self, event_type: str, data: object) -> Outgoing:
        """Check and queue one message (R10, R11, R23). Raises MessageNotAccepted or RunClosed."""
        if self.is_closed or self.is_leaving:
            raise RunClosed from self.problem
        check_event_type(event_type)
        check_data(data)
        message_id = self.outside.new_id()
        message = Outgoing(message_id, event_type, encode_message(event_type, data, message_id))
        if message.size > self.limits.max_message_bytes:
            raise MessageTooBig(message.size, self.limits.max_message_bytes)
        self.outbox.check_room(message.size)
        if self.queue_file is not None:
            self.queue_file.add(message, self.outbox)
        self.outbox.add(message)
        self.outbox_changed.ring()
        self.observed.ring()
        return message

    async def flush_queue_file(self) -> list[str]:
        """Make queued messages durable, so that they may go out (R23); ids of those rejected since they cannot be."""
        if self.queue_file is None:
            return []
        lost = []
        for message in await self.queue_file.flush(self.outbox):
            text = "the queue file could not be written to disk"
            self.reject(message, Refusal("storage_blocked", text, message.client_message_id, False, None))
            lost.append(message.client_message_id)
        return lost

    def take_answer(self, answer: Ack | Refusal) -> Outcome | None:
        """An ACK or ERROR to a queued message came (R15 to R19)."""
        outcome = None
        if isinstance(answer, Ack):
            message = self.outbox.on_ack(answer)
        else:
            outcome, message = self.outbox.on_refusal(answer, trio.current_time(), self.outside.random())
        if message is not None:
            self._store(message)
        self.outbox_changed.ring()
        self.observed.ring()
        return outcome

    def reject(self, message: Outgoing, refusal: Refusal) -> None:
        """Make a message final as rejected for a reason found here."""
        if self.outbox.get(message.client_message_id) is not None:
            self.outbox.reject(message, refusal)
            self._store(message)
            self.outbox_changed.ring()
            self.observed.ring()

    def _store(self, message: Outgoing) -> None:
        if self.queue_file is None:
            return
        if message.state in ("committed", "rejected"):
            self.queue_file.note_final(message, self.outbox)
        elif message.attempts:
            self.queue_file.note_attempts(message)

    def reject_too_big(self) -> None:
        """A server told a smaller limit than messages that wait have (R21)."""
        limit = self.limits.max_message_bytes
        for message in self.outbox.too_big(limit):
            text = str(MessageTooBig(message.size, limit))
            self.reject(message, Refusal("message_too_big", text, message.client_message_id, False, None))

    # Receiving

    def take_event(self, event: Event) -> None:
        """An event came over the WebSocket."""
        if self.people.note(event):
            self.observed.ring()
        self.hand_on(self.intake.event(event, has_room=self.inbox.has_room))
        if self.intake.holds_too_much and self.drop_socket is not None:
            self.drop_socket(OWN_WILL)

    def hand_on(self, items: Iterable[Item]) -> None:
        """Give items to the application."""
        self.inbox.put(items)
        self.intake_changed.ring()

    def take_people(self, snapshot: Snapshot) -> None:
        """Take session and presence of a WELCOME or a poll answer."""
        if snapshot.session_id is not None:
            self.place.session_id = snapshot.session_id
        self.people.replace(snapshot)
        if not self.was_connected:
            self.was_connected = True
            self.mode_changed.ring()
        self.observed.ring()

    def join_anew(self) -> None:
        """The position was forgotten: drop the socket, so that the next WELCOME is a join (R66)."""
        if self.drop_socket is not None:
            self.drop_socket(OWN_WILL)

    # Connection

    def welcomed(self, welcome: Welcome) -> None:
        """A WELCOME came: what it tells holds, and the WebSocket is the transport (R71)."""
        self.limits.heartbeat_interval_s = welcome.heartbeat_interval_s
        self.limits.max_message_bytes = welcome.max_message_bytes
        self.server_clock_ahead_s = welcome.server_time_ms / 1000 - self.outside.wall()
        self.reconnection.tries = 0
        self._went_live()
        self.take_people(welcome.snapshot)
        self.reject_too_big()

    def _went_live(self) -> None:
        self.is_live = True
        self.is_waiting = False
        self.welcomes += 1
        self.problem = None
        self.polling.cancel()
        self.credentials.accepted()
        self.note_first_try(None)
        self.mode_changed.ring()
        self.observed.ring()

    def went_down(self) -> None:
        """There is no WebSocket any more: what was in flight is queued again (R14)."""
        self.is_live = False
        if not self.posting.locked():
            self.outbox.connection_lost()
        self.intake.connection_lost()
        self.mode_changed.ring()
        self.outbox_changed.ring()
        self.observed.ring()

    def note_problem(self, problem: ConnectionProblem | None) -> None:
        """Remember why there is no connection, or soon may be none, for whoever asks."""
        if self.problem is not problem:
            self.problem = problem
            self.observed.ring()

    def note_first_try(self, problem: ConnectionProblem | None) -> None:
        """The first attempt is over; a server that is there but busy, or only there over HTTP, is no error."""
        if not self.first_try_over:
            self.first_try_over = True
            self.first_error = None if isinstance(problem, ServerBusy | WebSocketBlocked) else problem
            self.first_try.ring()

    def note_refusal(self, status: int, code: str | None, message: str, retry_after_s: float | None) -> Ending:
        """What an HTTP status means, told to the application; final ones end the run (R44)."""
        ending = after_status(status, code, message, retry_after_s, self.url)
        self.note_problem(ending.problem)
        return ending

    def give_up(self, problem: ConnectionProblem | None) -> None:
        """Nothing more will be tried: tell everyone who waits (R34)."""
        if not self.is_closed:
            self.problem = problem
            self.note_first_try(problem)
            self.inbox.end(problem)
            self.close()

    def close(self) -> None:
        """End: messages that nobody keeps are rejected, and the tasks are cancelled."""
        if self.is_closed:
            return
        self.is_closed = True
        self.is_live = False
        self.inbox.end(None)
        problem = self.problem
        left = list(self.outbox)
        for message in left:
            if self.queue_file is None:
                text = f"the run was closed before it was committed{f': {problem}' if problem else ''}"
                self.outbox.reject(message, Refusal("closed", text, message.client_message_id, False, None))
            elif message.listener is not None:
                message.listener()
        for pulse in (self.mode_changed, self.outbox_changed, self.intake_changed, self.observed):
            pulse.ring()
        self.work.cancel()


def _first_limits(settings: Settings) -> Limits:
    limits = Limits()
    apply_choices(limits, settings)
    return limits


def apply_choices(limits: Limits, settings: Settings) -> None:
    """What the application chose wins over what the server says."""
    if settings.max_reconnect_attempts is not None:
        limits.max_reconnect_attempts = settings.max_reconnect_attempts
    if settings.polling_interval_s is not None:
        limits.polling_interval_s = settings.polling_interval_s
    if settings.message_retry_limit is not None:
        limits.message_retry_limit = settings.message_retry_limit
