"""Asking the collaboration routes as a client does, and what every refusal has to look like.

Law of this file: requests and shapes; what is right for a request is the tests' business.
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import httpx

from tests.transports.servers import Server

Message = dict[str, Any]


class Api:
    """The HTTP routes of one server, over kept-alive connections."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=10, verify=False, trust_env=False)
        self._threads = ThreadPoolExecutor(max_workers=4)

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        self.http.close()

    def ask_poll(self, run: str, **query: object) -> httpx.Response:
        """The answer to a poll, whatever it is."""
        return self.http.get(f"/api/runs/{run}/collaboration/poll", params=as_query(query))

    def poll(self, run: str, **query: object) -> Message:
        """A poll that is answered."""
        return accepted(self.ask_poll(run, **query))

    def poll_meanwhile(self, run: str, **query: object) -> Future[Message]:
        """A poll that goes on while the test does something else."""
        return self._threads.submit(lambda: self.poll(run, **query))

    def ask_replay(self, run: str, **query: object) -> httpx.Response:
        """The answer to a replay, whatever it is."""
        return self.http.get(f"/api/runs/{run}/collaboration/replay", params=as_query(query))

    def replay(self, run: str, **query: object) -> Message:
        """A replay that is answered."""
        return accepted(self.ask_replay(run, **query))

    def ask_publish(
        self,
        run: str,
        body: Any,
        *,
        user: str | None = "ann",
        session: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """The answer to a publish; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        query = as_query({"userId": user, "sessionId": session})
        return self.http.post(f"/api/runs/{run}/collaboration/events", params=query, content=content, headers=headers)

    def publish(self, run: str, *events: Message, user: str = "ann") -> list[Message]:
        """Publish a batch; answers its acks."""
        acks: list[Message] = accepted(self.ask_publish(run, {"events": list(events)}, user=user))["acks"]
        return acks

    def write(self, run: str, count: int, event_type: str = "GRAFT", *, data: Any = None, first: int = 0) -> None:
        """Publish so many events, which all have to be new."""
        for start in range(first, first + count, 100):
            events = [
                message(event_type, {"after": f"s{n}"} if data is None else data, f"{event_type}-{n}")
                for n in range(start, min(start + 100, first + count))
            ]
            assert all(ack["duplicate"] is False for ack in self.publish(run, *events))


def message(event_type: str, data: Any = None, message_id: str | None = None) -> Message:
    """A client's message."""
    whole = {"eventType": event_type, "data": data}
    return whole if message_id is None else whole | {"clientMessageId": message_id}


def as_query(query: dict[str, Any]) -> dict[str, str]:
    """Values as they stand in a URL; None leaves one out."""
    named = {True: "true", False: "false"}
    return {
        name: named[value] if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def accepted(answer: httpx.Response) -> Message:
    """The JSON of an answer with status 200."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: Message = answer.json()
    return body


def refused(answer: httpx.Response, status: int, code: str) -> Message:
    """The problem of an answer that has to be a refusal: RFC 9457, with our code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem: Message = answer.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["retryable"] is (status in (429, 503))
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert "Traceback" not in answer.text
    return problem
