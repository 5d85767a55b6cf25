"""What the hub asks of a transport that carries frames to one client. Law of this file: a contract, no code.

The gateway's plain sockets, TLS streams and the Quart WebSocket route all stand behind it, so that the session code
is the same for each (architecture, decision 2).
"""

from __future__ import annotations

from typing import Protocol


class Link(Protocol):
    """One open WebSocket, seen from the hub."""

    remote_address: str
    hears_pongs: bool
    """Whether the server's WebSocket pings go out here and their pongs are seen; ASGI has neither."""

    def send(self, data: bytes | memoryview, /) -> int:
        """Hand over bytes of WebSocket frames without waiting, and answer how many were taken.

        Raises BlockingIOError when none can be taken now, and OSError when the peer is gone.
        """

    async def wait_writable(self) -> None:
        """Wait until send may take bytes again. Raises OSError or trio.ClosedResourceError when the peer is gone."""

    def end(self) -> None:
        """Wake the task that serves this link: its connection was closed by the hub (Connection.close_code)."""
