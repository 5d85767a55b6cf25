"""Short ways to write protocol values in tests of the client's pure parts."""

from __future__ import annotations

from typing import Any

from collabd.client.messages import Ack, Event, Refusal, Snapshot, Welcome
from collabd.client.outbox import Outbox, Outgoing
from collabd.client.settings import Limits, Settings


def event(number: int | None, event_type: str = "FLAG", data: Any = None, user: str = "ann") -> Event:
    """An event with this sequence number (None: a transient one)."""
    return Event(event_type, user, 0, number, data, number is not None, None)


def snapshot(
    head: int,
    *,
    epoch: str = "e1",
    recovered: bool = False,
    reason: str | None = None,
    state: tuple[Event, ...] = (),
    events: tuple[Event, ...] = (),
    users: tuple[str, ...] = (),
    cursors: dict[str, Any] | None = None,
) -> Snapshot:
    """The head of a WELCOME, poll or replay answer."""
    return Snapshot(epoch, head, recovered, reason, state, events, "s1", users, cursors or {})


def welcome(head: int, replays: int, **more: Any) -> Welcome:
    """A WELCOME after which `replays` events follow; `more` as for `snapshot`."""
    return Welcome(snapshot(head, **more), replays, 0, 10.0, 65_536)


def outbox(count: int, settings: Settings | None = None, limits: Limits | None = None) -> tuple[Outbox, list[Outgoing]]:
    """An outbox with `count` queued messages named m0, m1, …"""
    box = Outbox(settings or Settings(), limits or Limits())
    messages = [Outgoing(f"m{number}", "FLAG", f'{{"n":{number}}}') for number in range(count)]
    for message in messages:
        box.add(message)
    return box, messages


def send_all(box: Outbox, now: float) -> list[str]:
    """Send over a WebSocket all that may go at this moment; the ids in order."""
    sent = []
    while (message := box.next_to_send(now)) is not None:
        box.mark_sent(message, now)
        sent.append(message.client_message_id)
    return sent


def ack(message: Outgoing, number: int | None = 1, *, duplicate: bool = False) -> Ack:
    """The ACK of a message."""
    return Ack(message.client_message_id, number, duplicate)


def refusal(
    message: Outgoing | None, code: str = "internal_error", *, retryable: bool = True, retry_after_ms: int | None = None
) -> Refusal:
    """An ERROR about a message."""
    return Refusal(code, "no", message.client_message_id if message else None, retryable, retry_after_ms)
