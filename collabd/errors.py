"""Every error that collabd tells anyone about, in one table.

Law of this file: it imports nothing of the project. An error says who is at fault (the class) and carries what a
client needs (the code); status and retryability follow from the code (docs/protocol.md, "Error codes").

    Exception
     └── CollabdError
          ├── ProtocolError          the peer is at fault, or must come again: has a code from ERROR_TABLE
          ├── ConfigError            the operator is at fault: one line per problem
          ├── StorageUnavailable     the disk refuses for now (full, locked): retryable, nothing was written
          ├── StorageFailed          the disk may lie (I/O error): stop acknowledging, exit, recover at restart
          ├── DatabaseUnusable       the data directory cannot be opened as it is; nothing in it was changed
          ├── NotDone                a command refused to do harm: what stands in the way, and what to do next
          └── DamagedEvent           a stored row does not match its checksum
"""

from __future__ import annotations

from typing import Final, NamedTuple


class ErrorKind(NamedTuple):
    """What one error code means to a client: HTTP status (0: never over HTTP) and whether to send again."""

    status: int
    retryable: bool


ERROR_TABLE: Final[dict[str, ErrorKind]] = {
    "invalid_json": ErrorKind(400, False),
    "unknown_key": ErrorKind(400, False),
    "invalid_event_type": ErrorKind(400, False),
    "reserved_event_type": ErrorKind(400, False),
    "invalid_parameter": ErrorKind(400, False),
    "epoch_required": ErrorKind(400, False),
    "user_required": ErrorKind(400, False),
    "user_mismatch": ErrorKind(400, False),
    "not_over_http": ErrorKind(400, False),
    "unauthorized": ErrorKind(401, False),
    "forbidden": ErrorKind(403, False),
    "origin_not_allowed": ErrorKind(403, False),
    "run_not_found": ErrorKind(404, False),
    "session_not_found": ErrorKind(404, False),
    "not_found": ErrorKind(404, False),
    "method_not_allowed": ErrorKind(405, False),
    "request_timeout": ErrorKind(408, True),
    "client_message_id_reused": ErrorKind(409, False),
    "message_too_big": ErrorKind(413, False),
    "rate_limited": ErrorKind(429, True),
    "too_many_connections": ErrorKind(429, True),
    "internal_error": ErrorKind(500, True),
    "storage_unavailable": ErrorKind(503, True),
    "draining": ErrorKind(503, True),
    "not_attempted": ErrorKind(0, True),
}


class CollabdError(Exception):
    """Base of all errors that collabd raises on purpose.

    `needs_operator` says, of an error that ends the daemon, that starting it again does not help (exit status 2).
    """

    needs_operator = False


class ProtocolError(CollabdError):
    """A request or message that is refused with a code of ERROR_TABLE; the connection goes on.

    `client_message_id` is the id of the refused message where it could still be read;
    `retry_after_ms` (milliseconds) is given where the server knows when to come again.
    """

    def __init__(
        self, code: str, message: str, *, client_message_id: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.client_message_id = client_message_id
        self.retry_after_ms = retry_after_ms

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return ERROR_TABLE[self.code].status

    @property
    def retryable(self) -> bool:
        """Whether the same message may succeed later."""
        return ERROR_TABLE[self.code].retryable


class ConfigError(CollabdError):
    """A configuration that cannot be used; `problems` has one sentence for each thing wrong (exit status 2)."""

    needs_operator = True

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageUnavailable(CollabdError):
    """Nothing was written, and later it may work: disk full, database locked by another program."""


class StorageFailed(CollabdError):
    """An I/O error after which commits can no longer be believed (SQLite reports success after a failed fsync)."""


class DatabaseUnusable(CollabdError):
    """The data directory cannot be used as it is: which file, why, and what to do. Nothing was changed in it.

    `passing`: what stands in the way may be gone at the next start, as another daemon that is about to stop.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.needs_operator = not passing


class NotDone(CollabdError):
    """What was asked for was not done and nothing was changed: what stands in the way, and what to do next."""


class DamagedEvent(CollabdError):
    """A stored event whose content does not match its checksum."""

    def __init__(self, run_id: str, sequence_number: int) -> None:
        super().__init__(
            f"event {sequence_number} of run {run_id} does not match its checksum: the database file was altered "
            "outside collabd or by failing hardware; restore a backup"
        )
        self.run_id = run_id
        self.sequence_number = sequence_number
