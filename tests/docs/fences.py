"""Fenced blocks of a Markdown page, and whether an output is what a page shows.

Law of this file: text in, values out; nothing is run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

RUN = ("sh", "console", "python")
SHOWN = ("text", "json")
NO_COMMANDS = (*SHOWN, "css", "html", "ini", "js", "nginx", "sql", "toml", "ts", "yaml", "caddyfile", "systemd")

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_ANY = re.compile(r"…|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d+(?:[.,:]\d+)*| +")


@dataclass(frozen=True)
class Block:
    """One fence: `line` is where its text begins, `end` where the fence ends, both as offsets into the page."""

    page: str
    language: str
    text: str
    number: int
    start: int
    end: int

    @property
    def first_line(self) -> str:
        """What names the block in a list."""
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "")

    @property
    def name(self) -> str:
        """Page and line, as editors understand it."""
        return f"{self.page}:{self.number}"


def blocks(page: str, content: str) -> list[Block]:
    """Every fence of a page, in order."""
    found = []
    for match in _FENCE.finditer(content):
        indent = match["indent"]
        text = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        number = content.count("\n", 0, match.start()) + 1
        found.append(Block(page, match["language"], text, number, match.start(), match.end()))
    return found


def outputs(content: str, found: list[Block]) -> dict[Block, Block]:
    """Which block of commands each shown output belongs to: the fence right before it, under the same heading."""
    owners = {}
    for above, below in pairwise(found):
        between = content[above.end : below.start]
        if above.language == "sh" and below.language in SHOWN and "\n#" not in between:
            owners[above] = below
    return owners


def commands(console: str) -> list[tuple[str, str]]:
    """Each `$ command` of a console block (a line that ends in a backslash goes on), and what is shown below it."""
    found: list[tuple[list[str], list[str]]] = []
    goes_on = False
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
            goes_on = line.endswith("\\")
        elif not found:
            raise ValueError(f"a console block begins with a command: {line!r}")
        elif goes_on:
            found[-1][0].append(line.removeprefix("> "))
            goes_on = line.endswith("\\")
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(shown)) for command, shown in found]


def is_shown(shown: str, output: str, *, whole: bool) -> bool:
    """Whether an output is what a page shows (`whole`: all of it, else some lines in a row)."""
    wanted = "".join(_pattern(line) + "\n" if line.strip() != "…" else "(?:[^\n]*\n)*" for line in _lines(shown))
    lines = "".join(line.rstrip() + "\n" for line in _lines(output))
    found = re.fullmatch(wanted, lines) if whole else re.search(f"^{wanted}", lines, re.MULTILINE)
    return found is not None


def is_shown_json(shown: str, output: str) -> bool:
    """Whether a line of an output is the JSON that a page shows, whatever the order of its keys."""
    wanted = _in_order(shown)
    lines = [line for line in map(_in_order, output.splitlines()) if line is not None]
    return wanted is not None and any(is_shown(wanted, line, whole=True) for line in lines)


def _in_order(text: str) -> str | None:
    try:
        return json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False)
    except ValueError:
        return None


def _lines(text: str) -> list[str]:
    return text.strip("\n").splitlines()


def _pattern(line: str) -> str:
    line = line.strip()
    parts = [" *"]
    at = 0
    for match in _ANY.finditer(line):
        parts += [re.escape(line[at : match.start()]), _stands_for(match[0])]
        at = match.end()
    return "".join([*parts, re.escape(line[at:])])


def _stands_for(token: str) -> str:
    if token == "…":
        return "[^\n]*"
    if token.isspace():
        return " +"
    return r"[0-9a-f-]{36}" if "-" in token else r"\d+(?:[.,:]\d+)*"


def page_blocks(root: Path, page: str) -> tuple[str, list[Block]]:
    """A page's text and its fences."""
    content = (root / page).read_text()
    return content, blocks(page, content)
