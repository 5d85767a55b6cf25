"""`collabd status`: does the server run, and what does it keep.

Law of this file: what the server says and what lies in its directory, side by side; nothing is printed here.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from collabd.operating.server import ServerUnreachable
from collabd.words import age, count, size

if TYPE_CHECKING:
    from collabd.operating.server import Server

WINDOW_S: Final = 60.0
Report = dict[str, Any]


def take_status(server: Server, data: Report | None) -> Report:
    """Ask the server; `data` is what was seen in its data directory, None where nobody looked.

    Raises CollabdError where something answers that cannot be asked.
    """
    report: Report = {"url": server.url, "running": False, "problem": None}
    try:
        diagnosis = server.diagnosis(WINDOW_S)
        report |= {
            "running": True,
            "status": diagnosis["status"],
            "findings": [finding["topic"] for finding in diagnosis["findings"]],
            "sessions": diagnosis["figures"]["activeConnections"],
            "activeRuns": diagnosis["figures"]["activeRuns"],
            "storage": server.storage(),
        }
    except ServerUnreachable as error:
        report["problem"] = str(error)
    return report | {"data": data}


def in_words(report: Report, now_s: float) -> str:
    """The report for people; `now_s` is the time in seconds since 1970."""
    return "\n".join([*_server_lines(report), *_data_lines(report, now_s)])


def _server_lines(report: Report) -> list[str]:
    if not report["running"]:
        return [f"not running: {report['problem']}"]
    lines = [
        f"running at {report['url']}: {report['status'].lower()},"
        f" {count(report['sessions'], 'session')} in {count(report['activeRuns'], 'run')}"
    ]
    if report["findings"]:
        lines.append(f"  findings   {', '.join(report['findings'])} (`collabd doctor` says more)")
    if report["storage"]["problem"] is not None:
        lines.append(f"  problem    {report['storage']['problem']}")
    return lines


def _data_lines(report: Report, now_s: float) -> list[str]:
    data, storage = report["data"], report.get("storage")
    if data is not None and data["epoch"] is None:
        return [f"  data       {data['directory']} (no database yet)"]
    if data is not None:
        sizes = (data["database_bytes"], data["wal_bytes"], data["disk_free_bytes"])
        times = [None if at is None else at / 1000 for at in (data["oldest_event_at"], data["newest_event_at"])]
        lines = [f"  data       {data['directory']}"]
        events = f"{count(data['events'], 'event')} in {count(data['runs'], 'run')}"
        schema = f", schema {data['schema']}" + (" (to be migrated)" if data["schema"] < data["known_schema"] else "")
        epoch = data["epoch"]
    elif storage is not None:
        sizes = (storage["databaseBytes"], storage["walBytes"], storage["diskFreeBytes"])
        times = [_moment(storage["oldestEventAt"]), _moment(storage["newestEventAt"])]
        lines, events, schema, epoch = [], "retained", "", storage["epoch"]
    else:
        return []
    lines.append(f"  database   {size(sizes[0])}, write-ahead log {size(sizes[1])}, {size(sizes[2])} free on the disk")
    lines.append(f"  events     {events}{_ages(times, now_s)}")
    lines.append(f"  history    epoch {epoch}{schema}")
    return lines


def _ages(times: list[float | None], now_s: float) -> str:
    oldest, newest = times
    if oldest is None or newest is None:
        return ", none retained"
    return f", the oldest {age(now_s - oldest)} old, the newest {age(now_s - newest)}"


def _moment(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
