"""The AsyncAPI 3 document: the WebSocket, and every message on it. Law of this file: docs/protocol.md, "WebSocket"."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from collabd import __version__
from collabd.protocol.messages import Auth, ClientHealth, Envelope, Ping
from collabd.protocol.names import MAX_SEQUENCE_NUMBER, MAX_USER_ID_LENGTH, PROTOCOL_VERSION
from collabd.routes import shapes
from collabd.routes.openapi import UUID_PATTERN, Json, describable, integer, narrow_envelope

_FROM_SERVER: Final = {
    "WELCOME": (shapes.Welcome, "First, always."),
    "ACK": (shapes.Ack, "An application message with a clientMessageId was taken."),
    "ERROR": (shapes.Error, "A message was refused; the connection stays open."),
    "PONG": (shapes.Pong, "Answers PING."),
    "AUTH_OK": (shapes.AuthOk, "Answers AUTH."),
    "DRAIN": (shapes.Drain, "The server is about to restart."),
}
_FROM_CLIENT: Final = {
    "PING": (Ping, "Asks for a PONG."),
    "CLIENT_HEALTH": (ClientHealth, "What only the client can know."),
    "AUTH": (Auth, "A new token."),
}


def asyncapi_document(public_url: str) -> Json:
    """The document; `public_url` is where the server is reached, "" where that is not known."""
    types = [each for each, _ in [*_FROM_SERVER.values(), *_FROM_CLIENT.values()]]
    described = [*map(describable, types), describable(Envelope), shapes.Event]
    _, schemas = msgspec.json.schema_components(described, ref_template="#/components/schemas/{name}")
    narrow_envelope(schemas["Envelope"])
    from_server = {name: _message(name, *words) for name, words in _FROM_SERVER.items()}
    from_client = {name: _message(name, *words) for name, words in _FROM_CLIENT.items()}
    from_server["event"] = {"summary": "An event, replayed or live.", "payload": _ref("Event")}
    from_client["applicationEvent"] = {"summary": "An event of the application.", "payload": _ref("Envelope")}
    messages = from_server | from_client
    document: Json = {
        "asyncapi": "3.0.0",
        "info": {"title": "collabd", "version": __version__, "license": {"name": "MIT"}},
        "defaultContentType": "application/json",
        "channels": {"run": _channel(messages)},
        "operations": {
            "receive": _operation("send", from_server, "What the server sends"),
            "send": _operation("receive", from_client, "What a client sends"),
        },
        "components": {"messages": messages, "schemas": schemas},
    }
    if public_url:
        parts = urlsplit(public_url)
        server = {"host": parts.netloc, "protocol": "wss" if parts.scheme == "https" else "ws"}
        document["servers"] = {"public": server | ({"pathname": parts.path} if parts.path else {})}
    return document


def _channel(messages: Json) -> Json:
    query = {
        "userId": {"type": "string", "minLength": 1, "maxLength": MAX_USER_ID_LENGTH},
        "sessionId": {"type": "string"},
        "afterSequence": integer(0, MAX_SEQUENCE_NUMBER),
        "epoch": {"type": "string", "minLength": 1, "maxLength": 128},
        "reconnectAttempt": integer(0, 1_000_000, 0),
    }
    return {
        "address": "/ws/runs/{runId}/collaboration",
        "description": f"One run. Clients offer the subprotocol {PROTOCOL_VERSION}.",
        "parameters": {"runId": {"description": f"A UUID: {UUID_PATTERN}"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": query}}},
    }


def _operation(action: str, messages: Json, summary: str) -> Json:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/run"},
        "messages": [{"$ref": f"#/channels/run/messages/{name}"} for name in messages],
    }


def _message(name: str, data: Any, summary: str) -> Json:
    payload = {
        "type": "object",
        "properties": {"eventType": {"const": name}, "data": _ref(data.__name__)},
        "required": ["eventType"],
    }
    return {"name": name, "summary": summary, "payload": payload}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
