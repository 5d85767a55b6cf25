"""Is this JSON text safe to store and to pass on, byte for byte, to parsers that we know nothing about?

Law of this file: it never changes a byte. What one client may send must never make another client's parser fail
(docs/protocol.md, "The event envelope"), so it is stricter than RFC 8259 where parsers differ.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 32
"""How deeply arrays and objects may nest."""

_decode_any = msgspec.json.Decoder().decode
_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_LONG_NUMBER: Final = re.compile(rb"[0-9]{309}")
_SHORTEST_OVERFLOW: Final = 309
"""Digits of the shortest integer above every IEEE double (about 1.8e308)."""


def check_json_text(text: bytes) -> None:
    """Accept one JSON value that every reasonable parser reads the same way.

    Refuses invalid UTF-8, bad grammar, nesting above MAX_DEPTH, unpaired surrogate escapes, NUL escapes, numbers
    beyond IEEE double, NaN and Infinity. Raises ValueError with a sentence for the sender.
    """
    # Each level takes two bytes, so a short text cannot nest too deeply: the common message skips the count.
    if len(text) > 2 * MAX_DEPTH and _depth_exceeds(text, MAX_DEPTH):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    value = _parse(text)
    if b"\\u0000" in text and _NUL_ESCAPE.search(text):
        raise ValueError("a NUL escape (\\u0000) is not allowed")
    if len(text) >= _SHORTEST_OVERFLOW and _LONG_NUMBER.search(text) and _has_huge_integer(value):
        raise ValueError("a number is beyond the range of IEEE double")


def _parse(text: bytes) -> Any:
    # msgspec refuses here what msgspec.Raw lets pass: invalid UTF-8, lone surrogates and floats beyond double.
    try:
        return _decode_any(text)
    except UnicodeDecodeError as error:
        raise ValueError("not valid UTF-8") from error
    except RecursionError as error:  # only when called from a very deep stack
        raise ValueError("nested too deeply") from error
    except msgspec.MsgspecError as error:
        if _SURROGATE_ESCAPE.search(text):
            raise ValueError("an unpaired surrogate escape, or otherwise malformed JSON") from error
        raise ValueError(str(error).removesuffix(" - at `$[...]`")) from error


def _depth_exceeds(text: bytes, limit: int) -> bool:
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    depth = 0
    for byte in _STRINGS.sub(b"", text):
        if byte in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif byte in b"]}":
            depth -= 1
    return False


def _has_huge_integer(value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, int):
            try:
                float(item)
            except OverflowError:
                return True
    return False
