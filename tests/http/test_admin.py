"""The operators' routes on a real daemon: what they say of real sessions, and who is let in.

Every field and rule of the reports is tested in tests/operations; here it is the way over HTTP that counts.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.http.asking import Api, message, refused
from tests.transports.conftest import Join, joining, make_transport, watched
from tests.transports.peer import new_run
from tests.transports.servers import Server, daemon

ADMIN = "/api/admin/websocket"
ROUTES = ("connections", "metrics", "health", f"connections/{new_run()}", "metrics/unknown")


def test_connections_are_told_by_run(api: Api, join: Join, run: str) -> None:
    """Who is there, since when, over which transport and from where; pollers too."""
    ann = join("ann")
    polling = api.poll(run, userId="bob")["sessionId"]
    report = api.http.get(f"{ADMIN}/connections/{run.upper()}").json()
    assert (report["runId"], report["connectionCount"], report["activeUsers"]) == (run, 2, ["ann", "bob"])
    rows = {row["sessionId"]: row for row in report["connections"]}
    assert rows[ann.welcome["sessionId"]]["transport"] == "websocket"
    assert rows[ann.welcome["sessionId"]]["remoteAddress"] == "127.0.0.1"
    assert rows[polling]["transport"] == "polling"
    for row in rows.values():
        connected = datetime.fromisoformat(row["connectedAt"]).timestamp()
        assert abs(connected - time.time()) < 5
    everywhere = api.http.get(f"{ADMIN}/connections").json()
    assert everywhere.keys() >= {"totalRuns", "totalConnections", "connectionsByRun"}
    assert everywhere["connectionsByRun"][run] == 2


def test_a_session_is_described_while_it_is_there_and_after(api: Api, join: Join, run: str) -> None:
    """What it sent and got, how it closed; until its figures are cleaned up."""
    ann = join("ann")
    session = ann.welcome["sessionId"]
    for number in range(3):
        ann.tell("GRAFT", {"after": "A"}, f"m{number}")
    here = api.http.get(f"{ADMIN}/metrics/{session}").json()
    assert (here["messagesReceived"], here["messageFailures"], here["messageDeliveryRate"]) == (3, 0, 1.0)
    assert (here["userId"], here["runId"], here["closeCode"], here["disconnectedAt"]) == ("ann", run, None, None)
    assert (here["connectionQuality"], here["healthStatus"]) == (100.0, "HEALTHY")
    assert session in {row["sessionId"] for row in api.http.get(f"{ADMIN}/metrics").json()}
    ann.leave(1000)
    deadline = time.monotonic() + 5
    while (gone := api.http.get(f"{ADMIN}/metrics/{session}").json())["disconnectedAt"] is None:
        assert time.monotonic() < deadline
    assert (gone["closeCode"], gone["messagesSent"]) == (1000, 3)
    assert api.http.post(f"{ADMIN}/cleanup-stale?maxAgeMs=86400000").json() == {"removed": 0}
    assert api.http.get(f"{ADMIN}/metrics/{session}").status_code == 200
    time.sleep(0.002)
    assert api.http.post(f"{ADMIN}/cleanup-stale?maxAgeMs=0").json()["removed"] >= 1
    refused(api.http.get(f"{ADMIN}/metrics/{session}"), 404, "session_not_found")


@pytest.mark.parametrize("age", ["-1", "x", "", "1" + "0" * 30])
def test_a_wrong_age_is_refused(api: Api, age: str) -> None:
    """And nothing is forgotten."""
    refused(api.http.post(f"{ADMIN}/cleanup-stale?maxAgeMs={age}"), 400, "invalid_parameter")


def test_cleaning_up_is_no_reading(api: Api) -> None:
    """A page that is only looked at must not change anything."""
    refused(api.http.get(f"{ADMIN}/cleanup-stale"), 405, "method_not_allowed")


def test_on_loopback_admin_is_free_unless_a_proxy_stands_between(api: Api, server: Server) -> None:
    """A proxy's headers mean that the peer is not who it seems; then the token of the data directory opens."""
    token = (server.data_dir / "admin.token").read_text().strip()
    for route in ROUTES:
        assert api.http.get(f"{ADMIN}/{route}").status_code in (200, 404)
        for header in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via"):
            problem = refused(api.http.get(f"{ADMIN}/{route}", headers={header: "127.0.0.1"}), 401, "unauthorized")
            assert token not in str(problem)
        for wrong in ("", "Bearer", "Bearer x", f"Basic {token}", f"Bearer {token}x", "Bearer \u00ff"):
            headers = [(b"via", b"1.1 proxy"), (b"authorization", wrong.encode("latin-1"))]
            answer = api.http.get(f"{ADMIN}/{route}", headers=headers)
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(answer, 401, "unauthorized")
        opened = api.http.get(f"{ADMIN}/{route}", headers={"Via": "1.1 proxy", "Authorization": f"Bearer {token}"})
        assert opened.status_code in (200, 404)
    refused(api.http.get(f"{ADMIN}/health", headers={"Authorization": "Bearer wrong"}), 401, "unauthorized")


def test_the_admin_token_is_for_its_owners_eyes(server: Server) -> None:
    """Mode 0600, and never in the log."""
    file = server.data_dir / "admin.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in server.log()


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A daemon that is told of a proxy before it."""
    settings = {"SERVER__PUBLIC_URL": "https://collab.example", "AUTH__ALLOW_OPEN": "true"}
    with daemon(tmp_path_factory.mktemp("proxy"), settings) as server:
        yield from watched(server)


def test_behind_a_proxy_admin_is_never_free(behind_proxy: Server) -> None:
    """Everybody seems to come from loopback there."""
    token = (behind_proxy.data_dir / "admin.token").read_text().strip()
    with Api(behind_proxy) as api:
        for path in (*(f"{ADMIN}/{route}" for route in ROUTES), "/actuator/prometheus", "/metrics"):
            refused(api.http.get(path), 401, "unauthorized")
            assert api.http.get(path, headers={"Authorization": f"Bearer {token}"}).status_code in (200, 404)
        assert api.http.get("/actuator/health").status_code == 200


def test_behind_a_proxy_the_public_url_is_the_own_origin(behind_proxy: Server) -> None:
    """Pages of it may publish and connect; the address behind the proxy is another origin."""
    run = new_run()
    with Api(behind_proxy) as api:
        graft = message("GRAFT", {"after": "A"})
        assert api.ask_publish(run, graft, headers={"Origin": "https://collab.example"}).status_code == 200
        refused(api.ask_publish(run, graft, headers={"Origin": behind_proxy.url}), 403, "origin_not_allowed")
    with joining(make_transport("plain", behind_proxy), run) as join:
        join("ann", headers=[("Origin", "https://collab.example")])


def test_files_of_the_data_directory_are_for_the_owner_only(server: Server) -> None:
    """Database and heads as well as the token."""
    files = [path for path in Path(server.data_dir).iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"admin.token"}
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files if path.stat().st_mode & 0o077} == {}
