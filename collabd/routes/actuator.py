"""Liveness, readiness and Prometheus. Law of this file: health without a token says up or down and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from quart import Blueprint, Response

from collabd.routes.answers import json_response

if TYPE_CHECKING:
    from collabd.hub.hub import Hub


def actuator_routes(hub: Hub) -> Blueprint:
    """The routes that supervisors and load balancers ask."""
    routes = Blueprint("actuator", __name__)

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
