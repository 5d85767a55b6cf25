"""The interface described for machines. Law of this file: made once, served from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from quart import Blueprint, Response

from collabd.routes.answers import json_response
from collabd.routes.asyncapi import asyncapi_document
from collabd.routes.openapi import openapi_document

if TYPE_CHECKING:
    from collabd.hub.hub import Hub


def description_routes(hub: Hub) -> Blueprint:
    """OpenAPI for HTTP, AsyncAPI for the WebSocket."""
    routes = Blueprint("description", __name__)
    public_url = hub.config.server.public_url
    openapi = msgspec.json.encode(openapi_document(public_url))
    asyncapi = msgspec.json.encode(asyncapi_document(public_url))

    @routes.get("/api/openapi.json")
    async def openapi_route() -> Response:
        return json_response(openapi)

    @routes.get("/api/asyncapi.json")
    async def asyncapi_route() -> Response:
        return json_response(asyncapi)

    return routes
