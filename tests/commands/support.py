"""What the tests of the commands share: a command in this process, and a data directory with events in it.

Law of this file: no test stands here.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import collabd.config_file
from collabd.cli import cli
from collabd.store.interface import NewEvent
from collabd.store.journal import Limits, append
from collabd.store.opening import close_database, open_database
from collabd.store.schema import STEPS, migrate

NOW_MS = 1_732_350_000_000
RUNS = ["6c0a1c9e-3b53-4d3f-9d2a-6f7a52b9a001", "6c0a1c9e-3b53-4d3f-9d2a-6f7a52b9a002"]
ODD_DATA = '{"text":"Ä 🦊 \\u0041",\n "pretty":\r\n[1.0, 1e3]}'.encode()


def run(*arguments: str | Path, stdin: bytes | None = None, **settings: str) -> Result:
    """A command, in this process. `settings` are COLLABD_… variables without the prefix."""
    environment = {f"COLLABD_{name}": value for name, value in settings.items()}
    return CliRunner(env=environment).invoke(cli, [str(argument) for argument in arguments], input=stdin)


def fails(*arguments: str | Path, status: int = 1, stdin: bytes | None = None) -> str:
    """What a command that must fail says on standard error: one line that begins with the program's name."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == status, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("collabd: ")
    return line


def events_of(run_id: str, count: int) -> list[NewEvent]:
    """So many events of one run: state that replaces itself, ids, critical and not, and data with newlines in it."""
    return [
        NewEvent(
            run_id=run_id,
            user_id="ann" if number % 2 else "bo·b",
            event_type="GRAFT" if number % 3 else "NOTE",
            data=ODD_DATA if number == 1 else b'{"n":%d}' % number,
            timestamp=NOW_MS + number,
            is_critical=bool(number % 3),
            client_message_id=f"id-{number}" if number % 4 else None,
            state_key=f"key-{number % 2}" if number % 3 else None,
        )
        for number in range(count)
    ]


def write_events(data_dir: Path, batches: Sequence[list[NewEvent]], *, retention: int = 1000) -> str:
    """Commit these events as the daemon would, and close cleanly; answers the epoch."""
    database = open_database(data_dir, synchronous="normal", now_ms=NOW_MS)
    for batch in batches:
        append(database.writer, database.state, batch, Limits(retention, 86_400_000), NOW_MS)
        database.write_mark()
    close_database(database)
    return database.epoch


def filled(data_dir: Path, *, events: int = 30, retention: int = 10) -> Path:
    """A data directory with two runs of so many events, of which the newest are retained."""
    write_events(data_dir, [events_of(run_id, events) for run_id in RUNS], retention=retention)
    return data_dir


def table(data_dir: Path, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a statement on the database of a directory, or on a file."""
    path = data_dir / "collabd.sqlite3" if data_dir.is_dir() else data_dir
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


EVENTS = (
    "SELECT run_id, sequence_number, user_id, event_type, timestamp, is_critical, client_message_id, state_key,"
    " checksum, message_data FROM {} ORDER BY run_id, sequence_number"
)
RETAINED = EVENTS.format("persisted_collaboration_messages")
KEPT = EVENTS.format("kept_run_state")


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file of a directory, with its content."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def make_old(data_dir: Path) -> Path:
    """A data directory as the first version would have left it."""
    data_dir.mkdir(mode=0o700)
    with closing(sqlite3.connect(data_dir / "collabd.sqlite3", isolation_level=None)) as connection:
        migrate(connection, STEPS[:1])
        connection.execute("INSERT INTO collabd_meta VALUES ('epoch', 'old'), ('opened_at', '1')")
    return data_dir


def make_newer(data_dir: Path) -> Path:
    """A data directory as a version of the future would leave it."""
    filled(data_dir)
    with closing(sqlite3.connect(data_dir / "collabd.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
    return data_dir


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of an export."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of the machine that the tests run on."""
    for name in [name for name in os.environ if name.startswith("COLLABD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(collabd.config_file, "SYSTEM_CONFIG", tmp_path / "etc.toml")
