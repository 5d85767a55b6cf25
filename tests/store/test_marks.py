from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.store.marks import Found, Mark, MarkFile, decode_mark, encode_mark, loss

marks = st.builds(Mark, st.text("0123456789abcdef", min_size=16, max_size=32), st.integers(0, 2**62), st.booleans())


@given(marks)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    """Every mark comes back, and all have one length, so that one overwrites the other."""
    assert decode_mark(encode_mark(mark)) == mark
    assert len(encode_mark(mark)) == len(encode_mark(Mark("0", 0, False)))


@given(marks, st.integers(0), st.integers(1, 255))
def test_an_altered_mark_is_no_mark(mark: Mark, place: int, flip: int) -> None:
    """Any altered byte makes it unreadable, never another mark."""
    line = bytearray(encode_mark(mark))
    line[place % (len(line) - 1)] ^= flip
    assert decode_mark(bytes(line)) in (None, mark)


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"\0" * 512, b"collabd-mark 1 open x y z\n", encode_mark(Mark("e", 1, True))[:40]]
)
def test_what_is_no_mark_is_none(line: bytes) -> None:
    """An empty, zeroed, foreign or torn file says nothing."""
    assert decode_mark(line) is None


def test_a_mark_file_keeps_the_last_mark(tmp_path: Path) -> None:
    """The file is overwritten in place, whatever stood there."""
    file = MarkFile(tmp_path / "mark")
    assert file.read() is None
    for mark in (Mark("e" * 32, 2**62, True), Mark("e", 0, False)):
        file.write(mark, durable=True)
        assert file.read() == mark
    file.close()


OPEN, CLEAN = Mark("e", 10, True), Mark("e", 10, False)


@pytest.mark.parametrize(
    ("mark", "found"),
    [
        (None, Found(None, 0, False)),
        (Mark("e", 0, True), Found(None, 0, False)),
        (CLEAN, Found("e", 10, False)),
        (OPEN, Found("e", 10, True)),
        (OPEN, Found("e", 12, True)),
    ],
    ids=["first start", "killed while it was made", "clean stop", "killed", "killed between commit and mark"],
)
def test_a_whole_history_keeps_its_epoch(mark: Mark | None, found: Found) -> None:
    """No start after a clean stop, a kill or a power cut that lost nothing makes clients start over."""
    assert loss(mark, found) is None


@pytest.mark.parametrize(
    ("mark", "found", "word"),
    [
        (CLEAN, Found(None, 0, False), "database is missing"),
        (None, Found("e", 10, False), "older copy"),
        (CLEAN, Found("f", 10, False), "another"),
        (CLEAN, Found("e", 9, False), "1 committed events"),
        (OPEN, Found("e", 7, True), "3 committed events"),
        (OPEN, Found("e", 10, False), "write-ahead log is missing"),
        (CLEAN, Found("e", 11, False), "went on"),
    ],
)
def test_a_history_that_may_not_be_whole_is_a_loss(mark: Mark | None, found: Found, word: str) -> None:
    """Each way to lose commits is told in its own words."""
    assert word in (loss(mark, found) or "")
