"""`collabd top`, `collabd doctor`, `collabd dashboard`: what somebody who runs a server types.

Law of this file: arguments in, text out, exit status; the work is in collabd.operating. `collabd.cli` finds the
commands in `commands`.

Exit status: 0 done, 1 the server could not be asked, 2 wrong usage or configuration; `doctor` besides: 3 degraded,
4 unhealthy.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from collabd.config_file import config_option, find_config
from collabd.errors import ConfigError

if TYPE_CHECKING:
    from collabd.operating.server import Server

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _server_options(command: _Command) -> _Command:
    """Which server, and with which token."""
    for decorate in (
        click.option(
            "--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File with the token."
        ),
        click.option("--token", envvar="COLLABD_ADMIN_TOKEN", help="Admin token [env: COLLABD_ADMIN_TOKEN]"),
        click.option(
            "--url", envvar="COLLABD_URL", help="[env: COLLABD_URL; default: server.bind of the configuration]"
        ),
        config_option,
    ):
        command = decorate(command)
    return command


_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@_server_options
@_json_option
@click.option("--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, metavar="SECONDS")
def top(
    config_file: Path | None,
    url: str | None,
    token: str | None,
    token_file: Path | None,
    as_json: bool,
    interval: float,
) -> None:
    """Show runs and sessions, those in trouble first, until Ctrl-C.

    Where the output is no terminal it is shown once.
    """
    server = _server(config_file, url, token, token_file)
    if as_json:
        from collabd.operating.top import look

        click.echo(json.dumps(look(server), indent=2, ensure_ascii=False))
    else:
        from collabd.operating.screen import show

        show(server, interval)


@click.command()
@_server_options
@_json_option
@click.option("--public-url", metavar="URL", help="Where browsers reach the server [default: server.public_url, --url]")
@click.option("--window", "window_s", type=click.FloatRange(1, 1800), default=300, show_default=True, metavar="SECONDS")
def doctor(
    config_file: Path | None,
    url: str | None,
    token: str | None,
    token_file: Path | None,
    as_json: bool,
    public_url: str | None,
    window_s: float,
) -> None:
    """Say what is wrong, why, and what to try.

    Looks at the figures of the last minutes and at the server's configuration, and opens a WebSocket through the public
    URL. Exit status: 0 healthy, 3 degraded, 4 unhealthy (or no answer), 1 the server could not be asked, 2 wrong usage.
    """
    from collabd.operating.doctor import EXIT_STATUS, examine, in_words

    _check_url("--public-url", public_url)
    report = examine(_server(config_file, url, token, token_file), public_url, window_s)
    click.echo(json.dumps(report, indent=2, ensure_ascii=False) if as_json else in_words(report))
    sys.exit(EXIT_STATUS[report["status"]])


@click.command()
def dashboard() -> None:
    """Print the Grafana dashboard, to be imported there."""
    from collabd.dashboard import dashboard_json

    click.echo(dashboard_json(), nl=False)


commands: list[click.Command] = [top, doctor, dashboard]


def _server(config_file: Path | None, url: str | None, token: str | None, token_file: Path | None) -> Server:
    """The server that is meant. Its own token file is read only for the address that the configuration binds."""
    from collabd.config import load_config
    from collabd.operating.server import Server, own_token, own_url, read_token

    _check_url("--url", url)
    if token_file is not None:
        token = read_token(token_file)
        if token is None:
            raise click.BadParameter(f"{token_file} cannot be read, or is empty", param_hint="--token-file")
    if url is not None and token is not None:
        return Server(url, token)
    try:
        config = load_config(find_config(config_file), os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"collabd: {problem}", err=True)
        sys.exit(2)
    own = own_url(config)
    if token is None and (url is None or url.rstrip("/") == own):
        token = own_token(config)
    return Server(url or own, token)


def _check_url(option: str, url: str | None) -> None:
    from collabd.operating.server import is_url

    if url is not None and not is_url(url):
        raise click.BadParameter(f"{url!r} is no http or https URL", param_hint=option)
