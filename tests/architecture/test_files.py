"""What must hold for every file that is kept."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from collabd.config import checks
from collabd.protocol import names

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 500
# Put together from pieces, so that this file does not contain what it looks for.
PLACES_OF_ONE_MACHINE = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/[a-z]"]))
SOURCES = {".py", ".js", ".mjs", ".sh"}


def kept_files() -> list[Path]:
    """Files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    return [path for name in sorted(listed.stdout.split("\0")) if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """The text of a file, empty for one that is no text or not there."""
    try:
        return path.read_text()
    except (UnicodeDecodeError, FileNotFoundError):
        return ""


def test_no_file_is_too_long_to_be_read_in_one_go() -> None:
    """A file that grows past this has more than one idea in it."""
    lengths = {path: len(text_of(path).splitlines()) for path in kept_files() if path.suffix in SOURCES}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    """What works only where it was written works nowhere."""
    found = {str(path.relative_to(ROOT)): PLACES_OF_ONE_MACHINE.findall(text_of(path)) for path in kept_files()}
    assert {name: places for name, places in found.items() if places} == {}


def test_the_lock_file_of_the_web_names_no_registry() -> None:
    """npm would fetch from the host named there, whatever registry the machine is set up for."""
    assert '"resolved": "http' not in text_of(ROOT / "web" / "package-lock.json")


def test_packaging_is_no_python_package() -> None:
    """It would hide the library of that name from everything that runs in the checkout."""
    assert not (ROOT / "packaging" / "__init__.py").exists()


def test_configuration_and_protocol_agree_on_event_types() -> None:
    """The configuration is a leaf and the protocol is pure, so neither imports the other; this holds them together."""
    assert checks.RESERVED_EVENT_TYPES == names.RESERVED_EVENT_TYPES
    for name in ["A", "A" * 50, "A" * 51, "a", "", "_A", "1A", "A1_", "A\n", "Ä"]:
        assert bool(checks.EVENT_TYPE.fullmatch(name)) == bool(names.is_event_type(name))
