"""The single file: it runs where there is nothing else, and stops as the daemon does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.install.built import LONG_S, build, needs, run, serves_pages_and_runs
from tests.support.daemon import running_daemon

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(LONG_S)]


@pytest.fixture(scope="module")
def single_file() -> Path:
    """The file as it is built."""
    needs(any(Path("/usr/lib").glob("*/libpython3.11.so.1.0")), "Debian's python3 and libpython3.11")
    needs(shutil.which("objcopy") is not None, "binutils")
    return build("single-file")


@pytest.fixture
def nowhere(single_file: Path, tmp_path: Path) -> Path:
    """A root with the file, a place for data and one for what it unpacks; no library, no shell, no Python."""
    root = tmp_path / "root"
    for folder in ("tmp", "proc"):
        (root / folder).mkdir(parents=True)
    (root / str(tmp_path / "data")[1:]).mkdir(parents=True)
    shutil.copy(single_file, root / "collabd")
    return root


def test_it_serves_from_an_empty_root(nowhere: Path, tmp_path: Path) -> None:
    """Pages, API, log and an orderly stop, and nothing of what it unpacked stays."""
    needs(os.geteuid() == 0, "root, for chroot")
    # /proc is the kernel's, and how the file finds itself; mounted for this process alone.
    enter = 'mount -t proc proc "$0/proc" && exec chroot "$0" /collabd "$@"'
    program = ["unshare", "--mount", "--propagation", "private", "sh", "-c", enter, str(nowhere)]
    assert run([*program, "version"]).startswith("collabd ")
    with running_daemon(tmp_path / "data", command=program) as daemon:
        serves_pages_and_runs(daemon)
        assert daemon.stop(60) == 0
    with running_daemon(tmp_path / "data", command=program) as daemon:
        assert daemon.request("/actuator/health")[0] == 200
        assert daemon.stop(60) == 0
    assert {path.name for path in (nowhere / "tmp").iterdir()} <= set(
        tmp_path.parts
    )  # data lies there, on some machines


def test_every_command_is_in_it(single_file: Path, tmp_path: Path) -> None:
    """Those too that are imported only when they are asked for."""
    shown = run([str(single_file), "--help"], place=tmp_path)
    for name in ("serve", "doctor", "tail", "send", "token", "version", "export", "backup"):
        assert f"\n  {name} " in shown


def test_a_configuration_with_errors_leaves_with_2(single_file: Path, tmp_path: Path) -> None:
    """The exit status of the daemon is that of the file, for service managers."""
    (tmp_path / "collabd.toml").write_text("[server]\nbnd = 1\n")
    said = run([str(single_file), "serve", "--config", "collabd.toml"], status=2, place=tmp_path)
    assert "bnd" in said
