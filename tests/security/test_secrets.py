"""What must stay secret stays out of files that others read, out of the log and out of every message."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from collabd.admin_door import AdminDoor, load_admin_token
from collabd.auth import OpenDoor
from collabd.cli import cli
from collabd.config import Config, load_config
from collabd.errors import ConfigError
from collabd.log import JsonFormatter, TextFormatter
from collabd.store.sqlite import open_store
from tests.security.signing import SECRET, claims, key_pair, sign
from tests.store.support import database_file, event


def mode_of(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


# Files


async def test_what_is_made_in_the_data_directory_is_the_owners(tmp_path: Path) -> None:
    """Whatever the umask says: database, log, mark, lock and the directory itself."""
    before = os.umask(0)
    try:
        async with open_store(tmp_path / "new") as store:
            await store.append([event()])
            modes = {path.name: mode_of(path) for path in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)
    assert len(modes) >= 5
    assert set(modes.values()) == {0o600}
    assert mode_of(tmp_path / "new") == 0o700


async def test_a_database_that_was_open_to_everybody_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that was copied back from a backup; a group that was let in on purpose stays in."""
    async with open_store(tmp_path):
        pass
    database_file(tmp_path).chmod(0o644)
    async with open_store(tmp_path):
        assert mode_of(database_file(tmp_path)) == 0o640
    assert "was open to everybody" in caplog.text
    caplog.clear()
    async with open_store(tmp_path):
        assert caplog.text == ""


def config_of(tmp_path: Path, **settings: str) -> Config:
    """The configuration with its data in a directory of the test's own; names as the environment has them."""
    environ = {"HOME": str(tmp_path), "COLLABD_STORAGE__DATA_DIR": str(tmp_path)}
    return load_config(None, environ | {f"COLLABD_{name}": text for name, text in settings.items()})


def test_the_admin_token_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Unguessable, made once, and of mode 0600 whatever the umask says."""
    before = os.umask(0)
    try:
        token = load_admin_token(config_of(tmp_path))
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "admin.token") == 0o600
    assert len(token) >= 32
    assert load_admin_token(config_of(tmp_path)) == token


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_an_admin_token_that_everybody_reads_is_refused(tmp_path: Path, mode: int) -> None:
    """Made by us or given by the operator."""
    load_admin_token(config_of(tmp_path))
    (tmp_path / "admin.token").chmod(mode)
    with pytest.raises(ConfigError, match="by everybody on this machine"):
        load_admin_token(config_of(tmp_path))
    with pytest.raises(ConfigError, match="by everybody on this machine"):
        config_of(tmp_path, ADMIN__TOKEN_FILE=str(tmp_path / "admin.token"))


@pytest.mark.parametrize("text", ["", "   \n", "short"])
def test_an_admin_token_that_can_be_guessed_is_refused(tmp_path: Path, text: str) -> None:
    """At start."""
    (tmp_path / "admin.token").write_text(text)
    (tmp_path / "admin.token").chmod(0o600)
    with pytest.raises(ConfigError, match="at least 16 characters"):
        load_admin_token(config_of(tmp_path))


@pytest.mark.parametrize(("bind", "mode"), [("0.0.0.0:1", "open"), ("[::]:1", "open"), ("box:1", "open")])
def test_beyond_loopback_nothing_starts_without_an_admin_token(tmp_path: Path, bind: str, mode: str) -> None:
    """`serve` writes one by itself; whoever takes that away is told."""
    config = config_of(tmp_path, SERVER__BIND=bind, AUTH__ALLOW_OPEN="true")
    for token in (None, ""):
        with pytest.raises(ConfigError, match="there has to be an admin token"):
            AdminDoor(config, OpenDoor(), token)


@pytest.mark.parametrize("setting", ["KEY_FILE", "JWKS_FILE"])
def test_a_signing_secret_that_everybody_reads_is_refused(tmp_path: Path, setting: str) -> None:
    """With HS256 what checks tokens also makes them; a public key may be read by all."""
    path = tmp_path / "key"
    path.write_text(SECRET)
    path.chmod(0o644)
    settings = {"AUTH__MODE": "jwt", f"AUTH__{setting}": str(path)}
    with pytest.raises(ConfigError, match="by everybody on this machine"):
        config_of(tmp_path, **settings)
    config_of(tmp_path, **settings, AUTH__ALGORITHM="ES256")


# Output


def run(tmp_path: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """A command as an operator types it: exit status, and all that it printed."""
    environ: dict[str, str | None] = {name: None for name in os.environ if name.startswith("COLLABD_")}
    environ |= {"HOME": str(tmp_path), "COLLABD_STORAGE__DATA_DIR": str(tmp_path / "data")}
    environ |= {f"COLLABD_{name}": text for name, text in settings.items()}
    environ["SIGNING"] = SECRET
    result = CliRunner().invoke(cli, list(arguments), env=environ)
    return result.exit_code, result.output


@pytest.mark.parametrize("arguments", [("check-config",), ("check-config", "--json")])
def test_check_config_shows_no_secret(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Good or bad: it names files and variables, never what is in them."""
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "bad").write_text("a secret that is short")
    (tmp_path / "bad").chmod(0o600)
    outputs = [
        run(tmp_path, *arguments, AUTH__MODE="jwt", AUTH__KEY_FILE=str(tmp_path / "key")),
        run(tmp_path, *arguments, AUTH__MODE="jwt", AUTH__KEY_ENV="SIGNING"),
        run(tmp_path, *arguments, AUTH__MODE="jwt", AUTH__KEY_FILE=str(tmp_path / "bad")),
        run(tmp_path, *arguments, AUTH__MODE="jwt", AUTH__KEY_ENV=SECRET),
        run(tmp_path, *arguments, AUTH__KEY=SECRET),
        run(tmp_path, *arguments, AUTH__MODE="jwt", AUTH__KEY_ENV="COLLABD_AUTH__X"),
    ]
    assert [status for status, _ in outputs] == [0, 0, 2, 2, 2, 2]
    for _, output in outputs:
        assert SECRET not in output
        assert "a secret" not in output


def test_a_file_with_a_secret_in_the_wrong_place_does_not_show_it(tmp_path: Path) -> None:
    """Unknown keys and values of the wrong type are named without what stands there."""
    (tmp_path / "c.toml").write_text(f'secret = "{SECRET}"\n[auth]\nkey = "{SECRET}"\nkey_env = "{SECRET}"\n')
    status, output = run(tmp_path, "check-config", "--config", str(tmp_path / "c.toml"))
    assert status == 2
    assert SECRET not in output


def test_a_minted_token_is_all_that_is_printed(tmp_path: Path) -> None:
    """By the configured secret, or by a private key that is named; anything else says what is missing."""
    settings = {"AUTH__MODE": "jwt", "AUTH__KEY_ENV": "SIGNING"}
    status, output = run(tmp_path, "token", "--sub", "ann", "--expires", "15m", **settings)
    assert status == 0
    assert len(output.strip().split(".")) == 3
    pair = key_pair("ES256")
    for name, text, mode in [("private", pair.private, 0o600), ("public", pair.public, 0o644)]:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    settings = {"AUTH__MODE": "jwt", "AUTH__ALGORITHM": "ES256", "AUTH__KEY_FILE": str(tmp_path / "public")}
    assert run(tmp_path, "token", "--sub", "ann", "--key", str(tmp_path / "private"), **settings)[0] == 0
    status, output = run(tmp_path, "token", "--sub", "ann", **settings)
    assert status == 2
    assert "give --key" in output
    (tmp_path / "private").chmod(0o644)
    status, output = run(tmp_path, "token", "--sub", "ann", "--key", str(tmp_path / "private"), **settings)
    assert status == 2
    assert "by everybody on this machine" in output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sub", ""), ("--sub", "a\nb"), ("--sub", "ann", "--runs", "x"), ("--sub", "ann", "--role", "root"),
        ("--sub", "ann", "--expires", "0s"), ("--sub", "ann", "--expires", "5"), ("--sub", "ann", "--expires", "-5m"),
        (),
    ],
)  # fmt: skip
def test_a_token_that_would_let_nobody_in_is_not_minted(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Wrong usage, exit status 2."""
    assert run(tmp_path, "token", *arguments, AUTH__MODE="jwt", AUTH__KEY_ENV="SIGNING")[0] == 2


def test_in_open_mode_no_token_is_minted(tmp_path: Path) -> None:
    """Nobody would look at it."""
    status, output = run(tmp_path, "token", "--sub", "ann")
    assert status == 2
    assert 'auth.mode is "open"' in output


# The log


def record(message: str, *, failed: bool = False) -> logging.LogRecord:
    """A log record, with an exception whose message is the same text."""
    made = logging.LogRecord("collabd", logging.WARNING, __file__, 1, "%s", (message,), None)
    if failed:
        try:
            raise ValueError(message)
        except ValueError:
            made.exc_info = sys.exc_info()
    return made


@given(st.text(), st.booleans())
@example("a\r\nb\x00\x1b[2J\x7f\x85\u2028\udcff", True)
def test_no_text_forges_a_line_of_the_text_log(message: str, failed: bool) -> None:
    """One line for a record; a traceback's are indented; no control character at all."""
    first, *rest = TextFormatter().format(record(message, failed=failed)).split("\n")
    assert first.isprintable()
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert bool(rest) == failed


@given(st.text(), st.booleans())
@example("a\r\nb\x00\x1b[2J\x7f\x85\u2028\udcff", True)
def test_no_text_forges_a_line_of_the_json_log(message: str, failed: bool) -> None:
    """Plain ASCII without control characters, one object."""
    line = JsonFormatter().format(record(message, failed=failed))
    assert line.isascii()
    assert line.isprintable()
    assert set(json.loads(line)) == {"time", "level", "logger", "message"} | ({"exception"} if failed else set())


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
@pytest.mark.parametrize("failed", [False, True])
def test_tokens_and_queries_are_never_written(formatter: logging.Formatter, failed: bool) -> None:
    """Even where an exception of some library quotes a request."""
    token = sign(claims())
    quoted = [
        "GET /api/runs/x/collaboration/poll?userId=ann&sessionId=abc123 HTTP/1.1",
        f"Authorization: Bearer {token}", "authorization: bearer abc123", "collabd.v1, bearer.abc123", f"token {token}",
    ]  # fmt: skip
    for text in quoted:
        written = formatter.format(record(text, failed=failed))
        assert token not in written
        assert token.split(".")[2] not in written
        assert "abc123" not in written
    assert "why is that? a=b" in formatter.format(record("why is that? a=b"))
