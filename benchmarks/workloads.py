"""The table: each workload's clients, which servers take part, and the goals that its figures are held against.

Law: a workload is data and one function from a server kind to figures, each from a fresh server. Nothing here
compares; report.py does. "Room of 100" etc. say how many members one run has; `outstanding` how many messages of a
room have not reached all its members yet; `writers` how many members take turns at sending.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks import generator, special
from benchmarks.generator import Load, LoadFailed
from benchmarks.servers import ServerKind, running
from benchmarks.special import Figures

Measure = Callable[[ServerKind, float], Figures]


@dataclass(frozen=True)
class Goal:
    """A bound on a figure of collabd's, or, with `against`, on its ratio to the same figure of that server."""

    figure: str
    limit: float
    text: str
    at_most: bool = False
    against: str | None = None


@dataclass(frozen=True)
class Workload:
    """`measure(kind, seconds)` runs it once. `family` groups those that show how something grows, `scale` its size."""

    name: str
    title: str
    servers: tuple[str, ...]
    measure: Measure
    goals: tuple[Goal, ...] = ()
    family: str = ""
    scale: int = 0


def fan_out_figures(load: Load, group: int = 0) -> Figures:
    """Figures of one group of rooms. Units: deliveries a second (of the server's CPU, or of time), shares, ms."""
    seconds = load.figures["seconds"]
    measured = load.figures["groups"][group]
    if measured["errors"] or measured["deliveries"] == 0:
        raise LoadFailed(f"{measured['errors']} errors, {measured['deliveries']} deliveries; {load.figures['trouble']}")
    return {
        "deliveries_per_cpu_s": measured["deliveries"] / load.cpu_s,
        "deliveries_per_s": measured["deliveries"] / seconds,
        "messages_per_s": measured["messages"] / seconds,
        "cpu_share": load.cpu_s / seconds,
        "p50_ms": measured["latency_p50_us"] / 1000,
        "p99_ms": measured["latency_p99_us"] / 1000,
        "lost": float(measured["lost"]),
        "cut": float(load.figures["cut"]),
    }


def fan_out(group: str, settle: float = 0.5) -> Measure:
    """A measurement of one group of rooms."""

    def measure(kind: ServerKind, seconds: float) -> Figures:
        with running(kind) as server:
            return fan_out_figures(generator.rooms(server, kind, group, seconds=seconds, settle=settle))

    return measure


def critical(outstanding: int) -> Measure:
    """64 writers in 8 runs, each with so many events not acknowledged yet."""

    def measure(kind: ServerKind, seconds: float) -> Figures:
        group = f"rooms=8,members=8,outstanding={outstanding},acks=1"
        with running(kind) as server:
            load = generator.rooms(server, kind, group, seconds=seconds)
        measured = load.figures["groups"][0]
        if measured["errors"] or measured["acked"] == 0:
            raise LoadFailed(f"{measured['errors']} errors, {measured['acked']} acked; {load.figures['trouble']}")
        return {
            "acked_per_s": measured["acked"] / load.figures["seconds"],
            "ack_p50_ms": measured["ack_p50_us"] / 1000,
            "ack_p99_ms": measured["ack_p99_us"] / 1000,
            "cpu_share": load.cpu_s / load.figures["seconds"],
        }

    return measure


def small_beside_huge(kind: ServerKind, seconds: float) -> Figures:
    """A run of 10 at 50 messages a second beside a saturated one of 2,000: the small one's latency.

    Its clients are played by a process of their own, or they would wait behind the huge one's in the generator.
    """
    huge = "members=2000,outstanding=32,writers=32"
    with running(kind) as server, generator.rooms_beside(server, kind, huge, seconds=seconds + 4, settle=1):
        load = generator.rooms(server, kind, "members=10,rate=50", seconds=seconds, first_room=1)
    figures = fan_out_figures(load)
    return {"p50_ms": figures["p50_ms"], "p99_ms": figures["p99_ms"], "cpu_share": figures["cpu_share"]}


def slow_member(kind: ServerKind, seconds: float) -> Figures:
    """The p99 of 99 members in a run of 100 at 300 messages a second: alone, beside one that reads nothing, and
    beside one that reads 20 kB/s. Fresh servers, so that none inherits another's trouble, and medians of three by
    turns: the p99 of two like servers differs by more than a tenth.
    """
    kinds = ("slow=0", "slow=1,slow_rate=0", "slow=1,slow_rate=20000")
    measured: list[list[float]] = [[] for _ in kinds]
    for _ in range(3):
        for slow, figures in zip(kinds, measured, strict=True):
            with running(kind) as server:
                load = generator.rooms(server, kind, f"members=100,rate=300,{slow}", seconds=seconds, warmup=1.5)
            figures.append(fan_out_figures(load)["p99_ms"])
    p99 = [median(figures) for figures in measured]
    return {
        "p99_ms": p99[0],
        "p99_beside_stuck_ms": p99[1],
        "p99_beside_20kB_ms": p99[2],
        "stuck_ratio": p99[1] / p99[0],
        "20kB_ratio": p99[2] / p99[0],
    }


ALL = ("collabd", "uwebsockets", "nchan", "ws", "socketio")
FAST = ("collabd", "uwebsockets")
PER_CPU = "deliveries_per_cpu_s"


def fan_out_goals() -> tuple[Goal, ...]:
    """The goals of the rooms with 32 outstanding."""
    return (
        Goal(PER_CPU, 1.0, "≥ 1.0 × uWebSockets", against="uwebsockets"),
        Goal(PER_CPU, 10, "≥ 10 × Socket.IO", against="socketio"),
        Goal(PER_CPU, 10, "≥ 10 × Node ws", against="ws"),
        Goal(PER_CPU, 5, "≥ 5 × Nchan", against="nchan"),
    )


TABLE = (
    Workload(
        "room-100", "room of 100, 32 outstanding, 32 writers", ALL,
        fan_out("members=100,outstanding=32,writers=32"), fan_out_goals(),
    ),
    Workload(
        "room-100-one-writer", "room of 100, 32 outstanding, one writer", ALL,
        fan_out("members=100,outstanding=32,writers=1"), fan_out_goals(),
    ),
    Workload(
        "room-1000", "room of 1,000, 32 outstanding, 32 writers", ALL,
        fan_out("members=1000,outstanding=32,writers=32", settle=1), fan_out_goals(),
    ),
    Workload(
        "room-100-single", "room of 100, 1 outstanding", ("collabd", "uwebsockets", "nchan"),
        fan_out("members=100,outstanding=1"),
        (
            Goal(PER_CPU, 0.9, "≥ 0.9 × uWebSockets", against="uwebsockets"),
            Goal(PER_CPU, 0.9, "≥ 0.9 × Nchan", against="nchan"),
        ),
    ),
    Workload(
        "room-100-awake", "room of 100, 1 outstanding, clients that never sleep", ("collabd", "uwebsockets", "nchan"),
        fan_out("members=100,outstanding=1,awake=1"),
    ),
    Workload(
        "open-loop", "1,000 clients in 50 rooms, 2,000 messages/s", ("collabd", "ws", "uwebsockets"),
        fan_out("rooms=50,members=20,rate=2000", settle=1),
        (
            Goal("cpu_share", 1.0, "CPU ≤ 1.0 × Node ws", at_most=True, against="ws"),
            Goal("p99_ms", 5, "p99 ≤ 5 ms", at_most=True),
        ),
    ),
    Workload(
        "alone", "one client alone, 32 outstanding", ("collabd", "uwebsockets"),
        fan_out("members=1,outstanding=32"),
        (
            Goal("messages_per_s", 60_000, "≥ 60,000 messages/s"),
            Goal("messages_per_s", 0.4, "≥ 0.4 × uWebSockets", against="uwebsockets"),
        ),
    ),
    Workload(
        "critical", "critical events, 64 writers in 8 runs, 1 outstanding each", ("collabd",), critical(1),
        (
            Goal("acked_per_s", 8_000, "≥ 8,000 acknowledged/s"),
            Goal("ack_p99_ms", 25, "p99 of the ACK ≤ 25 ms", at_most=True),
        ),
    ),
    Workload(
        "critical-pipelined", "critical events, 64 writers in 8 runs, 32 outstanding each", ("collabd",),
        critical(32), (Goal("acked_per_s", 20_000, "≥ 20,000 acknowledged/s"),),
    ),
    Workload(
        "clients-5000", "5,000 clients in 100 runs connect, and idle", ALL, special.connect_and_idle,
        (
            Goal("kB_per_connection", 16, "≤ 16 kB a connection", at_most=True),
            Goal("connect_s", 3, "5,000 connects ≤ 3 × Node ws", at_most=True, against="ws"),
        ),
    ),
    Workload(
        "herd", "2,000 in one run cut, 100 events behind, all resume", ("collabd",), special.resume_herd,
        (
            Goal("level_s", 5, "all level ≤ 5 s", at_most=True),
            Goal("file_reads", 200, "no database read per client", at_most=True),
        ),
    ),
    Workload(
        "poll", "poll with nothing new, 8 connections", ("collabd", "quart-empty"), special.poll,
        (Goal("answers_per_cpu_s", 0.9, "≥ 0.9 × an empty Quart-Trio route", against="quart-empty"),),
    ),
    Workload(
        "replay", "replay of 1,000 events", ("collabd",), special.replay,
        (Goal("times_sqlite", 2, "≤ 2 × sqlite3 alone", at_most=True),),
    ),
    Workload(
        "cold-start", "cold start to ready, empty data directory", ("collabd",), special.cold_start,
        (Goal("ready_s", 0.6, "≤ 0.6 s", at_most=True),),
    ),
    Workload(
        "idle", "idle daemon; then 1,000 idle clients", ("collabd",), special.idle,
        (
            Goal("rss_MB", 60, "≤ 60 MB", at_most=True),
            Goal("cpu_percent_1000_idle", 2, "≤ 2 % of a core with 1,000 idle clients", at_most=True),
        ),
    ),
    Workload(
        "slow-member", "one slow member in a run of 100", ("collabd",), slow_member,
        (
            Goal("stuck_ratio", 1.1, "others' p99 ≤ 1.1 × beside one that reads nothing", at_most=True),
            Goal("20kB_ratio", 1.1, "others' p99 ≤ 1.1 × beside one that reads 20 kB/s", at_most=True),
        ),
    ),
    Workload(
        "small-beside-huge", "a run of 10 beside a saturated one of 2,000", ("collabd",), small_beside_huge,
        (Goal("p99_ms", 20, "small run's p99 ≤ 20 ms", at_most=True),),
    ),
)  # fmt: skip


def growth() -> tuple[Workload, ...]:
    """How the fan-out grows with members, runs and bytes."""
    members = [
        Workload(
            f"members-{n}", f"room of {n:,}, 32 outstanding", FAST,
            fan_out(f"members={n},outstanding=32,writers=32", settle=1), family="members", scale=n,
        )
        for n in (10, 100, 1000, 5000)
    ]  # fmt: skip
    runs = [
        Workload(
            f"runs-{n}", f"{n:,} runs of 10, 8 outstanding each", FAST,
            fan_out(f"rooms={n},members=10,outstanding=8,writers=8", settle=1), family="runs", scale=n,
        )
        for n in (1, 10, 100, 1000)
    ]  # fmt: skip
    sizes = [
        Workload(
            f"size-{label}", f"room of 100, 4 outstanding, {label} each", FAST,
            fan_out(f"members=100,outstanding=4,writers=4,size={size}"), family="bytes", scale=size,
        )
        for label, size in (("60B", 60), ("1kB", 1000), ("16kB", 16_000), ("64kB", 64_000))
    ]  # fmt: skip
    return (*members, *runs, *sizes)


WORKLOADS = {workload.name: workload for workload in (*TABLE, *growth())}
