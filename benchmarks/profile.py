"""Where the daemon's time goes under a workload: `python -m benchmarks.profile "members=100,outstanding=32"`.

Law: looks, and measures nothing that is reported as speed: a profiler slows what it watches. py-spy samples the
interpreter's lines; further words go to it as they are (--native adds C frames). The kernel's part shows in
`perf record -e cpu-clock -g -p PID` (virtual machines often have no cycle counter).
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks import generator
from benchmarks.install import run
from benchmarks.paths import CACHE, PYTHON_ENV
from benchmarks.processes import RunningServer
from benchmarks.servers import COLLABD, running

SECONDS = 4.0
RATE_HZ = 500


def py_spy() -> Path:
    """The profiler, installed when it is not there."""
    tool = PYTHON_ENV / "bin" / "py-spy"
    if not tool.exists():
        run([sys.executable, "-m", "venv", str(PYTHON_ENV)], CACHE)
        run([str(PYTHON_ENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "py-spy"], CACHE)
    return tool


def record_lines(server: RunningServer, group: str, *options: str) -> list[str]:
    """Sampled stacks, outermost first, as `frame;frame;… count` lines."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as out:
        command = [
            str(py_spy()), "record", "--format", "raw", "--output", out.name, "--rate", str(RATE_HZ),
            "--duration", str(int(SECONDS)), "--pid", str(server.process.pid), *options,
        ]  # fmt: skip
        watcher = threading.Timer(1.0, subprocess.run, [command], {"capture_output": True})
        watcher.start()
        generator.rooms(server, COLLABD, group, seconds=SECONDS + 1.5)
        watcher.join()
        time.sleep(0.2)
        return Path(out.name).read_text().splitlines()


def shares(stacks: list[str]) -> tuple[Counter[str], Counter[str]]:
    """(share of each line by itself, share of each function with all it calls), in percent of the samples."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for stack in stacks:
        path, _, count = stack.rpartition(" ")
        frames = path.split(";")
        if frames[-1].startswith("WorkerThread._work"):  # waits for work, though py-spy takes it for busy
            continue
        total += int(count)
        own[frames[-1]] += int(count)
        for name in {frame.rsplit(":", 1)[0] for frame in frames}:
            whole[name] += int(count)
    for counter in (own, whole):
        for name in counter:
            counter[name] = round(counter[name] * 1000 / max(total, 1))
    return own, whole


def main() -> None:
    """Print the heaviest lines and functions, each as a share of the samples."""
    group = sys.argv[1] if len(sys.argv) > 1 else "members=100,outstanding=32,writers=32"
    with running(COLLABD) as server:
        own, whole = shares(record_lines(server, group, *sys.argv[2:]))
    for title, counter in (("lines, own time", own), ("functions, with what they call", whole)):
        print(f"--- {title}, % of samples")
        for name, share in counter.most_common(40):
            print(f"{share / 10:6.1f}  {name}")


if __name__ == "__main__":
    main()
