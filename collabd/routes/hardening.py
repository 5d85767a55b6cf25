"""The headers that every answer carries. Law of this file: below Quart, where no answer is missed.

What an answer says of itself stays. Written here because it is done for every poll: on Quart's response the same cost
four times as much (docs/performance.md, "Polling").
"""

from __future__ import annotations

from typing import Any, Final

from quart_trio import QuartTrio

from collabd.protocol.problems import SECURITY_HEADERS

_DEFAULTS: Final = [
    (name.encode(), value.encode()) for name, value in {**SECURITY_HEADERS, "cache-control": "no-store"}.items()
]
_FOR_PAGES: Final = (b"cross-origin-opener-policy", b"same-origin")
_FOR_ALL_ORIGINS: Final = (b"cross-origin-resource-policy", b"cross-origin")


def harden(app: QuartTrio) -> None:
    """Have every answer of the app carry the headers that keep browsers careful, unless it has its own."""
    inner = app.asgi_app

    async def hardened(scope: Any, receive: Any, send: Any) -> None:
        async def send_hardened(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_defaults(message["headers"])
            await send(message)

        await inner(scope, receive, send_hardened if scope["type"] == "http" else send)

    app.asgi_app = hardened  # type: ignore[method-assign]


def with_defaults(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers (names in lower case), and what they do not say."""
    said = dict(headers)
    more = []
    if said.get(b"content-type", b"").startswith(b"text/html") and _FOR_PAGES[0] not in said:
        more.append(_FOR_PAGES)
    if said.get(b"access-control-allow-origin") == b"*" and _FOR_ALL_ORIGINS[0] not in said:
        said[_FOR_ALL_ORIGINS[0]] = b""
        more.append(_FOR_ALL_ORIGINS)
    return [*headers, *more, *(default for default in _DEFAULTS if default[0] not in said)]
