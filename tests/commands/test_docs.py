"""docs/cli.md and docs/data.md say what the commands and the database are."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from collabd import exits
from tests.commands.rendering import all_commands, section
from tests.commands.support import RUNS, filled, run

DOCS = Path(__file__).parents[2] / "docs"
CLI = (DOCS / "cli.md").read_text()
DATA = (DOCS / "data.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```$", DATA, re.MULTILINE | re.DOTALL)
MAY_BE_EMPTY = ("without a gap", "revoked")


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of a database with events and kept state, as the page would have one look at it."""
    run("backup", tmp_path / "backup.sqlite3", "--data-dir", filled(tmp_path / "data"))
    return tmp_path / "backup.sqlite3"


@pytest.mark.parametrize("name", all_commands())
def test_every_command_stands_in_the_reference_as_it_is(name: str) -> None:
    """`python -m tests.commands.rendering` prints it anew."""
    assert section(name, all_commands()[name]) + "\n" in CLI


def test_the_reference_names_no_command_that_is_gone() -> None:
    """And the overview names each one."""
    reference = CLI.split("## Reference", 1)[1]
    assert re.findall(r"^### (.+)$", reference, re.MULTILINE) == sorted(all_commands())
    overview = CLI.split("| to | type |", 1)[1].split("\n\n", 1)[0]
    assert set(re.findall(r"`([\w-]+)`", overview)) == set(all_commands())


def test_the_exit_statuses_of_the_page_are_those_of_the_code() -> None:
    """One table, one module."""
    table = CLI.split("## Exit status", 1)[1].split("\n## ", 1)[0]
    documented = {int(status) for status in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == {value for name, value in vars(exits).items() if name.isupper()}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.split("\n", 1)[0][:50])
def test_every_query_of_the_page_runs_and_finds_something(query: str, backup: Path) -> None:
    """But for those whose right answer is nothing."""
    heading = DATA.split(query, 1)[0].rstrip().removesuffix("```sql").rstrip().splitlines()[-1]
    with closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro", uri=True)) as connection:
        if "'$.after'" in query:
            connection = changed(backup)
        rows = connection.execute(query).fetchall()
        connection.close()
    assert rows != [] or any(words in heading for words in MAY_BE_EMPTY)


def changed(path: Path) -> sqlite3.Connection:
    """A copy in memory with an event such as the page asks for."""
    with closing(sqlite3.connect(path)) as source:
        copy = sqlite3.connect(":memory:")
        source.backup(copy)
    copy.execute("UPDATE persisted_collaboration_messages SET event_type = 'GRAFT', message_data = '{\"after\":1}'")
    return copy


def test_the_query_for_gaps_finds_one(backup: Path) -> None:
    """A query whose right answer is nothing has to be seen finding something."""
    (query,) = [query for query in QUERIES if "HAVING max" in query]
    with closing(changed(backup)) as copy:
        assert copy.execute(query).fetchall() == []
        copy.execute(
            f"DELETE FROM persisted_collaboration_messages WHERE run_id = '{RUNS[0]}' AND sequence_number = 25"
        )
        assert copy.execute(query).fetchall() == [(RUNS[0],)]


def test_every_table_and_column_is_explained(backup: Path) -> None:
    """And none that is gone."""
    table = DATA.split("| table | column | meaning |\n|---|---|---|\n", 1)[1].split("\n\n", 1)[0]
    documented: dict[str, set[str]] = {}
    name = ""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`") or name
        documented.setdefault(name, set()).update(re.findall(r"`(\w+)`", cells[1]))
    with closing(sqlite3.connect(backup)) as connection:
        found = "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'"
        there: dict[str, set[str]] = {}
        for table_name, column in connection.execute(found):
            there.setdefault(table_name, set()).add(column)
        indexes = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql <> ''")
        ]
    assert there.pop("_sqlite_migrations")
    assert documented == there
    assert all(f"`{index}`" in DATA for index in indexes if not index.startswith("idx__sqlite"))


def test_the_file_opens_with_sqlite_utils(backup: Path) -> None:
    """As the page has it."""
    command = [sys.executable, "-m", "sqlite_utils", "tables", str(backup), "--counts", "--csv"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "persisted_collaboration_messages,20" in listed


def test_the_file_opens_with_sqlite3(backup: Path) -> None:
    """As the page has it, and leaves no file beside it."""
    if shutil.which("sqlite3") is None:
        assert not os.environ.get("CI"), "CI installs Debian's sqlite3"
        pytest.skip("NOT TESTED: no sqlite3 here (Debian: apt install sqlite3)")
    command = ["sqlite3", "-readonly", str(backup), "SELECT count(*) FROM ai_run"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2\n"
    assert [path.name for path in backup.parent.iterdir() if path.name.startswith("backup")] == ["backup.sqlite3"]
