"""What a sentence calls a command is one, with options that it has."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.commands.rendering import all_commands
from tests.docs.test_commands_run import ALL, ROOT

KNOWN = all_commands()


def named(page: str) -> list[str]:
    """Every `collabd …` in a sentence of a page."""
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(command.split()) for command in re.findall(r"`(collabd\s[^`]+)`", text)]


def wrong(command: str) -> str | None:
    """What is wrong with a command line, or None."""
    words = shlex.split(re.split(r" [|>&;] ?| && ", command)[0])[1:]
    if not words or words[0].startswith("-") or words[0].isupper():  # COMMAND: whichever
        return None
    if words[0] not in KNOWN:
        return f"no command {words[0]}"
    options = {"--help", "-h"}
    for parameter in KNOWN[words[0]].params:
        options |= {*parameter.opts, *parameter.secondary_opts}
    unknown = [word for word in words[1:] if word.startswith("-") and word.split("=")[0] not in options]
    return f"no option {unknown[0]}" if unknown and unknown != ["-"] else None


@pytest.mark.parametrize("page", ALL)
def test_a_command_in_a_sentence_exists(page: str) -> None:
    """With each of its options."""
    assert {command: why for command in named(page) if (why := wrong(command)) is not None} == {}


def test_a_command_or_an_option_that_is_gone_is_found() -> None:
    """The judgement itself."""
    assert wrong("collabd serve --config collabd.toml") is None
    assert wrong("collabd dashboard > dashboard.json") is None
    assert wrong("collabd serv") == "no command serv"
    assert wrong("collabd serve --confg x") == "no option --confg"
