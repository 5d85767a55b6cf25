"""Runs the load generator against a started server and takes the server's figures at the generator's phases.

Law: the generator says when measuring starts and stops; CPU, memory and file reads are sampled at those lines.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks import install
from benchmarks.processes import RunningServer
from benchmarks.servers import ServerKind

LOAD_TIMEOUT_S = 150.0


class LoadFailed(Exception):
    """The generator could not do its run; the text says what it saw."""


@dataclass
class Sample:
    """The server at one moment: CPU seconds so far, resident bytes, file reads so far."""

    cpu_s: float
    rss_bytes: int
    file_reads: int


@dataclass
class Load:
    """One run of the generator: what it printed at each phase, and the server at that moment."""

    lines: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, Any]:
        """What the generator measured between start and stop."""
        return self.lines["stop"]

    @property
    def cpu_s(self) -> float:
        """The server's CPU seconds between start and stop, never 0 (the clock's tick is 10 ms)."""
        return max(self.samples["stop"].cpu_s - self.samples["start"].cpu_s, 0.01)


@contextmanager
def generator(server: RunningServer, kind: ServerKind, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A started generator, killed at the end or after `LOAD_TIMEOUT_S`."""
    command = [str(install.load_generator()), *words, "--port", str(server.port), "--dialect", kind.dialect]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    guard = threading.Timer(LOAD_TIMEOUT_S, process.kill)
    guard.start()
    try:
        yield process
    finally:
        guard.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def follow(process: subprocess.Popen[str], server: RunningServer, load: Load, until: str) -> None:
    """Read phases up to the one named; `LoadFailed` when the generator ends before it."""
    assert process.stdout is not None
    for line in process.stdout:
        words = json.loads(line)
        phase = str(words["phase"])
        load.samples[phase] = Sample(server.cpu_s(), server.rss_bytes(), server.file_reads())
        load.lines[phase] = words
        if phase == until:
            return
    last = next(reversed(load.lines.values()), {})
    raise LoadFailed(f"the load generator ended before '{until}': {last}")


def rooms_words(kind: ServerKind, groups: tuple[str, ...], options: dict[str, float]) -> list[str]:
    """The generator's words for mode `rooms`."""
    words = ["rooms", "--path", kind.path]
    for group in groups:
        words += ["--group", group]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def rooms(server: RunningServer, kind: ServerKind, *groups: str, **options: float) -> Load:
    """Run mode `rooms`; options such as seconds, warmup, settle, at_once go to the generator as they are."""
    load = Load()
    with generator(server, kind, *rooms_words(kind, groups, options)) as process:
        follow(process, server, load, "stop")
    return load


@contextmanager
def rooms_beside(server: RunningServer, kind: ServerKind, *groups: str, **options: float) -> Iterator[None]:
    """Mode `rooms` in a process of its own, under load for the length of the block."""
    with generator(server, kind, *rooms_words(kind, groups, options)) as process:
        follow(process, server, Load(), "start")
        yield


def http(server: RunningServer, kind: ServerKind, path: str, *, connections: int, seconds: float) -> Load:
    """Run mode `http` on one path (%c becomes the connection's number)."""
    load = Load()
    words = ["http", "--path", path, "--connections", str(connections), "--seconds", str(seconds)]
    with generator(server, kind, *words) as process:
        follow(process, server, load, "stop")
    if load.figures["not_ok"] or load.figures["answers"] == 0:
        raise LoadFailed(f"not every answer was 200: {load.figures}")
    return load
