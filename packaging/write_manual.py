"""Write collabd's manual into a directory: `python packaging/write_manual.py DIRECTORY`, by a Python that has collabd.

    DIRECTORY/man1/collabd.1, collabd-serve.1, …    one page per command, in man(7)
    DIRECTORY/collabd.bash, _collabd, collabd.fish   completions, as click makes them

Law of this file: everything comes from the click commands; it knows none of them by name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from collabd import __version__
from collabd.cli import cli

COMPLETIONS = {"bash": "collabd.bash", "zsh": "_collabd", "fish": "collabd.fish"}
FILES = """.SH FILES
.TP
.I /etc/collabd/collabd.toml
Configuration; every key is explained in it.
.TP
.I /var/lib/collabd
Data of the systemd service.
"""


def main(directory: Path) -> None:
    """Write pages and completions."""
    pages = directory / "man1"
    pages.mkdir(parents=True, exist_ok=True)
    root = click.Context(cli, info_name="collabd", **cli.context_settings)
    for context in commands(root):
        (pages / f"{page_name(context)}.1").write_text(page(context), encoding="utf-8")
    for shell, name in COMPLETIONS.items():
        completion = get_completion_class(shell)
        assert completion is not None
        (directory / name).write_text(completion(cli, {}, "collabd", "_COLLABD_COMPLETE").source())


def commands(context: click.Context) -> Iterator[click.Context]:
    """A command and all below it that are shown."""
    yield context
    for name, command in subcommands(context):
        yield from commands(click.Context(command, info_name=name, parent=context))


def subcommands(context: click.Context) -> list[tuple[str, click.Command]]:
    """Names and commands right below one, in the order of --help; none where it is no group."""
    group = context.command
    if not isinstance(group, click.Group):
        return []
    found = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [(name, command) for name, command in found if command is not None and not command.hidden]


def page_name(context: click.Context) -> str:
    """`collabd-token` for `collabd token`."""
    return context.command_path.replace(" ", "-")


def page(context: click.Context) -> str:
    """One command's page, as man(7) source."""
    name, command = page_name(context), context.command
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [
        f'.TH "{roff(name.upper())}" 1 "" "collabd {roff(__version__)}" "collabd"\n',
        f".SH NAME\n{roff(name)} \\- {roff(command.get_short_help_str(limit=200).rstrip('.'))}\n",
        f".SH SYNOPSIS\n.B {roff(context.command_path)}\n{roff(usage)}\n",
        f".SH DESCRIPTION\n{prose(command.help or '')}",
        listed("OPTIONS", options(context)),
        listed("COMMANDS", [(child, sub.get_short_help_str(limit=200)) for child, sub in subcommands(context)]),
        FILES if context.parent is None else "",
        see_also(context),
    ]
    return "".join(parts)


def options(context: click.Context) -> list[tuple[str, str]]:
    """Options as --help shows them; arguments stand in the synopsis."""
    records = [parameter.get_help_record(context) for parameter in context.command.get_params(context)]
    return [record for record in records if record is not None]


def listed(heading: str, entries: list[tuple[str, str]]) -> str:
    """A section of names with their explanations; empty if there is nothing to list."""
    items = "".join(f".TP\n.B {roff(name)}\n{roff(text or 'No more to say.')}\n" for name, text in entries)
    return f".SH {heading}\n{items}" if items else ""


def see_also(context: click.Context) -> str:
    """The page above, or all pages below."""
    others = [page_name(other) for other in commands(context)][1:] if context.parent is None else ["collabd"]
    return ".SH SEE ALSO\n" + ",\n".join(f".BR {roff(other)} (1)" for other in others) + "\n"


def prose(text: str) -> str:
    """Help text as paragraphs; one that begins with click's mark for it keeps its lines."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", click.unstyle(text).split("\f")[0].strip()):
        if paragraph.startswith("\b"):
            lines = [roff(line) for line in paragraph.removeprefix("\b").strip("\n").splitlines()]
            paragraphs.append(".nf\n" + "\n".join(lines) + "\n.fi\n")
        else:
            paragraphs.append(roff(" ".join(paragraph.split())) + "\n")
    return ".PP\n".join(paragraphs)


def roff(text: str) -> str:
    """Text in which nothing is taken for a command of the formatter, and each hyphen can be copied into a shell."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    if escaped.startswith((".", "'")):
        escaped = "\\&" + escaped
    return "".join(char if ord(char) < 128 else f"\\[u{ord(char):04X}]" for char in escaped)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
