from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from collabd.store.interface import NewEvent, Outcome
from collabd.store.reading import read_run_state
from tests.store.support import OTHER_RUN, RUN, MemoryLog, event

ids = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d"]))
new_events = st.builds(
    event,
    ids,
    run_id=st.sampled_from([RUN, OTHER_RUN]),
    user_id=st.sampled_from(["u", "v"]),
    event_type=st.sampled_from(["GRAFT", "FLAG"]),
    data=st.sampled_from([b"1", b"2"]),
    is_critical=st.booleans(),
    state_key=st.one_of(st.none(), st.sampled_from(["x", "y"])),
)
histories = st.lists(st.one_of(st.lists(new_events, max_size=12), st.just("restart")), max_size=12)


class Model:
    """What the log has to be, in the plainest words: all events ever numbered, and what each id stands for."""

    def __init__(self) -> None:
        self.logs: dict[str, list[NewEvent]] = {RUN: [], OTHER_RUN: []}
        self.ids: dict[tuple[str, str, str], tuple[int, NewEvent]] = {}

    def append(self, new: NewEvent) -> Outcome:
        """The outcome that one event has to have."""
        key = (new.run_id, new.user_id, new.client_message_id or "")
        if new.client_message_id is not None and key in self.ids:
            number, earlier = self.ids[key]
            same = (earlier.event_type, earlier.data) == (new.event_type, new.data)
            return Outcome(number, duplicate=True) if same else Outcome(0, reused=True)
        self.logs[new.run_id].append(new)
        number = len(self.logs[new.run_id])
        if new.client_message_id is not None:
            self.ids[key] = (number, new)
        return Outcome(number)

    def state(self, run_id: str, oldest: int) -> list[int]:
        """Numbers of the newest trimmed event of each (type, key), in order."""
        newest: dict[tuple[str, str], int] = {}
        for number, new in enumerate(self.logs[run_id][: oldest - 1], start=1):
            if new.state_key is not None:
                newest[new.event_type, new.state_key] = number
        return sorted(newest.values())


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(1, 6))
def test_any_history_is_gapless_once_only_exactly_retained_and_keeps_its_state(
    history: list[list[NewEvent] | str], retention: int
) -> None:
    """Whatever is appended, repeated, trimmed and restarted, the log is what a list of all events would say."""
    log, model = MemoryLog(retention=retention), Model()
    for batch in history:
        if isinstance(batch, str):
            log.restart()
            continue
        assert log.append(batch).outcomes == [model.append(new) for new in batch]
        for run_id, everything in model.logs.items():
            page = log.page(run_id)
            retained = everything[-retention:]
            first = len(everything) - len(retained) + 1
            assert [e.sequence_number for e in page.events] == list(range(first, len(everything) + 1))
            assert [(e.data, e.client_message_id) for e in page.events] == [
                (new.data, new.client_message_id) for new in retained
            ]
            kept = read_run_state(log.connection, run_id)
            assert [e.sequence_number for e in kept] == model.state(run_id, first)


# Strings as JSON text may hold them: quotes and escapes as escapes, everything else raw, lone surrogates nowhere.
scalars = st.characters(exclude_categories=["Cs"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(scalars),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(scalars, max_size=8), inner, max_size=4),
    max_leaves=12,
)
json_texts = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    json_values,
    st.booleans(),
    st.sampled_from([None, 0, "\t", " \r\n "]),
)
awkward_texts = st.sampled_from(
    [
        "1.0",
        "12345678901234567890",
        "1E400000",
        "-0",
        " [1,\n\t2]\r\n",
        '"\u2028\u2029\x7f\ufeff\U0001f600"',
        r'"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00"',
        '"' + "x" * 65534 + '"',
        '{"' + "\\\\" * 16000 + '":"é"}',
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(json_texts | awkward_texts, min_size=1, max_size=5))
def test_data_comes_back_byte_for_byte(texts: list[str]) -> None:
    """The log keeps the text that was sent, from a page, as kept state and in any batch size."""
    log = MemoryLog(retention=len(texts))
    batch = [event(data=text.encode(), state_key=str(index)) for index, text in enumerate(texts)]
    log.append(batch)
    assert [e.data for e in log.page().events] == [text.encode() for text in texts]
    log.append([event(data=b"0")] * len(texts))
    assert [e.data for e in read_run_state(log.connection, RUN)] == [text.encode() for text in texts]


@settings(max_examples=100, deadline=None)
@given(
    user_id=st.text(scalars, min_size=1, max_size=255).filter(lambda text: "\0" not in text),
    state_key=st.text(scalars, max_size=300).filter(lambda text: "\0" not in text),
    timestamp=st.integers(-(2**53), 2**53),
)
def test_every_field_comes_back(user_id: str, state_key: str, timestamp: int) -> None:
    """Names of any script, and times from any clock."""
    log = MemoryLog()
    log.append([event("id", user_id=user_id, state_key=state_key, timestamp=timestamp)])
    (stored,) = log.page().events
    assert (stored.user_id, stored.timestamp) == (user_id, timestamp)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600))
def test_a_batch_of_any_size_is_one_commit(size: int) -> None:
    """Batches of more rows than one statement takes are numbered and kept like small ones."""
    log = MemoryLog(retention=1000)
    result = log.append([event(str(n), data=str(n).encode()) for n in range(size)])
    assert result.outcomes == [Outcome(n) for n in range(1, size + 1)]
    assert [e.data for e in log.page().events] == [str(n).encode() for n in range(size)]


def test_positions_and_ids_grow_with_time() -> None:
    """Rows lie in the order of their commits: positions without holes, ids as UUIDs of version 7 in time order."""
    log = MemoryLog()
    for _ in range(3):
        log.append([event(), event(run_id=OTHER_RUN)])
        log.now_ms += 1
    rows = log.connection.execute("SELECT position, id FROM persisted_collaboration_messages ORDER BY position")
    positions, row_ids = zip(*rows.fetchall(), strict=True)
    assert positions == tuple(range(1, 7))
    assert list(row_ids) == sorted(row_ids)
    assert all(row_id[14:15] == b"7" and row_id[19:20] in b"89ab" for row_id in row_ids)


def test_keys_past_their_window_are_forgotten_a_few_at_a_time() -> None:
    """No commit pays for a whole day of keys; small commits forget faster than they add."""
    log = MemoryLog(retention=1, window_ms=24_000)
    log.append([event(str(n)) for n in range(500)])
    log.now_ms += 25_001
    left = [log.count("once_only_keys")]
    while left[-1] > 2 and len(left) < 12:
        log.append([event()])
        left.append(log.count("once_only_keys"))
    forgotten = [before - after for before, after in pairwise(left)]
    assert left[-1] <= 2
    assert max(forgotten) <= 66
