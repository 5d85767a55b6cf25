"""Daemons without the second that importing takes: a process that has collabd imported forks one for each cycle.

A forked daemon is the real one, `collabd.daemon.run_daemon` with its own configuration, data directory, port and log.
Only what no promise hangs on is left out: building the parts of URLs that nobody asks for. It may carry one failpoint
(failpoints.py), which is patched in after the fork and before anything runs.

    python -m tests.torture.fork_server FD      # what ForkServer starts: FD is its end of a socket pair
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]


class ForkServer:
    """Starts daemons; used as a context, it ends its process and whatever of its daemons still lives."""

    def __init__(self) -> None:
        self._living: set[int] = set()

    def __enter__(self) -> ForkServer:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.torture.fork_server", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                env={name: value for name, value in os.environ.items() if not name.startswith("COLLABD_")},
            )
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self._living):
            self.kill(pid)
            self.wait(pid)
        self._ours.close()
        self._process.wait(20)

    def start(self, data_dir: Path, settings: Mapping[str, str], failpoint: tuple[str, int] | None) -> tuple[int, int]:
        """Fork a daemon on a free port of loopback: its process id, and the read end of its standard output.

        That end says where it is ready, `reached` when its failpoint kills it, and comes to its end when it dies.
        """
        reading, writing = os.pipe()
        request = {"data_dir": str(data_dir), "settings": dict(settings), "failpoint": failpoint}
        with os.fdopen(writing, "wb"):
            socket.send_fds(self._ours, [json.dumps(request).encode()], [writing])
            pid = int(self._ours.recv(64))
        self._living.add(pid)
        return pid, reading

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a daemon that may be gone."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def wait(self, pid: int) -> int:
        """The exit status of a daemon that has ended, or is about to; negative: by that signal."""
        self._ours.send(json.dumps({"wait": pid}).encode())
        status = int(self._ours.recv(64))
        self._living.discard(pid)
        return status


def serve(channel: socket.socket) -> None:
    """Fork a daemon for each request, until the other end is closed."""
    warm_up()
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, 65536, 1)
        if not request:
            return
        asked = json.loads(request)
        if "wait" in asked:
            _, status = os.waitpid(asked["wait"], 0)
            channel.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            become_daemon(channel, descriptors[0], asked)
        for descriptor in descriptors:
            os.close(descriptor)
        channel.send(str(pid).encode())


def warm_up() -> None:
    """Import all that a daemon needs, compile no URL builders, and have checkpoints due 128 times as often."""
    from werkzeug.routing.rules import Rule

    from collabd.config import load_config
    from collabd.store import opening, sqlite

    for name in ("collabd.daemon", "tests.torture.failpoints", "encodings.idna"):
        importlib.import_module(name)

    def no_url(*_: object, **__: object) -> Any:
        return no_url

    Rule._compile_builder = no_url  # type: ignore[method-assign]
    limit = opening.WAL_LIMIT_BYTES // 128
    sqlite.WAL_LIMIT_BYTES = limit  # type: ignore[attr-defined]
    cut_back = f"PRAGMA journal_size_limit = {opening.WAL_LIMIT_BYTES}"
    assert cut_back in opening._WRITER_PRAGMAS
    opening._WRITER_PRAGMAS = tuple(  # type: ignore[misc,assignment]
        pragma if pragma != cut_back else f"PRAGMA journal_size_limit = {limit}" for pragma in opening._WRITER_PRAGMAS
    )
    load_config(None, {})  # reads every setting's type
    gc.collect()
    gc.freeze()
    gc.collect = lambda *_: 0  # looking at all that was imported once more would copy its memory


def become_daemon(channel: socket.socket, output: int, asked: dict[str, Any]) -> NoReturn:
    """Be `collabd serve`, in a process that was just forked."""
    from collabd.config import load_config
    from collabd.daemon import run_daemon
    from tests.torture.failpoints import arm

    status = 70
    try:
        channel.close()
        log = os.open(f"{asked['data_dir']}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(log, 2)
        os.close(output)
        os.close(log)
        environment = {f"COLLABD_{name}": value for name, value in asked["settings"].items()}
        options = {"server.bind": "127.0.0.1:0", "storage.data_dir": asked["data_dir"]}
        config = load_config(None, environment, options=options)
        if asked["failpoint"] is not None:
            arm(*asked["failpoint"])
        status = run_daemon(config, lambda: config)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # The copies of the fork server's own buffers and handlers are nobody's business here.
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
