"""Who may look behind the scenes. Law of this file: a leaf; the rules stand in docs/protocol.md, "Admin".

Free without a token only when the bind and the peer are loopback, neither server.public_url nor
server.trusted_proxies is set, and the request came through no proxy; otherwise a bearer token, compared in constant
time, or a token of role admin.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collabd.auth import Authenticator, unauthorized
from collabd.config import is_loopback
from collabd.errors import ConfigError, ProtocolError
from collabd.protocol.addresses import is_loopback_address

if TYPE_CHECKING:
    from collabd.config import Config

_PROXY_HEADERS: Final = ("forwarded", "via", "x-real-ip")


class AdminDoor:
    """Lets operators in. `token` is the admin token's text.

    Raises ConfigError where nothing would stand between the network and the operators' routes.
    """

    def __init__(self, config: Config, authenticator: Authenticator, token: str | None) -> None:
        self._authenticator = authenticator
        self._token = token
        server = config.server
        if not token and config.auth.mode == "open" and not is_loopback(server.bind):
            raise ConfigError(["admin.token_file: beyond loopback there has to be an admin token"])
        self._free_bind = is_loopback(server.bind) and not server.public_url and not server.trusted_proxies
        self._tokens_have_roles = config.auth.mode != "open"

    def replace_token(self, token: str) -> None:
        """Let operators in by another token from now on."""
        self._token = token

    def check(self, headers: Mapping[str, str], address: str) -> None:
        """Let the caller pass or raise ProtocolError (unauthorized, without hints; forbidden for other roles)."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        if given and self._token and _same(given, self._token):
            return
        if given and self._tokens_have_roles:
            if self._authenticator.authenticate(given).role == "admin":
                return
            raise ProtocolError("forbidden", "this needs a token of role admin")
        if not given and self._free_bind and is_loopback_address(address) and not _came_through_proxy(headers):
            return
        raise unauthorized()


def _same(given: str, token: str) -> bool:
    """Compared in a time that tells nothing about how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _came_through_proxy(headers: Mapping[str, str]) -> bool:
    return any(name in _PROXY_HEADERS or name.startswith("x-forwarded-") for name in headers)


def load_admin_token(config: Config) -> str:
    """The admin token: from admin.token_file, or from `admin.token` in the data directory, made there (mode 0600).

    Raises ConfigError for a file that everybody can read, or whose token is too short.
    """
    given = config.admin.token_file
    path = given or config.storage.data_dir / "admin.token"
    if given is None and not path.exists():
        _write_secret(path, secrets.token_urlsafe(32))
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: the admin token cannot be read: {error}"]) from error
    if mode & stat.S_IRWXO:
        raise ConfigError([f"{path} can be read or changed by everybody on this machine: chmod 600 {path}"])
    if len(token) < 16:
        raise ConfigError([f"{path}: the admin token must have at least 16 characters"])
    return token


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
