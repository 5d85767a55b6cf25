"""A close code says what the client should do."""

from __future__ import annotations

import pytest

from collabd.protocol import close_codes
from collabd.protocol.close_codes import CLOSE_CODES, close_class

CONSTANTS = {name: value for name, value in vars(close_codes).items() if name.isupper() and isinstance(value, int)}


def test_every_code_with_a_name_is_explained() -> None:
    """But for the two that never travel (RFC 6455, section 7.4.1)."""
    assert set(CONSTANTS.values()) == set(CLOSE_CODES) | {close_codes.NO_STATUS, close_codes.ABNORMAL}
    assert len(set(CONSTANTS.values())) == len(CONSTANTS)
    assert all(row.meaning for row in CLOSE_CODES.values())


def test_those_who_stay_away() -> None:
    """A client that came back after 4009 would fight the one that replaced it; after 4403 it would knock for ever."""
    assert {code for code, row in CLOSE_CODES.items() if not row.comes_back} == {1000, 4009, 4403, 4404}


def test_every_code_may_be_sent() -> None:
    """Registered codes below 3000, or the application's own range (RFC 6455, section 7.4.2)."""
    assert all(1000 <= code <= 1014 or 4000 <= code <= 4999 for code in CLOSE_CODES)


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (None, "abnormal"),
        (1005, "abnormal"),
        (1006, "abnormal"),
        (1000, "1000"),
        (4008, "4008"),
        (3999, "other"),
        (0, "other"),
    ],
)
def test_a_metrics_label_is_one_of_a_few_whatever_a_client_sends(code: int | None, label: str) -> None:
    """Codes from 3000 on are the client's to choose; they are all one label."""
    assert close_class(code) == label
    assert close_class(code) in {"abnormal", "other", *map(str, CLOSE_CODES)}
