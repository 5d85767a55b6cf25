"""What one client sends, from text to effect. The same code for every transport.

Law of this file: it never waits and never raises for what a client did; refusals are answered on the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collabd.errors import ProtocolError
from collabd.hub.connection import Connection, Stage
from collabd.metrics import OTHER
from collabd.protocol import close_codes
from collabd.protocol.codec import ack_frame, control_payload, text_frame
from collabd.protocol.messages import Auth, ClientHealth, ClientMessage, Ping
from collabd.store.interface import NewEvent, Outcome

if TYPE_CHECKING:
    from collabd.hub.run import Run
    from collabd.hub.session import Session

MAX_STRIKES: Final = 200
"""Messages refused by the rate limit before the connection is closed with 4429."""

CURSOR_MOVE: Final = "CURSOR_MOVE"


def receive(connection: Connection, text: bytes) -> None:
    """Take one message of a connection (UTF-8 checked by the transport).

    Nothing is taken of a connection that was closed: some of its messages may have been dropped by then, and what comes
    after them would overtake them.
    """
    if connection.stage is Stage.CLOSED:
        return
    run = connection.session.run
    try:
        message = run.hub.intake.decode(text)
        _check_rate(connection, message, len(text))
        if isinstance(message, ClientMessage):
            _take_event(connection, message)
        elif isinstance(message, Ping):
            _answer_ping(connection, message)
        elif isinstance(message, ClientHealth):
            take_client_health(connection.session, message)
        else:
            _take_auth(connection, message)
    except ProtocolError as error:
        run.hub.counters.refused[error.code] += 1
        connection.refuse(error)


def _check_rate(connection: Connection, message: object, size: int) -> None:
    if connection.rates is None:
        return
    message_id = message.client_message_id if isinstance(message, ClientMessage) else None
    try:
        connection.session.run.hub.rate_limits.take_message(connection.rates, size, message_id)
    except ProtocolError as error:
        connection.strikes += 1
        if connection.strikes > MAX_STRIKES:
            connection.close(close_codes.RATE_LIMITED, "rate limit broken repeatedly")
        if isinstance(message, ClientMessage) and message.kind.persisted:
            connection.order.refused(message_id, error)
        raise


def _take_event(connection: Connection, message: ClientMessage) -> None:
    session = connection.session
    run = session.run
    kind = message.kind
    if connection.is_viewer and kind.name != CURSOR_MOVE:
        raise ProtocolError(
            "forbidden", f"viewers may not send {kind.name}", client_message_id=message.client_message_id
        )
    if kind.persisted:
        run.submit(session.user_id, message, connection.order, _Answer(connection))
    else:
        tell_transient(run, session.user_id, session.user_json, message)
        if message.client_message_id is not None:
            connection.tell(ack_frame(message.client_message_id, None, duplicate=False))
    count_in(run, message)
    session.health.messages_received += 1


def tell_transient(run: Run, user_id: str, user_json: bytes, message: ClientMessage) -> None:
    """Tell everyone an event that is not kept, a cursor's move remembered."""
    if message.kind.name == CURSOR_MOVE:
        run.attendance.presence.move_cursor(user_id, message.data)
    run.tell_transient(user_id, user_json, message.kind.name, message.data, message.client_message_id)


def count_in(run: Run, message: ClientMessage) -> None:
    """Count an accepted message by its type, if that is a configured one."""
    name = message.kind.name
    label = name if name in run.hub.intake.kinds or name == CURSOR_MOVE else OTHER
    run.hub.counters.messages_in[label] += 1


class _Answer:
    """Answers one connection about its persisted events: an ACK where there was an id, an ERROR when refused."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, event: NewEvent, outcome: Outcome | ProtocolError) -> None:
        connection = self._connection
        if connection.stage is Stage.CLOSED:
            return
        message_id = event.client_message_id
        if isinstance(outcome, ProtocolError):
            connection.session.run.hub.counters.refused[outcome.code] += 1
            connection.refuse(outcome)
        elif outcome.reused:
            connection.refuse(reused_error(message_id))
        elif message_id is not None:
            connection.tell(ack_frame(message_id, outcome.sequence_number, outcome.duplicate))


def reused_error(message_id: str | None) -> ProtocolError:
    """The answer to an id that already names other content."""
    return ProtocolError(
        "client_message_id_reused",
        "this clientMessageId already names a message with other content; use a new random id",
        client_message_id=message_id,
    )


def _answer_ping(connection: Connection, ping: Ping) -> None:
    session = connection.session
    connection.client_pings = True
    data = {"sentAt": ping.sent_at, "serverTime": session.run.hub.now_ms()}
    connection.tell(text_frame(control_payload("PONG", data)))
    if ping.last_sequence is not None:
        session.health.last_sequence = ping.last_sequence


def take_client_health(session: Session, report: ClientHealth) -> None:
    """Keep what a client says of itself; latency counts where the server cannot measure it by itself."""
    session.health.client_queue = report.queued_messages
    connection = session.connection
    if report.latency_ms is not None and (connection is None or not connection.link.hears_pongs):
        session.run.hub.take_round_trip(session.health, report.latency_ms)


def _take_auth(connection: Connection, message: Auth) -> None:
    hub = connection.session.run.hub
    try:
        identity = hub.authenticator.authenticate(message.token)
    except ProtocolError as error:
        connection.refuse(error)
        connection.close(close_codes.TOKEN_BAD, "token expired or bad")
        return
    if identity.user_id is not None and identity.user_id != connection.session.user_id:
        connection.close(close_codes.NOT_ALLOWED, "the token is another user's")
        return
    if not identity.may_enter(connection.session.run.run_id):
        connection.close(close_codes.NOT_ALLOWED, "the token gives no right to this run")
        return
    hub.credentials.stand_on(connection, identity)
    connection.tell(text_frame(control_payload("AUTH_OK", {"expiresAt": identity.expires_at})))
