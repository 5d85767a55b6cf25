"""Whatever the description allows, and more, is asked of the real daemon: it never fails, and answers as described.

The long form: COLLABD_API_EXAMPLES=500 python -m pytest tests/api/test_schemathesis.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from collabd.routes.openapi import openapi_document
from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLES = int(os.environ.get("COLLABD_API_EXAMPLES", "6"))
SCHEMA = schemathesis.openapi.from_dict(openapi_document(""))
OPERATIONS: dict[str, Any] = {each.ok().label: each.ok() for each in SCHEMA.get_all_operations()}  # type: ignore[union-attr]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that anybody may ask anything."""
    with running_daemon(tmp_path_factory.mktemp("api") / "data", {"LIMITS__MESSAGES_PER_SECOND": "0"}) as daemon:
        yield daemon


@pytest.mark.parametrize(
    "mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE], ids=["right", "wrong"]
)
@pytest.mark.parametrize("label", OPERATIONS)
def test_it_never_fails_and_answers_as_described(api: Daemon, label: str, mode: Any) -> None:
    """Requests that are right, and requests that are not; the same ones each time."""
    operation = OPERATIONS[label]

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if case.query and "wait" in case.query:
            case.query["wait"] = "0"  # otherwise it may be held back for half a minute
        case.call_and_validate(base_url=api.url, checks=CHECKS)

    with suppress(hypothesis.errors.Unsatisfiable):  # where nothing can be wrong there is no wrong request
        ask()
