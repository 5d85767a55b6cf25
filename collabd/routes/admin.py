"""What operators see: connections, figures and health as JSON. Law of this file: docs/protocol.md, "Admin"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import Blueprint, Response, request

from collabd.errors import ProtocolError
from collabd.hub.admission import check_origin
from collabd.hub.overview import take_overview
from collabd.hub.reports import (
    connections_report,
    diagnosis_report,
    health_report,
    history_report,
    run_report,
    session_report,
    sessions_report,
    storage_report,
    timeline_report,
)
from collabd.protocol.names import parse_integer, parse_run_id
from collabd.protocol.requests import parse_query
from collabd.routes.answers import json_response
from collabd.routes.callers import caller_of

if TYPE_CHECKING:
    from collabd.admin_door import AdminDoor
    from collabd.hub.health import SessionHealth
    from collabd.hub.hub import Hub

DEFAULT_STALE_MS: Final = 3_600_000
DEFAULT_WINDOW_MS: Final = 300_000
DEFAULT_REASON: Final = "ended by an operator"
MAX_REASON_BYTES: Final = 120
"""What fits into a close frame (RFC 6455, section 5.5)."""

_LONGEST_MS: Final = 10**15


def admin_routes(hub: Hub, door: AdminDoor) -> Blueprint:
    """The routes below /api/admin."""
    routes = Blueprint("admin", __name__, url_prefix="/api/admin/websocket")
    guard(routes, hub, door)
    _add_all_sessions(routes, hub)
    _add_one_session(routes, hub)
    return routes


def guard(routes: Blueprint, hub: Hub, door: AdminDoor) -> None:
    """Let only operators ask anything of these routes."""

    @routes.before_request
    async def check_door() -> None:
        caller = caller_of(hub, request)
        # Admin is free on loopback, where any page in a browser may send requests: acting ones must be our own page's.
        check_origin(hub, caller, own_only=True)
        door.check(caller.headers, caller.address)


def _add_all_sessions(routes: Blueprint, hub: Hub) -> None:
    @routes.get("/connections")
    async def connections() -> Response:
        return _json(connections_report(hub))

    @routes.get("/connections/<run_id>")
    async def connections_of_run(run_id: str) -> Response:
        return _json(run_report(hub, parse_run_id(run_id)))

    @routes.get("/metrics")
    async def metrics() -> Response:
        live_only = _flag(parse_query(request.query_string), "live")
        return json_response(await sessions_report(hub, hub.health.live() if live_only else list(hub.health)))

    @routes.get("/health")
    async def health() -> Response:
        return _json(health_report(await take_overview(hub)))

    @routes.get("/history")
    async def history() -> Response:
        return _json(history_report(hub))

    @routes.get("/diagnosis")
    async def diagnosis() -> Response:
        return _json(await diagnosis_report(hub, _milliseconds("windowMs", DEFAULT_WINDOW_MS)))

    @routes.get("/storage")
    async def storage() -> Response:
        return _json(await storage_report(hub))

    @routes.post("/cleanup-stale")
    async def cleanup_stale() -> Response:
        age = _milliseconds("maxAgeMs", DEFAULT_STALE_MS)
        return _json({"removed": hub.health.forget_older_than(hub.now_ms() - age)})


def _add_one_session(routes: Blueprint, hub: Hub) -> None:
    @routes.get("/metrics/<session_id>")
    async def metrics_of_session(session_id: str) -> Response:
        return _json(session_report(hub, _record(hub, session_id)))

    @routes.get("/sessions/<session_id>/timeline")
    async def timeline(session_id: str) -> Response:
        return _json(timeline_report(hub, _record(hub, session_id)))

    @routes.delete("/connections/<run_id>/<session_id>")
    async def end_session(run_id: str, session_id: str) -> Response:
        run = hub.runs.get(parse_run_id(run_id))
        session = None if run is None else run.attendance.present(session_id)
        if run is None or session is None:
            raise ProtocolError("session_not_found", "no such session is connected or polling in this run")
        reason = _reason(parse_query(request.query_string).get("reason", DEFAULT_REASON))
        run.attendance.kick(session, reason)
        return _json({"runId": run.run_id, "sessionId": session_id, "reason": reason})


def _record(hub: Hub, session_id: str) -> SessionHealth:
    record = hub.health.get(session_id)
    if record is None:
        raise ProtocolError("session_not_found", "no such session is known, or its figures were cleaned up")
    return record


def _milliseconds(name: str, default: int) -> int:
    query = parse_query(request.query_string)
    return parse_integer(name, query[name], low=0, high=_LONGEST_MS) if name in query else default


def _flag(query: dict[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise ProtocolError("invalid_parameter", f"{name} must be true or false")
    return text == "true"


def _reason(text: str) -> str:
    if not 1 <= len(text.encode()) <= MAX_REASON_BYTES or not text.isprintable():
        raise ProtocolError("invalid_parameter", f"reason must be printable text of 1 to {MAX_REASON_BYTES} bytes")
    return text


def _json(report: Any) -> Response:
    return json_response(msgspec.json.encode(report))
