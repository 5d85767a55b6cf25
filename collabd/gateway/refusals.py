"""The answers that Hypercorn gives by itself, in this server's words: problem+json with the headers of every answer.

Law of this file: from a status to a whole answer; which status is right is decided elsewhere.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from collabd.errors import ProtocolError
from collabd.protocol.problems import SECURITY_HEADERS, problem_headers, problem_json

Headers = list[tuple[bytes, bytes]]

_ERRORS: Final = {
    403: ("forbidden", "this is not allowed"),
    404: ("not_found", "there is nothing at this path"),
    413: ("message_too_big", "the request's head is too large"),
    431: ("message_too_big", "the request's head is too large"),
    500: ("internal_error", "the server failed; its log says why"),
}


class Refusal(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


def refusal_of(error: ProtocolError) -> Refusal:
    """The answer that an error gives."""
    body = problem_json(error)
    headers = {**problem_headers(error), **SECURITY_HEADERS, "content-length": str(len(body))}
    return Refusal(error.status, [(name.encode(), value.encode()) for name, value in headers.items()], body)


def refusal_for(status: int, *, upgrade: bool = False) -> Refusal:
    """The answer that stands for a bare status of Hypercorn's."""
    words = "this is no WebSocket upgrade" if upgrade else "this is no valid HTTP request"
    code, message = _ERRORS.get(status, ("internal_error" if status > 500 else "invalid_parameter", words))
    return refusal_of(ProtocolError(code, message))


def is_bare(status: int, headers: Headers) -> bool:
    """Whether an answer is Hypercorn's own: a refusal that says nothing."""
    return status >= 400 and not any(name.lower() == b"content-type" for name, _ in headers)
