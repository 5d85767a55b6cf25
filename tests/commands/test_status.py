"""`collabd status` and `collabd bench`, against the real process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result

from collabd.operating import bench
from tests.commands.support import RUNS, fails, filled, make_newer, make_old, run
from tests.support.daemon import Daemon, running_daemon


def status_of(daemon: Daemon, data: Path, *options: str) -> Result:
    """The status as the operator of this daemon asks for it, without --url."""
    return run("status", *options, SERVER__BIND=f"127.0.0.1:{daemon.port}", STORAGE__DATA_DIR=str(data))


def not_running(data: Path, *options: str) -> Result:
    """The status where nothing answers: a port that nobody can listen on by accident."""
    return run("status", *options, SERVER__BIND="127.0.0.1:1", STORAGE__DATA_DIR=str(data))


@pytest.mark.e2e
def test_the_status_of_a_running_server_tells_what_it_keeps(tmp_path: Path) -> None:
    """For people and for scripts."""
    data = filled(tmp_path / "data")
    with running_daemon(data) as daemon:
        result = status_of(daemon, data)
        assert result.exit_code == 0, result.output
        assert f"running at {daemon.url}: healthy, 0 sessions in 0 runs" in result.stdout
        assert "20 events in 2 runs, the oldest" in result.stdout
        report = json.loads(status_of(daemon, data, "--json").stdout)
        assert (report["running"], report["data"]["events"], report["data"]["runs"]) == (True, 20, 2)
        assert report["storage"]["epoch"] == report["data"]["epoch"]
        assert report["storage"]["databaseBytes"] == (data / "collabd.sqlite3").stat().st_size
        assert report["storage"]["walBytes"] == (data / "collabd.sqlite3-wal").stat().st_size
        # Of a server elsewhere its own word is all there is.
        away = run("status", "--url", daemon.url, "--json", STORAGE__DATA_DIR=str(tmp_path / "none"))
        assert json.loads(away.stdout)["data"] is None
        assert "retained, the oldest" in run("status", "--url", daemon.url).stdout


@pytest.mark.e2e
def test_a_backup_and_an_export_of_a_running_server_are_whole(tmp_path: Path) -> None:
    """And what must not be done to a running server is refused, by one line that names its process."""
    data = filled(tmp_path / "data")
    with running_daemon(data) as daemon:
        event = {"events": [{"eventType": "GRAFT", "data": {"after": "x"}, "clientMessageId": "one"}]}
        status, answer = daemon.request(f"/api/runs/{RUNS[0]}/collaboration/events?userId=ann", event, "POST")
        assert status == 200, answer
        assert run("backup", tmp_path / "b", "--data-dir", data).exit_code == 0
        assert run("export", "--output", tmp_path / "all.jsonl", "--data-dir", data).exit_code == 0
        for arguments in (["compact"], ["import", tmp_path / "all.jsonl"], ["restore", tmp_path / "b"]):
            assert f"in use by another collabd (process {daemon.process.pid})" in fails(*arguments, "--data-dir", data)
        assert len(daemon.replay(RUNS[0])) == 11
        assert daemon.stop() == 0
    run("restore", tmp_path / "b", "--data-dir", tmp_path / "new")
    with running_daemon(tmp_path / "new") as daemon:
        assert daemon.replay(RUNS[0])[-1]["sequenceNumber"] == 31
    log = (tmp_path / "new.log").read_text()
    assert "new epoch" not in log


def test_a_server_that_does_not_run_leaves_3_and_its_data_is_told(tmp_path: Path) -> None:
    """What lies there can be seen without it."""
    result = not_running(filled(tmp_path / "data"))
    assert result.exit_code == 3
    assert "not running: http://127.0.0.1:1 does not answer" in result.stdout
    assert "20 events in 2 runs" in result.stdout
    report = json.loads(not_running(tmp_path / "data", "--json").stdout)
    assert (report["running"], report["data"]["events"]) == (False, 20)


def test_the_status_says_where_there_is_no_database_and_where_one_is_old(tmp_path: Path) -> None:
    """And makes none by looking."""
    assert "no database yet" in not_running(tmp_path / "none").stdout
    assert not (tmp_path / "none").exists()
    assert "schema 1 (to be migrated)" in not_running(make_old(tmp_path / "old")).stdout


def test_the_status_of_a_newer_database_is_one_line(tmp_path: Path) -> None:
    """An old program does not guess what lies there."""
    result = not_running(make_newer(tmp_path / "newer"))
    assert result.exit_code == 2
    assert "made by a newer collabd" in result.stderr


@pytest.mark.e2e
def test_a_bench_measures_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Every figure was measured, and the data of the directory is not touched."""
    data = filled(tmp_path / "data")
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    result = run("bench", "--data-dir", data, "--seconds", "0.5", "--members", "3", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    for name in ("fsyncMs", "ackMs", "loadedAckMs"):
        assert 0 < report[name]["p50"] <= report[name]["p99"]
    assert report["eventsPerSecond"] > 0
    # Every member sees every event, the sender its own too.
    assert report["deliveriesPerSecond"] == pytest.approx(4 * report["eventsPerSecond"], rel=0.2)
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before
    assert f"disk of {data}" in bench.in_words(report)


def test_a_bench_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails("bench", "--data-dir", tmp_path / "file" / "data")
