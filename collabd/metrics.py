"""What collabd counts, as plain integers that cost the hot path one addition per tick and no lock.

Law of this file: a leaf; nothing in it knows who counts. The Prometheus exposition reads it at scrape time.
Labels come from fixed sets only (architecture, decision 9): no runId, userId or other text that a client chooses.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

OTHER: Final = "other"


class Counters:
    """Totals since the process began."""

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()
        """Sessions begun, by transport (websocket, polling)."""
        self.disconnections: Counter[str] = Counter()
        """Connections ended, by close code class."""
        self.reconnections = 0
        self.fallbacks = 0
        self.messages_in: Counter[str] = Counter()
        """Client messages accepted, by event type if it is a configured one, else other."""
        self.messages_out = 0
        self.message_failures = 0
        self.refused: Counter[str] = Counter()
        """Client messages refused, by error code."""
        self.commits = 0
        self.committed_events = 0
        self.commit_seconds = 0.0
