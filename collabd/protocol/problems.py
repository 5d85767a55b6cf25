"""Errors as HTTP answers: application/problem+json (RFC 9457). Law of this file: pure."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import Any, Final

import msgspec

from collabd.errors import ProtocolError
from collabd.protocol.codec import error_data

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
"""What every answer carries unless it has its own: it is data, for nobody's page to run, frame or embed."""


def problem(error: ProtocolError) -> dict[str, Any]:
    """The body: RFC 9457's members, and `code`, `retryable` and so on as in an ERROR frame."""
    data = error_data(error)
    return {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": data.pop("message"),
        **data,
    }


def problem_json(error: ProtocolError) -> bytes:
    """The body as JSON."""
    return msgspec.json.encode(problem(error))


def problem_headers(error: ProtocolError) -> dict[str, str]:
    """Headers of the answer; Retry-After in whole seconds (RFC 9110, section 10.2.3)."""
    headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
    if error.status in (429, 503):
        headers["retry-after"] = str(max(1, ceil((error.retry_after_ms or 1000) / 1000)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers
