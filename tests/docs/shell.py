"""Runs a page's commands as its reader would: one shell, an empty home, a real server.

Law of this file: it starts processes in a session of their own and ends that session, whatever happened.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from tests.docs.fences import Block, commands
from tests.docs.pages import Page

ADDRESS = "127.0.0.1:8080"
DEADLINE_S = 100.0
_SERVE = re.compile(r"(?:^|(?<=[;&] ))collabd (?:--\S+ )*serve\b")
_FOLLOW = re.compile(r"^collabd (?:tail|top)\b")

#: `serving` starts a server in the background and waits until it is ready or has ended; `following` a command that
#: would run on in a terminal of its own.
_PRELUDE = r"""
exec </dev/null 2>&1
mkdir -p "$HOME/.shown"
serving() {
  "$@" >"$HOME/.shown/serve" 2>&1 &
  __daemon=$!
  for __ in $(seq 600); do
    grep -q "^collabd is ready at" "$HOME/.shown/serve" && break
    kill -0 "$__daemon" 2>/dev/null || break
    sleep 0.1
  done
  cat "$HOME/.shown/serve"
}
following() {
  __followers=$((__followers + 1))
  "$@" >"$HOME/.shown/follower$__followers" 2>&1 &
}
"""


@dataclass(frozen=True)
class Step:
    """One thing that the shell is to do, and the output that the page shows for it, if it shows one."""

    block: Block
    command: str
    shown: str | None
    must_succeed: bool


@dataclass(frozen=True)
class Result:
    """What a step printed, and its exit status (None: it was not reached or did not end)."""

    output: str
    status: int | None


def steps(block: Block, output: Block | None) -> list[Step]:
    """A block as steps; `output` is the block that shows what it prints."""
    if block.language == "console":
        pairs = commands(block.text)
        asked = [command.strip() == "echo $?" for command, _ in pairs[1:]] + [False]
        return [Step(block, command, shown, not ask) for (command, shown), ask in zip(pairs, asked, strict=True)]
    shown = None if output is None else output.text
    if block.language == "python":
        return [Step(block, f"python3 - <<'END-OF-PROGRAM'\n{block.text}\nEND-OF-PROGRAM", shown, True)]
    return [Step(block, block.text, shown, True)]


def free_port() -> int:
    """A port below those that the kernel gives to clients, so that nobody gets it by chance before a server is up."""
    random = SystemRandom()
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Shell:
    """A page's shell in a home of its own."""

    def __init__(self, home: Path, page: Page) -> None:
        self.home = home
        self.page = page
        self._address = f"127.0.0.1:{free_port()}"

    def run(self, todo: list[Step]) -> list[Result]:
        """Run the steps one after the other; stops at a failure that the page does not expect."""
        home = self.home
        home.mkdir(parents=True, exist_ok=True)
        script = home.parent / f"{home.name}.sh"
        script.write_text(self._here(self._script(todo)))
        out = home.parent / f"{home.name}.out"
        with out.open("wb") as file:
            process = subprocess.Popen(
                ["bash", str(script)], cwd=home, env=self._environment(), stdout=file, start_new_session=True
            )
        try:
            if _ends(process, DEADLINE_S):
                self._wait_for_followers()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return [self._result(out.read_text(), number) for number in range(len(todo))]

    def followers(self) -> list[str]:
        """What the commands printed that run on in a terminal of their own."""
        return [self._there(file.read_text()) for file in sorted((self.home / ".shown").glob("follower*"))]

    def _wait_for_followers(self) -> None:
        """Until what they print has stopped growing for a moment."""
        sizes: list[int] = []
        deadline = time.monotonic() + 20
        while (now := [len(text) for text in self.followers()]) != sizes and time.monotonic() < deadline:
            sizes = now
            time.sleep(0.5)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        mine = {"HOME": str(self.home), "USER": "you", "LOGNAME": "you", "NO_COLOR": "1", "COLUMNS": "120"}
        address = {"COLLABD_SERVER__BIND": self._address, "COLLABD_URL": f"http://{self._address}"}
        return kept | {"PATH": path, "LANG": "C.UTF-8"} | mine | address

    def _script(self, todo: list[Step]) -> str:
        start = "serving collabd serve\n" if self.page.has_daemon else ""
        parts = [_PRELUDE, start, self.page.before]
        for number, step in enumerate(todo):
            lines = "\n".join(_in_background(line) for line in step.command.splitlines())
            careful = "set -eo pipefail\n" if step.block.language != "console" else ""
            leave = '[ "$__status" = 0 ] || exit 1\n' if step.must_succeed else ""
            parts.append(
                f"printf '\\n@begin {number}\\n'\n{careful}(exit ${{__status:-0}})\n{lines}\n"
                f"__status=$?\nset +eo pipefail\nprintf '\\n@end {number} %s\\n' $__status\n{leave}"
            )
        return "\n".join(parts)

    def _result(self, output: str, number: int) -> Result:
        begun = output.partition(f"\n@begin {number}\n")[2]
        text, ended, rest = begun.partition(f"\n@end {number} ")
        status = int(rest.split("\n", 1)[0]) if ended else None
        return Result(self._there(text), status)

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, self._address).replace("localhost:8080", self._address)

    def _there(self, text: str) -> str:
        return text.replace(self._address, ADDRESS).replace(str(self.home), "~")


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end without taking notice of it: as long as nobody does, the group keeps its number."""
    deadline = time.monotonic() + seconds
    options = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, process.pid, options) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _in_background(line: str) -> str:
    """A server goes to the background until the page ends, and the shell goes on when it is ready."""
    if _SERVE.search(line):
        return _SERVE.sub(lambda match: f"serving {match[0]}", re.sub(r" &$", "", line))
    if _FOLLOW.match(line) and not re.search(r"--count|--json|[|>]", line):
        return f"following {line}"
    return line
