"""The headers that every answer carries. Law of this file: below Quart, where no answer is missed.

What an answer says of itself stays. Written here because it is done for every poll: on Quart's response the same cost
four times as much (docs/performance.md, "Polling").
"""

from __future__ import annotations

from typing import Any, Final

from quart_trio import QuartTrio

from collabd.protocol.problems import SECURITY_HEADERS

_DEFAULTS: Final = {
    name.encode(): value.encode() for name, value in {**SECURITY_HEADERS, "cache-control": "no-store"}.items()
}
_OF_PAGES: Final = {b"cross-origin-opener-policy": b"same-origin"}
_OF_WHAT_ALL_MAY_READ: Final = {b"cross-origin-resource-policy": b"cross-origin"}
_STARTS: Final = ("http.response.start", "websocket.http.response.start")
"""ASGI's messages that carry headers of an answer; the second refuses an upgrade."""


def harden(app: QuartTrio) -> None:
    """Have every answer of the app carry the headers that keep browsers careful, unless it has its own."""
    inner = app.asgi_app

    async def hardened(scope: Any, receive: Any, send: Any) -> None:
        async def send_hardened(message: Any) -> None:
            if message["type"] in _STARTS:
                message["headers"] = with_defaults(message["headers"])
            await send(message)

        await inner(scope, receive, send_hardened)

    app.asgi_app = hardened  # type: ignore[method-assign]


def with_defaults(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers (names in lower case), and what they do not say."""
    said = dict(headers)
    defaults = _DEFAULTS
    if said.get(b"content-type", b"").startswith(b"text/html"):
        defaults = defaults | _OF_PAGES
    if said.get(b"access-control-allow-origin") == b"*":
        defaults = defaults | _OF_WHAT_ALL_MAY_READ
    return [*headers, *(default for default in defaults.items() if default[0] not in said)]
