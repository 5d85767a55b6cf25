"""The commands as docs/cli.md shows them. `python -m tests.commands.rendering` prints the reference anew."""

from __future__ import annotations

import inspect

import click

from collabd.cli import cli


def all_commands() -> dict[str, click.Command]:
    """Every command by its name."""
    context = click.Context(cli)
    return {name: command for name in cli.list_commands(context) if (command := cli.get_command(context, name))}


def section(name: str, command: click.Command) -> str:
    """Heading, usage, what it does, and a table of its options."""
    context = click.Context(command, info_name=f"collabd {name}")
    usage = " ".join([f"collabd {name}", *command.collect_usage_pieces(context)])
    parts = [f"### {name}", f"`{usage}`", _text(command)]
    rows = [
        _row(option, context) for option in command.params if isinstance(option, click.Option) and not option.hidden
    ]
    if rows:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _text(command: click.Command) -> str:
    """The help text; what click is told to leave as it is becomes a block."""
    paragraphs = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            paragraphs.append(f"```text\n{paragraph[2:]}\n```")
        else:
            paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None
    names, meaning = record
    return f"| `{names.replace('|', chr(92) + '|')}` | {meaning.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print("\n\n".join(section(name, command) for name, command in all_commands().items()))
