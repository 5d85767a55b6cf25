"""A hub without a network under the real routes, asked as an operator would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio

from collabd.admin_door import AdminDoor
from collabd.hub.hub import Hub
from collabd.routes.app import make_app
from tests.hub.support import running_hub

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Values by name and sorted labels."""

TOKEN = "an admin token for tests"


class Operator:
    """Asks a hub's admin routes, with the admin token."""

    def __init__(self, hub: Hub, app: QuartTrio) -> None:
        self.hub = hub
        self._client = app.test_client()

    async def ask(
        self, path: str, method: str = "GET", token: str | None = TOKEN, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """One request: status, body and headers (lower case)."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        send = {"GET": self._client.get, "POST": self._client.post, "DELETE": self._client.delete}[method]
        answer = await send(path, headers=headers)
        body = await answer.get_data(as_text=False)
        return answer.status_code, body, {name.lower(): value for name, value in answer.headers.items()}

    async def json(self, path: str, method: str = "GET") -> Any:
        """The JSON of a route below /api/admin/websocket that answers 200."""
        status, body, _ = await self.ask(f"/api/admin/websocket{path}", method)
        assert status == 200, body
        return msgspec.json.decode(body)

    async def refusal(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and error code of a route that refuses."""
        status, body, _ = await self.ask(f"/api/admin/websocket{path}", method)
        return status, msgspec.json.decode(body)["code"]

    async def scrape(self) -> Series:
        """Every series by name and labels."""
        _, body, _ = await self.ask("/actuator/prometheus")
        return series_of(body.decode())


def series_of(text: str) -> Series:
    """Every series of an exposition by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@asynccontextmanager
async def operated_hub(registry: CollectorRegistry | None = None, **tables: dict[str, Any]) -> AsyncIterator[Operator]:
    """A hub on virtual time with the routes over it."""
    async with running_hub(None, **tables) as hub:
        door = AdminDoor(hub.config, hub.authenticator, TOKEN)
        yield Operator(hub, make_app(hub, door, registry))
