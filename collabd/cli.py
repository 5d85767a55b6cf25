"""The `collabd` command: what an operator types, and the exit status that scripts and service managers see.

Law of this file: it parses arguments, prints, and exits; the work is done elsewhere and imported when a command runs,
so that `collabd serve` starts fast. Other commands live in the modules of ON_DEMAND.

Exit statuses stand in collabd.exits and docs/cli.md. An error that any command raises is told here, in one line.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from collabd import __version__, exits
from collabd.config_file import config_option, find_config
from collabd.errors import CollabdError, ConfigError, NotDone

if TYPE_CHECKING:
    from collabd.config import Config

ON_DEMAND = (
    "collabd.client_commands",
    "collabd.data_commands",
    "collabd.operator_commands",
    "collabd.setup_commands",
    "collabd.token_command",
)


class CommandsOnDemand(click.Group):
    """A group that imports further commands only when one of them, or the list of all, is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names."""
        return sorted([*super().list_commands(ctx), *self._further_commands()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        return super().get_command(ctx, cmd_name) or self._further_commands().get(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises becomes a line on standard error for each problem, and an exit status."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _fail_with(error)
        except CollabdError as error:
            click.echo(f"collabd: {error}", err=True)
            sys.exit(exits.UNUSABLE if error.needs_operator else exits.FAILED)
        except KeyboardInterrupt:
            sys.exit(exits.INTERRUPTED)
        except BrokenPipeError:
            # What is still in the buffer has nowhere to go either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(exits.NO_READER)

    @staticmethod
    def _further_commands() -> dict[str, click.Command]:
        commands = [command for module in ON_DEMAND for command in importlib.import_module(module).commands]
        return {command.name: command for command in commands}


@click.group(cls=CommandsOnDemand, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Shared, durable, ordered AI runs: people and agents edit one run live."""


@cli.command()
@config_option
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on (port 0 picks a free one), or unix:/PATH.")
@click.option("--data-dir", metavar="DIR", help="Directory of the database.")
def serve(config_file: Path | None, bind: str | None, data_dir: str | None) -> NoReturn:
    """Run the daemon until SIGTERM or Ctrl-C."""
    options = {"server.bind": bind, "storage.data_dir": data_dir}
    given = {name: text for name, text in options.items() if text is not None}
    path = find_config(config_file)
    config = _load(path, given)
    from collabd.daemon import run_daemon

    sys.exit(run_daemon(config, lambda: _load(path, given)))


@cli.command("check-config")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_config(config_file: Path | None, as_json: bool) -> None:
    """Check the configuration and name every error in it (exit status 2)."""
    path = find_config(config_file)
    file = None if path is None else str(path)
    try:
        config = _load(path)
        _check_keys(config)
    except ConfigError as error:
        if not as_json:
            _fail_with(error)
        click.echo(json.dumps({"ok": False, "file": file, "problems": error.problems}, indent=2))
        sys.exit(exits.UNUSABLE)
    if as_json:
        click.echo(json.dumps({"ok": True, "file": file, "settings": _values(config)}, indent=2))
    else:
        click.echo(_summary(config, file))


@cli.command()
@config_option
@click.option("--data-dir", metavar="DIR", help="Directory of the database that the daemon has open.")
def reload(config_file: Path | None, data_dir: str | None) -> None:
    """Check the configuration, and have the running daemon take it over.

    With an error in it nothing is asked of the daemon (exit status 2). Its log says what changed, and what needs a
    restart.
    """
    config = _load(find_config(config_file), {} if data_dir is None else {"storage.data_dir": data_dir})
    _check_keys(config)
    from collabd.store.opening import holder_of

    directory = config.storage.data_dir
    try:
        process = holder_of(directory)
        if process is None:
            raise NotDone(f"{directory}: no collabd has it open; start one, or say which directory: --data-dir")
        os.kill(process, signal.SIGHUP)
    except OSError as error:
        raise NotDone(f"{directory}: the daemon cannot be asked: {error.strerror}; are you its user?") from None
    click.echo(f"collabd (process {process}) reads its configuration again; its log says what changes")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the versions of what it runs on.")
def version(as_json: bool) -> None:
    """Print the version."""
    if not as_json:
        click.echo(f"collabd {__version__}")
        return
    import platform

    from collabd.store.upkeep import LIBRARY_VERSION

    versions = {"collabd": __version__, "python": platform.python_version(), "sqlite": LIBRARY_VERSION}
    click.echo(json.dumps({**versions, "platform": platform.platform()}, indent=2))


def _load(path: Path | None, options: dict[str, str] | None = None) -> Config:
    from collabd.config import load_config

    return load_config(path, os.environ, options=options)


def _check_keys(config: Config) -> None:
    """Raises ConfigError for keys that could not check a token, and for an admin token that would be refused."""
    if config.auth.mode == "jwt":
        from collabd.tokens import load_keys

        load_keys(config.auth, os.environ)
    if config.admin.token_file is not None:
        from collabd.admin_door import load_admin_token

        load_admin_token(config)


def _fail_with(error: ConfigError) -> NoReturn:
    for problem in error.problems:
        click.echo(f"collabd: {problem}", err=True)
    sys.exit(exits.UNUSABLE)


def _values(config: Config) -> dict[str, Any]:
    """Every setting by name. Nothing in the configuration is a secret: secrets stand in files that it names."""
    import msgspec

    plain: dict[str, dict[str, Any]] = msgspec.to_builtins(config, enc_hook=str)
    return {f"{table}.{key}": value for table, keys in plain.items() for key, value in keys.items()}


def _summary(config: Config, file: str | None) -> str:
    from collabd.config import Config

    defaults = _values(Config())
    changed = [name for name, value in _values(config).items() if value != defaults[name]]
    return "\n".join(
        [
            f"OK: {file or 'no configuration file, all defaults'}",
            f"  listens on  {config.server.bind}{' with TLS' if config.server.tls_certificate else ''}",
            f"  keeps data  {config.storage.data_dir}",
            f"  lets in     {config.auth.mode}",
            f"  changed     {', '.join(changed) or 'nothing'}",
        ]
    )


def main() -> NoReturn:
    """Entry point of the `collabd` script and of `python -m collabd`."""
    cli(prog_name="collabd")
    raise AssertionError("click exits by itself")
