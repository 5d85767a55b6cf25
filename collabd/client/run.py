"""An open run as the application sees it.

Law of this file: the public interface; every promise behind it is docs/client-behaviour.md.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import trio

from collabd.client.address import Place, check_run_id, check_user_id, parse_url
from collabd.client.connecting import keep_connected
from collabd.client.credentials import TokenSource
from collabd.client.engine import Engine, Surroundings
from collabd.client.errors import ClientError, MessageRejected, MessagesUndelivered, RunClosed
from collabd.client.health import Health
from collabd.client.http import tcp_dial
from collabd.client.http_tasks import (
    learn_settings,
    poll_while_fallen_back,
    publish_while_fallen_back,
    repair_holes,
)
from collabd.client.messages import Ack, Position, check_data
from collabd.client.outbox import Outgoing, State
from collabd.client.position import Item
from collabd.client.pulse import Pulse
from collabd.client.queue_file import QueueFile
from collabd.client.settings import CLOSE_TIMEOUT_S, Settings


class Message:
    """One message on its way: queued, sent, then committed or rejected."""

    def __init__(self, outgoing: Outgoing, engine: Engine) -> None:
        self._outgoing = outgoing
        self._engine = engine
        self._changed = Pulse()
        outgoing.listener = self._changed.ring

    @property
    def client_message_id(self) -> str:
        """The id that names the message for ever."""
        return self._outgoing.client_message_id

    @property
    def event_type(self) -> str:
        """The type it was sent as."""
        return self._outgoing.event_type

    @property
    def state(self) -> State:
        """`queued`, `sent`, `committed` or `rejected`."""
        return self._outgoing.state

    @property
    def ack(self) -> Ack | None:
        """The server's word, once committed."""
        return self._outgoing.ack

    @property
    def rejection(self) -> MessageRejected | None:
        """Why it was rejected."""
        refusal = self._outgoing.rejection
        if refusal is None:
            return None
        return MessageRejected(self.client_message_id, refusal.code, refusal.message)

    async def wait_committed(self) -> Ack:
        """Wait until it is committed. Raises MessageRejected, or RunClosed when the run ends before.

        After RunClosed a message in a queue file is sent by the next process that opens the run with that file.
        """
        await self._changed.wait_until(lambda: self._is_final() or self._engine.is_closed)
        if self._outgoing.ack is not None:
            return self._outgoing.ack
        rejection = self.rejection
        if rejection is not None and rejection.server_code != "closed":
            raise rejection
        raise RunClosed("the run was closed before the message was committed") from self._engine.problem

    async def states(self) -> AsyncIterator[State]:
        """The present state, then each new one that is seen, up to the last."""
        seen: State | None = None
        while True:
            if self.state != seen:
                seen = self.state
                yield seen
            elif self._is_final() or self._engine.is_closed:
                return
            else:
                await self._changed.wait()

    def _is_final(self) -> bool:
        return self.state in ("committed", "rejected")


class Run:
    """A run that is open; made by `open_run`. Iterating gives `Event`s and, rarely, a `Reset`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Sending

    async def send(self, event_type: str, data: Any) -> Ack:
        """Queue a message and wait until it is committed.

        Raises MessageNotAccepted (nothing was queued), MessageRejected, or RunClosed. Cancelled, it stops waiting;
        the message stays queued.
        """
        return await self.send_nowait(event_type, data).wait_committed()

    def send_nowait(self, event_type: str, data: Any) -> Message:
        """Queue a message and go on. Raises MessageNotAccepted or RunClosed, and then nothing was queued."""
        return Message(self._engine.submit(event_type, data), self._engine)

    async def send_graft(self, after: str, agent_name: str) -> Ack:
        """Graft an agent in after a step."""
        return await self.send("GRAFT", {"after": after, "agentName": agent_name})

    async def send_prune(self, step_id: str, is_pruned: bool) -> Ack:
        """Prune a step, or take that back."""
        return await self.send("PRUNE", {"stepId": step_id, "isPruned": is_pruned})

    async def send_flag(self, step_id: str, note: str) -> Ack:
        """Flag a step with a note."""
        return await self.send("FLAG", {"stepId": step_id, "note": note})

    async def send_cursor_move(self, node_id: str) -> None:
        """Show where this user is. At most 20 a second go out, the latest wins, none is kept for later."""
        if self._engine.is_closed:
            raise RunClosed from self._engine.problem
        check_data(node_id)
        self._engine.cursor = node_id
        self._engine.has_cursor = True
        self._engine.outbox_changed.ring()
        await trio.lowlevel.checkpoint()

    # Receiving

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> Item:
        """The next event or reset. Raises the ConnectionProblem for which the client gave up."""
        return await self._engine.inbox.get()

    # What can be observed

    @property
    def run_id(self) -> str:
        """The run's UUID in canonical form."""
        return self._engine.place.run_id

    @property
    def user_id(self) -> str:
        """Who this client is."""
        return self._engine.place.user_id

    @property
    def session_id(self) -> str | None:
        """The server's name for this client, None before the first connection."""
        return self._engine.place.session_id

    @property
    def position(self) -> Position | None:
        """Up to where events were taken in; give it to a later `open_run` to go on from there."""
        return self._engine.intake.position

    @property
    def health(self) -> Health:
        """How the connection is doing, now."""
        return self._engine.health()

    @property
    def problem(self) -> ClientError | None:
        """Why there is no connection; None while there is one."""
        return self._engine.problem

    @property
    def queued_message_count(self) -> int:
        """Messages that are neither committed nor rejected."""
        return len(self._engine.outbox)

    @property
    def using_fallback(self) -> bool:
        """HTTP polling stands in for the WebSocket."""
        return self._engine.falls_back

    @property
    def active_users(self) -> tuple[str, ...]:
        """Who is in the run, sorted."""
        return self._engine.people.active_users

    @property
    def cursor_positions(self) -> dict[str, Any]:
        """User id to the data of that user's last CURSOR_MOVE."""
        return self._engine.people.cursor_positions

    async def wait_changed(self) -> None:
        """Wait until any of these values may have changed."""
        await self._engine.observed.wait()

    async def health_changes(self) -> AsyncIterator[Health]:
        """The present health, then each new one; what changes faster than it is read is skipped."""
        last: Health | None = None
        while not self._engine.is_closed:
            health = self._engine.health()
            if health != last:
                last = health
                yield health
            else:
                await self._engine.observed.wait()


@asynccontextmanager
async def open_run(
    url: str,
    run_id: str | uuid.UUID,
    *,
    user_id: str,
    token: TokenSource | None = None,
    queue_file: str | PathLike[str] | None = None,
    position: Position | None = None,
    start_offline: bool = False,
    settings: Settings | None = None,
    ssl_context: ssl.SSLContext | None = None,
    surroundings: Surroundings | None = None,
) -> AsyncIterator[Run]:
    """Join a run for the length of a block, and keep the connection alive in it.

    `token`: a string, or a function (async or not) asked for one when needed. `queue_file`: keeps messages that are
    not committed over a crash; one process at a time. `position`: go on from there instead of joining anew.
    `start_offline`: begin even if the server cannot be reached yet; otherwise the first attempt's failure is raised:
    ServerUnreachable, NotCollabd, Unauthorized, Refused. `surroundings` is for tests.

    Also raises InvalidUrl, InvalidRunId, InvalidUserId, StorageBlocked. Leaving the block waits
    `settings.leave_timeout_s` for queued messages; MessagesUndelivered names those that were left and that no
    queue file keeps. Left by an exception or a cancellation, it does not wait for them.
    """
    settings = settings or Settings()
    place = Place(parse_url(url), check_run_id(run_id), check_user_id(user_id))
    store = None
    if queue_file is not None:
        store = QueueFile(Path(queue_file), server=str(place.address), run_id=place.run_id, user_id=user_id)
    try:
        engine = Engine(place, settings, surroundings or Surroundings(tcp_dial(ssl_context)), token, store, position)
        async with _working(engine, start_offline):
            yield Run(engine)
    finally:
        if store is not None:
            store.close()


@asynccontextmanager
async def _working(engine: Engine, start_offline: bool) -> AsyncIterator[None]:
    """Run the engine's tasks around a block, and leave in order."""
    sole: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_work, engine)
            try:
                if not start_offline:
                    await engine.first_try.wait_until(lambda: engine.first_try_over)
                    if engine.first_error is not None:
                        raise engine.first_error
                yield
            except BaseException:
                await _leave(engine, 0.0)
                raise
            else:
                undelivered = await _leave(engine, engine.settings.leave_timeout_s)
            finally:
                nursery.cancel_scope.cancel()
        if undelivered:
            raise MessagesUndelivered(undelivered) from engine.problem
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        sole = group.exceptions[0]
    if sole is not None:
        raise sole  # the block's own error as it was raised: out here its cause and context stay what they were


async def _work(engine: Engine) -> None:
    with engine.work:
        async with trio.open_nursery() as nursery:
            for task in (
                keep_connected,
                poll_while_fallen_back,
                publish_while_fallen_back,
                repair_holes,
                learn_settings,
            ):
                nursery.start_soon(task, engine)


async def _leave(engine: Engine, wait_s: float) -> list[str]:
    """Wait for the queue, close the socket, end the tasks; the ids of messages that nobody keeps (R34)."""
    try:
        if wait_s:
            with trio.move_on_after(wait_s):
                await engine.outbox_changed.wait_until(lambda: len(engine.outbox) == 0 or engine.is_closed)
    finally:
        engine.is_leaving = True
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_TIMEOUT_S):
            if engine.close_socket is not None:
                await engine.close_socket()
        with trio.CancelScope(shield=True):
            lost = await engine.flush_queue_file()
        left = [message.client_message_id for message in engine.outbox]
        engine.close()
    return lost if engine.queue_file is not None else left
