"""Polling, publishing, replay, the run list and the client's settings.

Law of this file: HTTP in, the hub's words out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from quart import Blueprint, Response, request

from collabd.hub.listing import list_runs
from collabd.hub.polling import poll
from collabd.hub.publishing import publish
from collabd.hub.replaying import replay_run
from collabd.routes.answers import json_response
from collabd.routes.callers import caller_of

if TYPE_CHECKING:
    from collabd.config import Config
    from collabd.hub.hub import Hub


def collaboration_routes(hub: Hub) -> Blueprint:
    """The routes that clients use."""
    routes = Blueprint("collaboration", __name__)

    @routes.get("/api/runs/<run_id>/collaboration/poll")
    async def poll_route(run_id: str) -> Response:
        return json_response(await poll(hub, caller_of(hub, request), run_id, request.query_string))

    @routes.get("/api/runs/<run_id>/collaboration/replay")
    async def replay_route(run_id: str) -> Response:
        return json_response(await replay_run(hub, caller_of(hub, request), run_id, request.query_string))

    @routes.post("/api/runs/<run_id>/collaboration/events")
    async def publish_route(run_id: str) -> Response:
        return json_response(await publish(hub, caller_of(hub, request), run_id, request.query_string, _read_body))

    @routes.get("/api/runs")
    async def runs_route() -> Response:
        runs = await list_runs(hub, caller_of(hub, request), request.query_string)
        response = json_response(runs.body)
        response.headers["x-total-count"] = str(runs.total)
        return response

    @routes.get("/api/client-config")
    async def client_config_route() -> Response:
        return json_response(_client_config(hub.config))

    return routes


def _client_config(config: Config) -> bytes:
    """What clients are told to do, as it is now: a reload may change it."""
    client = config.client
    return msgspec.json.encode(
        {
            "maxReconnectAttempts": client.max_reconnect_attempts,
            "pollingIntervalMs": client.polling_interval_ms,
            "messageRetryLimit": client.message_retry_limit,
            "heartbeatIntervalMs": round(config.websocket.heartbeat_interval_s * 1000),
            "maxMessageBytes": config.websocket.max_message_bytes,
        }
    )


async def _read_body() -> bytes:
    return cast(bytes, await request.get_data(cache=False, as_text=False))
