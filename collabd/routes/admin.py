"""What operators see: connections, figures and health as JSON. Law of this file: docs/protocol.md, "Admin"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import Blueprint, Response, request

from collabd.errors import ProtocolError
from collabd.hub.reports import connections_report, health_report, run_report, session_report
from collabd.protocol.names import parse_integer, parse_run_id
from collabd.protocol.requests import parse_query
from collabd.routes.answers import json_response
from collabd.routes.callers import caller_of

if TYPE_CHECKING:
    from collabd.admin_door import AdminDoor
    from collabd.hub.hub import Hub

DEFAULT_STALE_MS: Final = 3_600_000
_LONGEST_MS: Final = 10**15


def admin_routes(hub: Hub, door: AdminDoor) -> Blueprint:
    """The routes below /api/admin."""
    routes = Blueprint("admin", __name__, url_prefix="/api/admin/websocket")

    @routes.before_request
    async def check_door() -> None:
        caller = caller_of(request)
        door.check(caller.headers, caller.address)

    @routes.get("/connections")
    async def connections() -> Response:
        return _json(connections_report(hub))

    @routes.get("/connections/<run_id>")
    async def connections_of_run(run_id: str) -> Response:
        return _json(run_report(hub, parse_run_id(run_id)))

    @routes.get("/metrics")
    async def metrics() -> Response:
        return _json([session_report(hub, record) for record in hub.health])

    @routes.get("/metrics/<session_id>")
    async def metrics_of_session(session_id: str) -> Response:
        record = hub.health.get(session_id)
        if record is None:
            raise ProtocolError("session_not_found", "no such session is known, or its figures were cleaned up")
        return _json(session_report(hub, record))

    @routes.get("/health")
    async def health() -> Response:
        return _json(health_report(hub))

    @routes.post("/cleanup-stale")
    async def cleanup_stale() -> Response:
        query = parse_query(request.query_string)
        age = DEFAULT_STALE_MS
        if "maxAgeMs" in query:
            age = parse_integer("maxAgeMs", query["maxAgeMs"], low=0, high=_LONGEST_MS)
        return _json({"removed": hub.health.forget_older_than(hub.now_ms() - age)})

    return routes


def _json(report: Any) -> Response:
    return json_response(msgspec.json.encode(report))
