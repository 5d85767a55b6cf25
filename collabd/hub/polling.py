"""HTTP polling: the same session, events and promises as over WebSocket, one answer at a time.

Law of this file: it knows requests and answers, not HTTP. Rules: docs/protocol.md, "HTTP: polling".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from collabd.errors import CollabdError, ProtocolError
from collabd.hub import admission
from collabd.hub.joining import open_run
from collabd.hub.reading import Part, read_after
from collabd.protocol.codec import json_array
from collabd.protocol.names import parse_run_id
from collabd.protocol.requests import PollRequest, read_poll
from collabd.protocol.seam import Position, reset_reason

if TYPE_CHECKING:
    from collabd.hub.admission import Caller
    from collabd.hub.hub import Hub
    from collabd.hub.run import Run
    from collabd.hub.session import Session

POLLS_PER_SECOND: Final = 500
"""How many polls a second the server asks for at most, all pollers together: it paces a site that falls back."""


async def poll(hub: Hub, caller: Caller, run_text: str, query: bytes) -> bytes:
    """Answer a poll with JSON. Raises ProtocolError with what to answer instead."""
    admission.refuse_while_draining(hub)
    run_id = parse_run_id(run_text)
    request = read_poll(query)
    is_session = request.user_id is not None or not hub.names_are_free
    if is_session and not admission.has_place(hub, run_id, request.session_id, request.user_id):
        admission.check_limits(hub, caller, is_new=True)
    identity = admission.authenticate(hub, caller)
    user_id = admission.user_of(identity, request.user_id)
    admission.check_rights(identity, run_id)
    run = await open_run(hub, run_id, create=user_id is not None)
    if run is None:
        if not hub.config.runs.auto_create:
            raise admission.run_not_found()
        return _answer_unknown(hub, run_id, request)
    with run.visited():
        session = None if user_id is None else _session(hub, run, user_id, request)
        if request.wait_ms:
            await _wait_for_news(hub, run, request, until=identity.expires_at)
            hub.authenticator.recheck(identity)
            if run.is_closed:
                raise ProtocolError("storage_unavailable", "the run was just closed; come back at once")
        # One that was ended meanwhile, or left over WebSocket, must not become present again by this answer.
        if session is not None and session.polls_until is not None:
            run.attendance.polled(session, next_poll_ms(hub) / 1000)
        return await _answer(hub, run, session, user_id, request)


def next_poll_ms(hub: Hub) -> int:
    """When a client should come again (milliseconds): later when many poll."""
    return max(hub.config.client.polling_interval_ms, hub.polling_count * 1000 // POLLS_PER_SECOND)


def _session(hub: Hub, run: Run, user_id: str, request: PollRequest) -> Session:
    if not run.attendance.has_place(request.session_id, user_id):
        admission.check_run_limits(hub, run, user_id)  # before a session is made, which nobody would forget
    session = None
    if request.session_id is None:
        session = run.attendance.polling_session_of(user_id)
    if session is None:
        session = run.attendance.session_for(request.session_id, user_id, "polling")
    run.attendance.polled(session, (next_poll_ms(hub) + request.wait_ms) / 1000)
    return session


async def _wait_for_news(hub: Hub, run: Run, request: PollRequest, *, until: int | None) -> None:
    """Hold the answer back until there is a persisted event, a change of presence, a drain, or no time left.

    `until` is when the poller's token ends (milliseconds since 1970).
    """
    if _reason_of(run, request) is not None or run.ring.head > request.after:
        return
    hub.waiting_polls += 1
    try:
        wait_ms = request.wait_ms if until is None else min(request.wait_ms, until - hub.now_ms())
        with trio.move_on_after(max(0, wait_ms) / 1000):
            await run.changed.wait()
            await hub.turnstile.pass_through()  # many may have waited for the same news
    finally:
        hub.waiting_polls -= 1


def _reason_of(run: Run, request: PollRequest) -> str | None:
    return _reason(run.hub, request, head=run.ring.head, oldest=run.ring.oldest)


def _reason(hub: Hub, request: PollRequest, *, head: int, oldest: int) -> str | None:
    """Why a poll cannot go on from its position, None where it can."""
    epoch = hub.store.epoch
    asked = Position(epoch if request.epoch is None else request.epoch, request.after)
    reason = reset_reason(asked, epoch=epoch, head=head, oldest=oldest)
    # 0 asks for the start of what is retained, so nothing can be trimmed before it.
    return None if reason == "trimmed" and request.after == 0 else reason


async def _answer(hub: Hub, run: Run, session: Session | None, user_id: str | None, request: PollRequest) -> bytes:
    try:
        while True:
            if not run.kept_state_is_fresh:
                await run.refresh_kept_state()
            reason = _reason_of(run, request)
            recovered = reason is None and request.after > 0
            after = request.after if recovered else run.ring.oldest - 1
            state = b"[]" if recovered else run.run_state()
            part = await read_after(run, after, request.limit)
            if part is not None:
                break
    except CollabdError as error:
        if isinstance(error, ProtocolError):
            raise
        hub.log_fault(f"a poll of run {run.run_id} could not be answered", error)
        raise ProtocolError("storage_unavailable", "the run's log cannot be read just now") from error
    if session is not None:
        session.health.messages_sent += len(part.payloads)
        hub.counters.messages_out += len(part.payloads)
    presence = run.attendance.presence
    return _encode(
        runId=run.run_id,
        userId=user_id,
        sessionId=None if session is None else session.session_id,
        epoch=hub.store.epoch,
        sequenceNumber=run.ring.head,
        oldestSequence=run.ring.oldest,
        recovered=recovered,
        resetReason=reason,
        runState=msgspec.Raw(state),
        events=msgspec.Raw(json_array(part.payloads)),
        hasMore=_has_more(part, run),
        activeUsers=presence.users(),
        cursorPositions={user: msgspec.Raw(data) for user, data in presence.cursors().items()},
        nextPollMs=next_poll_ms(hub),
    )


def _has_more(part: Part, run: Run) -> bool:
    return part.reached < run.ring.head


def _answer_unknown(hub: Hub, run_id: str, request: PollRequest) -> bytes:
    """An anonymous read of a run that nobody has joined: empty, and it creates nothing."""
    return _encode(
        runId=run_id,
        userId=None,
        sessionId=None,
        epoch=hub.store.epoch,
        sequenceNumber=0,
        oldestSequence=1,
        recovered=False,
        resetReason=_reason(hub, request, head=0, oldest=1),
        runState=[],
        events=[],
        hasMore=False,
        activeUsers=[],
        cursorPositions={},
        nextPollMs=next_poll_ms(hub),
    )


def _encode(**members: Any) -> bytes:
    return msgspec.json.encode(members)
