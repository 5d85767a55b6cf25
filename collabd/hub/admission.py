"""Who may come in: the same checks in the same order for WebSocket, poll, publish and replay.

Law of this file: the order is the protocol's (docs/protocol.md, "WebSocket"): 503 draining, 400 path and query,
403 origin, 429 limits, 401, 403 rights, 404. A client whose handshake failed asks the poll route and learns why.
Before all of it, for every request whatever it asks: is it meant for this server, and has its sender asked too much?
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from collabd.auth import Identity
from collabd.errors import ProtocolError
from collabd.protocol.addresses import Proxies, counted_as, is_loopback_address
from collabd.protocol.names import PROTOCOL_VERSION
from collabd.protocol.origin import origin_allowed

if TYPE_CHECKING:
    from collabd.hub.hub import Hub
    from collabd.hub.run import Run

DRAINING_RETRY_MS: Final = 2_000
LIMIT_RETRY_MS: Final = 10_000
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Caller(NamedTuple):
    """Where a request comes from: `headers` with lower-case names, `scheme` http or https as the client sees it."""

    method: str
    headers: Mapping[str, str]
    scheme: str
    address: str
    upgrade: bool = False


def make_caller(
    proxies: Proxies,
    method: str,
    headers: Iterable[tuple[str, str]],
    scheme: str,
    peer: str,
    *,
    upgrade: bool = False,
) -> Caller:
    """The caller of a request that came from `peer`, a trusted proxy's word about whom it got it from believed."""
    joined: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        # RFC 9110, section 5.3. Where a header must not be given twice, both together are no valid value.
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return Caller(
        method,
        joined,
        proxies.client_scheme(peer, scheme, joined.get("x-forwarded-proto")),
        proxies.client_address(peer, joined.get("x-forwarded-for")),
        upgrade,
    )


def check_arrival(hub: Hub, caller: Caller) -> None:
    """What is asked of every request first: does it call this server by a name of its own, and not too often?"""
    host = caller.headers.get("host")
    if host is None and caller.upgrade:
        raise ProtocolError("invalid_parameter", "a request must have a Host header")
    # HTTP/1.0 needs no Host; no browser leaves it out, and only browsers can be led here under another name.
    if host is not None and not hub.known_hosts.knows(host):
        raise ProtocolError(
            "origin_not_allowed",
            "this server is not known by that name (Host); list it under server.allowed_hosts",
        )
    hub.rate_limits.take_request(caller.address)


def refuse_while_draining(hub: Hub) -> None:
    """503 before anything else is looked at."""
    if hub.draining:
        raise ProtocolError(
            "draining", "the server is about to restart; come back shortly", retry_after_ms=DRAINING_RETRY_MS
        )


def check_origin(hub: Hub, caller: Caller, *, own_only: bool = False) -> None:
    """Refuse pages of other origins where a request acts: an upgrade, or a method that is not safe.

    `own_only`: pages of listed origins too.
    """
    if not caller.upgrade and caller.method in _SAFE_METHODS:
        return
    server = hub.config.server
    if not origin_allowed(
        caller.headers.get("origin"),
        host=caller.headers.get("host", ""),
        scheme=caller.scheme,
        public_url=server.public_url,
        allowed=() if own_only else server.allowed_origins,
    ):
        raise ProtocolError(
            "origin_not_allowed", "pages of this origin may not connect; list it under server.allowed_origins"
        )


def has_place(hub: Hub, run_id: str, session_id: str | None, user_id: str | None) -> bool:
    """Whether a session is here already: whoever comes back to it, on whatever transport, takes its own place."""
    run = hub.runs.get(run_id)
    return run is not None and run.attendance.has_place(session_id, user_id)


def check_limits(hub: Hub, caller: Caller, *, is_new: bool) -> None:
    """Refuse what would be one connection too many, in all or for its address (loopback peers exempt).

    A session that is not new (has_place) adds nothing to what there is in all.
    """
    limits = hub.config.limits
    if limits.connections and is_new and hub.connection_count + hub.polling_count >= limits.connections:
        raise _too_many(hub, "connections", f"the server has its {limits.connections} connections already")
    per_address = limits.connections_per_address
    # The connection of an upgrade is counted already: many that come at once must not all find room.
    taken = hub.connections_by_address.get(counted_as(caller.address), 0) - caller.upgrade
    if per_address and taken >= per_address and not is_loopback_address(caller.address):
        raise _too_many(hub, "connections_per_address", f"your address has its {per_address} connections already")


def check_run_limits(hub: Hub, run: Run, user_id: str) -> None:
    """Refuse what would be one connection too many for a run or for a user in it, polling ones counted."""
    limits = hub.config.limits
    per_run, per_user = limits.connections_per_run, limits.connections_per_user
    if per_run and run.attendance.session_count >= per_run:
        raise _too_many(hub, "connections_per_run", f"this run has its {per_run} connections already")
    if per_user and run.attendance.presence.sessions_of(user_id) >= per_user:
        raise _too_many(hub, "connections_per_user", f"this user has its {per_user} connections to this run already")


def authenticate(hub: Hub, caller: Caller) -> Identity:
    """Who the caller is, by its bearer token. Raises ProtocolError (unauthorized)."""
    return hub.authenticator.authenticate(bearer_token(caller.headers))


def user_of(identity: Identity, asked: str | None) -> str | None:
    """The user a request acts for: the token's, or in open mode the one it names.

    Raises ProtocolError (user_mismatch) where the two differ.
    """
    if identity.user_id is None:
        return asked
    if asked is not None and asked != identity.user_id:
        raise ProtocolError("user_mismatch", "userId differs from the token's user; leave it out")
    return identity.user_id


def require_user(identity: Identity, asked: str | None) -> str:
    """The same where there has to be one. Raises ProtocolError (user_required, user_mismatch)."""
    user_id = user_of(identity, asked)
    if user_id is None:
        raise ProtocolError("user_required", "give a userId in the query")
    return user_id


def check_rights(identity: Identity, run_id: str) -> None:
    """Raises ProtocolError (forbidden) where the token does not name this run."""
    if not identity.may_enter(run_id):
        raise ProtocolError("forbidden", "your token gives no right to this run")


def run_not_found() -> ProtocolError:
    """The 404 for an unknown run, where runs are not made by joining them."""
    return ProtocolError("run_not_found", "there is no such run (runs.auto_create is off)")


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of a request: Authorization, or from browsers the offered subprotocol `bearer.<token>`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    for offered in offered_subprotocols(headers):
        if offered.startswith("bearer."):
            return offered.removeprefix("bearer.")
    return None


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    """What the client offers in Sec-WebSocket-Protocol, in its order."""
    return [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",") if name.strip()]


def selected_subprotocol(headers: Mapping[str, str]) -> str | None:
    """The one subprotocol that is ever selected, where it was offered; a bearer token is never echoed."""
    return PROTOCOL_VERSION if PROTOCOL_VERSION in offered_subprotocols(headers) else None


def _too_many(hub: Hub, limit: str, message: str) -> ProtocolError:
    hub.counters.limited[limit] += 1
    return ProtocolError("too_many_connections", message, retry_after_ms=LIMIT_RETRY_MS)
