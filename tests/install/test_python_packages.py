"""Wheel and source archive: installed for real, in a fresh environment, without Node."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.install.built import LONG_S, ROOT, build, run, serves_pages_and_runs
from tests.support.daemon import running_daemon

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(LONG_S)]

PIP = [f"{sys.base_prefix}/bin/python3", "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def nothing_on_the_path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without Node, npm or any other program."""
    return {**os.environ, "PATH": str(tmp_path_factory.mktemp("empty"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, nothing_on_the_path: dict[str, str]) -> Path:
    """A wheel made from the source archive where there is no Node."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [*PIP, "wheel", "--no-deps", "--wheel-dir", str(folder), str(build("sdist"))]
    run(command, environment=nothing_on_the_path)
    return next(folder.glob("*.whl"))


def files_of(wheel: Path) -> set[str]:
    """The names of what a wheel installs."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_from_the_source_archive_is_the_wheel_from_the_checkout(wheel: Path) -> None:
    """Whoever packages from the archive packages the same, pages and all."""
    names = files_of(wheel)
    assert names == files_of(build("wheel"))
    assert {"collabd/web_client/index.html", "collabd/cli.py", "collabd/py.typed"} <= names
    assert any(name.startswith("collabd/web_client/assets/") for name in names)
    assert all(name.startswith("collabd/") and "__pycache__" not in name for name in names)


def test_the_source_archive_has_what_is_needed_to_build_and_test() -> None:
    """And nothing that a build left behind."""
    with tarfile.open(build("sdist")) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "web/package.json", "packaging/build.py", "tests/conftest.py"} <= names
    assert [name for name in names if "node_modules" in name or "__pycache__" in name] == []


def test_an_installed_wheel_serves_the_pages_without_node(
    wheel: Path, tmp_path: Path, nothing_on_the_path: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an environment of its own, as pipx and `uv tool install` make one."""
    place = tmp_path / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", str(place)])
    run([*PIP, "--python", str(place / "bin" / "python"), "install", str(wheel)], environment=nothing_on_the_path)
    program = str(place / "bin" / "collabd")
    assert run([program, "version"], environment=nothing_on_the_path, place=tmp_path).startswith("collabd ")
    monkeypatch.setenv("PATH", nothing_on_the_path["PATH"])
    monkeypatch.chdir(tmp_path)
    with running_daemon(tmp_path / "data", command=[program]) as daemon:
        serves_pages_and_runs(daemon)
        assert daemon.stop(60) == 0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout, as git makes it: no pages, no packages of the web client."""
    place = tmp_path / "checkout"
    for name in ("collabd", "packaging", "web"):
        made = shutil.ignore_patterns("node_modules", "web_client", "__pycache__", "dist")
        shutil.copytree(ROOT / name, place / name, ignore=made)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    return place


def a_command(folder: Path, name: str, script: str) -> None:
    """Put a command on a path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_pip_builds_the_pages_of_a_checkout(checkout: Path, tmp_path: Path) -> None:
    """`pip install` of a directory or of a git address comes here; npm is asked for the pages."""
    page = f"{checkout}/collabd/web_client/index.html"
    a_command(tmp_path / "bin", "node", "echo v22.0.0")
    build_a_page = "mkdir -p ${PAGE%/*}; : > $PAGE"
    npm = f'echo "$@" >> {tmp_path}/asked; mkdir -p node_modules; [ $1 != run ] || {{ {build_a_page}; }}'
    a_command(tmp_path / "bin", "npm", npm)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.defpath}", "PAGE": page}
    run([*PIP, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(checkout)], environment=environment)
    assert "collabd/web_client/index.html" in files_of(next(tmp_path.glob("*.whl")))
    assert [line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()] == ["ci", "run"]


def test_pip_makes_no_package_without_pages(checkout: Path, tmp_path: Path) -> None:
    """It says what could not be done, and with which commands to see why."""
    a_command(tmp_path / "bin", "node", "echo v22.0.0")
    a_command(tmp_path / "bin", "npm", "exit 1")
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.defpath}"}
    command = [*PIP, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(checkout)]
    said = run(command, status=1, environment=environment)
    assert "npm could not install" in said
    assert "no package is made without them" in said
    assert "npm ci && npm run build" in said
    assert list(tmp_path.glob("*.whl")) == []


def test_wrong_usage_of_the_build_leaves_with_2() -> None:
    """And says what can be built."""
    assert "usage: python3 packaging/build.py wheel|sdist" in run(
        [sys.executable, str(ROOT / "packaging" / "build.py"), "msi"], status=2
    )
