"""Paths and queries, read the same way for WebSocket and HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.errors import ProtocolError
from collabd.protocol.names import MAX_SEQUENCE_NUMBER
from collabd.protocol.requests import (
    JoinRequest,
    PollRequest,
    ReplayRequest,
    parse_join,
    parse_limit,
    parse_poll,
    parse_query,
    parse_replay,
    parse_sender,
    read_poll,
    socket_run_id,
)
from collabd.protocol.seam import Position

RUN = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"
NO_NUMBERS = ["-1", "abc", "1" + "0" * 30, "", " 1", "1.0", "１", "+1", "01", "1e3"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def code_of(function: Any, *arguments: Any, **named: Any) -> str:
    """The code with which something is refused."""
    with pytest.raises(ProtocolError) as raised:
        function(*arguments, **named)
    return raised.value.code


def test_a_run_has_one_socket_path() -> None:
    """With its id in canonical form."""
    assert socket_run_id(f"/ws/runs/{RUN.upper()}/collaboration") == RUN


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ws/runs/run-1/collaboration", "invalid_parameter"),
        ("/ws/runs//collaboration", "invalid_parameter"),
        (f"/ws/runs/{RUN}", "not_found"),
        (f"/ws/runs/{RUN}/collaboration/", "not_found"),
        (f"/ws/runs/{RUN}/x/collaboration", "not_found"),
        (f"/x/ws/runs/{RUN}/collaboration", "not_found"),
        (f"/ws/runs/{RUN}/collaboration\n", "not_found"),
        ("/", "not_found"),
    ],
)
def test_other_paths_have_no_socket(path: str, code: str) -> None:
    """A wrong id is a wrong parameter; another path is nothing at all."""
    assert code_of(socket_run_id, path) == code


@given(st.dictionaries(st.text(min_size=1, max_size=5, alphabet="abc%&=+ é"), texts, max_size=5))
def test_a_query_is_read_as_it_was_written(query: dict[str, str]) -> None:
    """Percent-encoding and + are undone, values of any script."""
    assert parse_query(urlencode(query).encode()) == query


def test_where_a_parameter_is_given_twice_the_first_counts() -> None:
    """One rule for every transport, so that no proxy and server read two users out of one query."""
    assert parse_query(b"userId=ann&userId=ben&x=") == {"userId": "ann", "x": ""}


@pytest.mark.parametrize("query", [b"userId=%ff", b"userId=\xff", b"userId=%ed%a0%80", b"&".join([b"a=1"] * 101)])
def test_a_query_that_is_no_text_is_refused(query: bytes) -> None:
    """Never replaced by question marks: two users would become one."""
    assert code_of(parse_query, query) == "invalid_parameter"


def test_a_control_character_in_a_user_id_is_refused_however_it_is_written() -> None:
    """Percent-encoding hides nothing."""
    assert code_of(parse_join, RUN, parse_query(b"userId=a%00b")) == "invalid_parameter"


# Joining


def test_a_first_join_needs_only_a_name() -> None:
    """And in token mode not even that."""
    assert parse_join(RUN, {"userId": "ann"}) == JoinRequest(RUN, "ann", None, None, 0)
    assert parse_join(RUN, {}).user_id is None


def test_coming_back_names_session_position_and_attempt() -> None:
    """All that the server has to know for a resume."""
    query = {"userId": "ann", "sessionId": "s-1", "afterSequence": "7", "epoch": "e1", "reconnectAttempt": "2"}
    assert parse_join(RUN, query) == JoinRequest(RUN, "ann", "s-1", Position("e1", 7), 2)


@pytest.mark.parametrize("query", [{"afterSequence": "7"}, {"epoch": "e"}])
def test_a_position_is_both_number_and_epoch(query: Mapping[str, str]) -> None:
    """A number without its history could resume from another one."""
    assert code_of(parse_join, RUN, query) == "epoch_required"


@pytest.mark.parametrize("after", [*NO_NUMBERS, str(MAX_SEQUENCE_NUMBER + 1)])
def test_a_position_is_a_plain_number(after: str) -> None:
    """From 0 to 2^53 − 1."""
    assert code_of(parse_join, RUN, {"afterSequence": after, "epoch": "e"}) == "invalid_parameter"


@pytest.mark.parametrize("epoch", ["", "e" * 129])
def test_an_epoch_has_1_to_128_characters(epoch: str) -> None:
    """Opaque, but not endless."""
    assert code_of(parse_join, RUN, {"afterSequence": "0", "epoch": epoch}) == "invalid_parameter"


@pytest.mark.parametrize("session", ["", "a b", "x" * 65, "é"])
def test_a_session_id_that_cannot_be_one_is_passed_over(session: str) -> None:
    """Its bearer gets a new one."""
    assert parse_join(RUN, {"sessionId": session}).session_id is None


@pytest.mark.parametrize("user", ["", "u" * 256, "a\0"])
def test_a_bad_user_id_is_refused_on_every_route(user: str) -> None:
    """Not only where it is required."""
    for parse in (lambda query: parse_join(RUN, query), parse_poll, parse_sender):
        assert code_of(parse, {"userId": user}) == "invalid_parameter"


# Polling


def test_a_poll_needs_nothing() -> None:
    """It is then an anonymous read from the start of what is retained."""
    assert parse_poll({}) == PollRequest(None, None, None, 0, 1000, 0)


def test_a_poll_with_everything() -> None:
    """The epoch may be left out here: it is then the current one."""
    query = {"userId": "u", "sessionId": "s", "epoch": "e", "afterSequence": "3", "limit": "5", "wait": "30000"}
    assert parse_poll(query) == PollRequest("u", "s", "e", 3, 5, 30_000)
    assert parse_poll({"afterSequence": "3"}).epoch is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("afterSequence", text) for text in [*NO_NUMBERS, str(2**53)]),
        *(("limit", text) for text in [*NO_NUMBERS, "0", "1001", "5000"]),
        *(("wait", text) for text in [*NO_NUMBERS, "30001"]),
        ("epoch", ""),
    ],
)
def test_a_poll_refuses_what_is_out_of_range(name: str, value: str) -> None:
    """A number is never quietly cut to the nearest allowed one."""
    assert code_of(parse_poll, {name: value}) == "invalid_parameter"


# Replay


def test_a_replay_needs_nothing() -> None:
    """It begins at the first event and gives a hundred."""
    assert parse_replay({}) == ReplayRequest(1, 100, False, None)


def test_a_replay_with_everything() -> None:
    """From 0 on is from 1 on."""
    query = {"fromSequence": "0", "limit": "1000", "criticalOnly": "true", "eventType": "GRAFT"}
    assert parse_replay(query) == ReplayRequest(0, 1000, True, "GRAFT")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        *(("fromSequence", text, "invalid_parameter") for text in [*NO_NUMBERS, str(2**53)]),
        *(("limit", text, "invalid_parameter") for text in [*NO_NUMBERS, "0", "1001", "5000"]),
        *(("criticalOnly", text, "invalid_parameter") for text in ["", "1", "True", "yes"]),
        *(("eventType", text, "invalid_event_type") for text in ["", "graft", "A" * 51, "A\n"]),
    ],
)
def test_a_replay_refuses_what_is_out_of_range(name: str, value: str, code: str) -> None:
    """The same for every parameter."""
    assert code_of(parse_replay, {name: value}) == code


def test_a_list_limit_has_its_default_and_its_range() -> None:
    """1 to 1000."""
    assert [parse_limit({}, default=100), parse_limit({"limit": "1000"}, default=100)] == [100, 1000]
    assert code_of(parse_limit, {"limit": "0"}, default=100) == "invalid_parameter"


def test_a_sender_is_a_user_and_perhaps_a_session() -> None:
    """Whether a user is required is decided by who knows the token."""
    assert parse_sender({"userId": "ann", "sessionId": "s"}) == ("ann", "s")
    assert parse_sender({}) == (None, None)


@given(texts.filter(bool))
def test_any_name_survives_the_query(name: str) -> None:
    """What a browser encodes is what the server reads, or a refusal."""
    query = parse_query(f"userId={quote(name)}".encode())
    assert query == {"userId": name}


def test_the_same_query_means_the_same_again_and_a_bad_one_stays_bad() -> None:
    """What is remembered of short queries is what reading them anew gives; long ones are read anew."""
    for padding in (b"", b"&x=" + b"y" * 600):
        query = b"afterSequence=3&epoch=e&userId=ann" + padding
        assert read_poll(query) == read_poll(query) == PollRequest("ann", None, "e", 3, 1000, 0)
        for _ in range(2):
            assert code_of(read_poll, b"afterSequence=-1" + padding) == "invalid_parameter"
