"""How the connection is doing, as one value.

Law of this file: docs/client-behaviour.md R81 and R82. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Transport = Literal["websocket", "polling", "none"]
ConnectionState = Literal["connecting", "live", "waiting", "polling", "closed"]


@dataclass(frozen=True, slots=True)
class Health:
    """A snapshot: `latency` in milliseconds, None before the first was measured; rates from 0 to 1."""

    state: ConnectionState
    transport: Transport
    latency: float | None
    reconnection_count: int
    message_delivery_rate: float
    queued_messages: int
    storage: Literal["durable", "memory"]

    @property
    def using_fallback(self) -> bool:
        """HTTP polling stands in for the WebSocket."""
        return self.transport == "polling"

    @property
    def is_healthy(self) -> bool:
        """Connected by WebSocket, quick, and nearly all messages committed."""
        quick = self.latency is None or self.latency <= 1000
        return self.transport == "websocket" and quick and self.message_delivery_rate >= 0.95

    def report(self) -> dict[str, Any]:
        """The data of CLIENT_HEALTH."""
        report: dict[str, Any] = {
            "queuedMessages": self.queued_messages,
            "reconnectionCount": self.reconnection_count,
            "usingFallback": self.using_fallback,
            "transport": self.transport,
        }
        if self.latency is not None:
            report["latencyMs"] = round(self.latency)
        return report


def delivery_rate(committed: int, rejected: int) -> float:
    """Committed messages among the final ones; 1 with none."""
    final = committed + rejected
    return committed / final if final else 1.0
