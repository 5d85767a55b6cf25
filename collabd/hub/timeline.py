"""What happened to one session, in order: entries as plain tuples, put into words only when somebody reads them.

Law of this file: pure, and small in memory, since every session has a timeline (docs/operations.md, "Timeline").
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

MAX_ENTRIES: Final = 40
"""Entries kept per session; the oldest go first."""

Entry = tuple[Any, ...]
"""(milliseconds since 1970, what, and the values of the fields of that kind)."""


class Kind(NamedTuple):
    """One kind of entry: the names of its values, and a sentence with them."""

    fields: tuple[str, ...]
    words: str


KINDS: Final[dict[str, Kind]] = {
    "joined": Kind(("transport",), "joined over {transport}"),
    "came_back": Kind(("transport", "reconnectAttempt"), "came back over {transport}, attempt {reconnectAttempt}"),
    "resumed": Kind(("afterSequence",), "resumed from number {afterSequence}"),
    "reset": Kind(("reason",), "could not resume: {reason}"),
    "replayed": Kind(("events",), "was owed {events} replayed events"),
    "transport_switched": Kind(("from", "to"), "switched from {from} to {to}"),
    "latency_rose": Kind(("latencyMs", "thresholdMs"), "latency rose above {thresholdMs} ms: {latencyMs} ms"),
    "latency_fell": Kind(("latencyMs", "thresholdMs"), "latency fell below {thresholdMs} ms: {latencyMs} ms"),
    "transient_dropped": Kind(
        ("events",), "was too slow for {events} transient events, each superseded by a newer one of its kind"
    ),
    "failed": Kind(("events",), "{events} events did not reach it"),
    "closed": Kind(("closeCode", "reason"), "closed with {closeCode}: {reason}"),
    "polling_stopped": Kind((), "polled no more"),
    "ended": Kind(("reason",), "ended by an operator: {reason}"),
}


def noted(entries: list[Entry], entry: Entry) -> None:
    """Put an entry last, and forget the oldest where there are too many."""
    entries.append(entry)
    if len(entries) > MAX_ENTRIES:
        del entries[0]


def in_words(entry: Entry) -> dict[str, Any]:
    """An entry as an object: `at` (milliseconds since 1970), `event`, its values by name, and `text`."""
    at, what, *values = entry
    kind = KINDS[what]
    named = dict(zip(kind.fields, values, strict=True))
    said = {name: "no code" if value is None else value for name, value in named.items()}
    return {"at": at, "event": what, **named, "text": kind.words.format_map(said)}
