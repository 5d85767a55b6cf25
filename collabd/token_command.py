"""`collabd token`: a token for trying out, signed with the key at hand.

Law of this file: arguments in, a token out; the work is in collabd.tokens. `collabd.cli` finds the command in
`commands`. Exit status: 0 done, 2 wrong usage or a configuration or key that cannot be used.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from collabd.config_file import config_option, find_config
from collabd.errors import ConfigError, ProtocolError

if TYPE_CHECKING:
    from collabd.config import Auth
    from collabd.tokens import Role

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Lifetime(click.ParamType[float]):
    """How long a token is good: a number with s, m, h or d."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        match = re.fullmatch(r"([0-9]{1,6})([smhd])", str(value), re.ASCII)
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is no time; write it like 90s, 15m, 12h or 30d", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


@click.command()
@config_option
@click.option("--sub", required=True, metavar="USER", help="Whom the token names.")
@click.option(
    "--runs", multiple=True, default=("*",), metavar="ID", help="A run it lets into, given again for more [default: *]"
)
@click.option("--role", type=click.Choice(["viewer", "editor", "admin"]), default="editor", show_default=True)
@click.option("--expires", type=Lifetime(), default="1h", show_default=True, metavar="TIME", help="Like 90s, 15m, 30d.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    help="File with the private key (PEM) or the secret [default for HS256: the configured key]",
)
def token(
    config_file: Path | None, sub: str, runs: tuple[str, ...], role: str, expires: float, key_file: Path | None
) -> None:
    """Make a token for trying out, to be given as Authorization: Bearer."""
    from collabd.config import load_config
    from collabd.tokens import mint

    try:
        auth = load_config(find_config(config_file), os.environ).auth
        if auth.mode != "jwt":
            raise ConfigError(['auth.mode is "open": the server looks at no token; set auth.mode = "jwt"'])
        checked_runs = [_run(text) for part in runs for text in part.split(",")]
        text = mint(
            auth,
            _signing_key(auth, key_file),
            user_id=_user(sub),
            runs=checked_runs,
            role=cast("Role", role),
            lifetime_s=expires,
        )
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"collabd: {problem}", err=True)
        sys.exit(2)
    click.echo(text)


def _signing_key(auth: Auth, given: Path | None) -> str:
    """The text of the key that signs: the one named, else the secret that is configured."""
    path = given
    if path is None:
        if auth.algorithm != "HS256" or auth.jwks_file is not None:
            raise ConfigError([f"give --key: what is configured checks {auth.algorithm} and does not sign it"])
        if auth.key_env:
            return os.environ.get(auth.key_env, "")
        path = auth.key_file
    assert path is not None, "the configuration was checked"
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise ConfigError([f"{path} can be read or changed by everybody on this machine: chmod 600 {path}"])
            return file.read(1 << 20)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"]) from None


def _user(text: str) -> str:
    from collabd.protocol.names import parse_user_id

    try:
        return parse_user_id(text)
    except ProtocolError as error:
        raise click.BadParameter(error.message, param_hint="--sub") from None


def _run(text: str) -> str:
    from collabd.protocol.names import parse_run_id

    try:
        return text if text == "*" else parse_run_id(text)
    except ProtocolError as error:
        raise click.BadParameter(f"{error.message}, or *", param_hint="--runs") from None


commands = [token]
