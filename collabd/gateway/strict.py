"""What a request's head must not be, on every way that HTTP/1 comes in. Law of this file: pure.

Where a proxy and a server read one request differently, a second one can be smuggled past the proxy. What RFC 9112
calls an error, or leaves to the reader's mercy, is refused here before any parser looks at it (sections 2.2, 3.2, 5.1,
5.2, 6.1, 6.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from collabd.errors import ProtocolError
from collabd.gateway.head import END_OF_HEAD

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_IN_NO_LINE: Final = re.compile(rb"[\r\n\0]")
_WORDS_OF_A_REQUEST_LINE: Final = 3
_TARGET: Final = re.compile(rb"/.*|\*|https?://[^/?#]+(?:[/?].*)?", re.IGNORECASE | re.DOTALL)
"""A path, an asterisk, or a whole address. CONNECT, which asks a proxy with an authority alone, is not for a server."""


Fields = Mapping[bytes, Sequence[bytes]]
"""Header fields: names in lower case, each with its values in the order in which they came."""


def check_head(received: bytes, max_bytes: int) -> tuple[bytes, Fields] | None:
    """Look at the first head in these bytes, which may be its beginning only. Raises ProtocolError.

    Answers the request line and the fields, or None where the head has not ended.
    """
    end = received.find(END_OF_HEAD)
    head = received if end < 0 else received[:end]
    if len(head) + len(END_OF_HEAD) > max_bytes and (end >= 0 or len(received) > max_bytes):
        raise ProtocolError("message_too_big", "the request's head is too large")
    lines = head.split(b"\r\n")
    if end < 0:
        last = lines[-1]  # its CR LF may be on its way
        lines[-1] = last.removesuffix(b"\r")
    if any(map(_IN_NO_LINE.search, lines)):
        raise _bad("lines end with CR LF, and no line has CR, LF or NUL in it")
    if end < 0:
        return None
    fields = _fields(lines[1:])
    _check_fields(lines[0], fields)
    return lines[0], fields


def check_target(target: bytes) -> None:
    """Raise ProtocolError for what is no form of a request target (RFC 9112, section 3.2; RFC 9113, 8.3.1)."""
    if not _TARGET.fullmatch(target):
        raise _bad("what is asked for must begin with a slash")


def _fields(lines: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        if line.startswith((b" ", b"\t")):
            raise _bad("a header's value must stand on one line")
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise _bad("a header's name must be followed by a colon at once")
        fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
    return fields


def _check_fields(request_line: bytes, fields: Fields) -> None:
    words = request_line.split(b" ")
    if len(words) == _WORDS_OF_A_REQUEST_LINE:  # what has more or fewer is refused by whoever reads it
        check_target(words[1])
    is_current = request_line.endswith(b" HTTP/1.1")
    hosts = fields.get(b"host", ())
    if len(hosts) > 1 or b"" in hosts or (is_current and not hosts):
        raise _bad("a request must have one Host, which is not empty")
    lengths, codings = fields.get(b"content-length", ()), fields.get(b"transfer-encoding", ())
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise _bad("Content-Length must stand once, in digits")
    if codings and (lengths or not is_current):
        raise _bad("Transfer-Encoding excludes Content-Length, and is no part of HTTP/1.0")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise _bad("the only Transfer-Encoding is chunked")


def _bad(message: str) -> ProtocolError:
    return ProtocolError("invalid_parameter", message)
