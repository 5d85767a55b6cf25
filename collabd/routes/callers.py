"""Where a request comes from, as the hub's checks want it. Law of this file: a translation, no decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collabd.hub.admission import Caller

if TYPE_CHECKING:
    from quart.wrappers import Request, Websocket


def caller_of(request: Request) -> Caller:
    """The caller of an HTTP request."""
    return Caller(request.method, _headers(request), request.scheme, _address(request))


def caller_of_socket(websocket: Websocket) -> Caller:
    """The caller of an upgrade."""
    scheme = "https" if websocket.scheme == "wss" else "http"
    return Caller("GET", _headers(websocket), scheme, _address(websocket), upgrade=True)


def _headers(request: Request | Websocket) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _address(request: Request | Websocket) -> str:
    client = request.scope.get("client")
    return client[0] if client else ""
