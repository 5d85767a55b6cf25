"""What goes over HTTP: polling and publishing while the WebSocket does not pass, replay for holes, client-config.

Law of this file: Trio tasks that move answers into the engine's pure parts; the decisions are made there
(docs/client-behaviour.md R43, R44, R64 to R67, R70 to R78).
"""

from __future__ import annotations

from typing import Any

import trio

from collabd.client.engine import Engine, apply_choices
from collabd.client.errors import ConnectionProblem, NotCollabd
from collabd.client.http import Answer, request
from collabd.client.messages import Malformed, Refusal, dump, field, parse_object, read_answer, read_snapshot
from collabd.client.outbox import Outgoing, backoff_delay
from collabd.client.reconnect import OWN_WILL
from collabd.client.settings import BACKOFF_CAP_S, HEALTH_INTERVAL_S, LONGEST_POLL_S, REPLAY_LIMIT, SHORTEST_POLL_S

_REPLAY_TRIES = 3


async def ask(engine: Engine, method: str, target: str, body: str | None = None) -> Answer:
    """One request with the token in use; a 401 has the token replaced or ends the run. Raises ConnectionProblem."""
    credentials = engine.credentials
    token = await credentials.current()
    answer = await request(engine.outside.dial, engine.place.address, method, target, token=token, body=body)
    if answer.status == 401:
        ending = engine.note_refusal(401, *answer.problem, answer.retry_after_s)
        if ending.new_token and not credentials.refused(token):
            engine.give_up(ending.problem)
    return answer


def _refused(engine: Engine, answer: Answer) -> float:
    """Act on a status that is not 200 (R44); how many seconds the server told to wait."""
    ending = engine.note_refusal(answer.status, *answer.problem, answer.retry_after_s)
    if ending.is_final:
        engine.give_up(ending.problem)
    return ending.wait_s


# Polling


async def poll_while_fallen_back(engine: Engine) -> None:
    """Poll as long as HTTP stands in for the WebSocket (R70 to R75)."""
    while True:
        await engine.mode_changed.wait_until(lambda: engine.falls_back)
        engine.polling = trio.CancelScope()
        with engine.polling:
            await _Poller(engine).run()


class _Poller:
    """One stretch of polling."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._failures = 0
        self._health_at = 0.0

    async def run(self) -> None:
        while True:
            try:
                pause_s = await self._poll()
            except ConnectionProblem as problem:
                pause_s = self._failed(problem)
            except Malformed as problem:
                pause_s = self._failed(NotCollabd(self._engine.url, str(problem)))
            if pause_s:
                await trio.sleep(pause_s)

    def _failed(self, problem: ConnectionProblem | None, wait_s: float = 0.0) -> float:
        self._failures += 1
        if problem is not None:
            self._engine.note_problem(problem)
        delay_s = backoff_delay(self._failures, BACKOFF_CAP_S, self._engine.outside.random())
        return max(self._engine.limits.polling_interval_s, delay_s, wait_s)

    async def _poll(self) -> float:
        """One poll and what goes along with it; seconds until the next."""
        engine = self._engine
        asked = engine.intake.position
        answer = await ask(engine, "GET", engine.place.poll(asked, max(1, min(REPLAY_LIMIT, engine.inbox.room))))
        if answer.status != 200:
            return self._failed(None, _refused(engine, answer))
        body = parse_object(answer.body)
        snapshot = read_snapshot(body)
        self._failures = 0
        engine.latency_ms = answer.seconds * 1000
        engine.credentials.accepted()
        engine.note_problem(None)
        engine.take_people(snapshot)
        if engine.inbox.has_room:
            engine.hand_on(engine.intake.poll_answer(asked, snapshot))
        if field(body, "hasMore", bool, False) and engine.intake.position != asked:
            return 0.0
        await self._send_loose()
        next_ms: int = field(body, "nextPollMs", int, round(engine.limits.polling_interval_s * 1000))
        return min(LONGEST_POLL_S, max(SHORTEST_POLL_S, next_ms / 1000))

    async def _send_loose(self) -> None:
        """Health and the latest cursor: not queued, at most one each poll (R82, R85)."""
        engine = self._engine
        now = trio.current_time()
        if now < engine.quiet_until:
            return
        if now >= self._health_at:
            self._health_at = now + HEALTH_INTERVAL_S
            await self._post_one("CLIENT_HEALTH", engine.health().report())
        if engine.has_cursor:
            engine.has_cursor = False
            await self._post_one("CURSOR_MOVE", {"nodeId": engine.cursor})

    async def _post_one(self, event_type: str, data: dict[str, Any]) -> None:
        await ask(self._engine, "POST", self._engine.place.events(), dump({"eventType": event_type, "data": data}))


# Publishing


async def publish_while_fallen_back(engine: Engine) -> None:
    """Send the queue by POST as long as HTTP stands in for the WebSocket (R76 to R78)."""
    while True:
        await engine.mode_changed.wait_until(lambda: engine.falls_back)
        await engine.flush_queue_file()
        async with engine.posting:
            now = trio.current_time()
            batch = engine.outbox.next_batch(now) if engine.falls_back else []
            if batch:
                await _publish(engine, batch)
        if not batch and engine.falls_back:
            wake_at = engine.outbox.wake_at(now)
            await engine.outbox_changed.wait(now + 1.0 if wake_at is None else wake_at)


async def _publish(engine: Engine, batch: list[Outgoing]) -> None:
    now = trio.current_time()
    for message in batch:
        engine.outbox.mark_sent(message, now)
    body = '{"events":[' + ",".join(message.text for message in batch) + "]}"
    try:
        answer = await ask(engine, "POST", engine.place.events(), body)
        if answer.status != 200:
            _publish_refused(engine, batch, answer)
            return
        elements = field(parse_object(answer.body), "acks", list)
        if len(elements) != len(batch):
            raise Malformed(f"it answers {len(batch)} messages with {len(elements)} acks")
        _take_answers(engine, batch, elements)
    except ConnectionProblem as problem:
        engine.note_problem(problem)
        _failed(engine)
    except Malformed as problem:
        engine.note_problem(NotCollabd(engine.url, str(problem)))
        _failed(engine)


def _failed(engine: Engine) -> None:
    engine.outbox.batch_failed(trio.current_time(), engine.outside.random())
    engine.outbox_changed.ring()


def _take_answers(engine: Engine, batch: list[Outgoing], elements: list[Any]) -> None:
    for message, element in zip(batch, elements, strict=True):
        if not isinstance(element, dict):
            raise Malformed("an ack is no object")
        answer = read_answer({"clientMessageId": message.client_message_id} | element)
        if answer.client_message_id != message.client_message_id:
            raise Malformed("it answers another message than it was asked about")
        engine.take_answer(answer)
        if isinstance(answer, Refusal) and answer.code == "rate_limited":
            engine.outbox.pause(trio.current_time() + 1.0)
    engine.outbox.batch_answered()
    engine.outbox_changed.ring()


def _publish_refused(engine: Engine, batch: list[Outgoing], answer: Answer) -> None:
    code, message = answer.problem
    if code is not None and answer.status in (400, 403, 409, 413):
        rejected = engine.outbox.batch_refused(batch, Refusal(code, message, None, False, None))
        if rejected is not None and engine.queue_file is not None:
            engine.queue_file.note_final(rejected, engine.outbox)
    elif answer.status == 401:
        engine.outbox.connection_lost()
    else:
        wait_s = _refused(engine, answer)
        if not engine.is_closed:
            engine.outbox.batch_failed(trio.current_time(), engine.outside.random())
            engine.outbox.pause(trio.current_time() + wait_s)
    engine.outbox_changed.ring()
    engine.observed.ring()


# Holes


async def repair_holes(engine: Engine) -> None:
    """Fetch what is missing, whatever the transport (R64 to R66, P1)."""
    intake = engine.intake
    failures = 0
    while True:
        await engine.intake_changed.wait_until(lambda: intake.missing_from is not None and engine.inbox.has_room)
        before = intake.position
        if await _ask_missing(engine) and intake.position != before:
            failures = 0
            continue
        failures += 1
        if failures % _REPLAY_TRIES == 0:
            intake.connection_lost()
            if engine.drop_socket is not None:
                engine.drop_socket(OWN_WILL)
        await trio.sleep(backoff_delay(failures, BACKOFF_CAP_S, engine.outside.random()))


async def _ask_missing(engine: Engine) -> bool:
    """One replay request; whether it was answered."""
    intake = engine.intake
    asked = intake.position
    assert asked is not None
    try:
        limit = max(1, min(REPLAY_LIMIT, engine.inbox.room))
        answer = await ask(engine, "GET", engine.place.replay(asked.sequence_number + 1, limit))
        if answer.status != 200:
            await trio.sleep(_refused(engine, answer))
            return False
        engine.hand_on(intake.replay_answer(asked, read_snapshot(parse_object(answer.body))))
    except ConnectionProblem as problem:
        engine.note_problem(problem)
        return False
    except Malformed as problem:
        engine.note_problem(NotCollabd(engine.url, str(problem)))
        return False
    if intake.position is None:
        engine.join_anew()
    return True


# The server's settings


async def learn_settings(engine: Engine) -> None:
    """Ask once what the server's settings for clients are; without an answer the defaults stay."""
    await engine.mode_changed.wait_until(lambda: engine.was_connected)
    try:
        answer = await ask(engine, "GET", engine.place.client_config())
        config = parse_object(answer.body) if answer.status == 200 else {}
        limits = engine.limits
        limits.max_reconnect_attempts = field(config, "maxReconnectAttempts", int, limits.max_reconnect_attempts)
        limits.message_retry_limit = field(config, "messageRetryLimit", int, limits.message_retry_limit)
        if not engine.welcomes:  # a WELCOME knows better
            limits.max_message_bytes = field(config, "maxMessageBytes", int, limits.max_message_bytes)
        interval_ms = field(config, "pollingIntervalMs", int, round(limits.polling_interval_s * 1000))
        limits.polling_interval_s = min(LONGEST_POLL_S, max(SHORTEST_POLL_S, interval_ms / 1000))
    except (ConnectionProblem, Malformed):
        return
    apply_choices(engine.limits, engine.settings)
