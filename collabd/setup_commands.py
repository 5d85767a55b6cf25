"""`collabd init` and `collabd completion`: what is typed once, on a new machine.

Law of this file: arguments in, files that were not there before out; the work of `init` is in collabd.operating.
`collabd.cli` finds the commands in `commands`. Exit statuses stand in docs/cli.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on [default: 127.0.0.1:8080]")
@click.option("--data-dir", metavar="DIR", help="Directory of the database [default: DIR/data]")
@click.option("--auth", type=click.Choice(["open", "jwt"]), default="open", show_default=True, help="Who may come in.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def init(directory: Path, bind: str | None, data_dir: str | None, auth: str, as_json: bool) -> None:
    """Write a configuration with every key explained, and an admin token, into DIR (default: here).

    With --auth jwt, also a secret that signs tokens. Never overwrites anything.
    """
    from collabd.operating.first_steps import set_up

    done = set_up(directory, bind=bind, data_dir=data_dir or "data", auth=auth)
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in done.files], "next": done.next_commands}, indent=2))
        return
    width = max(len(str(path)) for path in done.files)
    click.echo("Written:")
    for path, meaning in done.files.items():
        click.echo(f"  {path!s:{width}}  {meaning}")
    click.echo("\nNext:")
    for command, meaning in done.next_commands.items():
        click.echo(f"  {command}\n      {meaning}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion of a shell, to be kept where the shell looks for it.

    \b
    bash: collabd completion bash > ~/.local/share/bash-completion/completions/collabd
    zsh:  collabd completion zsh > DIR/_collabd, where DIR is in $fpath
    fish: collabd completion fish > ~/.config/fish/completions/collabd.fish
    """  # noqa: D301 (click reads the backspace character: a block whose lines stay as they are)
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows these shells"
    click.echo(found(ctx.find_root().command, {}, "collabd", "_COLLABD_COMPLETE").source())


commands: list[click.Command] = [init, completion]
