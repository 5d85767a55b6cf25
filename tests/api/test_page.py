"""Every command of docs/api.md does what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import running_daemon

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"```(sh|json)\n(.*?)```", PAGE, re.DOTALL)


def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    """In their order, against one server; an answer that is printed comes just so."""
    if shutil.which("curl") is None:
        assert not os.environ.get("CI"), "curl is needed to test docs/api.md"
        pytest.skip("NOT TESTED: docs/api.md, for there is no curl")
    with running_daemon(tmp_path / "data") as daemon:
        token = (tmp_path / "data" / "admin.token").read_text().strip()
        start, *blocks = [(kind, text.strip()) for kind, text in BLOCKS]
        settings = start[1].replace("http://127.0.0.1:8080", daemon.url)
        assert daemon.url in settings
        answers: list[str] = []
        for kind, text in blocks:
            if kind == "json":
                assert json.loads(answers[-1]) == json.loads(text)
                continue
            for command in re.split(r"\n(?=curl)", text):
                script = f"set -eu\n{settings}\n{command}"
                environ = {**os.environ, "COLLABD_ADMIN_TOKEN": token, "no_proxy": "127.0.0.1"}
                done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, env=environ)
                assert done.returncode == 0, done.stderr
                answers.append(done.stdout)
        assert len(answers) == 9
        assert all(isinstance(json.loads(answer), dict | list) for answer in answers)
        assert [answer for answer in answers if '"status":4' in answer or '"status":5' in answer] == answers[-1:]
