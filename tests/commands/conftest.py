from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.support import own_world


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_world(monkeypatch, tmp_path)
