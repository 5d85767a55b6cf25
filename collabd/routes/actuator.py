"""Liveness, readiness and Prometheus. Law of this file: health without a token says up or down and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from quart import Blueprint, Response, request

from collabd.routes.answers import json_response
from collabd.routes.callers import caller_of
from collabd.routes.exposition import Exposition

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from collabd.admin_door import AdminDoor
    from collabd.hub.hub import Hub


def actuator_routes(hub: Hub, door: AdminDoor, registry: CollectorRegistry | None = None) -> Blueprint:
    """The routes that supervisors, load balancers and Prometheus ask; `registry` is where the figures go."""
    routes = Blueprint("actuator", __name__)
    exposition = Exposition(hub, registry)

    @routes.get("/actuator/prometheus")
    @routes.get("/metrics")
    async def prometheus() -> Response:
        caller = caller_of(hub, request)
        door.check(caller.headers, caller.address)
        body, content_type = await exposition.scrape(caller.headers.get("accept", ""))
        return Response(body, content_type=content_type)

    @routes.get("/actuator/health/liveness")
    async def liveness() -> Response:
        return _status(is_up=True)

    @routes.get("/actuator/health")
    @routes.get("/actuator/health/readiness")
    async def readiness() -> Response:
        return _status(is_up=not hub.draining and hub.committer.storage_error is None)

    return routes


def _status(*, is_up: bool) -> Response:
    response = json_response(msgspec.json.encode({"status": "UP" if is_up else "DOWN"}))
    response.status_code = 200 if is_up else 503
    return response
