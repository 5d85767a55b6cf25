"""Whether a WebSocket upgrade through a URL works, tried as a browser would (RFC 6455, section 4.1).

Law of this file: one attempt, and what became of it in words; nothing is joined for longer than that takes.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from collabd.operating.unix_http import UnixConnection

TIMEOUT_S: Final = 10.0
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_USER: Final = "collabd-doctor"
_CLOSE_1000: Final = bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8])


class Attempt(NamedTuple):
    """How an upgrade went: whether WebSockets get through, why we think so, and what to try where they do not."""

    url: str
    works: bool
    why: str
    try_: tuple[str, ...] = ()


_PROXY_REMEDIES: Final = (
    "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
    "Apache: mod_proxy_wstunnel, or ProxyPass with upgrade=websocket; Caddy and HAProxy pass upgrades by themselves.",
)


def try_upgrade(url: str) -> Attempt:
    """Open a WebSocket to a new run below this URL, and leave it at once."""
    parts = urlsplit(url)
    by_socket = parts.scheme == "unix"
    netloc = "localhost" if by_socket else parts.netloc
    prefix = "" if by_socket else parts.path.rstrip("/")
    path = f"{prefix}/ws/runs/{uuid4()}/collaboration?userId={_USER}"
    key = base64.b64encode(os.urandom(16))
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key.decode(),
        "Sec-WebSocket-Protocol": "collabd.v1",
        "Origin": f"{'http' if by_socket else parts.scheme}://{netloc}",
    }
    connection = UnixConnection(parts.path, timeout=TIMEOUT_S) if by_socket else _connection(parts.scheme, netloc)
    try:
        connection.request("GET", path, headers=headers)
        sock = connection.sock
        answer = connection.getresponse()
        if answer.status == 101:
            sock.sendall(_CLOSE_1000)
            return _judge_upgrade(url, key, answer)
        return _judge_refusal(url, answer.status, answer.read(65_536))
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Attempt(url, False, f"No answer: {why}.", ("See whether the URL is right.",))
    finally:
        connection.close()


def _connection(scheme: str, netloc: str) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(netloc, timeout=TIMEOUT_S, context=ssl.create_default_context())
    return http.client.HTTPConnection(netloc, timeout=TIMEOUT_S)


def _judge_upgrade(url: str, key: bytes, answer: http.client.HTTPResponse) -> Attempt:
    expected = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    if answer.getheader("Sec-WebSocket-Accept") != expected:
        return Attempt(url, False, "101 came, but not from a WebSocket server (wrong accept key).", _PROXY_REMEDIES)
    return Attempt(url, True, "An upgrade was accepted (101).")


def _judge_refusal(url: str, status: int, body: bytes) -> Attempt:
    code = _problem_code(body)
    if code == "origin_not_allowed":
        return Attempt(
            url,
            False,
            "The server refuses pages of this origin (403 origin_not_allowed).",
            (f"Set server.public_url to {url}, or list the origin under server.allowed_origins.",),
        )
    if code in ("unauthorized", "forbidden", "too_many_connections", "draining", "run_not_found"):
        return Attempt(url, True, f"The upgrade reached the server, which answered {status} {code}.")
    return Attempt(url, False, f"The upgrade was answered with {status} instead of 101.", _PROXY_REMEDIES)


def _problem_code(body: bytes) -> str | None:
    try:
        problem = json.loads(body)
    except ValueError:
        return None
    return problem.get("code") if isinstance(problem, dict) else None
