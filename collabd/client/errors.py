"""The errors of the Python client, each saying what to do about it.

Law of this file: names and words only. The codes stand in docs/client-behaviour.md, "Errors by name".

    CollabdError
     └── ClientError                    has `code`
          ├── InvalidUrl, InvalidRunId, InvalidUserId     what `open_run` was given cannot be used
          ├── ConnectionProblem                           the server cannot be used now, or for good
          │    ├── ServerUnreachable                      nothing answers
          │    ├── NotCollabd                             something else answers
          │    ├── WebSocketBlocked                       HTTP passes, WebSocket does not
          │    ├── ServerBusy                             it asks to come again later
          │    ├── TokenUnavailable                       the token function failed
          │    ├── Unauthorized                           a fresh token was refused too
          │    ├── Refused                                the server said no, with its own code
          │    └── Replaced, Ended                        the session was taken over, or ended by the server
          ├── RunClosed                                   sending after the end
          ├── MessageNotAccepted                          nothing was queued
          │    ├── QueueFull, MessageTooBig, InvalidEventType, UnserialisableData
          │    └── StorageBlocked                         the queue file cannot be used
          ├── MessageRejected                             a queued message was refused for good
          └── MessagesUndelivered                         the run was left before its messages were committed
"""

from __future__ import annotations

from typing import ClassVar

from collabd.errors import CollabdError


class ClientError(CollabdError):
    """Base of what the client raises on purpose; `code` is its stable name."""

    code: ClassVar[str] = "client_error"


class InvalidUrl(ClientError):
    """The server's URL is no http, https, ws or wss URL with a host and without a query."""

    code = "invalid_url"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url!r} is no server URL: {why}; write it like http://127.0.0.1:8080")


class InvalidRunId(ClientError):
    """The run id is no UUID."""

    code = "invalid_run_id"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"{run_id!r} is no run id: a run is named by a UUID such as 8f14e45f-ceea-467f-9c2b-0a1b2c3d4e5f"
        )


class InvalidUserId(ClientError):
    """The user id is empty, above 255 code points, or has control characters."""

    code = "invalid_user_id"

    def __init__(self, user_id: str) -> None:
        super().__init__(
            f"{user_id[:40]!r} is no user id: give 1 to 255 characters without control characters or lone surrogates"
        )


class ConnectionProblem(ClientError):
    """Why the run has no connection, or no longer will have one."""

    code = "connection_problem"


class ServerUnreachable(ConnectionProblem):
    """Nothing answers at the URL, or not in time."""

    code = "unreachable"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"cannot reach {url}: {why}; is the server running, and are host and port right?")


class NotCollabd(ConnectionProblem):
    """Something answers at the URL that does not speak collabd's protocol."""

    code = "not_collabd"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"what answers at {url} is no collabd server ({why}); check the URL, and the proxy if there is one"
        )


class WebSocketBlocked(ConnectionProblem):
    """The server answers over HTTP, but a WebSocket does not come through."""

    code = "websocket_blocked"

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url} answers over HTTP, but WebSockets do not pass; HTTP polling takes over. "
            "Let the proxy in between pass upgrades on /ws/"
        )


class ServerBusy(ConnectionProblem):
    """The server asks to come again later: too many connections, or about to restart."""

    code = "busy"

    def __init__(self, why: str, retry_after_s: float) -> None:
        super().__init__(f"the server asks to come again in {retry_after_s:.1f} s: {why}; the client does so by itself")
        self.retry_after_s = retry_after_s


class TokenUnavailable(ConnectionProblem):
    """There is no token to send: the function for it raised (its error is the cause), hung, or gave none."""

    code = "no_token"

    def __init__(self, why: str) -> None:
        super().__init__(f"no token can be had: {why}; repair it (a function is asked again after a pause)")


class Unauthorized(ConnectionProblem):
    """The token is refused, and there is no newer one."""

    code = "unauthorized"

    def __init__(self, why: str) -> None:
        super().__init__(f"the server refuses the token: {why}; give a valid one, or a function that supplies one")


class Refused(ConnectionProblem):
    """The server refused with `server_code` (docs/protocol.md, error codes); asking again will not help."""

    code = "refused"

    def __init__(self, server_code: str, message: str) -> None:
        super().__init__(f"the server refuses ({server_code}): {message}")
        self.server_code = server_code


class Replaced(ConnectionProblem):
    """Another connection took this session over (4009)."""

    code = "replaced"

    def __init__(self) -> None:
        super().__init__("another connection took this session over; open the run again for a session of its own")


class Ended(ConnectionProblem):
    """The server ended the session for good (1000)."""

    code = "ended"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server ended the session{': ' + reason if reason else ''}; open the run again to return")


class RunClosed(ClientError):
    """The run was left or given up; the cause says why when it was given up."""

    code = "closed"

    def __init__(self, message: str = "the run is closed; open it again to send") -> None:
        super().__init__(message)


class MessageNotAccepted(ClientError):
    """A message that was not queued: nothing of it is sent, now or later."""

    code = "not_accepted"


class QueueFull(MessageNotAccepted):
    """As many messages wait as may wait."""

    code = "queue_full"

    def __init__(self, count: int, size: int) -> None:
        super().__init__(
            f"the queue is full: {count} messages, {size} bytes wait to be committed; wait for some of them, "
            "or raise max_queued_messages or max_queued_bytes"
        )


class MessageTooBig(MessageNotAccepted):
    """The encoded message is longer than the server takes."""

    code = "message_too_big"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the message has {size} bytes, the server takes {limit}; send less, or a reference to it")


class InvalidEventType(MessageNotAccepted):
    """The event type is misspelt or the server's own."""

    code = "invalid_event_type"

    def __init__(self, event_type: str, why: str) -> None:
        super().__init__(f"{event_type[:60]!r} is no event type to send: {why}")


class UnserialisableData(MessageNotAccepted):
    """The data is no JSON, or JSON that the protocol does not carry."""

    code = "unserialisable"

    def __init__(self, why: str) -> None:
        super().__init__(f"the data cannot be sent: {why}")


class StorageBlocked(MessageNotAccepted):
    """The queue file cannot be opened, read or written, belongs to something else, or is in use."""

    code = "storage_blocked"


class MessageRejected(ClientError):
    """A message that was queued and will not be committed; `server_code` says why."""

    code = "rejected"

    def __init__(self, client_message_id: str, server_code: str, message: str) -> None:
        super().__init__(f"message {client_message_id} was rejected ({server_code}): {message}")
        self.client_message_id = client_message_id
        self.server_code = server_code


class MessagesUndelivered(ClientError):
    """The run was left while messages waited, and no queue file keeps them; `client_message_ids` names them."""

    code = "undelivered"

    def __init__(self, client_message_ids: list[str]) -> None:
        super().__init__(
            f"{len(client_message_ids)} message(s) were not committed when the run was left; wait for them before, "
            "leave later (leave_timeout_s), or give a queue_file that keeps them"
        )
        self.client_message_ids = client_message_ids
