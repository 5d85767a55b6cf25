"""`collabd export` and `collabd import`."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collabd.store import importing, journal
from collabd.store.opening import close_database, open_database
from tests.commands.support import (
    KEPT,
    NOW_MS,
    RETAINED,
    RUNS,
    events_of,
    fails,
    filled,
    lines_of,
    make_newer,
    run,
    snapshot,
    table,
    write_events,
)

Lines = list[dict[str, Any]]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An export of two runs with trimmed and retained events."""
    result = run("export", "--data-dir", filled(tmp_path / "data"), "--output", tmp_path / "all.jsonl")
    assert result.exit_code == 0, result.output
    return tmp_path / "all.jsonl"


def write_lines(path: Path, lines: Lines) -> Path:
    """An export of these lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_import_gives_the_same_runs_numbers_and_state(exported: Path, tmp_path: Path) -> None:
    """Retained events keep their numbers, trimmed ones stay trimmed, data keeps each byte."""
    result = run("import", exported, "--data-dir", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert "imported 2 runs, 20 events" in result.stdout
    assert table(tmp_path / "new", RETAINED) == table(tmp_path / "data", RETAINED)
    assert table(tmp_path / "new", KEPT) == table(tmp_path / "data", KEPT) != []
    runs = "SELECT id, created_at FROM ai_run ORDER BY rowid"
    assert table(tmp_path / "new", runs) == table(tmp_path / "data", runs)


def test_data_with_newlines_keeps_each_byte(tmp_path: Path) -> None:
    """It cannot be one line of JSON as it is, so it travels as a string."""
    filled(tmp_path / "data", retention=100)
    run("export", "--data-dir", tmp_path / "data", "--output", tmp_path / "all.jsonl")
    run("import", tmp_path / "all.jsonl", "--data-dir", tmp_path / "new")
    assert table(tmp_path / "new", RETAINED) == table(tmp_path / "data", RETAINED)
    assert any("\r\n" in row[-1] for row in table(tmp_path / "new", RETAINED))


def test_the_next_number_after_an_import_follows_the_last(exported: Path, tmp_path: Path) -> None:
    """The run goes on where it was, and a message that is sent again is known."""
    run("import", exported, "--data-dir", tmp_path / "new")
    again, fresh = events_of(RUNS[0], 30)[-1], events_of(RUNS[0], 32)[-1]
    write_events(tmp_path / "new", [[again, fresh]])
    numbers = table(
        tmp_path / "new",
        f"SELECT sequence_number FROM persisted_collaboration_messages WHERE run_id = '{RUNS[0]}' AND position > 20",
    )
    assert numbers == [(31,)]


def test_an_import_beside_other_runs_leaves_their_epoch_and_numbers(tmp_path: Path) -> None:
    """Clients of the runs that are there notice nothing."""
    epoch = write_events(tmp_path / "new", [events_of(RUNS[0], 5)])
    write_events(tmp_path / "old", [events_of(RUNS[1], 5)])
    run("export", "--data-dir", tmp_path / "old", "--output", tmp_path / "all.jsonl")
    report = json.loads(run("import", tmp_path / "all.jsonl", "--data-dir", tmp_path / "new", "--json").stdout)
    assert report["epoch"] == epoch
    assert write_events(tmp_path / "new", [events_of(RUNS[1], 6)[-1:]]) == epoch
    assert len(table(tmp_path / "new", RETAINED)) == 11


def test_single_runs_are_exported_by_their_ids(tmp_path: Path) -> None:
    """One that is not there is an error, not an empty file."""
    data = filled(tmp_path / "data")
    result = run("export", "--data-dir", data, "--run", RUNS[1].upper())
    lines = [json.loads(line) for line in result.stdout_bytes.splitlines()]
    assert {line["runId"] for line in lines if "runId" in line} == {RUNS[1]}
    assert (lines[0]["kind"], lines[-1]) == ("collabd", {"kind": "end", "runs": 1, "events": 10})
    missing = "00000000-0000-0000-0000-000000000000"
    assert f"has no run {missing}" in fails("export", "--data-dir", data, "--run", missing)
    assert run("export", "--data-dir", data, "--run", "nonsense").exit_code == 2


def test_an_export_of_a_database_in_use_is_whole(tmp_path: Path) -> None:
    """The daemon goes on meanwhile."""
    filled(tmp_path / "data")
    database = open_database(tmp_path / "data", synchronous="normal", now_ms=NOW_MS)
    try:
        assert run("export", "--data-dir", tmp_path / "data", "-o", tmp_path / "all.jsonl").exit_code == 0
    finally:
        close_database(database)
    assert lines_of(tmp_path / "all.jsonl")[-1]["events"] == 20


def test_an_export_never_overwrites_and_leaves_no_half_file(exported: Path, tmp_path: Path) -> None:
    """What was people's words is readable by its owner only."""
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    before = exported.read_bytes()
    assert "exists already" in fails("export", "--data-dir", tmp_path / "data", "--output", exported)
    assert exported.read_bytes() == before
    assert "no database there" in fails("export", "--data-dir", tmp_path / "none", "--output", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_standard_input_and_output_can_be_joined(tmp_path: Path) -> None:
    """`collabd export | ssh … collabd import -`."""
    out = run("export", "--data-dir", filled(tmp_path / "data")).stdout_bytes
    result = run("import", "-", "--data-dir", tmp_path / "new", stdin=out)
    assert result.exit_code == 0, result.output
    assert table(tmp_path / "new", RETAINED) == table(tmp_path / "data", RETAINED)


def without(field: str) -> Callable[[Lines], None]:
    """Breaks the fifth line by leaving out a field."""
    return lambda lines: lines[4].pop(field)


def with_(**fields: Any) -> Callable[[Lines], None]:
    """Breaks the fifth line by other values."""
    return lambda lines: lines[4].update(fields)


def cut(start: int, end: int | None) -> Callable[[Lines], None]:
    """Takes lines out."""
    return lambda lines: lines.__delitem__(slice(start, end))


# Line 1 is the head, 2 the run, 3 and 4 its kept states, 5 to 14 its events, 15 the next run.
@pytest.mark.parametrize(
    ("break_it", "line", "words"),
    [
        (without("userId"), 5, "userId"),
        (without("data"), 5, "either data or dataText"),
        (with_(dataText="1"), 5, "either data or dataText"),
        (with_(userId=""), 5, "userId must have"),
        (with_(userId="a\nb"), 5, "control characters"),
        (with_(eventType="lower"), 5, "no name of an event"),
        (with_(eventType="WELCOME"), 5, "no name of an event"),
        (with_(sequenceNumber="1"), 5, "Expected `int`"),
        (with_(sequenceNumber=22), 5, "event 22 where 21 of 30 was to come"),
        (with_(timestamp=-1), 5, "timestamp"),
        (with_(clientMessageId="a b"), 5, "clientMessageId"),
        (with_(clientMessageId="id-21", userId="ann"), 6, "stands twice"),
        (with_(unknown=1), 5, "unknown field"),
        (with_(kind="strange"), 5, "Invalid value 'strange'"),
        (with_(runId=RUNS[1]), 5, "follow the line of its run"),
        (cut(5, 6), 6, "event 23 where 22"),
        (cut(13, 14), 14, "event 30 of run"),
        (cut(0, 1), 1, "the first line"),
        (cut(-1, None), 28, "cut short"),
        (cut(-3, -1), 26, "is missing"),
        (lambda lines: lines.append(lines[-1]), 29, "after the last line"),
        (lambda lines: lines[0].update(format=2), 1, "format 2 is not known"),
        (lambda lines: lines[-1].update(events=21), 28, "says 2 runs and 21 events"),
        (lambda lines: lines[14].update(runId=RUNS[0]), 15, "stands twice in the file"),
        (lambda lines: lines[1].update(oldestSequence=0), 2, "do not go together"),
        (lambda lines: lines[3].update(sequenceNumber=21), 4, "before oldestSequence"),
        (lambda lines: lines[3].pop("stateKey"), 4, "stateKey"),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_imported(
    break_it: Callable[[Lines], None], line: int, words: str, exported: Path, tmp_path: Path
) -> None:
    """Nothing at all is made of such a file, not even the directory."""
    lines = lines_of(exported)
    assert (len(lines), lines[14]["kind"]) == (28, "run")
    break_it(lines)
    broken = write_lines(tmp_path / "broken.jsonl", lines)
    told = fails("import", broken, "--data-dir", tmp_path / "new")
    assert told.startswith(f"collabd: {broken}: line {line}: ")
    assert words in told
    assert told.endswith("nothing was imported")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 5000, b'{"kind":"event"}', b"SQLite format 3\0"]
)
def test_what_is_no_export_is_refused_at_its_first_line(text: bytes, tmp_path: Path) -> None:
    """Whatever it is."""
    (tmp_path / "x").write_bytes(text)
    assert "x: line 1: " in fails("import", tmp_path / "x", "--data-dir", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", ["NaN", '"\\ud800"', '"\\u0000"', "1e999", "[" * 40 + "]" * 40])
def test_data_that_the_server_would_refuse_is_refused(data: str, exported: Path, tmp_path: Path) -> None:
    """An import is no way round the rules that keep other clients' parsers safe."""
    lines = exported.read_text().splitlines(keepends=True)
    event = json.loads(lines[4])
    event["data"] = "HERE"
    lines[4] = json.dumps(event).replace('"HERE"', data) + "\n"
    exported.write_text("".join(lines))
    assert "line 5: " in fails("import", exported, "--data-dir", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_runs_that_are_there_already_are_not_touched(exported: Path, tmp_path: Path) -> None:
    """Two histories of one run cannot be made one."""
    write_events(tmp_path / "new", [events_of(RUNS[1], 3)])
    before = table(tmp_path / "new", RETAINED)
    line = fails("import", exported, "--data-dir", tmp_path / "new")
    assert f"has run {RUNS[1]} already" in line
    assert table(tmp_path / "new", RETAINED) == before
    assert table(tmp_path / "new", "SELECT count(*) FROM ai_run") == [(1,)]


def full_disk() -> sqlite3.OperationalError:
    """As SQLite says it."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize("there", [False, True], ids=["new directory", "directory in use before"])
def test_an_import_that_fails_half_way_leaves_what_was_there(
    there: bool, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new directory nothing but the lock file."""
    data, other = tmp_path / "new", "6c0a1c9e-3b53-4d3f-9d2a-6f7a52b9a003"
    if there:
        write_events(data, [events_of(other, 3)])
    before = table(data, RETAINED) if there else []
    insert, calls = journal.insert, list[Any]()

    def insert_some(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) > 6:
            raise full_disk()
        insert(*arguments)

    monkeypatch.setattr(importing, "insert", insert_some)
    assert "the disk is full" in fails("import", exported, "--data-dir", data)
    assert len(calls) == 7
    if there:
        assert table(data, RETAINED) == before
    else:
        assert list(snapshot(data)) == ["collabd.lock"]
    monkeypatch.undo()
    assert run("import", exported, "--data-dir", data).exit_code == 0


def test_an_import_into_a_directory_in_use_is_refused(exported: Path, tmp_path: Path) -> None:
    """One process writes."""
    database = open_database(tmp_path / "new", synchronous="normal", now_ms=NOW_MS)
    try:
        assert "in use by another collabd" in fails("import", exported, "--data-dir", tmp_path / "new")
    finally:
        close_database(database)


def test_a_newer_database_is_neither_exported_nor_imported_into(exported: Path, tmp_path: Path) -> None:
    """An old program leaves it untouched."""
    newer = make_newer(tmp_path / "newer")
    before = (newer / "collabd.sqlite3").read_bytes()
    for arguments in (
        ["export"],
        ["import", exported],
        ["migrate"],
        ["compact"],
    ):
        line = fails(*arguments, "--data-dir", newer, status=2)
        assert "made by a newer collabd (schema 99, this one knows up to" in line
    assert (newer / "collabd.sqlite3").read_bytes() == before


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """In one line, with nothing made."""
    assert "x: cannot be read: No such file" in fails("import", tmp_path / "x", "--data-dir", tmp_path / "new")
    assert not (tmp_path / "new").exists()
