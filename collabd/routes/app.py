"""The Quart-Trio app. Law of this file: it puts blueprints and error answers together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from quart import Response, request
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import BadHost, HTTPException, NotFound
from werkzeug.routing import MapAdapter
from werkzeug.routing.exceptions import WebsocketMismatch

from collabd.errors import ProtocolError
from collabd.hub.admission import check_arrival
from collabd.routes.actuator import actuator_routes
from collabd.routes.admin import admin_routes
from collabd.routes.admin_tokens import admin_token_routes
from collabd.routes.answers import problem_response
from collabd.routes.callers import caller_of
from collabd.routes.collaboration import collaboration_routes
from collabd.routes.cors import add_cors
from collabd.routes.description import description_routes
from collabd.routes.hardening import harden
from collabd.routes.prefix import serve_below
from collabd.routes.socket import socket_routes
from collabd.routes.web_client import web_client_routes

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from collabd.admin_door import AdminDoor
    from collabd.hub.hub import Hub

logger = logging.getLogger("collabd.http")

MAX_BODY_BYTES = 1024 * 1024


def make_app(hub: Hub, door: AdminDoor, registry: CollectorRegistry | None = None) -> QuartTrio:
    """All routes over one hub; the figures for Prometheus go to `registry`, or to one of the app's own."""
    app = _App("collabd", static_folder=None)
    # One byte more than allowed, so that the hub sees a body that is too big and says so.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = 20
    app.config["RESPONSE_TIMEOUT"] = None
    for blueprint in (
        collaboration_routes(hub),
        admin_routes(hub, door),
        admin_token_routes(hub, door),
        actuator_routes(hub, door, registry),
        socket_routes(hub),
        description_routes(hub),
        web_client_routes(hub),
    ):
        app.register_blueprint(blueprint)
    app.register_error_handler(ProtocolError, _answer_problem)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_fault)

    @app.before_request
    async def check() -> None:
        check_arrival(hub, caller_of(hub, request))

    add_cors(app, hub.config.server.allowed_origins)
    harden(app)
    serve_below(app, hub.config.server.path_prefix)
    return app


class _App(QuartTrio):
    """Quart, which routes requests whose Host is no name too, so that they can be refused like any unknown one."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Bind the routes to a request."""
        try:
            return super().create_url_adapter(request)
        except (BadHost, UnicodeDecodeError):  # an empty or too long label, or a query of other bytes than UTF-8
            if request is None:
                raise
            place = ("invalid", request.root_path, None, request.scheme, request.method, request.path)
            return self.url_map.bind(*place)


async def _answer_problem(error: ProtocolError) -> Response:
    return problem_response(error)


_CODES = {
    400: "invalid_parameter",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "message_too_big",
    415: "invalid_json",
}


async def _answer_http_error(error: HTTPException) -> Response:
    # An upgrade where there is no WebSocket, or a plain request where there is nothing but one, finds nothing.
    if isinstance(error, WebsocketMismatch):
        error = NotFound()
    status = error.code or 500
    if status in (301, 302, 307, 308):
        return error.get_response()  # type: ignore[return-value]
    problem = ProtocolError(
        _CODES.get(status, "invalid_parameter" if status < 500 else "internal_error"), _sentence(error)
    )
    response = problem_response(problem)
    allow = error.get_response().headers.get("Allow")
    if allow:
        response.headers["allow"] = allow
    return response


def _sentence(error: HTTPException) -> str:
    if error.code == 404:
        return "there is nothing at this path"
    if error.code == 405:
        return "this path does not know this method"
    if error.code == 413:
        return f"a body may have {MAX_BODY_BYTES} bytes"
    return error.description or error.name


async def _answer_fault(error: Exception) -> Response:
    logger.exception("a request failed by a fault of the server", exc_info=error)
    return problem_response(ProtocolError("internal_error", "the server failed; its log says why"))
