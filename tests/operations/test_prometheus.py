"""Debian's Prometheus against a real server under load: it scrapes, and every panel and alert has something to say."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from collabd.dashboard import dashboard
from tests.operations.live import Watched, connected
from tests.operations.programs import program
from tests.support.daemon import Daemon, receive, running_daemon, send

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RULES = Path(__file__).parents[2] / "packaging" / "prometheus-alerts.yml"
EXPRESSIONS = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
LONGEST_S = 60


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    async def ask(self, path: str, **query: str) -> Any:
        """The data of an API route, None while it does not answer."""
        return await trio.to_thread.run_sync(self._ask, f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}")

    def _ask(self, url: str) -> Any:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())["data"]
        except OSError:
            return None

    async def silent(self, expressions: list[str]) -> set[str]:
        """Those that yield no series now, or nothing but NaN, asked as Grafana would."""
        return {expression for expression in expressions if not await self._yields(expression)}

    async def _yields(self, expression: str) -> bool:
        data = await self.ask("query", query=expression.replace("$__rate_interval", "6s"))
        return any(series["value"][1] != "NaN" for series in (data or {}).get("result", []))


@contextmanager
def prometheus_over(daemon: Daemon, directory: Path) -> Iterator[Prometheus]:
    """Prometheus scraping a daemon twice a second, with the alert rules."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    target = {"targets": [f"{daemon.host}:{daemon.port}"]}
    job = {"job_name": "collabd", "metrics_path": "/actuator/prometheus", "static_configs": [target]}
    every = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"}
    config = directory / "prometheus.yml"
    config.write_text(json.dumps({"global": every, "scrape_configs": [job], "rule_files": [str(RULES)]}))
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={directory}/tsdb"]
    log = (directory / "prometheus.log").open("w")
    process = subprocess.Popen(
        [program("prometheus"), *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
    )
    try:
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()
        log.close()


async def load(daemon: Daemon, run: str, user: str) -> None:
    """A member who works, and now and then comes back."""
    query = ""
    while True:
        async with connected(daemon.port, run, user, query) as client, trio.open_nursery() as nursery:
            query = f"&sessionId={(await receive(client))['data']['sessionId']}"
            nursery.start_soon(_read_on, client)
            for number in range(30):
                await send(client, "GRAFT", {"after": str(number)}, uuid4().hex)
                await send(client, "CURSOR_MOVE", {"nodeId": str(number)})
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()


async def _read_on(client: Any) -> None:
    while True:
        await client.get_message()


async def poll(daemon: Daemon, run: str) -> None:
    """A member who falls back."""
    while True:
        await trio.to_thread.run_sync(daemon.request, f"/api/runs/{run}/collaboration/poll?userId=dan")
        await trio.sleep(1)


async def test_every_panel_yields_series_in_a_real_prometheus_under_load(tmp_path: Path) -> None:
    """Each expression of the dashboard, as Grafana would ask it; promtool has nothing against the exposition."""
    program("prometheus")
    run = str(uuid4())
    with (
        running_daemon(tmp_path / "data", {"WEBSOCKET__HEARTBEAT_INTERVAL_S": "0.5"}) as daemon,
        prometheus_over(daemon, tmp_path) as prometheus,
    ):
        async with trio.open_nursery() as nursery:
            for user in ("ann", "bob", "cat"):
                nursery.start_soon(load, daemon, run, user)
            nursery.start_soon(poll, daemon, run)
            with trio.move_on_after(LONGEST_S):
                while silent := await prometheus.silent(EXPRESSIONS):  # noqa: ASYNC110 (it is asked of others)
                    await trio.sleep(0.5)
            rules = await prometheus.ask("rules")
            exposition = await Watched(daemon).exposition()
            nursery.cancel_scope.cancel()
    assert silent == set()
    alerts = rules["groups"][0]["rules"]
    assert {alert["name"]: alert["lastError"] for alert in alerts if alert.get("lastError")} == {}
    assert {alert["health"] for alert in alerts} == {"ok"}
    assert complaints_of_promtool(exposition) == ""


def complaints_of_promtool(exposition: str) -> str:
    """What `promtool check metrics` says; nothing where all is well."""
    command = [program("promtool"), "check", "metrics"]
    checked = subprocess.run(command, input=exposition, capture_output=True, text=True)
    return checked.stdout + checked.stderr + (f"exit status {checked.returncode}" if checked.returncode else "")


def test_promtool_would_notice_a_bad_name() -> None:
    """The test above is worth what promtool notices."""
    assert "should have" in complaints_of_promtool("# HELP visits Visits.\n# TYPE visits counter\nvisits 1\n")
