"""What each end of a connection means: come back, when, or stay away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collabd.client import errors
from collabd.client.reconnect import OWN_WILL, Ending, Reconnection, after_close, after_status
from collabd.client.settings import Limits

URL = "http://h"
RULES = Path(__file__).parents[2] / "docs" / "client-behaviour.md"
LOST = Ending()


def closed(code: int | None, *, drain: float | None = None, told: int | None = None) -> Ending:
    """What a close code means."""
    return after_close(code, "why", URL, drain_left_s=drain, rate_told_ms=told)


def waits(reconnection: Reconnection, count: int, random: float = 1.0) -> list[float]:
    """The delays after `count` failures in a row."""
    return [reconnection.next_try_at(LOST, was_stable=False, now=0.0, random=random) for _ in range(count)]


def test_backoff_is_capped_lower_before_the_fallback_than_after() -> None:
    """R24, R70: 10 s until five attempts failed, then probes up to 20 s apart."""
    reconnection = Reconnection(Limits())
    assert waits(reconnection, 4) == [0.5, 1, 2, 4]
    assert not reconnection.falls_back
    assert waits(reconnection, 3) == [8, 16, 20]
    assert reconnection.falls_back


def test_the_first_return_after_a_good_connection_is_within_half_a_second() -> None:
    """R24, R25: the end of a stable connection is no failure."""
    reconnection = Reconnection(Limits())
    waits(reconnection, 4)
    reconnection.became_stable()
    assert reconnection.next_try_at(LOST, was_stable=True, now=7.0, random=1.0) == 7.5
    assert reconnection.failures == 0


def test_a_connection_that_dies_young_is_a_failure_although_it_got_its_welcome() -> None:
    """R25: otherwise a proxy that ends every WebSocket would never lead to the fallback."""
    reconnection = Reconnection(Limits())
    waits(reconnection, 5)
    assert reconnection.falls_back


def test_the_clients_own_drop_comes_back_at_once_and_counts_nothing() -> None:
    """R18, R26."""
    reconnection = Reconnection(Limits())
    assert reconnection.next_try_at(OWN_WILL, was_stable=False, now=3.0, random=1.0) == 3.0
    assert reconnection.failures == 0


def test_a_time_that_the_server_told_is_never_undercut() -> None:
    """R24, R26: not by backoff, not by hurry."""
    reconnection = Reconnection(Limits())
    busy = after_status(429, "too_many_connections", "no", 30.0, URL)
    assert reconnection.next_try_at(busy, was_stable=False, now=0.0, random=0.0) == 30.0
    assert reconnection.next_try_at(OWN_WILL, was_stable=False, now=2.0, random=0.0) == 30.0


@pytest.mark.parametrize("code", [None, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 4000, 4008, 4500, 4999])
def test_most_ends_mean_coming_back_with_backoff(code: int | None) -> None:
    """R29: unknown codes too."""
    ending = closed(code)
    assert (ending.is_final, ending.counts, ending.wait_s, ending.at_once) == (False, True, 0.0, False)


@pytest.mark.parametrize(
    ("code", "error"),
    [(1000, errors.Ended), (4009, errors.Replaced), (4403, errors.Refused), (4404, errors.Refused)],
)
def test_some_ends_mean_staying_away(code: int, error: type[Exception]) -> None:
    """R29: with the reason as an error of its own."""
    ending = closed(code)
    assert ending.is_final
    assert isinstance(ending.problem, error)


def test_each_abandoned_attempt_explains_one_replacement_for_a_minute() -> None:
    """R29: what arrives late of our own is no other client."""
    reconnection = Reconnection(Limits())
    assert not reconnection.was_replaced_by_itself(0.0)
    reconnection.abandoned(0.0)
    reconnection.abandoned(50.0)
    assert reconnection.was_replaced_by_itself(70.0)
    assert not reconnection.was_replaced_by_itself(70.0)


def test_a_drain_says_when_to_come_back() -> None:
    """R29: after `retryAfterMs`, no jitter, no failure; without a DRAIN with backoff."""
    reconnection = Reconnection(Limits())
    assert reconnection.next_try_at(closed(1012, drain=1.5), was_stable=False, now=10.0, random=1.0) == 11.5
    assert reconnection.next_try_at(closed(1012), was_stable=False, now=20.0, random=1.0) == 20.5
    assert reconnection.failures == 0


def test_a_rate_limit_says_when_to_come_back() -> None:
    """R29: no sooner than told, ten seconds if nothing was told."""
    assert (closed(4429, told=700).wait_s, closed(4429).wait_s) == (0.7, 10.0)
    assert not closed(4429).counts


def test_a_refused_token_asks_for_a_new_one() -> None:
    """R51."""
    assert closed(4401).new_token
    assert after_status(401, "unauthorized", "expired", None, URL).new_token


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_that_will_not_get_better_is_final_if_collabd_said_it(status: int) -> None:
    """R44: a proxy's 404 is no word of ours."""
    said = after_status(status, "run_not_found", "no", None, URL)
    assert said.is_final
    assert isinstance(said.problem, errors.Refused)
    other = after_status(status, None, "", None, URL)
    assert not other.is_final
    assert other.counts
    assert isinstance(other.problem, errors.NotCollabd)


def test_busy_is_no_failure_if_it_says_until_when() -> None:
    """R44: polling would not help a server that is full."""
    assert not after_status(503, "draining", "no", 2.0, URL).counts
    assert after_status(503, "draining", "no", None, URL).counts
    assert not after_status(429, "too_many_connections", "no", None, URL).counts


def test_every_close_code_of_the_protocol_stands_in_the_rules() -> None:
    """R29 decides all that the server may close with."""
    from collabd.protocol.close_codes import CLOSE_CODES

    rules = RULES.read_text("utf-8")
    table = rules[rules.index("**R29.**") : rules.index("**R33.**")]
    assert set(CLOSE_CODES) <= {int(code) for code in re.findall(r"\b[14]\d{3}\b", table)}


def test_every_error_class_stands_in_the_rules_under_its_code() -> None:
    """The table "Errors by name" is whole."""
    rules = RULES.read_text("utf-8")
    table = rules[rules.index("## Errors by name") : rules.index("## Python only")]
    abstract = {"ClientError", "ConnectionProblem", "MessageNotAccepted"}
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.ClientError) and name not in abstract:
            assert f"`{name}`" in table, name
            assert f"`{value.code}`" in table, value.code


def test_every_constant_stands_in_the_rules_with_its_value() -> None:
    """The table "Constants" is what the code does."""
    from collabd.client import settings

    rules = RULES.read_text("utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", rules, re.MULTILINE))
    seconds = {
        "backoffBaseMs": settings.BACKOFF_BASE_S,
        "backoffCapMs": settings.BACKOFF_CAP_S,
        "probeCapMs": settings.PROBE_CAP_S,
        "connectTimeoutMs": settings.CONNECT_TIMEOUT_S,
        "stableAfterMs": settings.STABLE_AFTER_S,
        "lateAttemptMs": settings.LATE_ATTEMPT_S,
        "wakeTimeoutMs": settings.WAKE_TIMEOUT_S,
        "requestTimeoutMs": settings.REQUEST_TIMEOUT_S,
        "cursorIntervalMs": settings.CURSOR_INTERVAL_S,
        "healthIntervalMs": settings.HEALTH_INTERVAL_S,
        "tokenLeewayMs": settings.TOKEN_LEEWAY_S,
        "renewalRetryMs": settings.RENEWAL_RETRY_S,
        "heartbeatIntervalMs": Limits().heartbeat_interval_s,
        "pollingIntervalMs": Limits().polling_interval_s,
    }
    plain = {
        "maxMessageBytes": Limits().max_message_bytes,
        "maxReconnectAttempts": Limits().max_reconnect_attempts,
        "messageRetryLimit": Limits().message_retry_limit,
        "maxQueuedMessages": settings.Settings().max_queued_messages,
        "maxQueuedBytes": settings.Settings().max_queued_bytes,
        "sendWindow": settings.SEND_WINDOW,
        "heldEvents": settings.HELD_EVENTS,
    }
    expected = {name: round(value * 1000) for name, value in seconds.items()} | plain
    assert {name: int(table[name]) for name in expected} == expected
