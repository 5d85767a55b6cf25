"""Runs as JSON Lines: what stands in which line of an export, and how a file proves that it is whole and sound.

    {"kind": "collabd", "format": 1, "version", "epoch", "exportedAt"}
    {"kind": "run", "runId", "createdAt", "oldestSequence", "sequenceNumber"}
    {"kind": "state", …}   an event that was trimmed and is still the newest of its type and state key
    {"kind": "event", "runId", "sequenceNumber", "userId", "eventType", "timestamp", "isCritical", "data", …}
    {"kind": "end", "runs", "events"}

Law of this file: pure; no file, no database. Data is kept byte for byte: as `data` where it is one line of JSON, else
(a client may put newlines between its tokens) as `dataText`, a string that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from collabd.errors import NotDone, ProtocolError
from collabd.protocol.json_text import check_json_text
from collabd.protocol.names import (
    MAX_SEQUENCE_NUMBER,
    RESERVED_EVENT_TYPES,
    is_client_message_id,
    is_event_type,
    parse_run_id,
    parse_user_id,
)
from collabd.store.interface import NewEvent
from collabd.store.rows import message_key

FORMAT: Final = 1
LONGEST_LINE_BYTES: Final = 64 * 1024 * 1024
_LATEST_MS: Final = 2**53
_ABSENT: Final = msgspec.Raw(b"")


class _Line(msgspec.Struct, tag_field="kind", rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    pass


class HeadLine(_Line, tag="collabd"):
    """The first line: who wrote the file, from which history, when (milliseconds since 1970)."""

    format: int
    version: str
    epoch: str
    exported_at: int


class RunLine(_Line, tag="run"):
    """A run begins; its events are the numbers from `oldest_sequence` to `sequence_number`, without a gap."""

    run_id: str
    created_at: int
    oldest_sequence: int
    sequence_number: int


class EventLine(_Line, tag="event"):
    """One retained event."""

    run_id: str
    sequence_number: int
    user_id: str
    event_type: str
    timestamp: int
    is_critical: bool
    client_message_id: str | None = None
    state_key: str | None = None
    data: msgspec.Raw = _ABSENT
    data_text: str | None = None

    def text(self) -> bytes:
        """The event's data, as its sender wrote it."""
        return bytes(self.data) if self.data_text is None else self.data_text.encode()

    def event(self) -> NewEvent:
        """The event without its number."""
        return NewEvent(
            self.run_id, self.user_id, self.event_type, self.text(), self.timestamp, self.is_critical,
            self.client_message_id, self.state_key,
        )  # fmt: skip


class StateLine(EventLine, tag="state"):
    """One event that was trimmed from the log and kept as state."""


class EndLine(_Line, tag="end"):
    """The last line, by which a file that was cut short is known."""

    runs: int
    events: int


Line = HeadLine | RunLine | EventLine | StateLine | EndLine

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class BrokenLine(NotDone):
    """A line that is not what it should be; `number` counts from 1."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}; nothing was imported")
        self.number = number


def encode_line(line: Line) -> bytes:
    """A line with its newline."""
    return _encode(line) + b"\n"


def data_fields(data: bytes) -> tuple[msgspec.Raw, str | None]:
    """Data as the fields `data` and `data_text` of a line: one of them."""
    if b"\n" in data or b"\r" in data:
        return _ABSENT, data.decode()
    return msgspec.Raw(data), None


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, Line]]:
    """Numbered lines, each checked by itself and against those before it, the end included. Raises BrokenLine."""
    order = _Order()
    number = 0
    for number, text in enumerate(lines, start=1):
        try:
            line = _decode_line(text)
            order.take(line)
        except (ValueError, ProtocolError) as error:
            raise BrokenLine(number, str(error)) from error
        yield number, line
    if not order.has_ended:
        raise BrokenLine(number + 1, "the file ends here without its last line (it was cut short)")


def _decode_line(text: bytes) -> Line:
    if len(text) > LONGEST_LINE_BYTES:
        raise ValueError(f"longer than {LONGEST_LINE_BYTES >> 20} MiB")
    try:
        line = _decode(text)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no line of a collabd export: {error}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError("no line of a collabd export: not valid JSON") from error
    if isinstance(line, EventLine):
        _check_event(line)
    return line


def _check_event(line: EventLine) -> None:
    """What the server would have refused from a client is refused here too."""
    parse_user_id(line.user_id)
    if not is_event_type(line.event_type) or line.event_type in RESERVED_EVENT_TYPES:
        raise ValueError(f"eventType {line.event_type[:60]!r} is no name of an event")
    if line.client_message_id is not None and not is_client_message_id(line.client_message_id):
        raise ValueError("clientMessageId must be 1 to 64 characters of A-Z a-z 0-9 . _ : -")
    if not 0 <= line.timestamp <= _LATEST_MS:
        raise ValueError("timestamp must be milliseconds since 1970")
    if (not bytes(line.data)) == (line.data_text is None):
        raise ValueError("an event has either data or dataText")
    try:
        check_json_text(line.text())
    except ValueError as error:
        raise ValueError(f"data: {error}") from error


class _Order:
    """Which line may follow which. Each `take` raises ValueError or ProtocolError for one that may not."""

    def __init__(self) -> None:
        self._head: HeadLine | None = None
        self._run: RunLine | None = None
        self._expected = 1
        self._seen_runs: set[str] = set()
        self._keys: set[bytes] = set()
        self._states: set[tuple[str, str]] = set()
        self._events = 0
        self.has_ended = False

    def take(self, line: Line) -> None:
        if self.has_ended:
            raise ValueError("there is more after the last line")
        if (self._head is None) != isinstance(line, HeadLine):
            raise ValueError("the first line, and no other, must be the head of a collabd export")
        if isinstance(line, HeadLine):
            self._take_head(line)
        elif isinstance(line, RunLine):
            self._take_run(line)
        elif isinstance(line, EndLine):
            self._take_end(line)
        elif self._run is None or line.run_id != self._run.run_id:
            raise ValueError("an event must follow the line of its run")
        elif isinstance(line, StateLine):
            self._take_state(line, self._run)
        else:
            self._take_event(line, self._run)

    def _take_head(self, line: HeadLine) -> None:
        if line.format != FORMAT:
            raise ValueError(
                f"format {line.format} is not known here (this collabd reads {FORMAT}); use a newer collabd"
            )
        self._head = line

    def _take_run(self, line: RunLine) -> None:
        self._finish_run()
        if parse_run_id(line.run_id) != line.run_id:
            raise ValueError("runId must be written in lower case")
        if line.run_id in self._seen_runs:
            raise ValueError(f"run {line.run_id} stands twice in the file")
        if not 1 <= line.oldest_sequence <= line.sequence_number + 1 <= MAX_SEQUENCE_NUMBER + 1:
            raise ValueError("oldestSequence and sequenceNumber do not go together")
        if not 0 <= line.created_at <= _LATEST_MS:
            raise ValueError("createdAt must be milliseconds since 1970")
        self._seen_runs.add(line.run_id)
        self._run, self._expected = line, line.oldest_sequence
        self._keys.clear()
        self._states.clear()

    def _take_state(self, line: StateLine, run: RunLine) -> None:
        if line.state_key is None or not 1 <= line.sequence_number < run.oldest_sequence:
            raise ValueError("a state must have a stateKey and a number before oldestSequence")
        if self._expected != run.oldest_sequence or (line.event_type, line.state_key) in self._states:
            raise ValueError("states stand before the events of their run, one for each type and key")
        self._states.add((line.event_type, line.state_key))

    def _take_event(self, line: EventLine, run: RunLine) -> None:
        if line.sequence_number != self._expected or line.sequence_number > run.sequence_number:
            raise ValueError(
                f"event {line.sequence_number} where {self._expected} of {run.sequence_number} was to come"
            )
        key = message_key(line.event())
        if key is not None and key in self._keys:
            raise ValueError(f"clientMessageId {line.client_message_id} of {line.user_id} stands twice in the run")
        if key is not None:
            self._keys.add(key)
        self._expected += 1
        self._events += 1

    def _finish_run(self) -> None:
        if self._run is not None and self._expected != self._run.sequence_number + 1:
            raise ValueError(f"event {self._expected} of run {self._run.run_id} is missing")

    def _take_end(self, line: EndLine) -> None:
        self._finish_run()
        if (line.runs, line.events) != (len(self._seen_runs), self._events):
            counted = f"{len(self._seen_runs)} and {self._events}"
            raise ValueError(f"the file says {line.runs} runs and {line.events} events, and has {counted}")
        self.has_ended = True
