"""A power cut at any moment: the writes and syncs of the real store are recorded, and crashes replayed from them.

What was synced before the cut is there. Of what was not, anything may be: all of it, none, some writes without the
ones before them, a write torn between its sectors (the way of "All File Systems Are Not Created Equal", OSDI 2014,
called ALICE). Each such disk is opened by the real store and judged.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory
from typing import Final, Literal, NamedTuple

from collabd.errors import DatabaseUnusable
from collabd.store.journal import append
from collabd.store.opening import DATABASE_NAME, close_database, open_database, open_reader
from collabd.store.reading import Query, read_page
from tests.torture.power_writer import KEPT, LIMITS, NOW_MS, RUN, event

ROOT: Final = Path(__file__).parents[2]
SECTOR: Final = 512
STYLES: Final = ("all", "none", "some", "torn", "sectors")
CALLS: Final = "openat,pwrite64,write,fsync,fdatasync,ftruncate,rename,unlink,mkdir"

Synchronous = Literal["full", "normal"]


class Op(NamedTuple):
    """One thing that the writer asked of the system, or said: `what` is create, write, cut, sync, unlink, said."""

    what: str
    name: str
    offset: int = 0
    data: bytes = b""


# Recording


def record(data_dir: Path, synchronous: Synchronous, seed: int) -> list[Op]:
    """Run the writer under strace; everything that it did to the files of its directory, in order."""
    log = data_dir.with_name(data_dir.name + ".strace")
    command = ["strace", "-y", "-xx", "-s", "1000000", "-e", "signal=none", "-e", f"trace={CALLS}", "-o", str(log)]
    writer = [sys.executable, "-m", "tests.torture.power_writer", str(data_dir), synchronous, str(seed)]
    subprocess.run([*command, *writer], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return parse(log.read_text(), data_dir)


_LINE = re.compile(r"(\w+)\((.*)\) = (-?\d+)")
_STRINGS = re.compile(r'(?:<|")((?:\\x[0-9a-f]{2})*)(?:>|")')


def parse(trace: str, data_dir: Path) -> list[Op]:
    """The operations that a trace (strace -y -xx) has on files of a directory, and what was said on standard output."""
    ops: list[Op] = []
    known: set[str] = set()
    for line in trace.splitlines():
        found = _LINE.match(line)
        if found is None or found[3].startswith("-"):
            continue
        call, arguments = found[1], found[2]
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _STRINGS.findall(arguments)]
        if call == "write" and arguments.startswith("1<"):
            ops.append(Op("said", "", data=texts[1]))
            continue
        path = Path((texts[1] if call == "openat" else texts[0]).decode(errors="replace")) if texts else Path()
        if path != data_dir and path.parent != data_dir:
            continue
        if path.name.endswith("-shm"):  # an index that every start makes anew
            continue
        ops += _operations(call, arguments, texts, path.name if path != data_dir else "", known)
    return ops


def _operations(call: str, arguments: str, texts: list[bytes], name: str, known: set[str]) -> list[Op]:
    if call == "openat":
        if "O_CREAT" not in arguments or name in known:
            return []
        known.add(name)
        return [Op("create", name)]
    if call == "unlink":
        known.discard(name)
        return [Op("unlink", name)]
    if call in ("fsync", "fdatasync"):
        return [Op("sync", name)]
    if call == "ftruncate":
        return [Op("cut", name, offset=int(arguments.rpartition(", ")[2]))]
    if call == "pwrite64":
        return [Op("write", name, int(arguments.rpartition(", ")[2]), texts[1])]
    if call == "mkdir":
        return []
    raise AssertionError(f"the writer calls {call} on {name}, which no crash is made of yet")


# Crashing


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)
    is_safe: bool = False
    """Whether its name is on the disk."""
    is_unlinked: bool = False


def disk_after(ops: list[Op], style: str, dice: Random) -> dict[str, bytes]:
    """The files that a power cut right after these operations leaves, by one of STYLES."""
    files: dict[str, _File] = {}
    for op in ops:
        if op.what == "create":
            files[op.name] = _File()
        elif op.what in ("write", "cut"):
            files[op.name].pending.append(op)
        elif op.what == "unlink":
            files[op.name].is_unlinked = True
        elif op.what == "sync":
            _sync(files, op.name)
    left = {}
    for name, file in files.items():
        if _is_there(file, style, dice):
            for number, op in enumerate(file.pending):
                _apply(file.content, op, style, dice, is_last=number == len(file.pending) - 1)
            left[name] = bytes(file.content)
    return left


def _sync(files: dict[str, _File], name: str) -> None:
    if name:
        file = files[name]
        for op in file.pending:
            _apply(file.content, op, "all", None, is_last=False)
        file.pending.clear()
        file.is_safe = True  # as every journaling file system does
        return
    for known in [known for known, file in files.items() if file.is_unlinked]:
        del files[known]
    for file in files.values():
        file.is_safe = True


def _is_there(file: _File, style: str, dice: Random) -> bool:
    if file.is_unlinked:
        return style != "all" and dice.random() < 0.5
    return file.is_safe or style == "all" or (style != "none" and dice.random() < 0.5)


def _apply(content: bytearray, op: Op, style: str, dice: Random | None, *, is_last: bool) -> None:
    """Let an operation reach the disk: as a whole, not at all, or some of its sectors."""
    pieces = style == "sectors" or (style == "torn" and is_last)
    if style == "none" or (style == "some" and dice is not None and dice.random() < 0.5):
        return
    if op.what == "cut":
        if pieces and dice is not None and dice.random() < 0.5:
            return
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
        return
    at = 0
    while at < len(op.data):
        # Sectors of the disk, not of the write.
        size = min(SECTOR - (op.offset + at) % SECTOR, len(op.data) - at)
        if not pieces or dice is None or dice.random() < 0.5:
            begin = op.offset + at
            content.extend(bytes(max(0, begin + size - len(content))))
            content[begin : begin + size] = op.data[at : at + size]
        at += size


# Judging


class Told(NamedTuple):
    """What the writer had said by the cut, and the most that it had begun to write."""

    epoch: str | None
    acknowledged: int
    begun: int


def told_by(ops: list[Op], cut: int) -> Told:
    """What was said before an operation, and how far the commit after it goes."""
    epoch, acknowledged, begun = None, 0, None
    for number, op in enumerate(ops):
        if op.what == "said":
            word, value = op.data.split()
            if number >= cut:
                begun = int(value) if word == b"acked" and begun is None else begun
            elif word == b"acked":
                acknowledged = int(value)
            else:
                epoch = value.decode()
    return Told(epoch, acknowledged, acknowledged if begun is None else begun)


def judge(files: dict[str, bytes], told: Told, data_dir: Path) -> str | None:
    """Have the real store open these files; what is wrong with what it makes of them, None when nothing is."""
    data_dir.mkdir(mode=0o700)
    for name, content in files.items():
        (data_dir / name).touch(0o600)
        (data_dir / name).write_bytes(content)
    try:
        database = open_database(data_dir, synchronous="normal", now_ms=NOW_MS)
    except DatabaseUnusable as error:
        return f"refused: {str(error).partition(': ')[2]}"
    try:
        if told.epoch not in (None, database.epoch):
            return f"a new epoch, with {told.acknowledged} acknowledged"
        with closing(open_reader(data_dir / DATABASE_NAME)) as reader:
            events = read_page(reader, Query(RUN, 1)).events
        head = events[-1].sequence_number if events else 0
        if head < told.acknowledged:
            return f"{told.acknowledged - head} acknowledged events are lost"
        if head > told.begun:
            return f"{head} events, and {told.begun} were sent"
        if [stored.sequence_number for stored in events] != list(range(max(0, head - KEPT) + 1, head + 1)):
            return "a hole"
        if any(stored.data != event(stored.sequence_number).data for stored in events):
            return "an altered event"
        again = append(database.writer, database.state, [event(n) for n in range(1, head + 2)], LIMITS, NOW_MS)
        if [(outcome.sequence_number, outcome.duplicate) for outcome in again.outcomes] != [
            *((n, True) for n in range(1, head + 1)),
            (head + 1, False),
        ]:
            return "what is sent again is doubled or misnumbered"
    finally:
        close_database(database)
    return None


@dataclass
class Report:
    """How many disks were opened, and what was wrong with which."""

    states: int = 0
    operations: int = 0
    syncs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: str = ""
    seconds: float = 0.0

    def text(self) -> str:
        """A line or two for a person."""
        faults = (
            ", ".join(f"{count} × {fault}" for fault, count in self.faults.most_common(5))
            or "0 lost, 0 doubled, 0 holes"
        )
        return (
            f"{self.states} disks after a power cut in {self.operations} operations ({self.syncs} syncs), "
            f"{self.seconds:.0f} s: {faults}{self.first}"
        )


def torture(
    states: int, seed: int, place: Path, *, synchronous: Synchronous = "full", say: Callable[[str], None] = print
) -> Report:
    """Record one writer, and judge so many of the disks that a power cut may leave of it."""
    started, dice = time.monotonic(), Random(seed)
    ops = record(place / "written", synchronous, seed)
    report = Report(operations=len(ops), syncs=sum(op.what == "sync" for op in ops))
    for number in range(states):
        # Every tenth cut comes while the database is made: the one time that is unlike all others.
        cut = dice.randint(0, 60 if number % 10 == 0 else len(ops))
        style = STYLES[dice.randrange(len(STYLES))]
        data_dir = place / "cut"
        fault = judge(disk_after(ops[:cut], style, dice), told_by(ops, cut), data_dir)
        shutil.rmtree(data_dir)
        report.states += 1
        if fault is not None:
            report.faults[fault] += 1
            report.first = report.first or f"; the first after operation {cut}, {style!r}: {fault}"
        if number % 1000 == 999:
            say(f"{number + 1} disks")
    report.seconds = time.monotonic() - started
    return report


def main(arguments: list[str]) -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture power", description=__doc__)
    parser.add_argument("--states", type=int, default=2_000, help="disks to open (2000)")
    parser.add_argument("--synchronous", choices=("full", "normal"), default="full", help="as storage.synchronous")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32), help="repeats what it draws")
    parser.add_argument("--place", type=Path, help="directory to work in (a temporary one)")
    asked = parser.parse_args(arguments)
    print(f"seed {asked.seed}", flush=True)
    with TemporaryDirectory(prefix="collabd-power-", dir=asked.place) as place:
        report = torture(asked.states, asked.seed, Path(place), synchronous=asked.synchronous)
    print(report.text())
    return 1 if report.faults else 0
