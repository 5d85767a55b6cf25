"""Is this JSON text safe to store and to pass on, byte for byte, to parsers that we know nothing about?

Law of this file: it never changes a byte. What one client may send must never make another client's parser fail
(docs/protocol.md, "The event envelope"), so it is stricter than RFC 8259 where parsers differ.
"""

from __future__ import annotations

import re
from math import isinf
from typing import Final

import msgspec

MAX_DEPTH: Final = 32
"""How deeply arrays and objects may nest."""

_TOO_DEEP: Final = f"nested more than {MAX_DEPTH} levels deep"

_decode_any = msgspec.json.Decoder().decode
_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LONG_INTEGER: Final = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{309,}+(?![.eE])")
_SHORTEST_OVERFLOW: Final = 309
"""Digits of the shortest integer above every IEEE double (about 1.8e308)."""

_DIGIT: Final = re.compile(rb"[0-9]")
_DIGITS_ALIKE: Final = bytes.maketrans(b"0123456789", b"0000000000")
_LONG_RUN: Final = b"0" * _SHORTEST_OVERFLOW

_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))


def check_json_text(text: bytes) -> None:
    """Accept one JSON value that every reasonable parser reads the same way.

    Refuses invalid UTF-8, bad grammar, nesting above MAX_DEPTH, unpaired surrogate escapes, NUL escapes, numbers
    beyond IEEE double, NaN and Infinity. Raises ValueError with a sentence for the sender.
    """
    _check_grammar(text)
    # Each level takes two bytes, so a short text cannot nest too deeply: the common message skips the count.
    if len(text) > 2 * MAX_DEPTH and _is_too_deep(text):
        raise ValueError(_TOO_DEEP)
    # One byte is looked for much faster than six.
    if b"\\" in text and b"\\u0000" in text and _NUL_ESCAPE.search(text):
        raise ValueError("a NUL escape (\\u0000) is not allowed")
    if len(text) >= _SHORTEST_OVERFLOW and _has_huge_integer(text):
        raise ValueError("a number is beyond the range of IEEE double")


def _check_grammar(text: bytes) -> None:
    # A full decode refuses what msgspec.Raw lets pass: invalid UTF-8, lone surrogates and floats beyond double.
    try:
        _decode_any(text)
    except UnicodeDecodeError as error:
        raise ValueError("not valid UTF-8") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except msgspec.MsgspecError as error:
        if _SURROGATE_ESCAPE.search(text):
            raise ValueError("an unpaired surrogate escape, or otherwise malformed JSON") from error
        raise ValueError(str(error).removesuffix(" - at `$[...]`")) from error


def _is_too_deep(text: bytes) -> bool:
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    # In valid JSON brackets pair up, so each round takes away exactly the innermost level everywhere.
    brackets = _STRINGS.sub(b"", text).translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return brackets != b""


def _has_many_digits_in_a_row(text: bytes) -> bool:
    """Whether there may be an integer beyond double, for a fortieth at most of what finding it takes.

    Of n bytes in a row one stands at a multiple of n (docs/performance.md, "Checking").
    """
    sample = text[::_SHORTEST_OVERFLOW]
    return _DIGIT.search(sample) is not None and _LONG_RUN in text.translate(_DIGITS_ALIKE)


def _has_huge_integer(text: bytes) -> bool:
    """Whether an integer is beyond double; read from the text, since a repeated key hides its earlier values."""
    if not _has_many_digits_in_a_row(text):
        return False
    return any(isinf(float(number)) for number in _LONG_INTEGER.findall(_STRINGS.sub(b'""', text)))
