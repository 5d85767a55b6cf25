"""A server under test as the operating system sees it: its processes, their CPU time, memory and file reads.

Law: figures come from /proc only, summed over the process and all its children; nothing is asked of the server.
"""

import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
READY = re.compile(r"ready at http://127\.0\.0\.1:(\d+)")
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0


@dataclass
class RunningServer:
    """A started server. `ready_s`: seconds from its start until it said, or showed, that it was ready."""

    process: subprocess.Popen[bytes]
    port: int
    ready_s: float
    directory: Path

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    found += [int(child) for child in children.read_text().split()]
        return found

    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system, with those of children that have ended."""
        ticks = 0
        for pid in self.pids():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(int(field) for field in fields[11:15])
        return ticks * TICK_S

    def rss_bytes(self) -> int:
        """Resident memory in bytes."""
        total = 0
        for pid in self.pids():
            with suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                total += int(status.split("VmRSS:")[1].split()[0]) * 1024
        return total

    def file_reads(self) -> int:
        """System calls that read files (sockets are read by other calls): how a database read shows from outside."""
        total = 0
        for pid in self.pids():
            with suppress(OSError):
                total += int(Path(f"/proc/{pid}/io").read_text().split("syscr:")[1].split()[0])
        return total


@contextmanager
def started(
    command: list[str], env: dict[str, str], directory: Path, port: int | None = None
) -> Iterator[RunningServer]:
    """Start a server, wait until it is ready, and end it whatever happens.

    A server that is given a `port` is ready when that accepts; any other prints a line with its address.
    """
    begun = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, env=env, cwd=directory,
            start_new_session=True,
        )  # fmt: skip
        try:
            found = wait_accepting(process, port) if port else read_port(process)
            if found is None:
                raise RuntimeError(f"{Path(command[0]).name} did not start")
            yield RunningServer(process, found, time.monotonic() - begun, directory)
        except Exception as error:
            log.seek(0)
            error.add_note(f"the server's last words: {log.read()[-600:].decode(errors='replace')}")
            raise
        finally:
            end(process)


def read_port(process: subprocess.Popen[bytes]) -> int | None:
    """The port from the line that says ready; None when the process ends, or takes too long, before that."""
    assert process.stdout is not None
    guard = threading.Timer(START_TIMEOUT_S, process.kill)
    guard.start()
    try:
        for line in process.stdout:
            if match := READY.search(line.decode(errors="replace")):
                return int(match[1])
        return None
    finally:
        guard.cancel()


def wait_accepting(process: subprocess.Popen[bytes], port: int) -> int | None:
    """The port once it accepts; None when the process ends, or takes too long, before that."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return port
        time.sleep(0.01)
    return None


def end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its session's children, politely first."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
