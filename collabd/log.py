"""Log lines on standard error, for people or for collectors.

Law of this file: nothing that a client sent can forge a line, and nothing that would let somebody in is written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final, Literal

# Nothing is meant to write tokens or queries; these keep out what an exception of some library might quote.
_BEARER: Final = re.compile(r"\b(bearer)([ .])[^\s\"',;]+", re.IGNORECASE)
_TOKEN: Final = re.compile(r"\beyJ[\w-]{4,}\.[\w-]*\.[\w-]*")
_QUERY: Final = re.compile(r"\?[^\s\"'<>?]*=[^\s\"'<>]*")


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING collabd.hub: …`, with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line; a traceback follows on lines of its own."""
        line = f"{_time(record)} {record.levelname} {record.name}: {_escape(redacted(record.getMessage()))}"
        if record.exc_info:
            # Indented, so that a line of it never looks like one of the log's own.
            for part in redacted(self.formatException(record.exc_info)).split("\n"):
                line += "\n    " + _escape(part)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: json.dumps escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line."""
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = redacted(self.formatException(record.exc_info))
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


def _escape(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def redacted(text: str) -> str:
    """The text without tokens and without what follows the question mark of an address."""
    text = _BEARER.sub(r"\1\2…", text)
    text = _TOKEN.sub("…", text)
    return _QUERY.sub("?…", text)
