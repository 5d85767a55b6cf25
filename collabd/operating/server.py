"""A collabd server as an operator's command sees it. Law of this file: HTTP out, JSON in; nothing is printed.

The admin token goes only to the server that was named: never to another host by a redirect, and the local token file
is used only for the address that the local configuration binds.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from collabd.config import UNIX_PREFIX, is_loopback
from collabd.errors import CollabdError
from collabd.operating.unix_http import UnixHandler

if TYPE_CHECKING:
    from collabd.config import Config

TIMEOUT_S: Final = 10.0
_ADMIN: Final = "/api/admin/websocket"


class ServerUnreachable(CollabdError):
    """Nothing answers there, or not in time."""


class NotAdmitted(CollabdError):
    """The server wants another admin token."""


class NotCollabd(CollabdError):
    """Something else answers there, or a fault of the server."""


class Server:
    """One server by its URL (with a path where a proxy serves it below one), asked with a token or without.

    `unix:/PATH` is the server that listens on this socket.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._base = self.url
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if self.url.startswith(UNIX_PREFIX):
            self._base = "http://localhost"
            handlers += [urllib.request.ProxyHandler({}), UnixHandler(self.url.removeprefix(UNIX_PREFIX))]
        elif _is_local(self.url):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def diagnosis(self, window_s: float) -> dict[str, Any]:
        """What the server finds wrong with itself by the figures of the last seconds."""
        found: dict[str, Any] = self._admin(f"/diagnosis?windowMs={round(window_s * 1000)}")
        return found

    def sessions(self) -> list[dict[str, Any]]:
        """The figures of every session that is there now."""
        found: list[dict[str, Any]] = self._admin("/metrics?live=true")
        return found

    def storage(self) -> dict[str, Any]:
        """What the server's log takes on its disk, and how old it is."""
        found: dict[str, Any] = self._admin("/storage")
        return found

    def _admin(self, path: str) -> Any:
        """The JSON of an admin route. Raises ServerUnreachable, NotAdmitted, NotCollabd."""
        request = urllib.request.Request(self._base + _ADMIN + path)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise ServerUnreachable(f"{self.url} does not answer: {getattr(why, 'strerror', None) or why}") from None
        except ValueError:
            raise NotCollabd(f"{self.url} does not answer as collabd does; is the URL right?") from None

    def _refused(self, error: urllib.error.HTTPError) -> CollabdError:
        if error.code in (401, 403):
            return NotAdmitted(
                f"{self.url} wants another admin token: give --token or --token-file (the server keeps its own in "
                "admin.token in its data directory)"
            )
        if 300 <= error.code < 400:
            return NotCollabd(f"{self.url} redirects to {error.headers.get('Location')}: give that URL, if it is yours")
        return NotCollabd(f"{self.url} answered {error.code}; is it a collabd of this version?")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none; the answer becomes an HTTPError."""
        return


def own_url(config: Config) -> str:
    """Where a server with this configuration is reached from its own machine."""
    if config.server.socket_path is not None:
        return config.server.bind
    host, port = config.server.address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if config.server.tls_certificate else 'http'}://{host}:{port}"


def own_token(config: Config) -> str | None:
    """The admin token that the server with this configuration uses, where this user may read it."""
    path = config.admin.token_file or config.storage.data_dir / "admin.token"
    return read_token(path) if path.exists() else None


def read_token(path: Path) -> str | None:
    """The token in a file, None for one that cannot be read."""
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def is_url(text: str) -> bool:
    """Whether it is an http or https URL with a host, or a Unix socket as server.bind names it."""
    if text.startswith(UNIX_PREFIX):
        return text.startswith(f"{UNIX_PREFIX}/")
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return is_loopback(f"[{host}]:0" if ":" in host else f"{host}:0")
