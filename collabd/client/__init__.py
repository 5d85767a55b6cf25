"""The Python client of collabd: `async with open_run(url, run_id, user_id=...) as run: ...` (Trio).

What it promises is docs/client-behaviour.md, the same table that the JavaScript client follows.
"""

from collabd.client.errors import (
    ClientError,
    ConnectionProblem,
    Ended,
    InvalidEventType,
    InvalidRunId,
    InvalidUrl,
    InvalidUserId,
    MessageNotAccepted,
    MessageRejected,
    MessagesUndelivered,
    MessageTooBig,
    NotCollabd,
    QueueFull,
    Refused,
    Replaced,
    RunClosed,
    ServerBusy,
    ServerUnreachable,
    StorageBlocked,
    TokenUnavailable,
    Unauthorized,
    UnserialisableData,
    WebSocketBlocked,
)
from collabd.client.health import Health
from collabd.client.messages import Ack, Event, Position, Reset
from collabd.client.run import Message, Run, open_run
from collabd.client.settings import Settings

__all__ = [
    "Ack",
    "ClientError",
    "ConnectionProblem",
    "Ended",
    "Event",
    "Health",
    "InvalidEventType",
    "InvalidRunId",
    "InvalidUrl",
    "InvalidUserId",
    "Message",
    "MessageNotAccepted",
    "MessageRejected",
    "MessageTooBig",
    "MessagesUndelivered",
    "NotCollabd",
    "Position",
    "QueueFull",
    "Refused",
    "Replaced",
    "Reset",
    "Run",
    "RunClosed",
    "ServerBusy",
    "ServerUnreachable",
    "Settings",
    "StorageBlocked",
    "TokenUnavailable",
    "Unauthorized",
    "UnserialisableData",
    "WebSocketBlocked",
    "open_run",
]
