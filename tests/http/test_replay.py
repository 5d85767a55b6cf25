"""Replay, the list of runs and the client's settings: reads by number that leave no trace."""

from __future__ import annotations

import time
import uuid

import pytest

from tests.http.asking import Api, message, refused
from tests.http.conftest import POLLING_INTERVAL_MS, RETENTION
from tests.transports.conftest import Join


def read_all(api: Api, run: str, **query: object) -> list[int]:
    """The numbers of all pages of a replay."""
    numbers: list[int] = []
    following: int | None = 1
    while following is not None:
        page = api.replay(run, fromSequence=following, **query)
        numbers += [event["sequenceNumber"] for event in page["events"]]
        assert page["nextSequence"] is None or page["nextSequence"] > following
        following = page["nextSequence"]
    return numbers


def write_mixture(api: Api, run: str) -> None:
    """Thirty events: every third one a note, every tenth a flag, grafts otherwise."""
    kinds = ["NOTE" if n % 3 == 0 else "FLAG" if n % 10 == 0 else "GRAFT" for n in range(1, 31)]
    api.publish(run, *(message(kind, {"n": n}, f"m{n}") for n, kind in enumerate(kinds, start=1)))


def test_an_unknown_run_is_empty_and_stays_unknown(api: Api, run: str) -> None:
    """Reading creates nothing."""
    answer = api.replay(run)
    assert answer.pop("epoch")
    assert answer == {
        "runId": run,
        "oldestSequence": 1,
        "sequenceNumber": 0,
        "events": [],
        "totalEvents": 0,
        "nextSequence": None,
    }
    assert run not in api.http.get("/api/runs?limit=1000").text


def test_a_replay_tells_events_as_they_were_told_live(api: Api, join: Join, run: str) -> None:
    """The same envelope, from fromSequence on."""
    watcher = join("watcher")
    told = [watcher.tell("NOTE", {"n": n}, f"m{n}")[0] for n in range(3)]
    answer = api.replay(run, fromSequence=2)
    assert answer["events"] == told[1:]
    assert (answer["totalEvents"], answer["nextSequence"], answer["sequenceNumber"]) == (2, None, 3)
    assert answer["epoch"] == watcher.welcome["epoch"]


def test_a_limit_is_kept_and_next_sequence_leads_on(api: Api, run: str) -> None:
    """100 by default; totalEvents counts what matches before the limit."""
    api.write(run, 150)
    first = api.replay(run)
    assert (len(first["events"]), first["totalEvents"], first["nextSequence"]) == (100, 150, 101)
    second = api.replay(run, fromSequence=101)
    assert (len(second["events"]), second["totalEvents"], second["nextSequence"]) == (50, 50, None)
    assert read_all(api, run, limit=7) == list(range(1, 151))
    exact = api.replay(run, limit=150)
    assert (len(exact["events"]), exact["nextSequence"]) == (150, None)


@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_filters_leave_the_numbers_as_they_are(api: Api, run: str, limit: int) -> None:
    """Critical only, one type, or both; page by page everything that matches comes once."""
    write_mixture(api, run)
    notes = [n for n in range(1, 31) if n % 3 == 0]
    flags = [n for n in range(1, 31) if n % 3 and n % 10 == 0]
    critical = [n for n in range(1, 31) if n % 3]
    assert read_all(api, run, criticalOnly=True, limit=limit) == critical
    assert read_all(api, run, criticalOnly=False, limit=limit) == list(range(1, 31))
    assert read_all(api, run, eventType="NOTE", limit=limit) == notes
    assert read_all(api, run, eventType="FLAG", criticalOnly=True, limit=limit) == flags
    assert read_all(api, run, eventType="NOTE", criticalOnly=True, limit=limit) == []
    assert read_all(api, run, eventType="UNHEARD_OF", limit=limit) == []
    assert api.replay(run, criticalOnly=True, limit=limit)["totalEvents"] == len(critical)
    assert api.replay(run, eventType="FLAG", limit=limit, fromSequence=11)["totalEvents"] == len(flags) - 1


def test_what_was_trimmed_begins_at_the_oldest(api: Api, run: str) -> None:
    """The first event's number is higher than asked, which a client takes for a reset."""
    api.write(run, RETENTION + 5)
    answer = api.replay(run, fromSequence=2, limit=3)
    assert [event["sequenceNumber"] for event in answer["events"]] == [6, 7, 8]
    assert (answer["oldestSequence"], answer["totalEvents"], answer["nextSequence"]) == (6, RETENTION, 9)


@pytest.mark.parametrize("first", [4, 5, 1000, 2**53 - 1])
def test_beyond_the_head_there_is_nothing(api: Api, run: str, first: int) -> None:
    """Not an error: the head may be reached from there later."""
    api.write(run, 3)
    answer = api.replay(run, fromSequence=first)
    assert (answer["events"], answer["totalEvents"], answer["nextSequence"]) == ([], 0, None)
    assert answer["sequenceNumber"] == 3


def test_an_answer_stops_at_about_a_megabyte(api: Api, run: str) -> None:
    """From disk as from memory."""
    for number in range(40):
        api.publish(run, message("NOTE", "x" * 60_000, f"m{number}"))
    answer = api.ask_replay(run)
    assert 900_000 < len(answer.content) < 1024 * 1024 + 70_000
    assert answer.json()["totalEvents"] == 40
    assert read_all(api, run) == list(range(1, 41))
    assert read_all(api, run, eventType="NOTE") == list(range(1, 41))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("fromSequence=-1", "invalid_parameter"),
        ("fromSequence=abc", "invalid_parameter"),
        ("fromSequence=1" + "0" * 30, "invalid_parameter"),
        ("fromSequence=", "invalid_parameter"),
        ("limit=0", "invalid_parameter"),
        ("limit=1001", "invalid_parameter"),
        ("limit=5000", "invalid_parameter"),
        ("limit=ten", "invalid_parameter"),
        ("criticalOnly=1", "invalid_parameter"),
        ("criticalOnly=TRUE", "invalid_parameter"),
        ("criticalOnly=", "invalid_parameter"),
        ("eventType=graft", "invalid_event_type"),
        ("eventType=", "invalid_event_type"),
        ("eventType=" + "A" * 51, "invalid_event_type"),
        ("eventType=GRAFT%0A", "invalid_event_type"),
        ("eventType=%FF", "invalid_parameter"),
    ],
)
def test_a_wrong_query_is_refused(api: Api, run: str, query: str, code: str) -> None:
    """With 400 and what is wrong."""
    refused(api.http.get(f"/api/runs/{run}/collaboration/replay?{query}"), 400, code)


def test_the_list_of_runs_goes_by_what_happened_last(api: Api, join: Join, run: str) -> None:
    """An old run in which something happens comes to the front; how many there are is told whatever the limit."""
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    for number, each in enumerate((one, other, one)):
        api.publish(each, message("GRAFT", {"after": "A"}, f"m{number}"))
        time.sleep(0.002)  # an event's time is in milliseconds
    answer = api.http.get("/api/runs?limit=2")
    assert [row["runId"] for row in answer.json()] == [one, other]
    total = int(answer.headers["x-total-count"])
    assert total == len(api.http.get("/api/runs?limit=1000").json())
    join("ann")
    answer = api.http.get("/api/runs?limit=1")
    assert [row["runId"] for row in answer.json()] == [run]
    assert answer.headers["x-total-count"] == str(total + 1)


def test_the_list_of_runs_has_who_is_in_them(api: Api, join: Join, run: str) -> None:
    """Runs with events, and those only joined so far; `limit` is kept."""
    ann = join("ann")
    joined = api.http.get("/api/runs").json()[0]
    assert joined == {
        "runId": run,
        "createdAt": joined["createdAt"],
        "lastActivityAt": joined["createdAt"],
        "sequenceNumber": 0,
        "connectionCount": 1,
        "activeUserCount": 1,
        "activeUsers": ["ann"],
    }
    assert abs(joined["createdAt"] - ann.welcome["serverTime"]) < 5000
    ann.tell("GRAFT", {"after": "A"}, "m1")
    join("ann")
    join("bob")
    (row,) = api.http.get("/api/runs?limit=1").json()
    (event,) = api.http.get(f"/api/runs/{run}/collaboration/replay").json()["events"]
    people = {"connectionCount": 3, "activeUserCount": 2, "activeUsers": ["ann", "bob"]}
    assert row == joined | people | {
        "createdAt": row["createdAt"],
        "lastActivityAt": event["timestamp"],
        "sequenceNumber": 1,
    }
    for limit in ("0", "1001", "x", "-1", ""):
        refused(api.http.get(f"/api/runs?limit={limit}"), 400, "invalid_parameter")


def test_clients_are_told_their_settings(api: Api) -> None:
    """As configured, with the documented defaults otherwise."""
    assert api.http.get("/api/client-config").json() == {
        "maxReconnectAttempts": 5,
        "pollingIntervalMs": POLLING_INTERVAL_MS,
        "messageRetryLimit": 3,
        "heartbeatIntervalMs": 10000,
        "maxMessageBytes": 65536,
    }


def test_health_says_up_and_nothing_more(api: Api) -> None:
    """Without a token, for load balancers."""
    for path in ("/actuator/health", "/actuator/health/liveness", "/actuator/health/readiness"):
        answer = api.http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "UP"})
