from __future__ import annotations

import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from collabd.store.sqlite import open_store
from tests.store.support import RUN, event

CYCLES = 4

WRITER = """
import sys
from functools import partial
from pathlib import Path
import trio
from collabd.store.sqlite import open_store
from tests.store.support import event

async def main() -> None:
    async with open_store(Path(sys.argv[1]), retention=50_000) as store:
        number = int(sys.argv[2])
        while True:
            batch = [event(str(n), data=b"%d" % n) for n in range(number, number + 7)]
            result = await store.append(batch)
            number += 7
            print(store.epoch, result.outcomes[-1].sequence_number, flush=True)

trio.run(main)
"""


async def killed_writer(data_dir: Path, begin: int, acknowledgements: int) -> list[bytes]:
    """Start a writer, kill it in mid-stream after so many acknowledgements; the lines it said."""
    command = [sys.executable, "-c", WRITER, str(data_dir), str(begin)]
    lines = b""
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        while lines.count(b"\n") < acknowledgements:
            lines += await process.stdout.receive_some()
        process.send_signal(signal.SIGKILL)
        # What it said before it died still stands in the pipe, and was acknowledged.
        while more := await process.stdout.receive_some():
            lines += more
    return lines.split(b"\n")[:-1]


@pytest.mark.e2e
async def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Whenever the writer dies, each acknowledged event is there once, numbers are gapless, the epoch is the same."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    epochs, begin = set(), 0
    for _ in range(CYCLES):
        lines = await killed_writer(tmp_path, begin, dice.randint(1, 60))
        epoch, acknowledged = lines[-1].split()
        epochs.add(epoch.decode())
        async with open_store(tmp_path, retention=50_000) as store:
            epochs.add(store.epoch)
            stored = (await store.read(RUN, first=1)).events
            assert [e.sequence_number for e in stored] == list(range(1, len(stored) + 1))
            assert [e.data for e in stored] == [b"%d" % n for n in range(len(stored))]
            assert len(stored) >= int(acknowledged)
            # A client that heard nothing sends its last batch again.
            last = [event(str(n), data=b"%d" % n) for n in range(max(0, len(stored) - 7), len(stored) + 1)]
            outcomes = (await store.append(last)).outcomes
            assert [outcome.duplicate for outcome in outcomes] == [True] * (len(last) - 1) + [False]
            begin = len(stored) + 1
    assert len(epochs) == 1
