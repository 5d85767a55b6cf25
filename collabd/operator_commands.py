"""`collabd top`, `doctor`, `status`, `bench`, `dashboard`: what somebody who runs a server types.

Law of this file: arguments in, text out, exit status; the work is in collabd.operating. `collabd.cli` finds the
commands in `commands`.

Exit statuses stand in docs/cli.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from collabd import exits
from collabd.config_file import config_option, find_config
from collabd.errors import DatabaseUnusable, NotDone

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
def status(
    config_file: Path | None, url: str | None, token: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Say whether the server runs, and what it keeps: database, write-ahead log, disk, events and their age.

    Of the server that the configuration binds also looks into the data directory, so that something is known of one
    that does not run. Exit status: 0 running, 3 not running, 1 the server could not be asked, 2 wrong usage.
    """
    from collabd.operating.status import in_words, take_status

    server = _server(config_file, url, token, token_file)
    report = take_status(server, _own_data(config_file, server.url))
    click.echo(json.dumps(report, indent=2, ensure_ascii=False) if as_json else in_words(report, time.time()))
    sys.exit(exits.DONE if report["running"] else exits.ATTENTION)


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
@config_option
@click.option("--data-dir", metavar="DIR", help="Whose disk to measure [default: storage.data_dir]")
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=3.0, show_default=True, help="Length of each round.")
@click.option("--members", type=click.IntRange(1, 500), default=50, show_default=True, help="Clients that listen.")
@_json_option
def bench(config_file: Path | None, data_dir: str | None, seconds: float, members: int, as_json: bool) -> None:
    """Measure what this machine and the disk of its data can do, in some seconds.

    Starts a server of its own on a free port, with a database of its own in a directory beside the real one; touches
    nothing else, and leaves nothing behind.
    """
    from collabd.config import load_config
    from collabd.operating.bench import in_words, measure
    from collabd.progress import progress_bar

    options = {} if data_dir is None else {"storage.data_dir": data_dir}
    config = load_config(find_config(config_file), os.environ, options=options)
    with progress_bar() as progress:
        report = measure(config.storage.data_dir, seconds, members, progress)
    click.echo(json.dumps(report, indent=2) if as_json else in_words(report))


@click.command()
def dashboard() -> None:
    """Print the Grafana dashboard, to be imported there."""
    from collabd.dashboard import dashboard_json

    click.echo(dashboard_json(), nl=False)


commands: list[click.Command] = [top, doctor, status, bench, dashboard]


def _own_data(config_file: Path | None, url: str) -> dict[str, Any] | None:
    """What lies in the configured data directory; None of another server, and where this user may not see it.

    Raises DatabaseUnusable.
    """
    from collabd.config import load_config
    from collabd.operating.server import own_url
    from collabd.store.upkeep import contents

    config = load_config(find_config(config_file), os.environ)
    if url != own_url(config):
        return None
    data_dir = config.storage.data_dir
    try:
        return {"directory": str(data_dir), **contents(data_dir)._asdict()}
    except NotDone:
        return {"directory": str(data_dir), "epoch": None}
    except DatabaseUnusable:
        if os.access(data_dir / "collabd.sqlite3", os.R_OK):
            raise
        # Another user's, such as that of a service: what the server says has to do.
        return None


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
    config = load_config(find_config(config_file), os.environ)
    own = own_url(config)
    if token is None and (url is None or url.rstrip("/") == own):
        token = own_token(config)
    return Server(url or own, token)


def _check_url(option: str, url: str | None) -> None:
    from collabd.operating.server import is_url

    if url is not None and not is_url(url):
        raise click.BadParameter(f"{url!r} is no http or https URL", param_hint=option)
