"""Replay by number: a read that leaves no trace.

Law of this file: it knows requests and answers, not HTTP. Rules: docs/protocol.md, "HTTP: polling, replay, publishing".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collabd.errors import CollabdError, ProtocolError
from collabd.hub import admission
from collabd.hub.joining import open_run
from collabd.hub.reading import Part, replay
from collabd.protocol.codec import json_array
from collabd.protocol.names import parse_run_id
from collabd.protocol.requests import parse_query, parse_replay

if TYPE_CHECKING:
    from collabd.hub.admission import Caller
    from collabd.hub.hub import Hub


async def replay_run(hub: Hub, caller: Caller, run_text: str, query: bytes) -> bytes:
    """Answer a replay with JSON. Raises ProtocolError with what to answer instead."""
    admission.refuse_while_draining(hub)
    run_id = parse_run_id(run_text)
    request = parse_replay(parse_query(query))
    identity = admission.authenticate(hub, caller)
    admission.check_rights(identity, run_id)
    run = await open_run(hub, run_id, create=False)
    if run is None and not hub.config.runs.auto_create:
        raise admission.run_not_found()
    try:
        part = Part([], 0, 0) if run is None else await replay(run, request)
    except CollabdError as error:
        hub.log_fault(f"a replay of run {run_id} could not be answered", error)
        raise ProtocolError("storage_unavailable", "the run's log cannot be read just now") from error
    head = 0 if run is None else run.ring.head
    return msgspec.json.encode(
        {
            "runId": run_id,
            "epoch": hub.store.epoch,
            "oldestSequence": 1 if run is None else run.ring.oldest,
            "sequenceNumber": head,
            "events": msgspec.Raw(json_array(part.payloads)),
            "totalEvents": part.total,
            "nextSequence": part.reached + 1 if part.reached < head else None,
        }
    )
