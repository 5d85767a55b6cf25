"""What `collabd serve` says, as the real process, where it cannot run: one clear line, the documented exit status, and
nothing damaged.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.support import make_newer, snapshot

pytestmark = pytest.mark.e2e


def refused(*options: str | Path, **settings: str) -> tuple[int, str]:
    """The exit status of a `serve` that must not start, and the one line of its own (the log is silenced)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLABD_")}
    environment |= {"COLLABD_LOGGING__LEVEL": "error", "COLLABD_CONFIG": os.devnull}
    environment |= {f"COLLABD_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "collabd", "serve", *map(str, options)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("collabd: ")
    return done.returncode, line


def test_a_port_in_use(tmp_path: Path) -> None:
    """Another start may help: the other program may be about to stop."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        status, line = refused("--bind", bind, "--data-dir", tmp_path / "data")
    assert status == 1
    assert f"cannot listen on {bind}: Address already in use" in line
    assert not (tmp_path / "data").exists()


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in its way, which even root cannot write through."""
    (tmp_path / "file").write_text("precious")
    status, line = refused("--bind", "127.0.0.1:0", "--data-dir", tmp_path / "file" / "data")
    assert status == 2
    assert str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "precious"


def test_a_configuration_with_errors(tmp_path: Path) -> None:
    """The file, the table, the key, and the nearest known one."""
    config = tmp_path / "collabd.toml"
    config.write_text('[server]\nbnd = "127.0.0.1:0"\n')
    status, line = refused("--config", config, "--data-dir", tmp_path / "data")
    assert status == 2
    assert f'{config}: [server] bnd: unknown key; did you mean "bind"?' in line
    assert not (tmp_path / "data").exists()


def test_a_token_file_that_everybody_can_read(tmp_path: Path) -> None:
    """With the command that mends it."""
    token = tmp_path / "admin.token"
    token.write_text("a token that is long enough")
    token.chmod(0o644)
    options = ("--bind", "127.0.0.1:0", "--data-dir", tmp_path / "data")
    status, line = refused(*options, ADMIN__TOKEN_FILE=str(token))
    assert status == 2
    assert line.endswith(f"chmod 600 {token}")


def test_an_old_program_on_a_newer_database(tmp_path: Path) -> None:
    """The database is untouched."""
    data = make_newer(tmp_path / "data")
    before = snapshot(data)["collabd.sqlite3"]
    status, line = refused("--bind", "127.0.0.1:0", "--data-dir", data)
    assert status == 2
    assert "made by a newer collabd (schema 99, this one knows up to 2)" in line
    assert snapshot(data)["collabd.sqlite3"] == before
