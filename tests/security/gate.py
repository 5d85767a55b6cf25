"""A hub in token mode on virtual time, under the real routes. Law of this file: no test stands here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

import trio
from quart_trio import QuartTrio

from collabd.admin_door import AdminDoor
from collabd.daemon import load_revocations
from collabd.hub.admission import make_caller
from collabd.hub.hub import Hub
from collabd.hub.joining import admit, counted_address, join
from collabd.routes.app import make_app
from collabd.store.memory import MemoryStore
from collabd.tokens import TokenDoor, load_keys
from tests.hub.support import FakeClient, FakeLink, make_config
from tests.security.signing import NOW_S, RUN, SECRET, claims, sign

ADMIN_TOKEN = "an admin token for tests"


class Answer(NamedTuple):
    """What came back: status, JSON, headers in lower case."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The error code."""
        return str(self.body["code"])


class Gate:
    """One server in token mode; the time of its tokens passes with the virtual clock."""

    def __init__(self, hub: Hub, app: QuartTrio) -> None:
        self.hub = hub
        self._client = app.test_client()
        self._open: list[ExitStack] = []

    def token(self, *, lasts: float = 600, **changed: Any) -> str:
        """A good token, or one with other claims; `lasts` so many seconds from now."""
        now = self.hub.now_ms() / 1000
        return sign(claims(**{"exp": now + lasts, "iat": now} | changed), key=SECRET)

    async def join(
        self,
        token: str | None,
        *,
        user: str | None = None,
        run: str = RUN,
        headers: Mapping[str, str | None] | None = None,
        peer: str = "127.0.0.1",
        **query: str,
    ) -> FakeClient:
        """Join over WebSocket; None leaves a header out. Raises ProtocolError: what an upgrade would be answered."""
        bearer = None if token is None else f"Bearer {token}"
        lines = {"host": "localhost", "authorization": bearer, **(headers or {})}
        given = [(name, value) for name, value in lines.items() if value is not None]
        caller = make_caller(self.hub.proxies, "GET", given, "http", peer, upgrade=True)
        asked = urlencode(query if user is None else {"userId": user} | query).encode()
        with ExitStack() as stack:
            stack.enter_context(counted_address(self.hub, caller.address))
            admitted = await admit(self.hub, caller, f"/ws/runs/{run}/collaboration", asked)
            link = FakeLink()
            client = FakeClient(self.hub, join(self.hub, admitted, link, b""), link)
            self._open.append(stack.pop_all())
        return client

    async def ask(
        self,
        path: str,
        token: str | None = None,
        *,
        method: str = "GET",
        body: Any = None,
        peer: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        """One HTTP request."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body)
        send: Any = self._client.open
        answer = await send(path, method=method, headers=headers, data=data, scope_base={"client": (peer, 5)})
        content = await answer.get_data(as_text=False)
        is_json = "json" in answer.headers.get("content-type", "")
        received = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, json.loads(content) if is_json else content, received)

    def leave_all(self) -> None:
        """Every connection that was made here is gone."""
        for connection in self._open:
            connection.close()
        self._open.clear()

    async def revoke(self, **body: Any) -> Answer:
        """Revoke as an operator."""
        return await self.ask("/api/admin/tokens/revoke", ADMIN_TOKEN, method="POST", body=body)


@asynccontextmanager
async def token_mode(store: MemoryStore | None = None, **tables: dict[str, Any]) -> AsyncIterator[Gate]:
    """Run such a server for the length of the block."""
    tables.setdefault("auth", {}).update(mode="jwt", key_env="KEY")
    tables.setdefault("websocket", {}).setdefault("heartbeat_interval_s", 3600)  # these clients answer no pings
    config = make_config(**tables)
    start = trio.current_time()

    def now_ms() -> int:
        return NOW_S * 1000 + round((trio.current_time() - start) * 1000)

    door = TokenDoor(config.auth, load_keys(config.auth, {"KEY": SECRET}), now_ms=now_ms)
    hub = Hub(config, store or MemoryStore(), authenticator=door, now_ms=now_ms, random=Random(1))
    async with hub.running():
        await load_revocations(hub)
        yield Gate(hub, make_app(hub, AdminDoor(config, door, ADMIN_TOKEN)))
