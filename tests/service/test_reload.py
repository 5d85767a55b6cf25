"""SIGHUP: what changes while people work, what waits for a restart, and that a broken file changes nothing."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
import trustme

from collabd.config import Client, Config, Limits, Presence, WebSocket, settings
from collabd.errors import ConfigError
from collabd.service.reload import is_live, plan_reload
from tests.support.daemon import Daemon, joined, receive, receive_until, running_daemon, send

OLD = Config()


def test_what_can_change_changes_and_the_rest_is_named() -> None:
    """The configuration that results has the old value of what has to wait."""
    new = msgspec.structs.replace(OLD, client=Client(polling_interval_ms=9_000), presence=Presence(grace_s=1))
    plan = plan_reload(OLD, new)
    assert plan.changed == ["client.polling_interval_ms"]
    assert plan.waiting == ["presence.grace_s"]
    assert plan.config.client.polling_interval_ms == 9_000
    assert plan.config.presence.grace_s == OLD.presence.grace_s


def test_nothing_changed_is_nothing_to_do() -> None:
    """A reload for the sake of a key file."""
    assert plan_reload(OLD, Config()) == (OLD, [], [])


def test_a_setting_that_needs_another_one_to_wait_is_refused() -> None:
    """Both files are sound by themselves; what would result is not."""
    small = msgspec.structs.replace(
        OLD, websocket=WebSocket(max_message_bytes=2_000), limits=Limits(byte_burst=3_000)
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"byte_burst must be at least .*max_message_bytes") as caught:
        plan_reload(OLD, small)
    assert "without a restart (websocket.max_message_bytes)" in str(caught.value)


def test_what_is_decided_at_the_start_is_not_live() -> None:
    """Each of these is read once: a socket, a database, a room."""
    live = {name for name in settings() if is_live(name)}
    for name in ("server.bind", "storage.data_dir", "auth.mode", "events.critical_event_types", "presence.grace_s"):
        assert name not in live
    assert {
        "limits.connections",
        "logging.level",
        "admin.token_file",
        "auth.key_file",
        "client.message_retry_limit",
    } <= live


class Reloadable:
    """A daemon with a configuration file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "collabd.toml"
        self.token = folder / "admin.token"
        self.configure("the-first-admin-token")

    def configure(self, token: str, text: str = "") -> None:
        """Write the file and the admin token that it names."""
        self.token.write_text(token)
        self.token.chmod(0o600)
        self.file.write_text(f"[admin]\ntoken_file = '{self.token}'\n{text}")

    @property
    def settings(self) -> dict[str, str]:
        """For running_daemon."""
        return {"CONFIG": str(self.file)}


def reload(daemon: Daemon, until: str) -> None:
    """SIGHUP, and wait for a line of the log that was not there before."""
    seen = daemon.log.read_text().count(until)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.log.read_text().count(until) > seen)


def wait_for(holds: Callable[[], bool]) -> None:
    """Something that another process does."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


DONE = "keys and tokens were read again"
REFUSED = "not reloaded, nothing was changed"


@pytest.mark.e2e
def test_limits_change_for_sessions_that_are_open(tmp_path: Path) -> None:
    """And the session goes on: nobody is disconnected by a reload."""
    files = Reloadable(tmp_path)
    run_id = str(uuid.uuid4())

    async def live(daemon: Daemon) -> None:
        async with joined(daemon, run_id, "ann") as ann:
            await receive(ann)
            await send(ann, "GRAFT", {"after": "A"}, "m1")
            await receive_until(ann, "ACK", 60)
            files.configure("the-first-admin-token", "[limits]\nmessages_per_second = 1\nmessage_burst = 1\n")
            await trio.to_thread.run_sync(reload, daemon, DONE)
            for number in range(2, 5):
                await send(ann, "GRAFT", {"after": "A"}, f"m{number}")
            error = await receive_until(ann, "ERROR", 60)
            assert error["data"]["code"] == "rate_limited"

    with running_daemon(tmp_path / "data", files.settings) as daemon:
        trio.run(live, daemon)


@pytest.mark.e2e
def test_a_broken_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    """Not even the parts of it that are sound; the next good one is taken."""
    files = Reloadable(tmp_path)
    with running_daemon(tmp_path / "data", files.settings) as daemon:
        good = "[client]\npolling_interval_ms = 5000\n"
        files.configure("the-second-admin-token", good + "[limits]\nconnections = -1\n")
        reload(daemon, REFUSED)
        assert "[limits] connections" in daemon.log.read_text()
        assert daemon.request("/api/client-config")[1]["pollingIntervalMs"] == 2000
        files.configure("short", good)
        reload(daemon, REFUSED)
        assert "must have at least 16 characters" in daemon.log.read_text()
        assert daemon.request("/api/client-config")[1]["pollingIntervalMs"] == 2000
        files.configure("the-third-admin-token", good + "[logging]\nlevel = 'debug'\n[presence]\ngrace_s = 3\n")
        reload(daemon, DONE)
        assert daemon.request("/api/client-config")[1]["pollingIntervalMs"] == 5000
        assert "presence.grace_s was changed, and needs a restart" in daemon.log.read_text()
        assert daemon.stop() == 0


@pytest.mark.e2e
def test_tokens_and_keys_are_read_again(tmp_path: Path) -> None:
    """Under the same names: the old ones let nobody in any more."""
    files = Reloadable(tmp_path)
    key = tmp_path / "token.key"
    key.write_text("a" * 40)
    key.chmod(0o600)
    token_mode = f"[auth]\nmode = 'jwt'\nkey_file = '{key}'\n"
    files.configure("the-first-admin-token", token_mode)
    run = f"/api/runs/{uuid.uuid4()}/collaboration/poll"
    with running_daemon(tmp_path / "data", files.settings) as daemon:
        assert status(daemon, run, minted("a" * 40)) == 200
        assert status(daemon, "/metrics", "the-first-admin-token") == 200
        key.write_text("b" * 40)
        files.configure("the-second-admin-token", token_mode)
        reload(daemon, DONE)
        assert status(daemon, run, minted("a" * 40)) == 401
        assert status(daemon, run, minted("b" * 40)) == 200
        assert status(daemon, "/metrics", "the-first-admin-token") == 401
        assert status(daemon, "/metrics", "the-second-admin-token") == 200


def minted(key: str) -> str:
    """A token for everything."""
    from collabd.config import Auth
    from collabd.tokens import mint

    return mint(Auth(mode="jwt"), key, user_id="ann", runs=["*"], role="editor", lifetime_s=600)


def status(daemon: Daemon, path: str, token: str) -> int:
    """What a request with a token is answered."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(daemon.url + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.e2e
def test_a_renewed_certificate_is_used_from_the_next_handshake_on(tmp_path: Path) -> None:
    """Under the same names, as programs that renew certificates leave them."""
    authority = trustme.CA()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"

    def renew() -> None:
        issued = authority.issue_cert("localhost", "127.0.0.1")
        key.write_bytes(issued.private_key_pem.bytes())
        key.chmod(0o600)
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))

    renew()
    files = Reloadable(tmp_path)
    files.configure(
        "the-first-admin-token", f"[server]\ntls_certificate = '{certificate}'\ntls_private_key = '{key}'\n"
    )
    with running_daemon(tmp_path / "data", files.settings) as daemon:
        address = ("127.0.0.1", daemon.port)
        first = ssl.get_server_certificate(address)
        assert ssl.get_server_certificate(address) == first
        renew()
        reload(daemon, DONE)
        assert ssl.get_server_certificate(address) != first
        certificate.write_text("no certificate")
        reload(daemon, REFUSED)
        assert "tls_certificate" in daemon.log.read_text()
        ssl.get_server_certificate(address)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`collabd reload` as somebody types it."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}
    typed = [sys.executable, "-m", "collabd", "reload", *arguments]
    return subprocess.run(typed, capture_output=True, text=True, timeout=90, env=environ)


@pytest.mark.e2e
def test_the_command_asks_the_daemon_of_a_data_directory(tmp_path: Path) -> None:
    """Only with a sound file, and only where one runs; the exit status says which it was."""
    files = Reloadable(tmp_path)
    where = ("--config", str(files.file), "--data-dir", str(tmp_path / "data"))
    nobody = command(*where)
    assert (nobody.returncode, "no collabd has it open" in nobody.stderr) == (1, True)
    with running_daemon(tmp_path / "data", files.settings) as daemon:
        files.configure("the-second-admin-token", "[limits]\nconections = 1\n")
        broken = command(*where)
        assert (broken.returncode, 'did you mean "connections"' in broken.stderr) == (2, True)
        files.configure("the-second-admin-token", "[client]\npolling_interval_ms = 5000\n")
        done = command(*where)
        assert (done.returncode, f"process {daemon.process.pid}" in done.stdout) == (0, True)
        wait_for(lambda: DONE in daemon.log.read_text())
        assert daemon.log.read_text().count("reloaded: client.polling_interval_ms") == 1
        assert REFUSED not in daemon.log.read_text(), "it was not asked with the broken one"
    assert command(*where).returncode == 1
