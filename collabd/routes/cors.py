"""Cross-origin requests (Fetch standard, "CORS protocol"), for the origins that are listed and no others.

Law of this file: reading answers only. Whether a page may act is decided for every request by
collabd.hub.admission.check_origin, whatever its browser asked before. Credentials are never allowed: tokens are
headers that a page sets itself. The operators' routes are for our own pages only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from quart import Response, request
from quart_trio import QuartTrio

from collabd.protocol.origin import origin_listed

_OPEN_PATHS: Final = ("/api/runs", "/api/client-config")
_PREFLIGHT: Final = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}


def add_cors(app: QuartTrio, allowed_origins: Sequence[str]) -> None:
    """Let pages of these origins read what clients may ask for; with none, nothing is added at all."""
    if not allowed_origins:
        return

    @app.before_request
    async def answer_preflight() -> Response | None:
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        return Response(b"", status=204, headers=_PREFLIGHT) if _listed_origin(allowed_origins) else None

    @app.after_request
    async def allow(response: Response) -> Response:
        if request.path.startswith(_OPEN_PATHS):
            response.headers.add("vary", "origin")
            origin = _listed_origin(allowed_origins)
            if origin is not None:
                response.headers["access-control-allow-origin"] = origin
                response.headers["access-control-expose-headers"] = "retry-after, x-total-count"
        return response


def _listed_origin(allowed_origins: Sequence[str]) -> str | None:
    origin = request.headers.get("origin")
    if origin is None or not request.path.startswith(_OPEN_PATHS) or not origin_listed(origin, allowed_origins):
        return None
    return origin
