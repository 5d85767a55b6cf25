"""`collabd check-config` and the search for a configuration file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import collabd.config_file
from collabd import __version__
from collabd.cli import cli
from collabd.config import settings


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of the machine that the tests run on."""
    monkeypatch.delenv("COLLABD_CONFIG", raising=False)
    monkeypatch.setattr(collabd.config_file, "SYSTEM_CONFIG", tmp_path / "etc.toml")


def run(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, arguments)


def broken_file(path: Path) -> Path:
    """A file with two problems."""
    path.write_text('[server]\nbnd = 1\n[limits]\nconnections = "many"\n')
    return path


def test_a_good_configuration_is_summed_up_and_leaves_with_0(tmp_path: Path) -> None:
    """What differs from the defaults is named."""
    path = tmp_path / "good.toml"
    path.write_text("[presence]\ngrace_s = 5\n")
    result = run("check-config", "--config", str(path))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"OK: {path}\n")
    assert "changed     presence.grace_s\n" in result.stdout


def test_the_example_in_the_docs_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and output stand in docs/configuration.md, word for word."""
    docs = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    (example,) = re.findall(r"^\$ cat broken.toml\n(.*?)^```", docs, re.MULTILINE | re.DOTALL)
    content, printed, _ = re.split(r"^\$ .*\n", example, flags=re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text(content)
    assert run("check-config", "--config", "broken.toml").stderr == printed


def test_no_configuration_at_all_is_good() -> None:
    """And is said to be none."""
    result = run("check-config")
    assert result.exit_code == 0
    assert "no configuration file" in result.stdout


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_every_error_is_printed_and_the_exit_status_is_2(command: str, tmp_path: Path) -> None:
    """Before anything else is done."""
    result = run(command, "--config", str(broken_file(tmp_path / "broken.toml")))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2
    assert '[server] bnd: unknown key; did you mean "bind"?' in result.stderr


def test_json_for_scripts_has_every_setting_or_every_problem(tmp_path: Path) -> None:
    """One object either way."""
    good = json.loads(run("check-config", "--json").stdout)
    assert good["ok"] is True
    assert set(good["settings"]) == set(settings())
    result = run("check-config", "--json", "--config", str(broken_file(tmp_path / "broken.toml")))
    bad = json.loads(result.stdout)
    assert (result.exit_code, bad["ok"], len(bad["problems"])) == (2, False, 2)


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """Files are named, never shown."""
    token = tmp_path / "token"
    token.write_text("hush-hush-hush-hush")
    token.chmod(0o600)
    path = tmp_path / "collabd.toml"
    path.write_text('[admin]\ntoken_file = "token"\n')
    for arguments in ([], ["--json"]):
        result = run("check-config", "--config", str(path), *arguments)
        assert result.exit_code == 0
        assert "hush" not in result.output


def test_the_file_is_the_named_one_else_the_environments_else_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named file that is missing is an error; a missing system file is none."""
    system, named = tmp_path / "etc.toml", tmp_path / "named.toml"
    assert collabd.config_file.find_config(None) is None
    system.touch()
    assert collabd.config_file.find_config(None) == system
    monkeypatch.setenv("COLLABD_CONFIG", str(named))
    assert collabd.config_file.find_config(None) == named
    assert collabd.config_file.find_config(system) == system
    assert run("check-config").exit_code == 2


def test_serve_options_override_the_file_and_are_checked_with_it() -> None:
    """The message names the option."""
    result = run("serve", "--bind", "nonsense")
    assert result.exit_code == 2
    assert result.stderr.startswith("collabd: option --bind: [server] bind: ")


@pytest.mark.parametrize("arguments", [["no-such-command"], ["check-config", "--no-such-option"], ["version", "extra"]])
def test_wrong_usage_leaves_with_2(arguments: list[str]) -> None:
    """The same status as a wrong configuration: starting again will not help."""
    assert run(*arguments).exit_code == 2


def test_the_version_is_printed() -> None:
    """In the words that scripts compare."""
    assert run("version").stdout == f"collabd {__version__}\n"


def test_the_command_line_loads_nothing_that_it_does_not_need() -> None:
    """Commands import their work when they run, so that every one of them starts fast."""
    heavy = "{'trio', 'quart', 'sqlite3', 'msgspec', 'rich'}"
    code = f"import sys, collabd.cli; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
