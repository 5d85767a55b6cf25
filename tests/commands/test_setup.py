"""`collabd init`, `collabd completion`, `collabd version`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from collabd import __version__
from collabd.cli import cli
from tests.commands.support import fails, run, snapshot

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("auth", ["open", "jwt"])
def test_what_init_writes_can_be_used_as_it_is(auth: str, tmp_path: Path) -> None:
    """The configuration is good, secrets are their owner's, and every command that it names does what it should."""
    result = run("init", tmp_path / "new", "--auth", auth, "--bind", "127.0.0.1:9999")
    assert result.exit_code == 0, result.output
    config = tmp_path / "new" / "collabd.toml"
    checked = json.loads(run("check-config", "--config", config, "--json").stdout)["settings"]
    assert (checked["auth.mode"], checked["server.bind"]) == (auth, "127.0.0.1:9999")
    assert checked["storage.data_dir"] == str(tmp_path / "new" / "data")
    assert checked["admin.token_file"] == str(tmp_path / "new" / "admin.token")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    secrets = {"admin.token"} | ({"auth.secret"} if auth == "jwt" else set())
    assert {name for name, mode in modes.items() if mode == 0o600} == secrets
    assert set(modes) == secrets | {"collabd.toml"}
    assert f"collabd serve --config {config}" in result.stdout
    if auth == "jwt":
        assert run("token", "--config", config, "--sub", "ann").stdout.count(".") == 2


def test_the_written_configuration_explains_every_key(tmp_path: Path) -> None:
    """It is the documented one, but for what was chosen."""
    run("init", tmp_path)
    written = (tmp_path / "collabd.toml").read_text().splitlines()
    documented = (ROOT / "collabd.toml").read_text().splitlines()
    assert len(written) == len(documented)
    changed = [new for new, old in zip(written, documented, strict=True) if new != old]
    assert changed == ['data_dir = "data"', 'token_file = "admin.token"']


@pytest.mark.parametrize("name", ["collabd.toml", "admin.token", "auth.secret"])
def test_init_never_overwrites_and_then_writes_nothing(name: str, tmp_path: Path) -> None:
    """Not even the other files."""
    (tmp_path / name).write_text("precious")
    assert f"{tmp_path / name}: exists already" in fails("init", tmp_path, "--auth", "jwt")
    assert snapshot(tmp_path) == {name: b"precious"}


def test_init_with_values_that_make_no_configuration_leaves_nothing(tmp_path: Path) -> None:
    """As beyond loopback without anybody asked for a token."""
    result = run("init", tmp_path, "--bind", "0.0.0.0:8080")
    assert result.exit_code == 2
    assert "auth.mode" in result.stderr
    assert snapshot(tmp_path) == {}


def test_init_says_what_it_wrote_in_json(tmp_path: Path) -> None:
    """And what comes next."""
    report = json.loads(run("init", tmp_path, "--json").stdout)
    assert report["files"] == [str(tmp_path / "collabd.toml"), str(tmp_path / "admin.token")]
    assert report["next"][f"collabd serve --config {tmp_path}/collabd.toml"]


def test_init_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails("init", tmp_path / "file" / "sub")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    """A script that asks the program itself."""
    script = run("completion", shell).stdout
    assert f"_COLLABD_COMPLETE={shell}_complete" in script
    assert run("completion", "tcsh").exit_code == 2


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """In a real bash, with the script that is printed."""
    script = tmp_path / "completion"
    script.write_text(run("completion", "bash").stdout)
    program = tmp_path / "collabd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m collabd "$@"\n')
    program.chmod(0o755)

    def complete(*words: str) -> set[str]:
        asked = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _collabd_completion collabd"
        done = subprocess.run(
            ["bash", "-c", f'complete() {{ :; }}; . "{script}"; {asked}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return set(done.stdout.split())

    assert complete("collabd", "ba") == {"backup"}
    assert "--data-dir" in complete("collabd", "backup", "--d")


def test_versions_of_what_it_runs_on_are_told_in_json() -> None:
    """What a bug report wants to know."""
    report = json.loads(run("version", "--json").stdout)
    assert report["collabd"] == __version__
    assert set(report) == {"collabd", "python", "sqlite", "platform"}


def test_every_command_says_in_one_line_what_it_does() -> None:
    """And `--help` works for each."""
    import click

    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(200).endswith(".")
        assert run(name, "--help").exit_code == 0
