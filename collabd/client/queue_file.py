"""A queue that survives the process: messages that are not final, in a file.

Law of this file: docs/client-behaviour.md R23, R32, P2. JSON lines, only ever appended to: `add` with the message's
exact text, `attempts`, `done`. A message goes out only after its line is fsynced; a torn last line belongs to a
message that never went out. Everything else that does not fit is refused loudly and left as it is.

After an error of the disk, or when somebody has taken the file away, what was appended is no longer believed to be
there: the file is *suspect*, and is written anew from memory before anything else is accepted or sent.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
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
        self._is_suspect = False
        self._syncing = trio.Lock()
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
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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

    def add(self, message: Outgoing, waiting: Iterable[Outgoing]) -> None:
        """Append a message behind those that wait. Raises StorageBlocked, and then the file is as it was."""
        if self._is_suspect:
            self.rewrite(waiting)
        message.durable = False
        try:
            self._append(_record(message))
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
            if sum(kept.size for kept in left) < self._size // 4 and not self._syncing.locked():
                with suppress(StorageBlocked):  # no room for a second file: the long one goes on
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
            self._is_suspect = True  # until the half line is gone
            os.ftruncate(self._fd, self._size)
            self._is_suspect = False
            raise
        self._size += len(line)

    async def flush(self, waiting: Iterable[Outgoing]) -> list[Outgoing]:
        """Make every appended message durable; return those that could not be made so.

        `waiting` are all that are not final: what the file is made anew from where it cannot be believed.
        """
        async with self._syncing:
            messages, self._unsynced = self._unsynced, []
            if not messages:
                return []
            if self._is_suspect:
                return self._made_anew(messages, waiting)
            try:
                await trio.to_thread.run_sync(self._sync, self._size)
            except OSError:
                return self._made_anew(messages, waiting)
            except BaseException:
                self._unsynced = messages + self._unsynced
                raise
        for message in messages:
            message.durable = True
        return []

    def _sync(self, size: int) -> None:
        """Have the disk take what was appended. Raises OSError, also when the file is no longer there, or was cut."""
        os.fsync(self._fd)
        mine, there = os.fstat(self._fd), os.stat(self._path)
        if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino) or mine.st_size < size:
            raise FileNotFoundError(2, "somebody took the file away, or wrote into it")

    def _made_anew(self, messages: list[Outgoing], waiting: Iterable[Outgoing]) -> list[Outgoing]:
        """Write the whole file again after an error; the messages that this could not save either."""
        self._is_suspect = True
        try:
            self.rewrite(waiting)
        except StorageBlocked:
            return messages
        return []

    def rewrite(self, messages: Iterable[Outgoing]) -> None:
        """Put a new file with only these messages in the old one's place. Raises StorageBlocked."""
        kept = list(messages)
        records = [self._header, *map(_record, kept)]
        content = b"".join(dump(record).encode() + b"\n" for record in records)
        new_path = f"{self._path}.new"
        try:
            fd = os.open(new_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                with open(fd, "wb", closefd=False) as file:
                    file.write(content)
                os.fsync(fd)
                os.replace(new_path, self._path)
            except BaseException:
                os.close(fd)
                raise
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._size = fd, len(content)  # from here on this is the file, whatever the directory says
            self._is_suspect = True
            self._sync_directory()
        except OSError as error:
            self._blocked(f"it cannot be written ({error.strerror}); choose a place that can be written", error)
        self._is_suspect = False
        self._unsynced.clear()
        for message in kept:
            message.durable = True

    def _sync_directory(self) -> None:
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the file and free it for the next process. What was appended was flushed before."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1


def _record(message: Outgoing) -> dict[str, Any]:
    """The line that keeps a message; the checksum tells a text that was changed on the disk and is JSON still."""
    return {"add": message.text, "attempts": message.attempts, "crc32": zlib.crc32(message.text.encode())}


def _apply(record: dict[str, Any], messages: dict[str, Outgoing]) -> None:
    """Apply one line of the file. Raises KeyError, TypeError or ValueError for a line that is none."""
    if "add" in record:
        if record["crc32"] != zlib.crc32(record["add"].encode()):
            raise ValueError("its text is not what was written")
        sent = json.loads(record["add"])
        message_id, event_type, attempts = sent["clientMessageId"], sent["eventType"], record["attempts"]
        if not (isinstance(message_id, str) and isinstance(event_type, str) and isinstance(attempts, int)):
            raise TypeError("a message has other parts")
        messages[message_id] = Outgoing(message_id, event_type, record["add"], attempts)
    elif "done" in record:
        messages.pop(record["done"], None)
    elif record["id"] in messages:
        messages[record["id"]].attempts = int(record["attempts"])
