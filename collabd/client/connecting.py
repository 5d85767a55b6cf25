"""Keeping one WebSocket: connecting, learning why it does not come about, and coming back.

Law of this file: docs/client-behaviour.md R21, R24 to R29, R40 to R45, R50, R51. What is said on an open one is
conversation.py's, whether it lives liveness.py's.
"""

from __future__ import annotations

import math

import trio

from collabd.client.conversation import Conversation
from collabd.client.engine import Engine
from collabd.client.errors import (
    ConnectionProblem,
    NotCollabd,
    Replaced,
    ServerUnreachable,
    TokenUnavailable,
    WebSocketBlocked,
)
from collabd.client.http import Answer, request
from collabd.client.link import HandshakeRefused, Link, LinkEnded, NeverOpened, open_link
from collabd.client.liveness import Liveness
from collabd.client.messages import Malformed, Refusal, Welcome, parse_object, read_snapshot, read_welcome
from collabd.client.reconnect import OWN_WILL, Ending, after_close, after_status
from collabd.client.settings import CONNECT_TIMEOUT_S


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
    attempt = _Attempt(engine, token)
    ending = await attempt.run()
    if ending.new_token and not engine.credentials.refused(attempt.token):
        ending = Ending(ending.problem, is_final=True)
    return ending, attempt.was_stable


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


class _Attempt:
    """One WebSocket, from dialling to what its end means."""

    def __init__(self, engine: Engine, token: str | None) -> None:
        self._engine = engine
        self._asked = engine.intake.position
        self._scope = trio.CancelScope()
        self._own_ending: Ending | None = None
        self._presented_session = False
        self._opened = False
        self._liveness: Liveness | None = None
        self._conversation: Conversation | None = None
        self.token = token

    @property
    def was_stable(self) -> bool:
        """It lived long enough to be called a success (R25)."""
        return self._conversation is not None and self._conversation.is_stable

    async def run(self) -> Ending:
        """Connect and serve the connection until it ends; what that means."""
        self._scope.deadline = trio.current_time() + CONNECT_TIMEOUT_S
        ending: Ending | None = None
        with self._scope:
            ending = await self._live()
        self._engine.drop_socket = self._engine.close_socket = None
        if self._liveness is not None:
            self._engine.went_down()
        if self._own_ending is not None:
            return self._own_ending
        return await self._gave_up_waiting() if ending is None else ending

    async def _gave_up_waiting(self) -> Ending:
        if self._presented_session:
            self._engine.reconnection.abandoned(trio.current_time())
        if not self._opened:
            return await ask_why(self._engine, self.token)
        return Ending(ServerUnreachable(self._engine.url, f"no WELCOME within {CONNECT_TIMEOUT_S:g} s"))

    async def _live(self) -> Ending:
        engine = self._engine
        self._presented_session = engine.place.session_id is not None
        target = engine.place.socket(self._asked, engine.reconnection.tries)
        try:
            async with open_link(engine.outside.dial, engine.place.address, target, self.token) as link:
                self._opened = True
                await self._talk(link, read_welcome(parse_object(await link.receive())))
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
        return await ask_why(self._engine, self.token)

    async def _talk(self, link: Link, welcome: Welcome) -> None:
        """Take the WELCOME, and go on from it until the link ends."""
        engine = self._engine
        engine.place.session_id = welcome.snapshot.session_id
        if engine.intake.is_stale(self._asked):
            self._drop(OWN_WILL)
            await trio.sleep_forever()
        items = engine.intake.welcome(self._asked, welcome)
        self._scope.deadline = math.inf
        now, ahead = trio.current_time(), engine.wall_ahead()
        self._liveness = Liveness(welcome.heartbeat_interval_s, now=now, wall_ahead=ahead)
        self._conversation = Conversation(engine, link, self._liveness, self._drop)
        if engine.intake.replay_is_whole:
            self._liveness.ping_now()
        engine.drop_socket, engine.close_socket = self._drop, self._conversation.leave
        engine.welcomed(welcome)
        engine.hand_on(items)
        await self._conversation.serve()

    def _drop(self, ending: Ending) -> None:
        """End the connection now, without asking the peer."""
        if self._own_ending is None:
            self._own_ending = ending
            self._scope.cancel()

    def _ended(self, ended: LinkEnded) -> Ending:
        engine = self._engine
        if ended.code in (1003, 1007, 1009):
            suspect = engine.outbox.suspect(ended.code)
            code = "message_too_big" if ended.code == 1009 else "invalid_json"
            if suspect is not None:
                text = f"the server closed the connection over it ({ended.code} {ended.reason})"
                engine.reject(suspect, Refusal(code, text, suspect.client_message_id, False, None))
        now = trio.current_time()
        if ended.code == 4009 and engine.reconnection.was_replaced_by_itself(now):
            return Ending(Replaced(), counts=False)
        left_s = None if self._liveness is None else self._liveness.drain_left_s(now)
        told_ms = None if self._conversation is None else self._conversation.rate_told_ms
        return after_close(ended.code, ended.reason, engine.url, drain_left_s=left_s, rate_told_ms=told_ms)
