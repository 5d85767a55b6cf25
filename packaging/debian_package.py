"""The Debian package: collabd with the Python packages that it needs, private to it, since Debian's are older.

Law of this file: it lays out the tree and has dpkg-deb pack it; what the package says and does stands in debian/.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import time
from email.utils import formatdate
from pathlib import Path

import python_packages
from checkout import ROOT, SetupFailed, run
from manual import manual
from workshop import BUILD, DEBIAN_PYTHON, DIST, install_into, making, version

DEBIAN = ROOT / "packaging" / "debian"
PRIVATE = "usr/lib/collabd"
DOC = "usr/share/doc/collabd"
UNITS = "lib/systemd/system"
CONFFILE = "etc/collabd/collabd.toml"
# What nothing reads: scripts, bytecode, tests, where a package came from on this machine, and pip, which sqlite-utils
# wants for a command that collabd has not. Of Pygments, which rich wants, the lexers: they are hundreds of modules that
# would be compiled at each installation, for text that collabd never prints.
LEFTOVERS = (
    *("bin", "**/__pycache__", "**/_tests", "**/RECORD", "**/REQUESTED", "**/direct_url.json", "**/INSTALLER"),
    *("pip", "pip-*.dist-info", "pygments/lexers/[a-z]*.py"),
)


def deb() -> Path:
    """Build the package, if its sources have changed. Returns its path; raises SetupFailed."""
    architecture = asked("dpkg", "--print-architecture")
    product = DIST / f"collabd_{version()}_{architecture}.deb"
    wheel, pages = python_packages.wheel(), manual()
    with making("deb", product) as is_needed:
        if is_needed:
            tree = BUILD / "deb"
            shutil.rmtree(tree, ignore_errors=True)
            install_into(tree / PRIVATE, DEBIAN_PYTHON, str(wheel))
            tidy(tree / PRIVATE)
            lay_out(tree, pages)
            describe(tree, architecture)
            pack(tree, product)
    return product


def asked(*command: str) -> str:
    """What a program answers. Raises SetupFailed where there is none."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupFailed(f"a Debian package is built on Debian: {error}") from None


def tidy(private: Path) -> None:
    """Take away what is of no use: files, symbols of shared libraries, lines that name an interpreter."""
    for pattern in LEFTOVERS:
        for path in sorted(private.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for module in private.rglob("*.py"):
        text = module.read_bytes()
        if text.startswith(b"#!"):
            module.write_bytes(text.partition(b"\n")[2])
    libraries = [str(path) for path in private.rglob("*.so*")]
    run(["strip", "--strip-unneeded", *libraries], "shared libraries could not be stripped (apt install binutils)")


def lay_out(tree: Path, pages: Path) -> None:
    """Put everything but the Python packages where Debian wants it."""
    units = [ROOT / "packaging" / name for name in ("collabd.service", "collabd.socket")]
    examples = [
        *(ROOT / "packaging" / name for name in ("prometheus-alerts.yml", "grafana-websocket-dashboard.json")),
        *(ROOT / "packaging" / name for name in ("nginx.conf", "Caddyfile")),
        ROOT / "packaging" / "collabd.service.d" / "private-network.conf",
    ]
    copy(DEBIAN / "collabd", tree / "usr/bin/collabd", 0o755)
    copy(ROOT / "collabd.toml", tree / CONFFILE)
    for unit in units:
        copy(unit, tree / UNITS / unit.name)
    for example in examples:
        copy(example, tree / DOC / "examples" / example.name)
    for page in sorted((pages / "man1").iterdir()):
        compress(page.read_bytes(), tree / "usr/share/man/man1" / f"{page.name}.gz")
    copy(pages / "collabd.bash", tree / "usr/share/bash-completion/completions/collabd")
    copy(pages / "_collabd", tree / "usr/share/zsh/vendor-completions/_collabd")
    copy(pages / "collabd.fish", tree / "usr/share/fish/vendor_completions.d/collabd.fish")


def describe(tree: Path, architecture: str) -> None:
    """Write changelog, copyright and the package's own directory."""
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    entry = (
        f"collabd ({version()}) unstable; urgency=medium\n\n  * This version; CHANGELOG.md says what is new in it.\n"
    )
    maintainer = next(line for line in (DEBIAN / "control").read_text().splitlines() if line.startswith("Maintainer: "))
    signature = f" -- {maintainer.removeprefix('Maintainer: ')}  {formatdate(moment)}\n"
    compress(f"{entry}\n{signature}".encode(), tree / DOC / "changelog.gz")
    (tree / DOC / "copyright").write_text(copyright_file(tree / PRIVATE))
    own = tree / "DEBIAN"
    own.mkdir()
    for script in ("postinst", "prerm", "postrm"):
        copy(DEBIAN / script, own / script, 0o755)
    (own / "conffiles").write_text(f"/{CONFFILE}\n")
    major, minor = asked(DEBIAN_PYTHON, "-c", "import sys; print(*sys.version_info[:2])").split()
    values = {
        "VERSION": version(),
        "ARCHITECTURE": architecture,
        "INSTALLED_SIZE": str(sum(path.stat().st_size for path in files(tree)) // 1024),
        "PYTHON": f"{major}.{minor}",
        "NEXT_PYTHON": f"{major}.{int(minor) + 1}",
    }
    control = (DEBIAN / "control").read_text()
    for name, value in values.items():
        control = control.replace(f"@{name}@", value)
    (own / "control").write_text(control)


def copyright_file(private: Path) -> str:
    """Collabd's licence, and which packages with which licences are inside."""
    _, _, holder, _, *lines = (ROOT / "LICENSE").read_text().splitlines()
    licence = "\n".join(f" {line}" if line.strip() else " ." for line in lines)
    inside = "\n".join(f"  {name}" for name in sorted(path.stem for path in private.glob("*.dist-info")))
    return (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "Upstream-Name: collabd\n"
        f"Comment: /{PRIVATE} has besides collabd these packages, each under the licence in its .dist-info directory\n"
        f"{inside}\n\n"
        f"Files: *\nCopyright: {holder.removeprefix('Copyright (c) ')}\nLicense: Expat\n\nLicense: Expat\n{licence}\n"
    )


def pack(tree: Path, product: Path) -> None:
    """Give everything its mode and its checksum, and pack."""
    for path in tree.rglob("*"):
        # None of the Python packages' files is run by its name.
        is_program = path.stat().st_mode & 0o100 and (tree / PRIVATE) not in path.parents
        path.chmod(0o755 if path.is_dir() or is_program else 0o644)
    listed = [path for path in files(tree) if "DEBIAN" not in path.relative_to(tree).parts]
    sums = asked("md5sum", *(str(path) for path in listed)).replace(f"{tree}/", "")
    (tree / "DEBIAN" / "md5sums").write_text(sums + "\n")
    (tree / "DEBIAN" / "md5sums").chmod(0o644)
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(product)]
    run(command, "dpkg-deb could not build the package")


def files(tree: Path) -> list[Path]:
    """Every file, in order."""
    return sorted(path for path in tree.rglob("*") if path.is_file())


def copy(source: Path, target: Path, mode: int = 0o644) -> None:
    """Copy a file to where it belongs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def compress(content: bytes, target: Path) -> None:
    """Write a file as gzip does it with -9n: the same content gives the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(content, 9, mtime=0))
