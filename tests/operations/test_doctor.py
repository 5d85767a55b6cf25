"""`collabd doctor`: verdict, words and exit status; and whom it gives the token to."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from collabd.cli import cli
from collabd.operating.upgrade import try_upgrade
from tests.support.daemon import Daemon, running_daemon

FIGURES = {
    "activeConnections": 3,
    "pollingSessions": 1,
    "activeRuns": 2,
    "averageQualityScore": 96.5,
    "backloggedSessions": 0,
    "outboxBytes": 0,
    "queuedClientMessages": 0,
    "connectionsPerMinute": 1.0,
    "disconnectionsPerMinute": 0.0,
    "reconnectionsPerMinute": 0.5,
    "fallbackShare": None,
    "messagesInPerSecond": 2.0,
    "messagesOutPerSecond": 6.0,
    "messageFailures": 0,
    "messageDeliveryRate": 1.0,
    "p50LatencyMs": 4.0,
    "p95LatencyMs": 9.5,
    "p99LatencyMs": 12.0,
    "p99CommitMs": None,
    "p99EventLoopLagMs": 1.5,
}
FINDING = {
    "severity": "UNHEALTHY",
    "topic": "storage-refused",
    "what": "The disk refuses writes.",
    "why": "The last commit failed: full.",
    "try": ["Make room.", "Unlock the database."],
}


def diagnosis(status: str = "HEALTHY", *findings: dict[str, Any], public_url: str = "") -> dict[str, Any]:
    """An answer of the diagnosis route."""
    return {
        "status": status,
        "at": "2026-01-01T00:00:00.000Z",
        "windowMs": 300_000,
        "figures": FIGURES,
        "findings": list(findings),
        "publicUrl": public_url,
        "heartbeatIntervalMs": 10_000,
    }


class Stand:
    """A stand-in for a server: answers by path, upgrades as told, and remembers the headers it was sent."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.upgrade: Callable[[str], tuple[int, dict[str, str], bytes]] = accept_upgrade
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def tells(self, report: object, status: int = 200) -> None:
        """Answer the diagnosis with this."""
        self.answers["/api/admin/websocket/diagnosis"] = (status, json.dumps(report).encode(), {})


def accept_upgrade(key: str) -> tuple[int, dict[str, str], bytes]:
    """What RFC 6455, section 4.2.2, asks for."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return 101, {**headers, "Sec-WebSocket-Accept": base64.b64encode(digest).decode()}, b""


@contextmanager
def standing() -> Iterator[Stand]:
    """A stand-in on a free port."""
    stand = Stand()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stand.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            if self.path.split("?")[0].endswith("/collaboration"):
                status, headers, body = stand.upgrade(self.headers["Sec-WebSocket-Key"])
            else:
                status, body, headers = stand.answers.get(self.path.split("?")[0], (404, b"nothing", {}))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 101:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    stand.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stand]:
    """A stand-in, and a configuration of the test's own."""
    for name in ("COLLABD_CONFIG", "COLLABD_URL", "COLLABD_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLLABD_STORAGE__DATA_DIR", str(tmp_path))
    with standing() as stand:
        stand.tells(diagnosis())
        yield stand


def doctor(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["doctor", *arguments])


def test_a_healthy_server_is_said_to_be_so(stand: Stand) -> None:
    """With its figures in a sentence, and exit status 0."""
    result = doctor("--url", stand.url)
    assert result.exit_code == 0
    assert result.output.startswith(f"HEALTHY: {stand.url}\n")
    text = " ".join(result.output.split())
    assert "3 sessions (1 polling) in 2 runs, quality 96.5 of 100; latency p95 9.5 ms" in text
    assert "commits p99 unmeasured" in text
    assert "An upgrade was accepted (101)." in text
    assert "Nothing to complain about." in text


@pytest.mark.parametrize(("status", "exit_code"), [("HEALTHY", 0), ("DEGRADED", 3), ("UNHEALTHY", 4)])
def test_the_exit_status_tells_the_verdict(stand: Stand, status: str, exit_code: int) -> None:
    """For scripts and monitoring."""
    stand.tells(diagnosis(status, FINDING))
    assert doctor("--url", stand.url).exit_code == exit_code


def test_a_finding_is_told_with_reason_remedies_and_section(stand: Stand) -> None:
    """In this order."""
    stand.tells(diagnosis("UNHEALTHY", FINDING))
    output = doctor("--url", stand.url).output
    lines = (
        "The disk refuses writes.",
        "why   The last commit",
        "try   Make room.",
        "try   Unlock",
        "#storage-refused",
    )
    places = [output.index(line) for line in lines]
    assert places == sorted(places)


def test_json_is_one_object_with_everything(stand: Stand) -> None:
    """The same figures, findings and the attempted upgrade."""
    stand.tells(diagnosis("UNHEALTHY", FINDING))
    result = doctor("--url", stand.url, "--json")
    report = json.loads(result.output)
    assert result.exit_code == 4
    assert (report["status"], report["url"], report["findings"]) == ("UNHEALTHY", stand.url, [FINDING])
    assert report["figures"] == FIGURES
    assert report["upgrade"]["works"] is True


def test_a_server_that_does_not_answer_is_unhealthy() -> None:
    """That is a diagnosis, not a failure to make one."""
    with standing() as stand:
        url = stand.url
    result = doctor("--url", url, "--token", "a token")
    assert result.exit_code == 4
    assert "does not answer" in result.output
    assert "Connection refused" in result.output
    report = json.loads(doctor("--url", url, "--token", "a token", "--json").output)
    assert (report["status"], report["findings"][0]["topic"]) == ("UNHEALTHY", "no-scrape")


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (401, b"{}", {}, "another admin token"),
        (403, b"{}", {}, "another admin token"),
        (404, b"{}", {}, "answered 404"),
        (200, b"<html>", {}, "does not answer as collabd does"),
        (302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}, "redirects to http://127.0.0.1:1/elsewhere"),
    ],
)
def test_what_cannot_be_examined_says_why(
    stand: Stand, status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    """One line that says what to do; `collabd` ends with 1."""
    stand.answers["/api/admin/websocket/diagnosis"] = (status, body, headers)
    result = doctor("--url", stand.url)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://x:99999", "ws://127.0.0.1:8080"])
def test_what_is_no_url_is_wrong_usage(url: str) -> None:
    """Exit status 2, before anything is asked."""
    assert doctor("--url", url).exit_code == 2
    assert doctor("--url", "http://127.0.0.1:1", "--public-url", url).exit_code == 2


def test_a_bad_configuration_is_named(tmp_path: Path) -> None:
    """As `check-config` would."""
    path = tmp_path / "bad.toml"
    path.write_text("[server]\nbnid = 1\n")
    result = doctor("--config", str(path))
    assert result.exit_code == 2
    assert "bnid" in result.output


# The token


def test_the_token_is_sent_as_a_bearer_token(stand: Stand, tmp_path: Path) -> None:
    """Given as an option, in the environment, or in a file."""
    file = tmp_path / "token"
    file.write_text("from a file\n")
    doctor("--url", stand.url, "--token", "as an option")
    doctor("--url", stand.url, "--token-file", str(file))
    CliRunner().invoke(cli, ["doctor", "--url", stand.url], env={"COLLABD_ADMIN_TOKEN": "from the environment"})
    asked = [headers["authorization"] for path, headers in stand.seen if "diagnosis" in path]
    assert asked == ["Bearer as an option", "Bearer from a file", "Bearer from the environment"]


def test_the_own_token_is_for_the_own_server_only(stand: Stand, tmp_path: Path) -> None:
    """Whoever is named by --url gets nothing that was not given for it."""
    (tmp_path / "admin.token").write_text("secret of this machine\n")
    doctor("--url", stand.url)
    own = stand.url.removeprefix("http://")
    CliRunner().invoke(cli, ["doctor"], env={"COLLABD_SERVER__BIND": own})
    asked = [headers.get("authorization") for path, headers in stand.seen if "diagnosis" in path]
    assert asked == [None, "Bearer secret of this machine"]


def test_the_token_does_not_follow_a_redirect(stand: Stand) -> None:
    """It would go to another host."""
    with standing() as other:
        stand.answers["/api/admin/websocket/diagnosis"] = (307, b"", {"Location": f"{other.url}/x"})
        doctor("--url", stand.url, "--token", "secret")
        assert other.seen == []


# The upgrade


def test_an_upgrade_is_tried_as_a_browser_would(stand: Stand) -> None:
    """With the page's own origin, so that a forgotten server.public_url is found; below a path if there is one."""
    attempt = try_upgrade(f"{stand.url}/collab/")
    path, headers = stand.seen[-1]
    assert attempt.works
    assert path.startswith("/collab/ws/runs/")
    assert headers["origin"] == stand.url
    assert headers["sec-websocket-protocol"] == "collabd.v1"


@pytest.mark.parametrize(
    ("status", "code", "works", "said"),
    [
        (401, "unauthorized", True, "answered 401 unauthorized"),
        (429, "too_many_connections", True, "reached the server"),
        (403, "origin_not_allowed", False, "server.public_url"),
        (404, "not_found", False, "proxy_set_header Upgrade"),
        (400, "invalid_parameter", False, "404"),
        (200, None, False, "instead of 101"),
        (502, None, False, "instead of 101"),
    ],
)
def test_a_refused_upgrade_is_told_apart(stand: Stand, status: int, code: str | None, works: bool, said: str) -> None:
    """By the server, which means that it got there; by something on the way, which means that it did not."""
    stand.upgrade = lambda key: (status, {}, json.dumps({"code": code}).encode() if code else b"<html>")
    attempt = try_upgrade(stand.url)
    assert attempt.works is works
    text = " ".join((attempt.why, *attempt.try_))
    assert said.replace("404", str(status)) in text


def test_a_101_of_somebody_else_is_no_websocket(stand: Stand) -> None:
    """The accept key proves that the other side understood."""
    stand.upgrade = lambda key: (101, {"Upgrade": "websocket", "Sec-WebSocket-Accept": "wrong"}, b"")
    assert not try_upgrade(stand.url).works


def test_a_public_url_without_websockets_degrades_a_healthy_server(stand: Stand) -> None:
    """The server cannot know it; the doctor looks from outside."""
    with standing() as proxy:
        proxy.upgrade = lambda key: (400, {}, b"")
        for arguments, report in (
            (["--public-url", proxy.url], diagnosis()),
            ([], diagnosis(public_url=proxy.url)),
        ):
            stand.tells(report)
            result = doctor("--url", stand.url, *arguments)
            assert result.exit_code == 3
            assert "cannot be opened through" in " ".join(result.output.split())
            assert "#fallback-frequent" in result.output


@pytest.mark.e2e
def test_the_doctor_examines_a_real_server(tmp_path: Path) -> None:
    """Reached through its public name, it wants the token, which the command finds by itself; then it stops."""
    with running_daemon(
        tmp_path / "data", {"SERVER__PUBLIC_URL": "http://127.0.0.1:1", "AUTH__ALLOW_OPEN": "true"}
    ) as daemon:
        environment = {
            "COLLABD_SERVER__BIND": f"127.0.0.1:{daemon.port}",
            "COLLABD_STORAGE__DATA_DIR": str(tmp_path / "data"),
        }
        runner = CliRunner()
        assert "wants another admin token" in str(runner.invoke(cli, ["doctor", "--url", daemon.url]).stderr)
        found = runner.invoke(cli, ["doctor"], env=environment)
        assert found.exit_code == 3  # nothing listens at the public URL
        assert "cannot be opened through http://127.0.0.1:1" in " ".join(found.output.split())
        elsewhere = runner.invoke(cli, ["doctor", "--public-url", daemon.url], env=environment)
        assert "origin_not_allowed" in elsewhere.output


@pytest.mark.e2e
def test_the_doctor_finds_a_real_server_healthy_and_then_gone(tmp_path: Path) -> None:
    """Exit status 0, then 4; the attempted upgrade leaves nobody behind."""
    runner = CliRunner()
    with running_daemon(tmp_path / "data") as daemon:
        healthy = runner.invoke(cli, ["doctor", "--url", daemon.url])
        assert healthy.exit_code == 0, healthy.output
        assert "An upgrade was accepted" in healthy.output
        assert _how_it_left(daemon) == 1000
        assert daemon.stop() == 0
    assert runner.invoke(cli, ["doctor", "--url", daemon.url]).exit_code == 4


def _how_it_left(daemon: Daemon) -> object:
    """The close code of the doctor's own session, which the server may need a moment to note."""
    for _ in range(100):
        (session,) = daemon.request("/api/admin/websocket/metrics")[1]
        assert session["userId"] == "collabd-doctor"
        if session["disconnectedAt"]:
            return session["closeCode"]
        time.sleep(0.05)
    return None
