"""Where a request comes from, as the hub's checks want it. Law of this file: a translation, no decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collabd.hub.admission import Caller, make_caller

if TYPE_CHECKING:
    from quart.wrappers import Request, Websocket

    from collabd.hub.hub import Hub


def caller_of(hub: Hub, request: Request) -> Caller:
    """The caller of an HTTP request."""
    return make_caller(hub.proxies, request.method, request.headers.items(), request.scheme, _peer(request))


def caller_of_socket(hub: Hub, websocket: Websocket) -> Caller:
    """The caller of an upgrade."""
    scheme = "https" if websocket.scheme == "wss" else "http"
    return make_caller(hub.proxies, "GET", websocket.headers.items(), scheme, _peer(websocket), upgrade=True)


def _peer(request: Request | Websocket) -> str:
    client = request.scope.get("client")
    return client[0] if client else ""
