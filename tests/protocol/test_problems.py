"""Errors as application/problem+json (RFC 9457), and the table that all of them come from."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from collabd.errors import ERROR_TABLE, ProtocolError
from collabd.protocol.problems import problem, problem_headers, problem_json

OVER_HTTP = sorted(code for code, kind in ERROR_TABLE.items() if kind.status)


@pytest.mark.parametrize("code", OVER_HTTP)
def test_every_code_has_an_answer(code: str) -> None:
    """With the members of the RFC, the code, and whether to send again."""
    body = json.loads(problem_json(ProtocolError(code, "a sentence")))
    assert body == {
        "type": "about:blank",
        "title": HTTPStatus(ERROR_TABLE[code].status).phrase,
        "status": ERROR_TABLE[code].status,
        "detail": "a sentence",
        "code": code,
        "retryable": ERROR_TABLE[code].retryable,
    }


def test_what_is_known_more_stands_beside_it() -> None:
    """The same members as in an ERROR frame."""
    body = problem(ProtocolError("rate_limited", "slow down", client_message_id="m1", retry_after_ms=1500))
    assert (body["clientMessageId"], body["retryAfterMs"]) == ("m1", 1500)
    assert "message" not in body


@pytest.mark.parametrize("code", OVER_HTTP)
def test_every_answer_is_problem_json_and_not_kept_by_caches(code: str) -> None:
    """A cached refusal would outlive its reason."""
    headers = problem_headers(ProtocolError(code, "a sentence"))
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert ("retry-after" in headers) == (ERROR_TABLE[code].status in (429, 503))
    assert ("www-authenticate" in headers) == (ERROR_TABLE[code].status == 401)


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(None, "1"), (1, "1"), (999, "1"), (1000, "1"), (1001, "2"), (10_000, "10")]
)
def test_retry_after_is_in_whole_seconds_and_never_too_early(milliseconds: int | None, seconds: str) -> None:
    """RFC 9110, section 10.2.3 knows nothing smaller."""
    error = ProtocolError("draining", "later", retry_after_ms=milliseconds)
    assert problem_headers(error)["retry-after"] == seconds


def test_what_may_be_sent_again_is_what_is_not_the_clients_fault() -> None:
    """4xx for the message itself is final; limits, drains and faults pass."""
    retryable = {code for code, kind in ERROR_TABLE.items() if kind.retryable}
    assert retryable == {
        "draining", "internal_error", "not_attempted", "rate_limited", "request_timeout", "storage_unavailable",
        "too_many_connections",
    }  # fmt: skip
