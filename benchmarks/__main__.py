"""`python -m benchmarks`: the whole table; `--quick`: one workload against one peer in under a minute."""

import argparse
import json
import os
import resource
import sys
from datetime import UTC, datetime
from typing import Any

from benchmarks import floor, plot, quick, report
from benchmarks.generator import LoadFailed
from benchmarks.install import Missing, load_generator
from benchmarks.paths import PLOT, RESULTS_JSON
from benchmarks.report import Results
from benchmarks.servers import KINDS
from benchmarks.workloads import TABLE, WORKLOADS, Workload

FILES_NEEDED = 12_000


def raise_file_limit() -> None:
    """Each client and its server's end is an open file; 10,000 clients are the most that a workload has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_NEEDED if hard == resource.RLIM_INFINITY else min(FILES_NEEDED, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < FILES_NEEDED:
        print(f"WARNING: at most {wanted} open files here; the largest workloads will fail", file=sys.stderr)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="collabd beside its peers")
    parser.add_argument("--quick", action="store_true", help="one workload against one peer; the guard that CI runs")
    parser.add_argument("--record", action="store_true", help="with --quick: record this machine's ratio")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is measured (default 3)")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME", help="only these; see --list")
    parser.add_argument("--peers", nargs="+", choices=KINDS, metavar="NAME", help="only these servers")
    parser.add_argument("--no-growth", action="store_true", help="leave out the workloads that show growth")
    parser.add_argument("--no-write", action="store_true", help="print the table and write no file")
    parser.add_argument("--render", action="store_true", help="measure nothing; make the tables from results.json")
    parser.add_argument("--list", action="store_true", help="name all workloads and servers")
    return parser.parse_args()


def chosen(arguments: argparse.Namespace) -> list[Workload]:
    """The workloads to run."""
    if arguments.workloads:
        return [WORKLOADS[name] for name in arguments.workloads]
    return list(TABLE) if arguments.no_growth else list(WORKLOADS.values())


def run_table(
    workloads: list[Workload], peers: list[str] | None, rounds: int, seconds: float
) -> tuple[Results, dict[str, str]]:
    """Measure all, servers in turns within each workload; what cannot be measured is named with the reason."""
    results: Results = {}
    missing: dict[str, str] = {}
    for turn in range(1, rounds + 1):
        for workload in workloads:
            for name in workload.servers:
                if (peers and name not in peers) or name in missing:
                    continue
                print(f"[{turn}/{rounds}] {workload.title}: {name} … ", end="", flush=True)
                try:
                    figures = workload.measure(KINDS[name], seconds)
                except Missing as reason:
                    missing[name] = str(reason)
                    print(f"MISSING: {reason}")
                except (LoadFailed, RuntimeError, OSError) as reason:
                    text = "; ".join([str(reason), *getattr(reason, "__notes__", [])])
                    missing[f"{workload.name} of {name}, round {turn}"] = text
                    print(f"FAILED: {text}")
                else:
                    print("; ".join(f"{figure} {report.number(value)}" for figure, value in figures.items() if value))
                    kept = results.setdefault(workload.name, {}).setdefault(name, {})
                    for figure, value in figures.items():
                        kept.setdefault(figure, []).append(value)
    return results, missing


def main() -> int:
    """Exit status: 0 when all could be measured, 1 otherwise, or when the quick guard fails."""
    arguments = options()
    if arguments.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:22} {workload.title}: {', '.join(workload.servers)}")
        return 0
    raise_file_limit()
    if arguments.quick:
        return quick.main(arguments.record)
    load_generator()
    if arguments.render:
        report.render()
        plot.write(json.loads(RESULTS_JSON.read_text())["workloads"], PLOT)
        return 0
    load_average = round(os.getloadavg()[0], 1)
    results, missing = run_table(chosen(arguments), arguments.peers, arguments.rounds, arguments.seconds)
    about: dict[str, Any] = {
        "machine": report.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "load_average": load_average,
        "send_us_by_bytes": {str(size): cost for size, cost in floor.table().items()},
        "fsync_ms": floor.fsync_ms(),
    }
    print("\n" + report.markdown(results, about, missing))
    if not arguments.no_write:
        report.write(results, about, missing)
        plot.write(results, PLOT)
    return 1 if missing else 0


sys.exit(main())
