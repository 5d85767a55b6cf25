"""A queue that survives the process: messages that are not final, in a file.

Law of this file: docs/client-behaviour.md R23, R32, P2. JSON lines, only ever appended to: `add` with the message's
exact text, `attempts`, `done`. A message goes out only after its line is fsynced; a torn last line belongs to a
message that never went out. Everything else that does not fit is refused loudly and left as it is.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

import trio

from collabd.client.errors import StorageBlocked
from collabd.client.messages import dump
from collabd.client.outbox import Outgoing

_FORMAT: Final = "collabd-queue-1"
_REWRITE_ABOVE_BYTES: Final = 16 * 1024 * 1024


class QueueFile:
    """One run's queue on disk, locked while open. `kept` are the messages of earlier processes, oldest first."""

    def __init__(self, path: Path, *, server: str, run_id: str, user_id: str) -> None:
        self._path = path
        self._header = {"format": _FORMAT, "server": server, "runId": run_id, "userId": user_id}
        self._unsynced: list[Outgoing] = []
        self._size = 0
        self._fd = -1
        self._lock_fd = self._lock()
        try:
            self.kept = list(self._read().values())
            self.rewrite(self.kept)
        except BaseException:
            self.close()
            raise

    # Opening

    def _lock(self) -> int:
        lock_path = f"{self._path}.lock"
        try:
            fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._blocked(f"{lock_path} cannot be opened ({error.strerror}); choose a place that can be written", error)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            self._blocked("another process uses it; give each process a queue file of its own", error)
        return fd

    def _read(self) -> dict[str, Outgoing]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._blocked(f"it cannot be read ({error.strerror})", error)
        if content and b"\n" not in content:
            self._blocked("it is no queue file; give another file")
        lines = content.split(b"\n")[:-1]  # what follows the last newline is torn
        messages: dict[str, Outgoing] = {}
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                if number == 1:
                    self._check_header(record)
                else:
                    _apply(record, messages)
            except (ValueError, TypeError, KeyError) as error:
                self._blocked(f"line {number} is damaged; move the file away to start with an empty queue", error)
        return messages

    def _check_header(self, header: dict[str, Any]) -> None:
        if header["format"] != _FORMAT:
            self._blocked("it is no queue file of this version; give another file")
        for name, value in self._header.items():
            if header[name] != value:
                self._blocked(f"it belongs to {name} {header[name]!r}, not {value!r}; give another file")

    def _blocked(self, why: str, cause: BaseException | None = None) -> NoReturn:
        raise StorageBlocked(f"queue file {self._path}: {why}") from cause

    # Writing

    def add(self, message: Outgoing) -> None:
        """Append a message. Raises StorageBlocked, and then the file is as it was."""
        message.durable = False
        try:
            self._append({"add": message.text, "attempts": message.attempts})
        except OSError as error:
            self._blocked(f"it cannot be written ({error.strerror}); nothing of the message was kept", error)
        self._unsynced.append(message)

    def note_attempts(self, message: Outgoing) -> None:
        """Append how often the message was refused; if that fails, an attempt is forgotten and nothing is lost."""
        self._try_append({"id": message.client_message_id, "attempts": message.attempts})

    def note_final(self, message: Outgoing, waiting: Iterable[Outgoing]) -> None:
        """Append that the message is final, and shrink a file that has become mostly history.

        If appending fails, the message may be sent again after a restart, and the server's once-only answers.
        """
        self._try_append({"done": message.client_message_id})
        if self._size > _REWRITE_ABOVE_BYTES:
            left = list(waiting)
            if sum(kept.size for kept in left) < self._size // 4:
                self.rewrite(left)

    def _try_append(self, record: dict[str, Any]) -> None:
        try:
            self._append(record)
        except OSError:
            return

    def _append(self, record: dict[str, Any]) -> None:
        line = dump(record).encode() + b"\n"
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(28, "no space left on device")
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)

    async def flush(self) -> list[Outgoing]:
        """Make every appended message durable; return those that could not be made so."""
        messages, self._unsynced = self._unsynced, []
        if not messages:
            return []
        try:
            await trio.to_thread.run_sync(os.fsync, self._fd)
        except OSError:
            return messages
        except BaseException:
            self._unsynced = messages + self._unsynced
            raise
        for message in messages:
            message.durable = True
        return []

    def rewrite(self, messages: Iterable[Outgoing]) -> None:
        """Put a new file with only these messages in the old one's place. Raises StorageBlocked."""
        kept = list(messages)
        records = [self._header, *({"add": message.text, "attempts": message.attempts} for message in kept)]
        content = b"".join(dump(record).encode() + b"\n" for record in records)
        new_path = f"{self._path}.new"
        try:
            fd = os.open(new_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                with open(fd, "wb", closefd=False) as file:
                    file.write(content)
                os.fsync(fd)
                os.replace(new_path, self._path)
                self._sync_directory()
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            self._blocked(f"it cannot be written ({error.strerror}); choose a place that can be written", error)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, len(content)
        for message in kept:
            message.durable = True

    def _sync_directory(self) -> None:
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the file and free it for the next process."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1


def _apply(record: dict[str, Any], messages: dict[str, Outgoing]) -> None:
    """Apply one line of the file. Raises KeyError, TypeError or ValueError for a line that is none."""
    if "add" in record:
        sent = json.loads(record["add"])
        message_id = sent["clientMessageId"]
        messages[message_id] = Outgoing(message_id, sent["eventType"], record["add"], record["attempts"])
    elif "done" in record:
        messages.pop(record["done"], None)
    elif record["id"] in messages:
        messages[record["id"]].attempts = int(record["attempts"])
