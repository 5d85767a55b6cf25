"""Man pages and completions: made from the commands, rendered by groff, used by a real shell."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from collabd.cli import cli
from tests.install.built import LONG_S, build, needs, run

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(LONG_S)]


@pytest.fixture(scope="module")
def manual() -> Path:
    """The directory of pages and completions."""
    return build("manual")


def rendered(page: Path) -> str:
    """A page as a reader sees it; any warning of groff fails the test."""
    needs(shutil.which("groff") is not None, "groff-base")
    text = run(["sh", "-c", 'exec groff -man -Tutf8 -P-cbou -ww -rLL=200n "$0" 2>&1', str(page)])
    assert "warning" not in text.split("NAME", 1)[0]
    return text


def test_every_command_has_a_page_and_every_page_a_command(manual: Path) -> None:
    """A new command is in the manual without anybody thinking of it."""
    names = {f"collabd-{name}.1" for name in cli.list_commands(None)}  # type: ignore[arg-type]
    assert {path.name for path in (manual / "man1").iterdir()} == {*names, "collabd.1"}


def test_every_page_renders_without_a_warning(manual: Path) -> None:
    """With the parts that man(1) and apropos(1) look for."""
    for page in sorted((manual / "man1").iterdir()):
        text = rendered(page)
        assert re.search(rf"NAME\s+{page.stem} - \w", text), text
        assert "SYNOPSIS" in text
        assert "DESCRIPTION" in text


def test_a_page_names_every_option(manual: Path) -> None:
    """As --help does, with hyphens that can be copied."""
    text = rendered(manual / "man1" / "collabd-serve.1")
    assert {"--config FILE", "--bind HOST:PORT", "--data-dir DIR", "-h, --help"} <= set(
        re.findall(r"^ +(-.*?)(?:  .*)?$", text, re.MULTILINE)
    )


@pytest.mark.parametrize(
    ("typed", "offered"), [("ch", "check-config"), ("", "serve"), ("serve --da", "--data-dir"), ("token --", "--help")]
)
def test_bash_completes_commands_and_options(manual: Path, typed: str, offered: str) -> None:
    """A real bash, with the function that `complete` has for collabd."""
    words = ["collabd", *typed.split(" ")]
    script = (
        'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); [[ $(complete -p collabd) =~ -F\\ ([^ ]+) ]] && '
        '"${BASH_REMATCH[1]}" collabd "${COMP_WORDS[COMP_CWORD]}" && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    commands = f"{Path(sys.executable).parent}:{os.defpath}"
    command = ["bash", "--norc", "-c", script, str(manual / "collabd.bash"), *words]
    assert offered in run(command, environment={"PATH": commands}).splitlines()


def test_the_other_shells_get_what_click_makes_for_them(manual: Path) -> None:
    """Each file belongs to its shell and asks the same program."""
    assert (manual / "_collabd").read_text().startswith("#compdef collabd")
    assert "complete --no-files --command collabd" in (manual / "collabd.fish").read_text()
