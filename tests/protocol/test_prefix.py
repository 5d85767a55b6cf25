"""Paths below a prefix."""

from __future__ import annotations

import pytest

from collabd.protocol.prefix import below_prefix


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        ("/api/runs", "", "/api/runs"),
        ("/collab/api/runs", "/collab", "/api/runs"),
        ("/collab/", "/collab", "/"),
        ("/collab", "/collab", None),
        ("/api/runs", "/collab", "/api/runs"),
        ("/collaboration", "/collab", "/collaboration"),
        ("/a/b/ws/x", "/a/b", "/ws/x"),
        ("/collab/collab/x", "/collab", "/collab/x"),
    ],
)
def test_a_prefix_is_taken_off_once_and_whole(path: str, prefix: str, expected: str | None) -> None:
    """Nothing else is changed; the prefix alone lacks its slash."""
    assert below_prefix(path, prefix) == expected
