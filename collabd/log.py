"""Log lines on standard error, for people or for collectors.

Law of this file: nothing that a client sent can forge a line.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING collabd.hub: …`, with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line; a traceback follows on lines of its own."""
        line = f"{_time(record)} {record.levelname} {record.name}: {_escape(record.getMessage())}"
        if record.exc_info:
            line += "\n" + _escape(self.formatException(record.exc_info), keep="\n")
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line; json.dumps escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line."""
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up_logging(level: str, style: Literal["text", "json"]) -> None:
    """Send collabd's log to standard error, and only warnings of the libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("collabd").setLevel(level.upper())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(text: str, keep: str = "") -> str:
    return "".join(
        character if character.isprintable() or character in keep else repr(character)[1:-1] for character in text
    )
