"""How the log can tell that it lost something: a small file beside the database.

The mark names the history and the position of its last commit. It is written after each commit without fsync, which a
killed process survives and a power cut may set back, never forward; and it says "open" from before the first commit to
after the last, when a clean stop begins to move the write-ahead log. Not noticed: the whole directory set back, mark
and all.

Law of this file: one fixed-size line, and a pure judgement of it.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import NamedTuple


class Mark(NamedTuple):
    """What the file says: the epoch, the last commit's position, and whether a store had it open."""

    epoch: str
    position: int
    is_open: bool


class Found(NamedTuple):
    """What a start finds in the database itself; `epoch` is None for a database that was just made."""

    epoch: str | None
    position: int
    has_wal: bool


def loss(mark: Mark | None, found: Found) -> str | None:
    """Why the database cannot be the history that clients know, in words, or None when it is."""
    if found.epoch is None:
        return _lost_database(mark)
    if mark is None:
        return "there is no readable mark beside the database, so it may be an older copy"
    if mark.epoch != found.epoch:
        return "the mark beside the database belongs to another one"
    if found.position < mark.position:
        return f"{mark.position - found.position} committed events at the end of the log are missing"
    if mark.is_open and not found.has_wal:
        return "the write-ahead log is missing although the last stop was not a clean one"
    if not mark.is_open and found.position > mark.position:
        return "the database went on since collabd last closed it"
    return None


def _lost_database(mark: Mark | None) -> str | None:
    if mark is None or mark.position == 0:
        return None
    return "the database is missing although there was one"


def encode_mark(mark: Mark) -> bytes:
    """One line of a fixed length, with a checksum, readable to the eye."""
    line = f"collabd-mark 1 {'open ' if mark.is_open else 'clean'} {mark.epoch:>32} {mark.position:>19} ".encode()
    return line + f"{zlib.crc32(line):08x}\n".encode()


def decode_mark(line: bytes) -> Mark | None:
    """Read what encode_mark made; None for anything else."""
    words = line.split()
    if len(words) != 6 or zlib.crc32(line[:-9]) != _hexadecimal(words[5]) or words[:2] != [b"collabd-mark", b"1"]:
        return None
    return Mark(words[3].decode(), int(words[4]), words[2] == b"open")


def _hexadecimal(word: bytes) -> int | None:
    try:
        return int(word, 16)
    except ValueError:
        return None


class MarkFile:
    """The open mark file; every method raises OSError as the system gives it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> Mark | None:
        """What the file says, or None when it is new or unreadable."""
        return decode_mark(os.pread(self._fd, 4096, 0))

    def write(self, mark: Mark, *, durable: bool = False) -> None:
        """Replace the mark in place. With `durable` it is on the disk when this returns."""
        os.pwrite(self._fd, encode_mark(mark), 0)
        if durable:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; the mark stays as it is."""
        os.close(self._fd)
