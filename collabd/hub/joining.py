"""Joining a run over WebSocket: all that happens between an upgrade request and a WELCOME.

Law of this file: `admit` refuses before the upgrade and changes nothing; `join` lets in and refuses nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from collabd.errors import CollabdError, ProtocolError
from collabd.hub import admission
from collabd.hub.admission import Caller
from collabd.protocol.addresses import counted_as
from collabd.protocol.requests import JoinRequest, parse_join, parse_query, socket_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collabd.auth import Identity
    from collabd.hub.connection import Connection
    from collabd.hub.hub import Hub
    from collabd.hub.link import Link
    from collabd.hub.run import Run


class Admitted(NamedTuple):
    """A request that passed every check."""

    run: Run
    user_id: str
    identity: Identity
    request: JoinRequest
    address: str


async def admit(hub: Hub, caller: Caller, path: str, query: bytes) -> Admitted:
    """Check an upgrade request, in the protocol's order. Raises ProtocolError with what to answer."""
    admission.check_arrival(hub, caller)
    admission.refuse_while_draining(hub)
    request = parse_join(socket_run_id(path), parse_query(query))
    if hub.names_are_free and request.user_id is None:
        raise ProtocolError("user_required", "give a userId in the query")
    admission.check_origin(hub, caller)
    admission.check_limits(
        hub, caller, is_new=not admission.has_place(hub, request.run_id, request.session_id or "", None)
    )
    identity = admission.authenticate(hub, caller)
    user_id = admission.require_user(identity, request.user_id)
    admission.check_rights(identity, request.run_id)
    run = await open_run(hub, request.run_id, create=True)
    if run is None:
        raise admission.run_not_found()
    if not run.attendance.has_place(request.session_id or "", user_id):
        admission.check_run_limits(hub, run, user_id)
    if not run.kept_state_is_fresh:
        await run.refresh_kept_state()
    return Admitted(run, user_id, identity, request, caller.address)


async def open_run(hub: Hub, run_id: str, *, create: bool) -> Run | None:
    """The run, or None for an unknown one. Raises ProtocolError where its log cannot be read just now."""
    try:
        return await hub.open_run(run_id, create=create)
    except CollabdError as error:
        hub.log_fault(f"run {run_id} could not be loaded", error)
        raise ProtocolError("storage_unavailable", "the run's log cannot be read just now") from error


def join(hub: Hub, admitted: Admitted, link: Link, preface: bytes) -> Connection:
    """Let the client in: session, presence, WELCOME and what follows it, at one instant.

    `preface` goes out before WELCOME. Since `admit` the run may have been closed, or the token revoked; then it raises
    ProtocolError.
    """
    run, request = admitted.run, admitted.request
    if hub.runs.get(run.run_id) is not run:
        raise ProtocolError("storage_unavailable", "the run was just closed; come back at once")
    admission.refuse_while_draining(hub)
    hub.authenticator.recheck(admitted.identity)
    session = run.attendance.session_for(request.session_id, admitted.user_id, "websocket")
    came_back = session.session_id == request.session_id or request.reconnect_attempt > 0
    if came_back:
        session.health.reconnections += 1
        hub.counters.reconnections += 1
        session.health.note(hub.now_ms(), "came_back", "websocket", request.reconnect_attempt)
    else:
        session.health.note(hub.now_ms(), "joined", "websocket")
    connection = run.attach(session, link, request.position, preface)
    hub.credentials.stand_on(connection, admitted.identity)
    connection.address = admitted.address
    connection.rates = hub.rate_limits.of_session(admitted.address)
    return connection


@contextmanager
def counted_address(hub: Hub, address: str) -> Iterator[None]:
    """Count a connection for its address as long as the block lasts."""
    counts, address = hub.connections_by_address, counted_as(address)
    counts[address] = counts.get(address, 0) + 1
    try:
        yield
    finally:
        counts[address] -= 1
        if not counts[address]:
            del counts[address]
