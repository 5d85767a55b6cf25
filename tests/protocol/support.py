"""What the tests of the protocol share: JSON texts that look for trouble, and plain readings of what they must mean."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import strategies as st

_PLAIN_NUMBERS = "0 -0 1 -1 1.0 0.1 1e3 1E+3 1e-3 -1.5e300 9007199254740993 18446744073709551616 1e-400 0e99999"
_BORDERS = "1e308 1.7976931348623157e308 1.7976931348623158e308 1.7976931348623159e308 1e309 1e999 -1e999"
_NO_NUMBERS = "01 1. .5 +1 - 1e 0x10 1_0 NaN Infinity -Infinity nan"
NUMBERS = (
    *_PLAIN_NUMBERS.split(),
    *_BORDERS.split(),
    *_NO_NUMBERS.split(),
    *("9" * 308, "1" * 309, "9" * 309, "-" + "9" * 309, "17976931348623157" + "0" * 292, "1" + "0" * 5000),
    *("1" + "0" * 400 + "e-200", "1" + "0" * 400 + ".0", "1e" + "0" * 320 + "1", "1e-" + "9" * 320),
    "0." + "0" * 320 + "1",
)
"""Number tokens at every border, and what is taken for a number elsewhere."""

_ESCAPES = r"\" \\ \/ \b \n \u0041 \u00e9 \u2028 \ud83d\ude00 \ud800 \uDBFF \udc00 \u0000 \\u0000 \\\u0000 \x \u12"
_CHARACTERS = ("a", "[", "]", "{", "}", ":", ",", "é", "𝄞", "'", "\u2028", "\x7f", "\x00", "\x1f", "\n", "9" * 320)
STRING_PARTS = (*_CHARACTERS, *_ESCAPES.split())
"""Pieces of string literals, allowed and not."""

SPACES = ("", "", "", " ", "\n", "\t \r", "\x0c", "\xa0")

strings = st.lists(st.sampled_from(STRING_PARTS), max_size=4).map(lambda parts: f'"{"".join(parts)}"')
scalars = st.one_of(st.sampled_from(NUMBERS), strings, st.sampled_from(["true", "false", "null", "True", "nul"]))
spaces = st.sampled_from(SPACES)


def _composites(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    separators = st.sampled_from([",", ",", ", ", " ,", "", ",,"])
    members = st.tuples(strings, spaces, items).map(lambda member: f"{member[0]}{member[1]}:{member[2]}")
    return st.one_of(
        st.tuples(spaces, separators, st.lists(items, max_size=4)).map(lambda p: f"[{p[0]}{p[1].join(p[2])}]"),
        st.tuples(spaces, separators, st.lists(members, max_size=4)).map(lambda p: f"{{{p[0]}{p[1].join(p[2])}}}"),
        st.tuples(st.integers(1, 12), items).map(lambda p: "[" * p[0] + p[1] + "]" * p[0]),
        st.tuples(st.integers(1, 12), items).map(lambda p: '{"k":' * p[0] + p[1] + "}" * p[0]),
    )


json_like = st.recursive(scalars, _composites, max_leaves=8)
"""Texts that are JSON, or nearly so."""

_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(_characters, max_size=10),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text("abc", max_size=3), items, max_size=4),
    max_leaves=8,
)
"""Values that may be sent."""

_SCARS = (b"", b'"', b"[", b"}", b"\\", b",", b"1", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80")


@st.composite
def scarred_texts(draw: st.DrawFn) -> bytes:
    """Texts that are nearly JSON, as bytes, some with bytes taken out or replaced."""
    text = bytearray(draw(json_like).encode())
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        text[place : place + draw(st.integers(0, 2))] = draw(st.sampled_from(_SCARS))
    return bytes(text)


class Refused(Exception):
    """A plain reading of the rules found a reason against a text."""


def read_strictly(text: bytes) -> Any:
    """What Python's json reads, objects as lists of pairs so that no repeated key hides; or Refused by the rules."""
    try:
        value = json.loads(text.decode(), parse_constant=_refuse, object_pairs_hook=lambda pairs: ("object", pairs))
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from error
    _inspect(value, 0)
    return value


def _refuse(constant: str) -> None:
    raise Refused(constant)


def _inspect(value: Any, depth: int) -> None:
    """Nesting at most 32, every number a double, every string a sequence of characters without NUL."""
    if isinstance(value, tuple):
        children = [part for pair in value[1] for part in pair]
    elif isinstance(value, list):
        children = value
    else:
        _inspect_scalar(value)
        return
    if depth == 32:
        raise Refused("too deep")
    for child in children:
        _inspect(child, depth + 1)


def _inspect_scalar(value: Any) -> None:
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        raise Refused("a character that some parsers refuse")
    if isinstance(value, int | float) and not is_finite(value):
        raise Refused("a number that is no double")


def is_finite(number: float) -> bool:
    """Whether a number is one that IEEE double has room for."""
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False
