"""Measurements that are not plain fan-out: connecting, resuming, HTTP, starting, idling.

Law: each takes a server kind and the seconds to measure, and returns figures named with their unit.
"""

import json
import sqlite3
import statistics
import time
import urllib.request
from typing import Any

from benchmarks import generator
from benchmarks.generator import Load, LoadFailed
from benchmarks.processes import RunningServer
from benchmarks.servers import ServerKind, running

Figures = dict[str, float]

RUN = "00000000-0000-4000-8000-000000000001"
API = f"/api/runs/{RUN}/collaboration"


def ask(server: RunningServer, path: str, body: object = None) -> dict[str, Any]:
    """One HTTP request to the server; POST with a JSON body, else GET."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data=data)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def publish(server: RunningServer, count: int) -> None:
    """Publish so many critical events, a hundred a request."""
    for begin in range(0, count, 100):
        events = [
            {"eventType": "GRAFT", "data": {"after": "ARCHITECT", "agentName": f"security-scanner-{n}"}}
            for n in range(begin, min(begin + 100, count))
        ]
        acks = ask(server, f"{API}/events?userId=publisher", {"events": events})["acks"]
        if len(acks) != len(events) or any("code" in ack for ack in acks):
            raise LoadFailed(f"publish was refused: {acks[-1:]}")


def connect_and_idle(kind: ServerKind, seconds: float) -> Figures:
    """5,000 clients in 100 runs: how long they take to be let in, what each costs in memory once all is quiet."""
    with running(kind) as server:
        load = generator.rooms(server, kind, "rooms=100,members=50", seconds=1, settle=2, at_once=128)
    clients = load.lines["connected"]["clients"]
    grown = load.samples["stop"].rss_bytes - load.samples["connecting"].rss_bytes
    cpu = load.samples["connected"].cpu_s - load.samples["connecting"].cpu_s
    return {
        "kB_per_connection": grown / clients / 1000,
        "connect_s": load.lines["connected"]["seconds"],
        "connect_cpu_us": cpu / clients * 1e6,
    }


def resume_herd(kind: ServerKind, seconds: float) -> Figures:
    """2,000 clients of one run lose their connections at once, 100 events pass, all come back together."""
    load = Load()
    with running(kind) as server:
        publish(server, 100)
        words = ["herd", "--path", kind.path, "--members", "2000", "--at-once", "2000"]
        with generator.generator(server, kind, *words) as process:
            assert process.stdin is not None
            generator.follow(process, server, load, "connected")
            print("cut", file=process.stdin, flush=True)
            generator.follow(process, server, load, "cut")
            publish(server, 100)
            time.sleep(0.5)
            print("resume 100", file=process.stdin, flush=True)
            generator.follow(process, server, load, "stop")
    if load.figures["level"] != 2000 or load.figures["not_recovered"]:
        raise LoadFailed(f"not all were level, or not by resuming: {load.figures}")
    return {
        "level_s": load.figures["seconds"],
        "file_reads": float(load.samples["stop"].file_reads - load.samples["start"].file_reads),
        "cpu_s": load.cpu_s,
    }


def poll(kind: ServerKind, seconds: float) -> Figures:
    """Polls that find nothing new, against a run that has some events; of the peer, its one empty route."""
    with running(kind) as server:
        path = kind.path
        if kind.name == "collabd":
            publish(server, 100)
            head = ask(server, f"{API}/poll?limit=1")
            path = f"{API}/poll?afterSequence={head['sequenceNumber']}&epoch={head['epoch']}&userId=user-%c"
        load = generator.http(server, kind, path, connections=8, seconds=seconds)
    return {
        "answers_per_cpu_s": load.figures["answers"] / load.cpu_s,
        "answers_per_s": load.figures["answers"] / load.figures["seconds"],
        "p99_ms": load.figures["latency_p99_us"] / 1000,
    }


def replay(kind: ServerKind, seconds: float) -> Figures:
    """One client replays 1,000 events again and again; beside it, sqlite3 alone reads and joins the same rows."""
    with running(kind) as server:
        publish(server, 1000)
        path = f"{API}/replay?fromSequence=1&limit=1000"
        answer = ask(server, path)
        if len(answer["events"]) != 1000:
            raise LoadFailed(f"replay gave {len(answer['events'])} events")
        load = generator.http(server, kind, path, connections=1, seconds=seconds / 2)
        alone = sqlite_alone_s(server, seconds / 2)
    return {
        "replay_ms": load.figures["latency_p50_us"] / 1000,
        "sqlite_ms": alone * 1000,
        "times_sqlite": load.figures["latency_p50_us"] / 1e6 / alone,
    }


def sqlite_alone_s(server: RunningServer, seconds: float) -> float:
    """The median time in which sqlite3 alone reads those rows and joins their texts."""
    (file,) = [path for path in (server.directory / "data").iterdir() if is_sqlite(path)]
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    query = (
        "SELECT user_id, event_type, message_data, timestamp, sequence_number, is_critical"
        " FROM persisted_collaboration_messages WHERE run_id = ? AND sequence_number >= 1"
        " ORDER BY sequence_number LIMIT 1000"
    )
    times = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        rows = connection.execute(query, (RUN,)).fetchall()
        ",".join([row[2] for row in rows])
        times.append(time.perf_counter() - begun)
        if len(rows) != 1000:
            raise LoadFailed(f"sqlite3 alone found {len(rows)} rows")
    connection.close()
    return statistics.median(times)


def is_sqlite(path: Any) -> bool:
    """Whether a file begins as SQLite databases do."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(15) == b"SQLite format 3"


def cold_start(kind: ServerKind, seconds: float) -> Figures:
    """From starting the process to its ready line; the files it imports are in the page cache."""
    times = []
    for _ in range(3):
        with running(kind) as server:
            times.append(server.ready_s)
    return {"ready_s": statistics.median(times)}


def idle(kind: ServerKind, seconds: float) -> Figures:
    """A daemon that nobody uses, then one with 1,000 clients that say nothing, pings and pongs included.

    At least one whole heartbeat interval (10 s) is watched, or the pings would be missed.
    """
    watched = max(seconds, 11)
    with running(kind) as server:
        time.sleep(1)
        empty_rss = server.rss_bytes()
        before = server.cpu_s()
        time.sleep(2)
        empty_cpu = (server.cpu_s() - before) / 2
        load = generator.rooms(server, kind, "rooms=20,members=50", seconds=watched, settle=2)
    if load.figures["cut"]:
        raise LoadFailed(f"{load.figures['cut']} idle clients were cut")
    return {
        "rss_MB": empty_rss / 1e6,
        "cpu_percent_empty": empty_cpu * 100,
        "cpu_percent_1000_idle": load.cpu_s / load.figures["seconds"] * 100,
    }
