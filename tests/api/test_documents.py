"""The descriptions of the interface are valid, whole and true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio
from openapi_spec_validator import validate

from collabd.admin_door import AdminDoor
from collabd.config import Config
from collabd.hub.hub import Hub
from collabd.protocol.names import RESERVED_EVENT_TYPES
from collabd.routes.app import make_app
from collabd.routes.asyncapi import asyncapi_document
from collabd.routes.openapi import OPERATIONS, openapi_document
from collabd.store.memory import MemoryStore

ROOT = Path(__file__).parents[2]
ASYNCAPI_SCHEMA = ROOT / "web" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
NAMES = {"run_id": "runId", "session_id": "sessionId", "name": "path"}
URLS = ["", "https://example.com/collab", "http://collab.example:8080"]


def references(value: Any) -> set[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def resolve(document: Any, reference: str) -> Any:
    """What a reference points to. Raises KeyError."""
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


@pytest.mark.parametrize("url", URLS)
def test_the_openapi_document_is_valid(url: str) -> None:
    """OpenAPI 3.1, with no dangling reference."""
    document = json.loads(json.dumps(openapi_document(url)))
    validate(document)
    for reference in references(document):
        resolve(document, reference)


@pytest.mark.parametrize("url", URLS)
def test_the_asyncapi_document_is_valid(url: str) -> None:
    """AsyncAPI 3.0, by its own JSON schema, with no dangling reference."""
    document = json.loads(json.dumps(asyncapi_document(url)))
    jsonschema.Draft7Validator(json.loads(ASYNCAPI_SCHEMA.read_text())).validate(document)
    for reference in references(document):
        resolve(document, reference)


async def _rules() -> set[tuple[str, str]]:
    config = Config()
    hub = Hub(config, MemoryStore())
    app = make_app(hub, AdminDoor(config, hub.authenticator, "a token of enough characters"))
    return {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", lambda match: f"{{{NAMES[match[1]]}}}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS") and not rule.websocket
    }


def test_every_route_is_described_and_no_other() -> None:
    """With its method; parameters have the names of the docs."""
    assert {(each.method, each.path) for each in OPERATIONS} == trio.run(_rules)


def test_every_message_on_the_socket_is_described() -> None:
    """Those that are the server's own, and the event envelope both ways."""
    named = set(asyncapi_document("")["components"]["messages"])
    envelopes = {"USER_JOIN", "USER_LEAVE"}  # presence comes as an event
    assert named == (RESERVED_EVENT_TYPES - envelopes) | {"event", "applicationEvent"}
