"""Publishing over HTTP: one message or a batch, with the same validation, limits and promises as over WebSocket.

Law of this file: it knows messages and answers, not HTTP. Rules: docs/protocol.md, "HTTP: polling, replay, publishing".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import trio

from collabd.errors import ProtocolError
from collabd.hub import admission
from collabd.hub.joining import open_run
from collabd.hub.receive import CURSOR_MOVE, count_in, reused_error, take_client_health, tell_transient
from collabd.protocol.codec import error_data, json_string
from collabd.protocol.messages import ClientHealth, ClientMessage
from collabd.protocol.names import parse_run_id
from collabd.protocol.requests import parse_query, parse_sender
from collabd.store.interface import NewEvent, Outcome

if TYPE_CHECKING:
    from collabd.auth import Identity
    from collabd.hub.admission import Caller
    from collabd.hub.hub import Hub
    from collabd.hub.run import Run
    from collabd.hub.session import Session
    from collabd.protocol.rate import Rates

ReadBody = Callable[[], Awaitable[bytes]]
MAX_BATCH: Final = 100
MAX_BODY_BYTES: Final = 1024 * 1024
COMMIT_TIMEOUT_S: Final = 30.0
"""How long a sender waits for its commit at most; sending again with the same ids is safe."""

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_events: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Sender(NamedTuple):
    """Who publishes into which run; `session` where a known one was named."""

    run: Run
    user_id: str
    identity: Identity
    session: Session | None
    rates: Rates | None


async def publish(hub: Hub, caller: Caller, run_text: str, query: bytes, read_body: ReadBody) -> bytes:
    """Take the messages of a body and answer `{"acks":[…]}`. Raises ProtocolError when it is refused as a whole.

    A body that is one message is refused as a whole when its message is. The body is read, by `read_body`, when it is
    known that the caller may publish: nobody else's is worth keeping.
    """
    admission.refuse_while_draining(hub)
    run_id = parse_run_id(run_text)
    user_id, session_id = parse_sender(parse_query(query))
    if hub.names_are_free and user_id is None:
        raise ProtocolError("user_required", "give a userId in the query")
    admission.check_origin(hub, caller)
    identity = admission.authenticate(hub, caller)
    user_id = admission.require_user(identity, user_id)
    admission.check_rights(identity, run_id)
    messages, is_batch = parse_body(await read_body())
    run = await open_run(hub, run_id, create=True)
    if run is None:
        raise admission.run_not_found()
    with run.visited():
        session = run.attendance.present(session_id) if session_id else run.attendance.polling_session_of(user_id)
        if session is not None and session.user_id != user_id:
            session = None
        rates = hub.rate_limits.of_publisher(run_id, user_id, caller.address)
        answers = await _Batch(Sender(run, user_id, identity, session, rates)).take(messages)
    if not is_batch and isinstance(answers[0], ProtocolError):
        raise answers[0]
    return msgspec.json.encode({"acks": [_as_data(answer) for answer in answers]})


def parse_body(body: bytes) -> tuple[list[bytes], bool]:
    """The messages of a body as JSON texts, and whether it is a batch. Raises ProtocolError."""
    if len(body) > MAX_BODY_BYTES:
        raise ProtocolError("message_too_big", f"a body may have {MAX_BODY_BYTES} bytes")
    try:
        body.decode()
        members = _decode_members(body)
    except UnicodeDecodeError as error:
        raise ProtocolError("invalid_json", "the body is not valid UTF-8") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError("invalid_json", f"the body must be a JSON object: {error}") from error
    if "events" not in members:
        return [body], False
    unknown = members.keys() - {"events"}
    if unknown:
        raise ProtocolError("unknown_key", f"a batch has only `events`, not {sorted(unknown)[0]!r}")
    try:
        events = _decode_events(members["events"])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError("invalid_json", "`events` must be a list of messages") from error
    if len(events) > MAX_BATCH:
        raise ProtocolError("invalid_parameter", f"a batch has at most {MAX_BATCH} events")
    return [bytes(event) for event in events], True


def _as_data(answer: Any) -> Any:
    return error_data(answer) if isinstance(answer, ProtocolError) else answer


class _Batch:
    """The messages of one request: answered in order, and stopped at the first retryable failure."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._hub = sender.run.hub
        self._answers: list[Any] = []
        self._waiting = 0
        self._settled = trio.Event()
        self._index = 0
        self._stopped_at: float = inf

    async def take(self, messages: list[bytes]) -> list[Any]:
        """Take every message; answers are an ACK's data or a ProtocolError each."""
        for index, text in enumerate(messages):
            self._answers.append(None)
            self._index = index
            try:
                await self._take_one(index, text)
            except ProtocolError as error:
                self._refuse(index, error)
        await self._wait_settled()
        for index, answer in enumerate(self._answers):
            if answer is None:
                self._answers[index] = ProtocolError("storage_unavailable", "the commit takes too long; send it again")
        return self._answers

    async def _take_one(self, index: int, text: bytes) -> None:
        self.admit(None)
        hub, sender = self._hub, self._sender
        if len(text) > hub.config.websocket.max_message_bytes:
            raise ProtocolError("message_too_big", f"a message may have {hub.config.websocket.max_message_bytes} bytes")
        message = hub.intake.decode(text)
        message_id = message.client_message_id if isinstance(message, ClientMessage) else None
        hub.rate_limits.take_message(sender.rates, len(text), message_id)
        if isinstance(message, ClientHealth):
            if sender.session is not None:
                take_client_health(sender.session, message)
            self._answers[index] = {}
        elif not isinstance(message, ClientMessage):
            raise ProtocolError("not_over_http", "PING and AUTH belong to a WebSocket; send the token as a header")
        elif sender.identity.is_viewer and message.kind.name != CURSOR_MOVE:
            raise ProtocolError("forbidden", f"viewers may not send {message.kind.name}")
        else:
            await self._take_event(index, message)

    async def _take_event(self, index: int, message: ClientMessage) -> None:
        sender = self._sender
        if message.kind.persisted:
            sender.run.submit(sender.user_id, message, self, self._answer_at(index))
            self._waiting += 1
        else:
            # What came before it must be safe first, or a transient event would be told out of a stopped batch.
            await self._wait_settled()
            self.admit(None)
            tell_transient(sender.run, sender.user_id, json_string(sender.user_id), message)
            self._answers[index] = _ack(message.client_message_id, None, duplicate=False)
        count_in(sender.run, message)
        if sender.session is not None:
            sender.session.health.messages_received += 1

    def _answer_at(self, index: int) -> Callable[[NewEvent, Outcome | ProtocolError], None]:
        def answer(event: NewEvent, outcome: Outcome | ProtocolError) -> None:
            if isinstance(outcome, ProtocolError):
                self._refuse(index, outcome)
            elif outcome.reused:
                self._refuse(index, reused_error(event.client_message_id))
            else:
                self._answers[index] = _ack(
                    event.client_message_id, outcome.sequence_number, duplicate=outcome.duplicate
                )
            self._waiting -= 1
            if not self._waiting:
                self._settled.set()

        return answer

    def _refuse(self, index: int, error: ProtocolError) -> None:
        self._answers[index] = error
        self._hub.counters.refused[error.code] += 1
        self.refused(None, error, index)

    async def _wait_settled(self) -> None:
        with trio.move_on_after(COMMIT_TIMEOUT_S):
            while self._waiting:
                self._settled = trio.Event()
                await self._settled.wait()

    # The Order that the committer asks

    def admit(self, client_message_id: str | None) -> int:
        """Number the message that is looked at by its place in the batch, or refuse it after a retryable failure."""
        self.confirm(client_message_id, self._index)
        return self._index

    def confirm(self, client_message_id: str | None, number: int) -> None:
        """Let what came before a retryable failure pass, and nothing that came after it."""
        if number > self._stopped_at:
            raise ProtocolError(
                "not_attempted",
                "an earlier message of the batch has to be sent again first",
                client_message_id=client_message_id,
            )

    def refused(self, client_message_id: str | None, answer: ProtocolError, number: int | None = None) -> None:
        """Stop the batch where sending again may help."""
        if answer.retryable:
            self._stopped_at = min(self._stopped_at, self._index if number is None else number)


def _ack(client_message_id: str | None, sequence_number: int | None, *, duplicate: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"duplicate": duplicate}
    if client_message_id is not None:
        data["clientMessageId"] = client_message_id
    if sequence_number is not None:
        data["sequenceNumber"] = sequence_number
    return data
