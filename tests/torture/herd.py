"""Herds: everybody comes back at once after a restart, over WebSocket, over TLS, by polling.

    python -m tests.torture herd [--clients 5000] [--tls 2000] [--pollers 2000] [--seed S]

Law of this file: a herd is judged by the oracle (everyone level again, nothing lost or doubled, no answer but success
or 503 with Retry-After) and by a bystander in another process, whose pings must not wait for the herd.
"""

from __future__ import annotations

import argparse
import json
import secrets
import ssl
import sys
import tempfile
import time
import uuid
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.support.daemon import Daemon, running_daemon
from tests.torture.bystander import standing_by
from tests.torture.crowd import Crowd, Member
from tests.torture.oracle import Broken, Log, View
from tests.torture.watch import OBSERVED, Window
from tests.transports.servers import make_certificate

SETTINGS: Final = {
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "LIMITS__CONNECTIONS": "20000",
    "LOGGING__LEVEL": "warning",
}

PER_RUN: Final = 200
PATIENCE_S: Final = 180.0


class Herd:
    """Clients of many runs, and what is written in those."""

    def __init__(self, clients: int, random: Random) -> None:
        self.logs: dict[str, Log] = {}
        members = []
        for first in range(0, clients, PER_RUN):
            run_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
            log = self.logs[run_id] = Log(run_id)
            count = min(PER_RUN, clients - first)
            members += [Member(View(log, f"user{number}"), run_id) for number in range(count)]
        self.crowd = Crowd(members)
        self.heads = dict.fromkeys(self.logs, 0)

    def write(self, daemon: Daemon, count: int) -> None:
        """Publish so many events in every run."""
        for run_id, log in self.logs.items():
            start = self.heads[run_id]
            events = [
                {"eventType": "GRAFT", "data": {"after": f"s{number}"}, "clientMessageId": f"m{number}"}
                for number in range(start, start + count)
            ]
            path = f"/api/runs/{run_id}/collaboration/events?userId=writer"
            status, answer = daemon.request(path, {"events": events})
            if status != 200:
                raise Broken(f"a publish was answered {status}: {answer}")
            for ack in answer["acks"]:
                log.saw_ack("writer", ack["clientMessageId"], ack["sequenceNumber"])
            self.heads[run_id] += count

    def is_level(self) -> bool:
        """Whether everyone has seen everything."""
        return all(
            member.view.place is not None and member.view.place.number == self.heads[member.run_id]
            for member in self.crowd.members
        )

    def judge(self) -> None:
        """Everything that was acknowledged came to everybody, once and in order."""
        for run_id, log in self.logs.items():
            log.judge(self.heads[run_id])


def come_back(clients: int, seed: int, directory: Path) -> dict[str, Any]:
    """Everyone joins, the server restarts, everyone returns at once. Raises Broken."""
    random = Random(seed)
    herd = Herd(clients, random)
    crowd, figures = herd.crowd, dict[str, Any]()
    try:
        with running_daemon(directory / "data", SETTINGS, command=OBSERVED) as daemon:
            crowd.dial(daemon.port, None, Member.request)
            crowd.run_until(lambda: all(member.view.place for member in crowd.members), PATIENCE_S)
            herd.write(daemon, 5)
            crowd.run_until(herd.is_level, PATIENCE_S)
            daemon.process.terminate()
            crowd.run_until(lambda: crowd.ended.total() == clients, PATIENCE_S)
            if daemon.wait() != 0 or set(crowd.ended) != {"1012"}:
                raise Broken(f"stopped with {daemon.process.returncode}, and clients saw {crowd.ended}")
        crowd.ended.clear()
        with running_daemon(directory / "data", SETTINGS, command=OBSERVED) as daemon:
            herd.write(daemon, 5)
            window = Window(daemon, directory / "data")
            with standing_by(daemon.url, str(uuid.UUID(int=random.getrandbits(128), version=4)), None, figures):
                window.ask_now("ticks")
                started = time.monotonic()
                crowd.dial(daemon.port, None, Member.request)
                crowd.run_until(herd.is_level, PATIENCE_S)
                took = time.monotonic() - started
                figures |= window.ask_now("ticks")
                herd.write(daemon, 1)
                crowd.run_until(herd.is_level, PATIENCE_S)
            herd.judge()
            _check_alive(daemon)
            refused = dict(crowd.ended)
    finally:
        crowd.close()
    return {"clients": clients, "all level after s": round(took, 2), "refused": refused, "bystander": figures}


def come_encrypted(clients: int, seed: int, directory: Path) -> dict[str, Any]:
    """Everyone joins over TLS at once. Raises Broken."""
    random = Random(seed)
    certificate = make_certificate(directory)
    tls = {
        "SERVER__TLS_CERTIFICATE": str(certificate.chain),
        "SERVER__TLS_PRIVATE_KEY": str(certificate.key),
        "SERVER__HANDSHAKE_TIMEOUT_S": "60",
    }
    trust = ssl.create_default_context(cafile=certificate.authority)
    herd, figures = Herd(clients, random), dict[str, Any]()
    crowd = herd.crowd
    try:
        with running_daemon(directory / "data", SETTINGS | tls, command=OBSERVED) as daemon:
            run_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
            window = Window(daemon, directory / "data")
            with standing_by(daemon.url, run_id, certificate.authority, figures):
                window.ask_now("ticks")
                started = time.monotonic()
                crowd.dial(daemon.port, trust, Member.request)
                crowd.run_until(lambda: all(member.view.place for member in crowd.members), PATIENCE_S)
                took = time.monotonic() - started
                figures |= window.ask_now("ticks")
            _check_alive(daemon)
    finally:
        crowd.close()
    return {"clients": clients, "all joined after s": round(took, 2), "bystander": figures}


def come_polling(clients: int, seed: int, directory: Path) -> dict[str, Any]:
    """Everyone polls at once and is held back; an event wakes all of them at once; all ask again. Raises Broken."""
    random = Random(seed)
    herd, figures = Herd(clients, random), dict[str, Any]()
    crowd = herd.crowd
    rounds = 3
    try:
        with running_daemon(directory / "data", SETTINGS, command=OBSERVED) as daemon:
            herd.write(daemon, 1)
            window = Window(daemon, directory / "data")
            with standing_by(daemon.url, str(uuid.UUID(int=random.getrandbits(128), version=4)), None, figures):
                window.ask_now("ticks")
                started = time.monotonic()
                crowd.dial(daemon.port, None, lambda member: member.poll_request(0))
                crowd.run_until(herd.is_level, PATIENCE_S)
                for _ in range(rounds):
                    before = [member.answers for member in crowd.members]
                    for member in crowd.members:
                        member.say(member.poll_request(30_000))
                    _wait_until_they_wait(daemon, crowd, clients)
                    herd.write(daemon, 1)
                    crowd.run_until(herd.is_level, PATIENCE_S)
                    if any(m.answers == count for m, count in zip(crowd.members, before, strict=True)):
                        raise Broken("somebody was not answered")
                took = time.monotonic() - started
                figures |= window.ask_now("ticks")
            herd.judge()
            _check_alive(daemon)
    finally:
        crowd.close()
    return {"clients": clients, "rounds": rounds, "took s": round(took, 2), "bystander": figures}


def _wait_until_they_wait(daemon: Daemon, crowd: Crowd, clients: int) -> None:
    """Until the server counts everybody as polling: who polls is in."""

    def all_poll() -> bool:
        return bool(daemon.request("/api/admin/websocket/connections")[1]["totalConnections"] >= clients)

    crowd.run_until(all_poll, PATIENCE_S)


def _check_alive(daemon: Daemon) -> None:
    if daemon.process.poll() is not None:
        raise Broken("the daemon is gone")
    if lines := daemon.log.read_text():
        raise Broken(f"the daemon warned: {lines[:2000]}")


def main(arguments: list[str]) -> int:
    """Run the long form, and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture herd", description=__doc__)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--tls", type=int, default=2000)
    parser.add_argument("--pollers", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args(arguments)
    print(f"herd: --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="collabd-herd-") as place:
        try:
            for name, herd, clients in (
                ("return", come_back, options.clients),
                ("tls", come_encrypted, options.tls),
                ("poll", come_polling, options.pollers),
            ):
                directory = Path(place) / name
                directory.mkdir(mode=0o700)
                if clients:
                    figures = herd(clients, options.seed, directory)
                    print(name, json.dumps(figures), flush=True)
        except Broken as broken:
            print(f"BROKEN: {broken}", file=sys.stderr)
            return 1
    return 0
