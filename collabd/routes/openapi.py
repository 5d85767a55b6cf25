"""The OpenAPI 3.1 document: every HTTP route, its parameters, statuses and shapes.

Law of this file: one table of operations; the rest follows from it and from the types that check and describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from collabd import __version__
from collabd.protocol.messages import Envelope
from collabd.protocol.names import MAX_SEQUENCE_NUMBER, MAX_USER_ID_LENGTH
from collabd.protocol.requests import MAX_LIMIT, MAX_WAIT_MS
from collabd.routes import shapes
from collabd.routes.admin_tokens import MAX_TOKEN_ID_LENGTH, RevokeBody

Json = dict[str, Any]

UUID_PATTERN: Final = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
EVENT_TYPE_PATTERN: Final = "^[A-Z][A-Z0-9_]{0,49}$"
MESSAGE_ID_PATTERN: Final = "^[A-Za-z0-9._:-]{1,64}$"
_LONGEST_MS: Final = 10**15


def integer(low: int, high: int, default: int | None = None) -> Json:
    """The schema of a whole number in a query."""
    return {"type": "integer", "minimum": low, "maximum": high} | ({} if default is None else {"default": default})


_USER: Final[Json] = {"type": "string", "minLength": 1, "maxLength": MAX_USER_ID_LENGTH}
_SESSION: Final[Json] = {"type": "string"}
_EPOCH: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 128}
_FLAG: Final[Json] = {"enum": ["true", "false"], "default": "false"}
_RUN: Final[Json] = {"type": "string", "pattern": UUID_PATTERN}
_NUMBER: Final = integer(0, MAX_SEQUENCE_NUMBER)


class Operation(NamedTuple):
    """One method of one path. `query` are its parameters by name, none of which has to be given.

    `answer` is the type of a 200's JSON, or a media type where it is none.
    """

    method: str
    path: str
    summary: str
    answer: Any
    query: Mapping[str, Json] = MappingProxyType({})
    body: Any = None
    secured: str = ""
    statuses: tuple[int, ...] = ()


_ADMIN: Final = "/api/admin/websocket"
_COLLABORATION: Final = "/api/runs/{runId}/collaboration"
_FIGURES: Final = ("text/plain", "application/openmetrics-text")
_PAGE: Final = ("text/html",)
_FILE: Final = ("text/javascript", "text/css", "image/svg+xml", "application/octet-stream")

OPERATIONS: Final = (
    Operation(
        "get",
        f"{_COLLABORATION}/poll",
        "Events after a position",
        shapes.Poll,
        {
            "userId": _USER,
            "sessionId": _SESSION,
            "epoch": _EPOCH,
            "afterSequence": _NUMBER | {"default": 0},
            "limit": integer(1, MAX_LIMIT, MAX_LIMIT),
            "wait": integer(0, MAX_WAIT_MS, 0),
        },
        secured="token",
        statuses=(401, 503),
    ),
    Operation(
        "get",
        f"{_COLLABORATION}/replay",
        "Events from a number on",
        shapes.Replay,
        {
            "fromSequence": _NUMBER | {"default": 1},
            "limit": integer(1, MAX_LIMIT, 100),
            "criticalOnly": _FLAG,
            "eventType": {"type": "string", "pattern": EVENT_TYPE_PATTERN},
        },
        secured="token",
        statuses=(401, 503),
    ),
    Operation(
        "post",
        f"{_COLLABORATION}/events",
        "Publish one message or a batch",
        shapes.Acks,
        {"userId": _USER, "sessionId": _SESSION},
        body="Publish",
        secured="token",
        statuses=(401, 408, 409, 413, 503),
    ),
    Operation(
        "get",
        "/api/runs",
        "Runs, the newest first",
        list[shapes.RunRow],
        {"limit": integer(1, MAX_LIMIT, 100)},
        secured="token",
        statuses=(401, 503),
    ),
    Operation("get", "/api/client-config", "What clients are told to do", shapes.ClientConfig),
    Operation("get", "/api/openapi.json", "This document", dict[str, Any]),
    Operation("get", "/api/asyncapi.json", "The same for the WebSocket", dict[str, Any]),
    Operation("get", f"{_ADMIN}/connections", "Sessions by run", shapes.Connections, secured="admin"),
    Operation(
        "get",
        f"{_ADMIN}/connections/{{runId}}",
        "Sessions of a run",
        shapes.RunConnections,
        secured="admin",
    ),
    Operation(
        "delete",
        f"{_ADMIN}/connections/{{runId}}/{{sessionId}}",
        "End a session with 4403",
        shapes.Ended,
        {"reason": {"type": "string", "minLength": 1, "maxLength": 120}},
        secured="admin",
    ),
    Operation(
        "get", f"{_ADMIN}/metrics", "Figures of sessions", list[shapes.SessionFigures], {"live": _FLAG}, secured="admin"
    ),
    Operation(
        "get",
        f"{_ADMIN}/metrics/{{sessionId}}",
        "Figures of one",
        shapes.SessionFigures,
        secured="admin",
    ),
    Operation(
        "get", f"{_ADMIN}/sessions/{{sessionId}}/timeline", "What happened to it", shapes.Timeline, secured="admin"
    ),
    Operation("get", f"{_ADMIN}/health", "The health of all sessions", shapes.Health, secured="admin"),
    Operation("get", f"{_ADMIN}/storage", "What the log takes on its disk", shapes.Storage, secured="admin"),
    Operation("get", f"{_ADMIN}/history", "The last half hour", shapes.History, secured="admin"),
    Operation(
        "get",
        f"{_ADMIN}/diagnosis",
        "What is wrong, why, and what to try",
        shapes.Diagnosis,
        {"windowMs": integer(0, _LONGEST_MS, 300_000)},
        secured="admin",
    ),
    Operation(
        "post",
        f"{_ADMIN}/cleanup-stale",
        "Forget figures of sessions that are gone",
        shapes.Removed,
        {"maxAgeMs": integer(0, _LONGEST_MS, 3_600_000)},
        secured="admin",
    ),
    Operation(
        "post",
        "/api/admin/tokens/revoke",
        "Revoke tokens",
        shapes.Revoked,
        body=RevokeBody,
        secured="admin",
        statuses=(408, 413, 503),
    ),
    Operation(
        "get",
        "/actuator/prometheus",
        "Figures for Prometheus",
        ("text/plain", "application/openmetrics-text"),
        secured="admin",
    ),
    Operation("get", "/metrics", "The same", _FIGURES, secured="admin"),
    Operation("get", "/actuator/health", "Whether it can be used", shapes.Status, statuses=(503,)),
    Operation("get", "/actuator/health/readiness", "The same", shapes.Status, statuses=(503,)),
    Operation("get", "/actuator/health/liveness", "Whether it is alive", shapes.Status),
    Operation("get", "/", "The page of all runs", _PAGE),
    Operation("get", "/runs/{runId}", "The page of a run", _PAGE),
    Operation("get", "/admin", "The operators' page", _PAGE),
    Operation("get", "/{path}", "A file of the pages, below assets/ or not", _FILE),
)


def openapi_document(public_url: str) -> Json:
    """The document; `public_url` is where the server is reached, "" where that is not known."""
    types = [each.answer for each in OPERATIONS if not isinstance(each.answer, tuple)]
    schemas, components = msgspec.json.schema_components(
        [*types, describable(Envelope), RevokeBody, shapes.Problem, shapes.Ack, shapes.Error],
        ref_template="#/components/schemas/{name}",
    )
    by_type = dict(zip(map(repr, types), schemas, strict=False))
    components["Acks"]["properties"]["acks"]["items"] = {"anyOf": [_ref("Error"), _ref("Ack")]}
    narrow_envelope(components["Envelope"])
    components["RevokeBody"] = _one_of_two(components["RevokeBody"])
    components["Publish"] = {
        "anyOf": [
            _ref("Envelope"),
            {
                "type": "object",
                "properties": {"events": {"type": "array", "maxItems": 100, "items": _ref("Envelope")}},
                "required": ["events"],
                "additionalProperties": False,
            },
        ]
    }
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "collabd", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": public_url or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "admin": {"type": "http", "scheme": "bearer", "description": "The admin token, or one of role admin."},
            },
        },
    }


def describable(checked: Any) -> type[msgspec.Struct]:
    """The type as msgspec can describe it: it knows no schema for a default of raw JSON."""
    fields = [
        (each.name, Any, msgspec.field(default=None, name=each.encode_name))
        if isinstance(each.default, msgspec.Raw)
        else (each.name, each.type, msgspec.field(default=each.default, name=each.encode_name))
        for each in msgspec.structs.fields(checked)
    ]
    config = checked.__struct_config__
    return msgspec.defstruct(
        checked.__name__,
        fields,
        namespace={"__doc__": checked.__doc__},
        forbid_unknown_fields=config.forbid_unknown_fields,
    )


def narrow_envelope(schema: Json) -> None:
    """Say in a client message's schema what is checked behind its type: the patterns of its names."""
    schema["properties"]["eventType"]["pattern"] = EVENT_TYPE_PATTERN
    schema["properties"]["clientMessageId"] = {
        "anyOf": [{"type": "string", "pattern": MESSAGE_ID_PATTERN}, {"type": "null"}],
        "default": None,
    }


def _one_of_two(schema: Json) -> Json:
    lengths = {"sub": MAX_USER_ID_LENGTH, "jti": MAX_TOKEN_ID_LENGTH}
    return {
        "description": schema["description"],
        "oneOf": [
            {
                "type": "object",
                "properties": {name: {"type": "string", "minLength": 1, "maxLength": most}},
                "required": [name],
                "additionalProperties": False,
            }
            for name, most in lengths.items()
        ],
    }


def _operation(operation: Operation, by_type: Json) -> Json:
    described: Json = {"summary": operation.summary, "responses": _responses(operation, by_type)}
    parameters = [_path_parameter(name) for name in ("runId", "sessionId", "path") if f"{{{name}}}" in operation.path]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        name = operation.body if isinstance(operation.body, str) else operation.body.__name__
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(name)}}}
    if operation.secured:
        described["security"] = [{operation.secured: []}, {}]
    return described


def _path_parameter(name: str) -> Json:
    schema = _RUN if name == "runId" else {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _responses(operation: Operation, by_type: Json) -> Json:
    if isinstance(operation.answer, tuple):
        content: Json = {media_type: {} for media_type in operation.answer}
    else:
        content = {"application/json": {"schema": by_type[repr(operation.answer)]}}
    responses: Json = {"200": {"description": "Done", "content": content}}
    if operation.answer is _FILE:
        responses["304"] = {"description": "Unchanged"}
    if operation.answer is _PAGE:
        responses["304"] = {"description": "Unchanged"}
        responses["404"] = {"description": "No such page", "content": content}
    common = {400, 403, 404, 405, 413, 429, 500, *operation.statuses}
    if operation.secured == "admin":
        common.add(401)
    problem: Json = {"application/problem+json": {"schema": _ref("Problem")}}
    for status in sorted(common):
        answer: Json = {"description": HTTPStatus(status).phrase, "content": problem}
        if operation.answer is shapes.Status and status == 503:
            answer["content"] = content
        responses.setdefault(str(status), answer)
    return responses


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
