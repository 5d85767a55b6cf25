"""The app below a path prefix. Law of this file: paths are translated before any route is looked at."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from quart_trio import QuartTrio

from collabd.protocol.prefix import below_prefix
from collabd.protocol.problems import SECURITY_HEADERS


def serve_below(app: QuartTrio, prefix: str) -> None:
    """Have the app answer below `prefix` ("" or like /collab), and still where a proxy has taken that off."""
    if not prefix:
        return
    whole, inner = unquote(prefix), app.asgi_app

    async def below(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await inner(scope, receive, send)
            return
        path = below_prefix(scope["path"], whole)
        if path is not None or scope["type"] != "http":
            inside: Any = {**scope, "path": path or scope["path"]}
            await inner(inside, receive, send)
            return
        headers = {"location": f"{prefix}/", "content-length": "0", **SECURITY_HEADERS}
        await send(
            {
                "type": "http.response.start",
                "status": 308,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": b""})

    app.asgi_app = below  # type: ignore[method-assign]
