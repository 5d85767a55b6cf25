"""The head of a connection's first request: is it ours? Law of this file: pure, bytes in, a decision out."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

END_OF_HEAD: Final = b"\r\n\r\n"
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")


class Kind(Enum):
    """What a connection begins with."""

    WEBSOCKET = "websocket"
    HTTP = "http"
    INCOMPLETE = "incomplete"
    TOO_LARGE = "too large"
    HTTP2_PREFACE = "http2"


def tell_kind(received: bytes | bytearray, max_bytes: int) -> tuple[Kind, int]:
    """What these first bytes are, and where the head ends (0 where it has not ended)."""
    if received.startswith(b"PRI * HTTP/2"):
        return Kind.HTTP2_PREFACE, 0
    end = received.find(END_OF_HEAD)
    if _BARE_LINE_FEED.search(received, 0, end if end >= 0 else len(received)):
        return Kind.HTTP, 0  # where it is refused with a word, and does not wait for an end that may never come
    if end < 0:
        return (Kind.TOO_LARGE if len(received) > max_bytes else Kind.INCOMPLETE), 0
    end += len(END_OF_HEAD)
    if end > max_bytes:
        return Kind.TOO_LARGE, 0
    return (Kind.WEBSOCKET if _UPGRADE.search(received, 0, end) else Kind.HTTP), end
