"""Ready answers. Law of this file: bytes to Response, nothing else."""

from __future__ import annotations

from quart import Response

from collabd.errors import ProtocolError
from collabd.protocol.problems import problem_headers, problem_json


def json_response(body: bytes) -> Response:
    """An answer of ready JSON."""
    return Response(body, content_type="application/json")


def problem_response(error: ProtocolError) -> Response:
    """An error as application/problem+json."""
    return Response(problem_json(error), status=error.status, headers=problem_headers(error))
