"""What all builds share: environments for tools, a lock per product, and stamps that say what one was made from.

Law of this file: standard library only; it knows no product. build/ and dist/ are ignored by git.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from checkout import ROOT, SetupFailed, digest, read, run, web_sources, works

BUILD = ROOT / "build"
DIST = ROOT / "dist"
DEBIAN_PYTHON = "/usr/bin/python3"
_PIP = ["--quiet", "--root-user-action", "ignore", "--disable-pip-version-check", "--no-input"]


def version() -> str:
    """The project's version, read without importing it. Raises SetupFailed."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "collabd" / "__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise SetupFailed("collabd/__init__.py names no version")
    return found[1]


def sources() -> list[Path]:
    """Every file that a build reads."""
    folders = (ROOT / "collabd", ROOT / "packaging")
    made = {"__pycache__", "web_client"}
    ours = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not made & set(path.parts)]
    return [*sorted(ours), *web_sources(), ROOT / "pyproject.toml", ROOT / "collabd.toml"]


@contextmanager
def making(name: str, *products: Path, of: Iterable[Path] = ()) -> Iterator[bool]:
    """Hold the lock of a product, and yield whether it has to be made: its sources have changed, or it is gone.

    It is marked as made when the block ends without an error.
    """
    BUILD.mkdir(exist_ok=True)
    DIST.mkdir(exist_ok=True)
    stamp = BUILD / f"{name}.stamp"
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = digest([*(of or sources())])
        is_needed = read(stamp) != content or not all(product.exists() for product in products)
        yield is_needed
        if is_needed:
            stamp.write_text(content)


def environment(name: str, python: str, *packages: str) -> Path:
    """A fresh Python environment build/NAME with these packages; the path of its commands. Raises SetupFailed."""
    place = BUILD / name
    run([python, "-m", "venv", "--without-pip", "--clear", str(place)], f"{python} makes no environment")
    pip("--python", str(place / "bin" / "python"), "install", *_PIP, *packages)
    return place / "bin"


def install_into(folder: Path, python: str, *packages: str) -> None:
    """Install packages into a folder, for this Python. Raises SetupFailed."""
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--target", str(folder), "--only-binary", ":all:", "--no-compile"]
    pip("--python", python, "install", *_PIP, *options, *packages)


def pip(*arguments: str) -> None:
    """Run this Python's pip, or that of the Python which its environment was made from. Raises SetupFailed."""
    for python in (sys.executable, f"{sys.base_prefix}/bin/python3"):
        if works([python, "-m", "pip", "--version"]):
            return run([python, "-m", "pip", *arguments], "pip could not install (is a package index reached?)")
    raise SetupFailed(f"{sys.executable} has no pip: install it (Debian: apt install python3-pip) and try again")
