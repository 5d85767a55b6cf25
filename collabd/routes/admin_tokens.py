"""Revoking tokens. Law of this file: docs/protocol.md, "Admin"; what it does is in collabd.hub.credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec
from quart import Blueprint, Response, request

from collabd.auth import Revocation
from collabd.errors import ProtocolError
from collabd.hub.reports import rfc3339
from collabd.protocol.names import parse_user_id
from collabd.routes.admin import guard
from collabd.routes.answers import json_response

if TYPE_CHECKING:
    from collabd.admin_door import AdminDoor
    from collabd.hub.hub import Hub

MAX_TOKEN_ID_LENGTH: Final = 255


class RevokeBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which tokens: a user's (`sub`), or one by its id (`jti`)."""

    sub: str | None = None
    jti: str | None = None


def admin_token_routes(hub: Hub, door: AdminDoor) -> Blueprint:
    """The routes below /api/admin/tokens."""
    routes = Blueprint("admin_tokens", __name__, url_prefix="/api/admin/tokens")
    guard(routes, hub, door)

    @routes.post("/revoke")
    async def revoke() -> Response:
        body = cast(bytes, await request.get_data(cache=False, as_text=False))
        revocation = _parse(body, hub.now_ms())
        await hub.credentials.revoke(revocation)
        return json_response(
            msgspec.json.encode({revocation.kind: revocation.name, "revokedAt": rfc3339(revocation.at)})
        )

    return routes


def _parse(body: bytes, now_ms: int) -> Revocation:
    try:
        asked = msgspec.json.decode(body, type=RevokeBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError("invalid_json", 'the body must be {"sub": "…"} or {"jti": "…"}') from error
    if (asked.sub is None) == (asked.jti is None):
        raise ProtocolError("invalid_parameter", "give either sub, a user id, or jti, a token id")
    if asked.sub is not None:
        return Revocation("sub", parse_user_id(asked.sub), now_ms)
    if not 1 <= len(asked.jti or "") <= MAX_TOKEN_ID_LENGTH:
        raise ProtocolError("invalid_parameter", f"jti must have 1 to {MAX_TOKEN_ID_LENGTH} characters")
    return Revocation("jti", cast(str, asked.jti), now_ms)
