"""collabd as a plain ASGI app, for those who bring their own Hypercorn: `hypercorn -k trio collabd.asgi:app`.

Law of this file: the same store, hub and routes as the daemon, without the gateway: every WebSocket goes the slower
way through Quart. Configuration comes from $COLLABD_CONFIG and COLLABD_… variables. One worker only: the data
directory is locked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from collabd.admin_door import AdminDoor, load_admin_token
from collabd.config import load_config
from collabd.daemon import SWITCH_INTERVAL_S, open_hub
from collabd.routes.app import make_app

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class StandaloneApp:
    """The app opens its hub at ASGI's lifespan startup and drains it at shutdown."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One ASGI connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        named = os.environ.get("COLLABD_CONFIG")
        config = load_config(Path(named) if named else None, os.environ)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        await receive()
        async with open_hub(config) as hub:
            door = AdminDoor(config, hub.authenticator, load_admin_token(config))
            self._app = make_app(hub, door)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await hub.drain(config.server.drain_timeout_s * 0.8)
        await send({"type": "lifespan.shutdown.complete"})


app = StandaloneApp()
