"""Where a request comes from, as the hub's checks want it. Law of this file: a translation, no decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from collabd.hub.admission import Caller, make_caller

if TYPE_CHECKING:
    from quart.wrappers import Request, Websocket

    from collabd.hub.hub import Hub

_KEPT: Final = "collabd.caller"


def caller_of(hub: Hub, request: Request) -> Caller:
    """The caller of an HTTP request; made once for each, though every check asks for it."""
    scope = cast(dict[str, Any], request.scope)
    caller: Caller | None = scope.get(_KEPT)
    if caller is None:
        caller = scope[_KEPT] = _make_caller(hub, request)
    return caller


def _make_caller(hub: Hub, request: Request) -> Caller:
    headers = request.headers.items()
    if request.http_version == "1.0":  # Quart gives such a request an empty Host when it has none
        headers = [(name, value) for name, value in headers if value or name.lower() != "host"]
    return make_caller(hub.proxies, request.method, headers, request.scheme, _peer(request))


def caller_of_socket(hub: Hub, websocket: Websocket) -> Caller:
    """The caller of an upgrade."""
    scheme = "https" if websocket.scheme == "wss" else "http"
    return make_caller(hub.proxies, "GET", websocket.headers.items(), scheme, _peer(websocket), upgrade=True)


def _peer(request: Request | Websocket) -> str:
    client = request.scope.get("client")
    return client[0] if client else ""
