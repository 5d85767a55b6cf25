"""Where a run is found: the server's URL, and the targets of its routes for one run, user and session.

Law of this file: text in, text out (docs/client-behaviour.md R41, R43, R64, R72, R76); no I/O.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from collabd.client.errors import InvalidRunId, InvalidUrl, InvalidUserId
from collabd.client.messages import Position
from collabd.client.settings import REPLAY_LIMIT

_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}
_RUN_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True)
class Address:
    """A server: `path` is the prefix before its routes, without a slash at the end."""

    host: str
    port: int
    is_secure: bool
    path: str

    @property
    def host_header(self) -> str:
        """What stands in the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.is_secure else 'http'}://{self.host_header}{self.path}"


def parse_url(url: object) -> Address:
    """The server that a URL names. Raises InvalidUrl."""
    if not isinstance(url, str):
        raise InvalidUrl(str(url), f"it is a {type(url).__name__}, no str")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()  # as it goes out, in DNS and in the Host field
    except ValueError as error:
        raise InvalidUrl(url, str(error)) from None
    if parts.scheme not in _SCHEMES:
        raise InvalidUrl(url, "it starts with none of http, https, ws, wss")
    if not host:
        raise InvalidUrl(url, "it names no host")
    if port == 0 or re.search(r"[\s\0]", host):
        raise InvalidUrl(url, "there can be no such host and port")
    if parts.query or parts.fragment or parts.username is not None:
        raise InvalidUrl(url, "it has more than host, port and path")
    is_secure = _SCHEMES[parts.scheme]
    return Address(host, port or (443 if is_secure else 80), is_secure, quote(parts.path.rstrip("/"), "/%"))


def check_run_id(run_id: str | uuid.UUID) -> str:
    """The run id in canonical form. Raises InvalidRunId."""
    text = str(run_id)
    if not _RUN_ID.fullmatch(text):
        raise InvalidRunId(text)
    return text.lower()


def check_user_id(user_id: object) -> str:
    """The user id as it is. Raises InvalidUserId."""
    if not isinstance(user_id, str):
        raise InvalidUserId(repr(user_id))
    if not 1 <= len(user_id) <= 255 or any(unicodedata.category(character) in ("Cc", "Cs") for character in user_id):
        raise InvalidUserId(user_id)
    return user_id


@dataclass
class Place:
    """One user's place in one run on one server. `session_id` is the server's, kept in memory only."""

    address: Address
    run_id: str
    user_id: str
    session_id: str | None = None

    def socket(self, position: Position | None, tries: int) -> str:
        """The WebSocket's target: resuming from `position`, `tries` attempts after the last live connection."""
        return self._target(
            f"/ws/runs/{self.run_id}/collaboration",
            self._identity() | _resume(position) | ({"reconnectAttempt": tries} if tries else {}),
        )

    def poll(self, position: Position | None, limit: int = REPLAY_LIMIT) -> str:
        """The poll route's target."""
        return self._run("poll", self._identity() | _resume(position) | {"limit": limit})

    def events(self) -> str:
        """The publish route's target."""
        return self._run("events", self._identity())

    def replay(self, from_sequence: int, limit: int, **more: str) -> str:
        """The replay route's target; `more` are further query values."""
        return self._run("replay", {"fromSequence": from_sequence, "limit": limit} | more)

    def client_config(self) -> str:
        """The target of the server's settings for clients."""
        return self._target("/api/client-config", {})

    def _identity(self) -> dict[str, str | int]:
        identity: dict[str, str | int] = {"userId": self.user_id}
        if self.session_id is not None:
            identity["sessionId"] = self.session_id
        return identity

    def _run(self, route: str, query: dict[str, str | int]) -> str:
        return self._target(f"/api/runs/{self.run_id}/collaboration/{route}", query)

    def _target(self, path: str, query: dict[str, str | int]) -> str:
        return self.address.path + path + (f"?{urlencode(query)}" if query else "")


def _resume(position: Position | None) -> dict[str, str | int]:
    if position is None:
        return {}
    return {"afterSequence": position.sequence_number, "epoch": position.epoch}
