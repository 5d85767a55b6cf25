"""The Debian package: installed, upgraded, removed and purged by dpkg for real, on an overlay of this machine."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.built import LONG_S, ROOT, RUN, build, needs, run, serves_pages_and_runs
from tests.install.machine import Machine, machine
from tests.support.daemon import running_daemon

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(LONG_S)]

CONFFILE = "/etc/collabd/collabd.toml"
STATE = "/var/lib/private/collabd"
AT_BOOT = "/etc/systemd/system/multi-user.target.wants/collabd.service"
MINE = '[logging]\nlevel = "warning"\n'
# Left behind by a package that is gone, these would be found under its name.
TRACES = ["find", "/etc", "/usr", "/var/lib", "/var/cache", "-xdev", "-name", "*collabd*", "-not", "-path", "*/info/*"]


@pytest.fixture(scope="module")
def package() -> Path:
    """The package as it is built."""
    needs(Path("/usr/bin/python3").exists() and shutil.which("dpkg-deb") is not None, "Debian with python3")
    needs(shutil.which("strip") is not None, "binutils")
    return build("deb")


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a later version: another default in the conffile, a module less."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    run(["dpkg-deb", "--raw-extract", str(package), str(tree)])
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 99."))
    with (tree / CONFFILE[1:]).open("a") as conffile:
        conffile.write("# a line that is new in this version\n")
    (tree / "usr/lib/collabd/collabd/asgi.py").unlink()
    run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(tree.parent / "newer.deb")])
    return tree.parent / "newer.deb"


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own."""
    with machine(tmp_path / "machine") as made:
        yield made


@pytest.fixture(autouse=True)
def _mount_point(tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()


def test_it_is_installed_upgraded_removed_and_purged(
    overlay: Machine, package: Path, newer: Path, tmp_path: Path
) -> None:
    """Data, a changed configuration and what an administrator disabled stay until the purge, and nothing after it."""
    before = set(overlay.run(*TRACES).splitlines())
    overlay.run("dpkg", "--install", str(package))
    assert overlay.run("collabd", "version").startswith("collabd ")
    assert overlay.run("collabd", "check-config").startswith(f"OK: {CONFFILE}")
    assert overlay.has("/usr/lib/collabd/collabd/__pycache__")

    assert overlay.run("cat", CONFFILE) == (ROOT / "collabd.toml").read_text()
    assert overlay.has(AT_BOOT)
    assert not overlay.has("/etc/systemd/system/sockets.target.wants/collabd.socket")

    # As the unit runs it: an unprivileged user, who owns the state directory.
    data = tmp_path / "data"
    as_service = [*overlay.inside, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/collabd"]
    overlay.run("install", "-d", "-o", "65534", "-g", "65534", "-m", "700", STATE)
    overlay.run("ln", "-s", STATE, str(data))
    # systemd shows the service its directory by a mount; here the way to it is opened.
    overlay.run("chmod", "o+x", str(Path(STATE).parent), *map(str, tmp_path.parents), str(tmp_path))
    with running_daemon(data, command=as_service) as daemon:
        serves_pages_and_runs(daemon)
        assert daemon.stop(60) == 0

    overlay.run("sh", "-c", 'printf %s "$0" > /etc/collabd/collabd.toml', MINE)
    overlay.run("rm", AT_BOOT)  # what `systemctl disable` does
    overlay.run("dpkg", "--force-confdef", "--install", str(newer))
    assert not overlay.has(AT_BOOT)
    assert overlay.run("cat", CONFFILE) == MINE
    assert "logging.level" in overlay.run("collabd", "check-config")
    assert not overlay.run(
        "sh", "-c", "ls /usr/lib/collabd/collabd /usr/lib/collabd/collabd/__pycache__ | grep asgi || :"
    )
    with running_daemon(data, command=as_service) as daemon:
        assert [event["eventType"] for event in daemon.replay(RUN)] == ["GRAFT"]
        assert daemon.stop(60) == 0

    overlay.run("dpkg", "--remove", "collabd")
    assert not overlay.has("/usr/bin/collabd")
    assert not overlay.has("/usr/lib/collabd")
    assert overlay.run("cat", CONFFILE) == MINE
    assert overlay.has(f"{STATE}/collabd.sqlite3")

    overlay.run("dpkg", "--purge", "collabd")
    assert not overlay.has(STATE)
    assert set(overlay.run(*TRACES).splitlines()) - before == set()
    assert overlay.run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev}", "collabd", status=1)


def test_lintian_has_nothing_to_say(package: Path) -> None:
    """Debian's own checker of packages."""
    needs(shutil.which("lintian") is not None, "lintian")
    run(["lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", str(package)])


def test_it_brings_units_manual_and_completions(package: Path, tmp_path: Path) -> None:
    """Each where Debian looks for it, and none of the files names the machine that it was built on."""
    run(["dpkg-deb", "--extract", str(package), str(tmp_path)])
    for unit in ("collabd.service", "collabd.socket"):
        assert (tmp_path / "lib/systemd/system" / unit).read_text() == (ROOT / "packaging" / unit).read_text()
    page = gzip.decompress((tmp_path / "usr/share/man/man1/collabd-serve.1.gz").read_bytes())
    assert page.startswith(b'.TH "COLLABD\\-SERVE"')
    for completion in ("bash-completion/completions/collabd", "zsh/vendor-completions/_collabd"):
        assert "_COLLABD_COMPLETE" in (tmp_path / "usr/share" / completion).read_text()
    assert (tmp_path / "usr/share/fish/vendor_completions.d/collabd.fish").exists()
    named = subprocess.run(["grep", "-rlF", str(ROOT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert named.stdout == ""
