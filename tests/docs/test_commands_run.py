"""Every command of the README and of docs/ is run, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.fences import NO_COMMANDS, RUN, Block, commands, is_shown, is_shown_json, outputs, page_blocks
from tests.docs.pages import NOT_RUN, PAGES, Page
from tests.docs.shell import Result, Shell, Step, steps

ROOT = Path(__file__).parents[2]
ALL = [path.relative_to(ROOT).as_posix() for folder in ("", "docs") for path in sorted((ROOT / folder).glob("*.md"))]
pages = pytest.mark.parametrize("page", [*ALL, "web/README.md"])


@pages
@pytest.mark.e2e
@pytest.mark.slow
def test_the_commands_of_a_page_do_what_it_says(page: str, tmp_path: Path) -> None:
    """From top to bottom, in an empty home, against a real server."""
    content, found = page_blocks(ROOT, page)
    shown_below = outputs(content, found)
    run = [block for block in found if block.language in RUN and not is_left_out(block)]
    todo = [step for block in run for step in steps(block, shown_below.get(block))]
    shell = Shell(tmp_path / "home", PAGES.get(page, Page()))
    results = shell.run(todo) if todo else []
    followers = shell.followers()
    for step, result in zip(todo, results, strict=True):
        check(step, result, followers)


def is_left_out(block: Block) -> bool:
    """Whether the list says that this block is not run here."""
    return any(page == block.page and block.first_line.startswith(begin) for page, begin in NOT_RUN)


def check(step: Step, result: Result, followers: list[str]) -> None:
    """Fail with the command, where it stands and what it printed."""
    told = f"{step.block.name}: {step.command.strip()}\nprinted (exit status {result.status}):\n{result.output}"
    assert result.status is not None, f"not ended, or not reached: {told}"
    assert not step.must_succeed or result.status == 0, told
    if step.shown is None:
        return
    if step.block.language == "console":
        assert is_shown(step.shown, result.output, whole=True), f"{told}\nbut the page shows:\n{step.shown}"
    else:
        seen = [result.output, *followers]
        found = any(is_shown(step.shown, one, whole=False) or is_shown_json(step.shown, one) for one in seen)
        assert found, f"{told}\nbut the page shows:\n{step.shown}"


@pages
def test_every_fence_of_a_page_says_what_it_is(page: str) -> None:
    """So that no command hides in a block without a language."""
    unknown = [block.name for block in page_blocks(ROOT, page)[1] if block.language not in (*RUN, *NO_COMMANDS)]
    assert unknown == []


def test_the_list_of_what_is_not_run_has_no_entry_too_many() -> None:
    """Each names a block that is there, and a test that is there."""
    lines = {page: [block.first_line for block in page_blocks(ROOT, page)[1]] for page in {*ALL, *PAGES}}
    gone = {(page, begin) for page, begin in NOT_RUN if not any(line.startswith(begin) for line in lines[page])}
    assert gone == set()
    assert {test for _, test in NOT_RUN.values() if not (ROOT / test.partition("::")[0]).exists()} == set()


def test_an_output_is_compared_but_for_numbers_ids_and_what_is_left_out() -> None:
    """A page that shows another word, or a line too many, is wrong."""
    shown = "     1  16:48:57  ann  GRAFT\n…\ntook 1.5 s in 3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"
    seen = "12 01:02:03 ann  GRAFT\nany\nline\ntook 0.25 s in 00000000-0000-4000-8000-00000000000a\n"
    assert is_shown(shown, seen, whole=True)
    assert is_shown(shown, seen.replace("any\nline\n", ""), whole=True)
    assert not is_shown(shown, seen.replace("ann", "bob"), whole=True)
    assert not is_shown(shown, seen + "more", whole=True)
    assert is_shown(shown, seen + "more", whole=False)
    assert not is_shown(shown, seen.replace("took", "it took"), whole=False)


def test_json_is_compared_whatever_its_order() -> None:
    """And a key too many, or too few, is found."""
    shown = '{"a": 1,\n "b": ["x"]}'
    assert is_shown_json(shown, 'before\n{"b":["x"],"a":25}\nafter')
    assert not is_shown_json(shown, '{"b":["y"],"a":25}')
    assert not is_shown_json(shown, '{"b":["x"],"a":25,"c":1}')


def test_console_commands_come_with_their_output() -> None:
    """A line that ends in a backslash goes on."""
    assert commands("$ one \\\n> more\nout\n\n$ two\n") == [("one \\\nmore", "out\n"), ("two", "")]
    with pytest.raises(ValueError, match="begins with a command"):
        commands("out\n$ one\n")


def test_a_command_that_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    """The judgement itself, on a page that is wrong in each way."""
    wrong = Block("wrong.md", "console", "$ echo one\ntwo\n$ false\n$ echo $?\n1\n$ false\n", 1, 0, 0)
    todo = steps(wrong, None)
    results = Shell(tmp_path / "home", Page(has_daemon=False)).run(todo)
    with pytest.raises(AssertionError, match="but the page shows"):
        check(todo[0], results[0], [])
    check(todo[1], results[1], [])
    check(todo[2], results[2], [])
    with pytest.raises(AssertionError, match="exit status 1"):
        check(todo[3], results[3], [])
