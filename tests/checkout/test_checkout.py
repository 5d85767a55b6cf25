"""packaging/checkout.py: set-up happens when it is needed, only then, and says what is wrong."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, at work in an empty checkout, with installing and npm replaced by lines in `steps`."""
    spec = importlib.util.spec_from_file_location("checkout", ROOT / "packaging" / "checkout.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in {"ROOT": "", "VENV": ".venv", "WEB": "web", "WEB_CLIENT": "web_client"}.items():
        monkeypatch.setattr(module, name, tmp_path / path)
    monkeypatch.setattr(module, "PYTHON", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setattr(module, "steps", [], raising=False)
    monkeypatch.setattr(module, "install", lambda *what: module.steps.append(what))
    monkeypatch.setattr(module, "make_venv", lambda: (tmp_path / ".venv").mkdir(exist_ok=True))
    monkeypatch.setattr(module, "with_node", lambda: {"PATH": "x"})
    monkeypatch.setattr(module, "DEBIAN_PROGRAMS", {})
    (tmp_path / "pyproject.toml").write_text("a = 1")
    return module


@pytest.fixture
def web(checkout: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A web client with one source file, whose npm only writes down what it was asked."""

    def npm(command: list[str], *_: object) -> None:
        checkout.steps.append(command[1])
        (folder / "node_modules").mkdir(exist_ok=True)
        checkout.WEB_CLIENT.mkdir(exist_ok=True)

    monkeypatch.setattr(checkout, "run", npm)
    folder: Path = checkout.WEB
    folder.mkdir()
    for name in ("package.json", "package-lock.json", "main.js"):
        (folder / name).write_text("{}")
    return folder


def test_the_project_is_installed_once_and_again_when_its_needs_change(checkout: ModuleType, tmp_path: Path) -> None:
    """A second start is a fast start."""
    checkout.set_up_python("")
    checkout.set_up_python("")
    assert checkout.steps == [("--editable", str(tmp_path))]
    (tmp_path / "pyproject.toml").write_text("a = 2")
    checkout.set_up_python("")
    assert len(checkout.steps) == 2


def test_what_is_set_up_for_testing_serves_but_not_the_other_way_round(checkout: ModuleType, tmp_path: Path) -> None:
    """Serving needs no test tools."""
    checkout.set_up_python("")
    checkout.set_up_python("test")
    assert checkout.steps[-1] == ("--editable", f"{tmp_path}[test]")
    (tmp_path / "pyproject.toml").write_text("a = 2")
    checkout.set_up_python("test")
    checkout.set_up_python("")
    assert len(checkout.steps) == 3


def test_a_failed_installation_is_tried_again(checkout: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is marked as done that was not."""

    def fail(*_: str) -> None:
        raise checkout.SetupFailed("no network")

    with monkeypatch.context() as patch:
        patch.setattr(checkout, "install", fail)
        with pytest.raises(checkout.SetupFailed):
            checkout.set_up_python("")
    checkout.set_up_python("")
    assert len(checkout.steps) == 1


def test_the_web_client_is_built_when_its_sources_or_the_built_files_change(checkout: ModuleType, web: Path) -> None:
    """And its packages are installed only when the lock file changes."""
    checkout.make_venv()
    checkout.build_web_client()
    assert checkout.steps == ["ci", "run"]
    checkout.build_web_client()
    assert checkout.steps == ["ci", "run"]
    (web / "main.js").write_text("changed")
    checkout.build_web_client()
    assert checkout.steps == ["ci", "run", "run"]
    checkout.WEB_CLIENT.rmdir()
    checkout.build_web_client()
    assert checkout.steps == ["ci", "run", "run", "run"]
    (web / "package-lock.json").write_text("changed")
    checkout.build_web_client()
    assert checkout.steps[4:] == ["ci", "run"]


def test_without_a_web_folder_there_is_nothing_to_build(checkout: ModuleType) -> None:
    """A source archive may come without it."""
    assert checkout.build_web_client() is None


def test_every_check_runs_and_the_failed_ones_are_named(
    checkout: ModuleType, web: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One red check hides no other, and pytest gets the arguments."""
    seen: dict[str, list[str]] = {}

    def passes(name: str, command: list[str], *_: object) -> bool:
        seen[name] = command
        return name not in ("mypy", "web: tests")

    monkeypatch.setattr(checkout, "passes", passes)
    assert checkout.main(["test", "-k", "store"]) == 1
    assert list(seen) == ["ruff check", "ruff format", "mypy", "mypy packaging", "web: types", "web: tests", "pytest"]
    assert seen["pytest"][-2:] == ["-k", "store"]
    assert "failed: mypy, web: tests" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["deploy"], ["deploy", "--help"]])
def test_wrong_usage_leaves_with_2(checkout: ModuleType, arguments: list[str]) -> None:
    """And with a line that says what there is."""
    assert checkout.main(arguments) == 2


def test_an_old_python_is_told_so(
    checkout: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is made."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert checkout.main(["serve"]) == 1
    assert "Python 3.11 or newer is needed" in capsys.readouterr().err
    assert not checkout.VENV.exists()


@pytest.mark.slow
def test_an_environment_is_made_kept_repaired_or_refused(tmp_path: Path) -> None:
    """A good one is used whoever made it, one whose Python is gone is made anew, a folder of something else is left."""
    script = tmp_path / "packaging" / "checkout.py"
    script.parent.mkdir()
    script.write_text((ROOT / "packaging" / "checkout.py").read_text())
    venv = tmp_path / ".venv"

    def make_venv() -> str:
        code = (
            "import checkout; checkout.make_venv(); print(checkout.python_version() == checkout.sys.version_info[:2])"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=script.parent, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    assert make_venv() == "True"
    (venv / "mine").touch()
    assert make_venv() == "True"
    assert (venv / "mine").exists()
    (venv / "bin" / "python").unlink()
    assert make_venv() == "True"
    assert not (venv / "mine").exists()
    for part in ("pyvenv.cfg", "bin/python"):
        (venv / part).unlink()
    assert "is no Python environment: move it away" in make_venv()


@pytest.fixture
def apt(checkout: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with an apt-get that fetches once its lists were updated, and a dpkg-deb that unpacks a program."""
    commands = tmp_path / "commands"
    commands.mkdir()
    tool = '"$3/usr/bin/tool"'
    scripts = {
        "apt-get": 'echo "$@" >> "$LOG"\ncase $1 in update) : > "$LISTS";; *) [ -e "$LISTS" ] && : > tool_1.deb;; esac',
        "dpkg-deb": f"/bin/mkdir -p \"$3/usr/bin\" && printf '#!/bin/sh' > {tool} && /bin/chmod +x {tool}",
    }
    for name, script in scripts.items():
        (commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("LISTS", str(tmp_path / "lists"))
    monkeypatch.setattr(checkout, "DEBIAN_PROGRAMS", {"tool": "tool"})
    return commands


def test_a_missing_program_is_unpacked_beside_the_environment_once(
    checkout: ModuleType, apt: Path, tmp_path: Path
) -> None:
    """Nothing is installed on the machine; its package lists are fetched where it has none."""
    for _ in range(2):
        environment = checkout.with_debian_programs(dict(os.environ))
        assert shutil.which("tool", path=environment["PATH"]) == str(tmp_path / ".venv/debian/usr/bin/tool")
    assert (tmp_path / "log").read_text().splitlines() == ["download -qq tool", "update -qq", "download -qq tool"]


def test_the_machines_own_program_comes_first(checkout: ModuleType, apt: Path, tmp_path: Path) -> None:
    """What is there is not fetched."""
    (apt / "tool").write_text("#!/bin/sh\n")
    (apt / "tool").chmod(0o755)
    checkout.with_debian_programs(dict(os.environ))
    assert not (tmp_path / "log").exists()


def test_a_program_that_cannot_be_had_is_said_loudly(
    checkout: ModuleType, apt: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its tests are skipped, and nobody should believe that they ran."""
    (apt / "apt-get").unlink()
    checkout.with_debian_programs(dict(os.environ))
    assert "NOT TESTED: tool" in capfd.readouterr().err
