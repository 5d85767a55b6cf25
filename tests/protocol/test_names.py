"""The names of the protocol: what passes, and that nothing like it does."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.errors import ProtocolError
from collabd.protocol.names import (
    MAX_SEQUENCE_NUMBER,
    RESERVED_EVENT_TYPES,
    is_client_message_id,
    is_event_type,
    known_session_id,
    parse_integer,
    parse_run_id,
    parse_user_id,
)

RUN = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"


def code_of(function: Any, *arguments: Any, **named: Any) -> str:
    """The code with which something is refused."""
    with pytest.raises(ProtocolError) as raised:
        function(*arguments, **named)
    return raised.value.code


@given(st.uuids(), st.booleans())
def test_any_uuid_names_a_run_in_its_lower_case_form(run: uuid.UUID, upper: bool) -> None:
    """Upper case is accepted, and is the same run."""
    text = str(run).upper() if upper else str(run)
    assert parse_run_id(text) == str(run)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run-1",
        RUN[:-1],
        RUN + "0",
        RUN + "\n",
        f" {RUN}",
        f"{{{RUN}}}",
        f"urn:uuid:{RUN}",
        RUN.replace("-", ""),
        RUN.replace("3f", "3g"),
        RUN.replace("1", "１"),
        RUN[:8] + RUN[9:] + "-",
    ],
)
def test_nothing_else_names_a_run(text: str) -> None:
    """Python's own UUID class takes braces, prefixes and no hyphens: one run would have many names."""
    assert code_of(parse_run_id, text) == "invalid_parameter"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=255))
def test_a_user_id_is_any_text_of_up_to_255_code_points(text: str) -> None:
    """In any script, and unchanged."""
    assert parse_user_id(text) == text


@pytest.mark.parametrize("text", ["", "u" * 256, "𝄞" * 256, "a\0", "a\n", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"])
def test_a_user_id_is_neither_empty_nor_long_nor_has_control_characters(text: str) -> None:
    """It stands in logs, lists and JSON of others."""
    assert code_of(parse_user_id, text) == "invalid_parameter"


def test_length_is_counted_in_code_points() -> None:
    """Not in bytes, and not in UTF-16 units."""
    assert parse_user_id("𝄞" * 255) == "𝄞" * 255


@given(st.integers(0, MAX_SEQUENCE_NUMBER))
def test_plain_digits_are_a_number(value: int) -> None:
    """As Python writes them."""
    assert parse_integer("n", str(value), low=0, high=MAX_SEQUENCE_NUMBER) == value


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1 ", "1_0", "01", "1.0", "1e3", "abc", "１２", "0x1", "1\n", "9007199254740992"]
)
def test_nothing_else_is_a_number(text: str) -> None:
    """int() would take spaces, signs, underscores and digits of other scripts."""
    assert code_of(parse_integer, "n", text, low=0, high=MAX_SEQUENCE_NUMBER) == "invalid_parameter"


@pytest.mark.parametrize("text", ["1" + "0" * 30, "9" * 100_000])
def test_a_huge_number_is_refused_without_being_computed(text: str) -> None:
    """int() takes quadratic time."""
    assert code_of(parse_integer, "n", text, low=0, high=MAX_SEQUENCE_NUMBER) == "invalid_parameter"


@given(st.integers(-5, 30), st.integers(0, 10), st.integers(10, 20))
def test_both_ends_of_a_range_belong_to_it(value: int, low: int, high: int) -> None:
    """And the refusal names the parameter and its range."""
    if low <= value <= high:
        assert parse_integer("limit", str(value), low=low, high=high) == value
    else:
        with pytest.raises(ProtocolError, match=f"limit must be a whole number from {low} to {high}"):
            parse_integer("limit", str(value), low=low, high=high)


def test_reserved_names_are_those_of_the_protocol() -> None:
    """Adding one takes a name away from applications."""
    own = "WELCOME ACK ERROR PING PONG AUTH AUTH_OK CLIENT_HEALTH USER_JOIN USER_LEAVE DRAIN"
    assert set(own.split()) == RESERVED_EVENT_TYPES
    assert all(map(is_event_type, RESERVED_EVENT_TYPES))


@pytest.mark.parametrize("text", ["a", "0", "A.b_c:d-e", "x" * 64])
def test_message_ids_need_no_escaping_in_json(text: str) -> None:
    """The codec puts them into quotes as they are."""
    assert is_client_message_id(text)


@pytest.mark.parametrize("text", ["", "x" * 65, 'a"', "a\\", "a b", "ä", "a\n"])
def test_other_message_ids_are_refused(text: str) -> None:
    """Anchored at both ends."""
    assert not is_client_message_id(text)


@pytest.mark.parametrize(
    ("text", "known"), [(None, None), ("", None), ("a/b", None), ("x" * 65, None), ("aB3_-", "aB3_-")]
)
def test_a_session_id_that_cannot_be_one_is_no_error(text: str | None, known: str | None) -> None:
    """Whoever presents it gets a new session."""
    assert known_session_id(text) == known
