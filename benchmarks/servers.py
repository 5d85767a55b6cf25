"""The servers that are compared, each in its most favourable plain configuration: no compression, one process.

Law: how to install and start each, and how the load generator has to address it. What is asked of it stands in
workloads.py.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import install
from benchmarks.paths import CACHE, PEERS, PROJECT
from benchmarks.processes import RunningServer, free_port, started


@dataclass(frozen=True)
class Start:
    """How to start a server: its command, what it adds to the environment, its port if it cannot choose one."""

    command: list[str]
    env: dict[str, str]
    port: int | None = None


@dataclass(frozen=True)
class ServerKind:
    """A server that can be measured. `start` installs what is needed and may raise `install.Missing`."""

    name: str
    title: str
    dialect: str
    path: str
    start: Callable[[Path], Start]


NO_LIMITS = {
    f"COLLABD_LIMITS__{key}": "0"
    for key in (
        "MESSAGES_PER_SECOND",
        "MESSAGE_BURST",
        "BYTES_PER_SECOND",
        "CONNECTIONS",
        "CONNECTIONS_PER_ADDRESS",
        "CONNECTIONS_PER_RUN",
        "CONNECTIONS_PER_USER",
    )
}


def start_collabd(directory: Path) -> Start:
    """This checkout's daemon, on an empty data directory, without limits, otherwise as it comes."""
    data = directory / "data"
    command = [sys.executable, "-m", "collabd", "serve", "--bind", "127.0.0.1:0", "--data-dir", str(data)]
    return Start(command, {"PYTHONPATH": str(PROJECT), **NO_LIMITS})


def start_uwebsockets(directory: Path) -> Start:
    """uWebSockets pub/sub through socketify."""
    port = free_port()
    return Start([str(install.socketify()), str(PEERS / "uwebsockets.py"), str(port)], {}, port)


def start_node_ws(directory: Path) -> Start:
    """Node `ws` and a loop over the room."""
    modules = install.node_modules()
    return Start(["node", str(PEERS / "node_ws.js")], {"NODE_PATH": str(modules), "NODE_ENV": "production"})


def start_socketio(directory: Path) -> Start:
    """Socket.IO rooms."""
    modules = install.node_modules()
    return Start(["node", str(PEERS / "socketio.js")], {"NODE_PATH": str(modules), "NODE_ENV": "production"})


def start_nchan(directory: Path) -> Start:
    """nginx with Nchan, its configuration filled in."""
    nginx, module = install.nginx_with_nchan()
    port = free_port()
    text = (PEERS / "nchan.conf").read_text()
    for word, value in (("MODULE", module), ("DIRECTORY", directory), ("PORT", port)):
        text = text.replace(word, str(value))
    configuration = directory / "nginx.conf"
    configuration.write_text(text)
    return Start([str(nginx), "-e", "stderr", "-p", str(directory), "-c", str(configuration)], {}, port)


def start_quart_empty(directory: Path) -> Start:
    """An empty Quart-Trio route: for the comparison of polls only."""
    return Start([sys.executable, str(PEERS / "quart_empty.py")], {})


COLLABD = ServerKind(
    "collabd", "collabd", "collabd", "/ws/runs/%r/collaboration?userId=user-%c", start_collabd
)  # fmt: skip
UWEBSOCKETS = ServerKind("uwebsockets", "uWebSockets (socketify)", "plain", "/room/%r", start_uwebsockets)
NCHAN = ServerKind("nchan", "Nchan (nginx)", "nchan", "/room/%r", start_nchan)
NODE_WS = ServerKind("ws", "Node ws", "plain", "/room/%r", start_node_ws)
SOCKETIO = ServerKind(
    "socketio", "Socket.IO", "socketio", "/socket.io/?EIO=4&transport=websocket&room=%r", start_socketio
)  # fmt: skip
QUART_EMPTY = ServerKind("quart-empty", "empty Quart-Trio route", "http", "/", start_quart_empty)

KINDS = {kind.name: kind for kind in (COLLABD, UWEBSOCKETS, NCHAN, NODE_WS, SOCKETIO, QUART_EMPTY)}


@contextmanager
def running(kind: ServerKind) -> Iterator[RunningServer]:
    """A fresh server of this kind, on an empty directory of its own on the project's disk, gone afterwards."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as name:
        directory = Path(name)
        start = kind.start(directory)
        env = {key: value for key, value in os.environ.items() if not key.startswith("COLLABD_")}
        with started(start.command, {**env, **start.env}, directory, start.port) as server:
            yield server
