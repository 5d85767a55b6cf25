"""The short form of `python -m tests.torture power`."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.torture.power import STYLES, Op, disk_after, parse, torture

STATES = 200

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None and "CI" not in os.environ, reason="NOT RUN: needs strace, to record what is written"
)


@needs_strace
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_power_cut_at_any_moment_loses_doubles_and_hides_nothing(tmp_path: Path) -> None:
    """Whatever the disk kept of what was not synced: everything acknowledged is there, under the same epoch."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    report = torture(STATES, seed, tmp_path)
    print(report.text())
    assert report.states == STATES
    assert report.syncs > 45  # one for each commit at least
    assert not report.faults, report.text()


@needs_strace
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_without_a_sync_per_commit_the_same_cuts_lose_events(tmp_path: Path) -> None:
    """What synchronous = "normal" gives up, and that these tests would see it."""
    report = torture(60, 7, tmp_path, synchronous="normal")
    print(report.text())
    assert any("lost" in fault or "epoch" in fault for fault in report.faults)


WRITES = [
    Op("create", "log"),
    Op("write", "log", 0, b"a" * 600),
    Op("sync", "log"),
    Op("write", "log", 600, b"b" * 600),
    Op("write", "log", 1200, b"c" * 10),
]


@pytest.mark.parametrize("style", STYLES)
def test_what_was_synced_is_on_every_disk(style: str) -> None:
    """However little of the rest is."""
    for seed in range(20):
        content = disk_after(WRITES, style, random.Random(seed))["log"]
        assert content[:600] == b"a" * 600
        assert set(content) <= set(b"abc\0")


def test_what_was_not_synced_may_be_there_or_not_or_in_part() -> None:
    """Each of it by itself, in the disk's sectors."""
    disks = {style: {disk_after(WRITES, style, random.Random(n))["log"] for n in range(50)} for style in STYLES}
    assert disks["all"] == {b"a" * 600 + b"b" * 600 + b"c" * 10}
    assert disks["none"] == {b"a" * 600}
    assert b"a" * 600 + bytes(600) + b"c" * 10 in disks["some"]
    assert any(b"b" in disk and disk.count(b"b") < 600 for disk in disks["sectors"])


def test_a_file_that_was_never_synced_may_be_gone() -> None:
    """Its name too has to reach the disk."""
    left = [disk_after([Op("create", "new")], "some", random.Random(seed)) for seed in range(20)]
    assert {} in left
    assert {"new": b""} in left


def test_a_trace_is_read_as_what_was_done(tmp_path: Path) -> None:
    """Offsets, bytes and names, and nothing of other files."""

    def text(value: str) -> str:
        return "".join(f"\\x{byte:02x}" for byte in value.encode())

    name = text(str(tmp_path / "log"))
    trace = "\n".join(
        [
            f'openat(AT_FDCWD<{text("/")}>, "{name}", O_RDWR|O_CREAT, 0600) = 5<{name}>',
            f'openat(AT_FDCWD<{text("/")}>, "{text("/etc/passwd")}", O_RDONLY) = 6<{text("/etc/passwd")}>',
            f'pwrite64(5<{name}>, "{text("hello")}", 5, 42) = 5',
            f"ftruncate(5<{name}>, 7) = 0",
            f"fdatasync(5<{name}>) = 0",
            f"fsync(7<{text(str(tmp_path))}>) = 0",
            f'unlink("{name}") = 0',
            f'unlink("{name}") = -1 ENOENT (No such file or directory)',
            f'write(1<{text("pipe:[1]")}>, "{text("acked 3")}", 7) = 7',
            "+++ exited with 0 +++",
        ]
    )
    assert parse(trace, tmp_path) == [
        Op("create", "log"),
        Op("write", "log", 42, b"hello"),
        Op("cut", "log", 7),
        Op("sync", "log"),
        Op("sync", ""),
        Op("unlink", "log"),
        Op("said", "", data=b"acked 3"),
    ]
