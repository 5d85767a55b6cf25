"""Keeping one WebSocket: connecting, receiving, sending, watching, and coming back.

Law of this file: Trio tasks that move messages between the wire and the engine's pure parts; the decisions are made
there (docs/client-behaviour.md R13 to R29, R33, R35, R40 to R45, R50 to R52).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import trio

from collabd.client.engine import Engine
from collabd.client.errors import (
    ConnectionProblem,
    NotCollabd,
    Replaced,
    ServerBusy,
    ServerUnreachable,
    TokenUnavailable,
    WebSocketBlocked,
)
from collabd.client.http import Answer, request
from collabd.client.link import HandshakeRefused, Link, LinkEnded, NeverOpened, open_link
from collabd.client.messages import (
    Malformed,
    Refusal,
    Welcome,
    dump,
    field,
    parse_object,
    read_answer,
    read_event,
    read_snapshot,
    read_welcome,
)
from collabd.client.outbox import Outcome
from collabd.client.reconnect import OWN_WILL, Ending, after_close, after_status
from collabd.client.settings import (
    CLOSE_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    CURSOR_INTERVAL_S,
    HEALTH_INTERVAL_S,
    STABLE_AFTER_S,
    WAKE_TIMEOUT_S,
)

_LOOK_EVERY_S: Final = 1.0
_DRAIN_WAIT_S: Final = 5.0


async def keep_connected(engine: Engine) -> None:
    """Connect, and come back after each end, until the client gives up."""
    reconnection = engine.reconnection
    while not engine.is_closed:
        engine.is_waiting = False
        engine.observed.ring()
        ending, was_stable = await _attempt(engine)
        if engine.is_leaving:
            return
        if ending.is_final:
            engine.give_up(ending.problem)
            return
        reconnection.tries += 1
        at = reconnection.next_try_at(
            ending, was_stable=was_stable, now=trio.current_time(), random=engine.outside.random()
        )
        engine.is_waiting = True
        engine.note_problem(ending.problem)
        if not ending.new_token:
            engine.note_first_try(ending.problem)
        engine.mode_changed.ring()
        engine.observed.ring()
        await trio.sleep_until(at)


async def _attempt(engine: Engine) -> tuple[Ending, bool]:
    """One connection from its first byte to its end; how it ended, and whether it had been stable."""
    try:
        token = await engine.credentials.current()
    except TokenUnavailable as problem:
        return Ending(problem), False
    connection = SocketConnection(engine, token)
    ending = await connection.run()
    if ending.new_token and not engine.credentials.refused(token):
        ending = Ending(ending.problem, is_final=True)
    return ending, connection.is_stable


async def ask_why(engine: Engine, token: str | None) -> Ending:
    """After a socket that never opened: what the poll route says to the same client (R43)."""
    place = engine.place
    try:
        answer = await request(
            engine.outside.dial, place.address, "GET", place.poll(None, 1), token=token, timeout_s=CONNECT_TIMEOUT_S
        )
    except ConnectionProblem as problem:
        return Ending(problem)
    if answer.status != 200:
        return _refusal(engine, answer)
    try:
        read_snapshot(parse_object(answer.body))
    except Malformed as problem:
        return Ending(NotCollabd(engine.url, str(problem)))
    return Ending(WebSocketBlocked(engine.url))


def _refusal(engine: Engine, answer: Answer) -> Ending:
    code, message = answer.problem
    return after_status(answer.status, code, message, answer.retry_after_s, engine.url)


class SocketConnection:
    """One WebSocket's life."""

    def __init__(self, engine: Engine, token: str | None) -> None:
        self._engine = engine
        self._token = token
        self._asked = engine.intake.position
        self._scope = trio.CancelScope()
        self._own_ending: Ending | None = None
        self._presented_session = False
        self._opened = False
        self.is_stable = False

        self._nudge = trio.Event()  # replaced each time the watch has looked
        self._interval_s = engine.limits.heartbeat_interval_s
        self._welcomed_at = math.inf
        self._heard_at = 0.0
        self._next_ping_at = math.inf
        self._pings: dict[int, float] = {}
        self._health_at = math.inf
        self._wake_deadline = math.inf
        self._drain_deadline = math.inf
        self._drained_until: float | None = None
        self._rate_told_ms: int | None = None
        self._renewing = False
        self._leaving: trio.Event | None = None

    # Life

    async def run(self) -> Ending:
        """Connect and serve the connection until it ends; what that means."""
        self._scope.deadline = trio.current_time() + CONNECT_TIMEOUT_S
        ending: Ending | None = None
        with self._scope:
            ending = await self._live()
        self._engine.drop_socket = self._engine.close_socket = None
        if self._welcomed_at < math.inf:
            self._engine.went_down()
        if self._own_ending is not None:
            return self._own_ending
        if ending is None:
            if self._presented_session:
                self._engine.reconnection.abandoned(trio.current_time())
            what = "no WELCOME" if self._opened else "no WebSocket"
            ending = Ending(ServerUnreachable(self._engine.url, f"{what} within {CONNECT_TIMEOUT_S:g} s"))
            if not self._opened:
                ending = await ask_why(self._engine, self._token)
        return ending

    async def _live(self) -> Ending:
        engine = self._engine
        self._presented_session = engine.place.session_id is not None
        target = engine.place.socket(self._asked, engine.reconnection.tries)
        try:
            async with open_link(engine.outside.dial, engine.place.address, target, self._token) as link:
                self._opened = True
                self._welcome(read_welcome(parse_object(await link.receive())))
                engine.close_socket = lambda: self._leave(link)
                await self._serve(link)
                raise AssertionError("a link is served until it ends")
        except LinkEnded as ended:
            return self._ended(ended)
        except HandshakeRefused as refused:
            ending = _refusal(engine, refused.answer)
            return ending if refused.answer.problem[0] is not None else await self._why()
        except NeverOpened:
            return await self._why()
        except ConnectionProblem as problem:
            return Ending(problem)
        except Malformed as problem:
            return Ending(NotCollabd(engine.url, str(problem)))

    async def _why(self) -> Ending:
        self._scope.deadline = math.inf
        return await ask_why(self._engine, self._token)

    def _drop(self, ending: Ending) -> None:
        """End the connection now, without asking the peer."""
        if self._own_ending is None:
            self._own_ending = ending
            self._scope.cancel()

    async def _leave(self, link: Link) -> None:
        """Close as one who leaves for good (R34)."""
        self._leaving = trio.Event()
        await link.close(1000, CLOSE_TIMEOUT_S)
        self._leaving.set()

    def _lost(self, why: str) -> None:
        self._drop(Ending(ServerUnreachable(self._engine.url, why)))

    def _ended(self, ended: LinkEnded) -> Ending:
        engine = self._engine
        if ended.code in (1003, 1007, 1009):
            suspect = engine.outbox.suspect(ended.code)
            code = "message_too_big" if ended.code == 1009 else "invalid_json"
            if suspect is not None:
                text = f"the server closed the connection over it ({ended.code} {ended.reason})"
                engine.reject(suspect, Refusal(code, text, suspect.client_message_id, False, None))
        if ended.code == 4009 and engine.reconnection.was_replaced_by_itself(trio.current_time()):
            return Ending(Replaced(), counts=False)
        left_s = None if self._drained_until is None else max(0.0, self._drained_until - trio.current_time())
        return after_close(ended.code, ended.reason, engine.url, drain_left_s=left_s, rate_told_ms=self._rate_told_ms)

    # WELCOME

    def _welcome(self, welcome: Welcome) -> None:
        engine = self._engine
        engine.place.session_id = welcome.snapshot.session_id
        if engine.intake.is_stale(self._asked):
            self._drop(OWN_WILL)
            return
        items = engine.intake.welcome(self._asked, welcome)
        now = trio.current_time()
        self._scope.deadline = math.inf
        self._welcomed_at = self._heard_at = now
        self._interval_s = engine.limits.heartbeat_interval_s = welcome.heartbeat_interval_s
        self._next_ping_at = now if engine.intake.replay_is_whole else now + self._interval_s
        engine.limits.max_message_bytes = welcome.max_message_bytes
        engine.server_clock_ahead_s = welcome.server_time_ms / 1000 - engine.outside.wall()
        engine.reconnection.tries = 0
        engine.drop_socket = self._drop
        engine.went_live()
        engine.take_people(welcome.snapshot)
        engine.reject_too_big()
        engine.hand_on(items)

    async def _serve(self, link: Link) -> None:
        async with trio.open_nursery() as nursery:
            for task in (self._send_messages, self._send_cursors, self._watch):
                nursery.start_soon(self._until_ended, task, link)
            try:
                while True:
                    self._take(parse_object(await link.receive()))
            except LinkEnded:
                if self._leaving is not None:  # the closing handshake still needs the link
                    await self._leaving.wait()
                raise
            finally:
                nursery.cancel_scope.cancel()

    async def _until_ended(self, task: Callable[[Link], Any], link: Link) -> None:
        """Run a task that writes; why the link ended is for the reader to find out, if it does so soon."""
        try:
            await task(link)
        except LinkEnded:
            await trio.sleep(CLOSE_TIMEOUT_S)
            self._lost("it could not be written to")

    # Receiving

    def _take(self, message: dict[str, Any]) -> None:
        self._heard_at = trio.current_time()
        self._wake_deadline = math.inf
        kind = field(message, "eventType", str)
        if kind in ("ACK", "ERROR"):
            self._take_answer(field(message, "data", dict))
        elif kind == "PONG":
            self._take_pong(field(message, "data", dict))
        elif kind == "DRAIN":
            self._take_drain(field(message, "data", dict))
        elif kind == "AUTH_OK":
            self._take_auth_ok(field(message, "data", dict, {}))
        elif kind != "WELCOME":
            self._take_event(message)

    def _take_event(self, message: dict[str, Any]) -> None:
        was_whole = self._engine.intake.replay_is_whole
        self._engine.take_event(read_event(message))
        if not was_whole and self._engine.intake.replay_is_whole:
            self._next_ping_at = self._heard_at
            self._nudge.set()

    def _take_answer(self, data: dict[str, Any]) -> None:
        engine = self._engine
        answer = read_answer(data)
        if isinstance(answer, Refusal):
            if answer.code == "rate_limited":
                self._note_rate(answer)
            if answer.code == "unauthorized":
                engine.credentials.renew_at = 0.0
                self._nudge.set()
        if engine.take_answer(answer) is Outcome.GIVEN_UP:
            self._drop(OWN_WILL)

    def _note_rate(self, refusal: Refusal) -> None:
        self._rate_told_ms = refusal.retry_after_ms
        if refusal.client_message_id is None:
            wait_s = (refusal.retry_after_ms or 1000) / 1000
            self._engine.quiet_until = self._heard_at + wait_s
            self._engine.outbox.pause(self._engine.quiet_until)

    def _take_pong(self, data: dict[str, Any]) -> None:
        sent_at = self._pings.pop(field(data, "sentAt", int, -1), None)
        if sent_at is None:
            return
        self._engine.latency_ms = (self._heard_at - sent_at) * 1000
        if self._health_at == math.inf:
            self._health_at = self._heard_at
            self._nudge.set()
        self._engine.observed.ring()

    def _take_drain(self, data: dict[str, Any]) -> None:
        self._drained_until = self._heard_at + field(data, "retryAfterMs", int, 0) / 1000
        self._drain_deadline = self._heard_at + _DRAIN_WAIT_S
        self._nudge.set()

    def _take_auth_ok(self, data: dict[str, Any]) -> None:
        expires_at = field(data, "expiresAt", int, None)
        self._renewing = False
        self._engine.credentials.accepted(None if expires_at is None else expires_at / 1000)

    # Sending

    async def _send_messages(self, link: Link) -> None:
        engine = self._engine
        async with engine.posting:  # a POST of the fallback is still out: its answers first (R71)
            pass
        while True:
            await engine.flush_queue_file()
            now = trio.current_time()
            message = None if self._drained_until is not None else engine.outbox.next_to_send(now)
            if message is None:
                wake_at = engine.outbox.wake_at(now)
                await engine.outbox_changed.wait(math.inf if wake_at is None else wake_at)
                continue
            engine.outbox.mark_sent(message, now)
            await link.send(message.text)

    async def _send_cursors(self, link: Link) -> None:
        engine = self._engine
        while True:
            await engine.outbox_changed.wait_until(lambda: engine.has_cursor)
            await trio.sleep_until(engine.quiet_until)
            engine.has_cursor = False
            await self._send(link, "CURSOR_MOVE", {"nodeId": engine.cursor})
            await trio.sleep(CURSOR_INTERVAL_S)

    @staticmethod
    async def _send(link: Link, event_type: str, data: dict[str, Any]) -> None:
        await link.send(dump({"eventType": event_type, "data": data}))

    # Watching

    async def _watch(self, link: Link) -> None:
        """Everything that happens because time passed (R2, R20, R25, R33, R35, R52, R82)."""
        wall_ahead = self._wall_ahead()
        while True:
            now = trio.current_time()
            drift, wall_ahead = self._wall_ahead() - wall_ahead, self._wall_ahead()
            if drift > self._interval_s:
                self._next_ping_at = now
                self._wake_deadline = now + WAKE_TIMEOUT_S
            self._note_stability(now)
            self._drop_if_dead(now)
            await self._send_what_is_due(link, now)
            with trio.move_on_at(min(self._next_ping_at, now + min(_LOOK_EVERY_S, self._interval_s / 4))):
                await self._nudge.wait()
            if self._nudge.is_set():
                self._nudge = trio.Event()

    def _wall_ahead(self) -> float:
        return self._engine.outside.wall() - trio.current_time()

    def _note_stability(self, now: float) -> None:
        if not self.is_stable and now >= self._welcomed_at + STABLE_AFTER_S:
            self.is_stable = True
            self._engine.reconnection.became_stable()

    def _drop_if_dead(self, now: float) -> None:
        patience_s = 2 * self._interval_s
        unanswered_since = self._engine.outbox.unanswered_since()
        if now >= self._heard_at + patience_s:
            self._lost(f"nothing was heard for {patience_s:g} s")
        elif now >= self._wake_deadline:
            self._lost("nothing was heard after a sleep")
        elif unanswered_since is not None and now >= unanswered_since + patience_s:
            self._lost(f"a message was not answered for {patience_s:g} s")
        elif now >= self._drain_deadline and self._drained_until is not None:
            wait_s = max(0.0, self._drained_until - now)
            self._drop(Ending(ServerBusy("it restarts", wait_s), counts=False, wait_s=wait_s, wait_is_all=True))

    async def _send_what_is_due(self, link: Link, now: float) -> None:
        engine = self._engine
        if now >= self._next_ping_at:
            self._next_ping_at = now + self._interval_s
            await self._ping(link, now)
        if now >= max(self._health_at, engine.quiet_until):
            self._health_at = now + HEALTH_INTERVAL_S
            await self._send(link, "CLIENT_HEALTH", engine.health().report())
        renew_at = engine.credentials.renew_at
        if renew_at is not None and now >= renew_at and not self._renewing:
            await self._renew(link)

    async def _ping(self, link: Link, now: float) -> None:
        sent_at = round(self._engine.outside.wall() * 1000)
        self._pings = {sent_at: now}
        position = self._engine.intake.position
        last = {} if position is None else {"lastSequence": position.sequence_number}
        await self._send(link, "PING", {"sentAt": sent_at} | last)

    async def _renew(self, link: Link) -> None:
        try:
            token = await self._engine.credentials.renew()
        except TokenUnavailable as problem:
            self._drop(Ending(problem))
            return
        if token is not None:
            self._token = token
            self._renewing = True
            await self._send(link, "AUTH", {"token": token})
