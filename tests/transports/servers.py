"""Real server processes for tests: started on a free port with a directory of their own, and ended at the end.

Law of this file: it knows processes and addresses, no protocol. A server's log goes to a file, so that a test can
look into it, and so that a full pipe never holds the server up.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import trustme

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0
HOST = "127.0.0.1"
_ADDRESS = re.compile(rb"(?:collabd is ready at|Running on) (https?)://127\.0\.0\.1:(\d+)")


class Certificate(NamedTuple):
    """A server's certificate for the loopback address, and the authority that clients trust (PEM files)."""

    authority: Path
    chain: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """Make an authority and a certificate of its in this directory; the key is readable by its owner only."""
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, "localhost")
    files = Certificate(directory / "authority.pem", directory / "chain.pem", directory / "key.pem")
    authority.cert_pem.write_to_path(files.authority)
    files.chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    files.key.touch(0o600)
    issued.private_key_pem.write_to_path(files.key)
    return files


class Server:
    """A running server process. `url` begins with http or https, without a slash at the end."""

    def __init__(
        self, process: subprocess.Popen[bytes], log_file: Path, data_dir: Path, authority: Path | None
    ) -> None:
        self.process = process
        self.data_dir = data_dir
        self.authority = authority
        self._log_file = log_file
        scheme, port = self._wait_ready()
        self.scheme = scheme
        self.port = port
        self.host = f"{HOST}:{port}"
        self.url = f"{scheme}://{self.host}"

    def log(self) -> str:
        """Everything that the server has printed so far."""
        return self._log_file.read_text(errors="replace")

    def is_alive(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def terminate(self) -> None:
        """Ask the server to stop (SIGTERM) and do not wait."""
        self.process.send_signal(signal.SIGTERM)

    def wait_stopped(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The exit status. Raises subprocess.TimeoutExpired."""
        return self.process.wait(timeout_s)

    def _wait_ready(self) -> tuple[str, int]:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            found = _ADDRESS.search(self._log_file.read_bytes())
            if found:
                return found[1].decode(), int(found[2])
            if not self.is_alive():
                break
            time.sleep(0.01)
        raise RuntimeError(f"the server did not start:\n{self.log()}")


@contextmanager
def running(
    command: list[str], directory: Path, settings: Mapping[str, str], *, authority: Path | None = None
) -> Iterator[Server]:
    """Run a server command; `settings` are COLLABD_… variables without that prefix (SERVER__BIND)."""
    directory.mkdir(parents=True, exist_ok=True)
    environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "TMPDIR") if name in os.environ}
    data_dir = directory / "data"
    environ |= {"HOME": str(directory), "COLLABD_STORAGE__DATA_DIR": str(data_dir)}
    environ |= {f"COLLABD_{name}": value for name, value in settings.items()}
    log_file = directory / "server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environ, cwd=directory, start_new_session=True
        )
    try:
        yield Server(process, log_file, data_dir, authority)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Hypercorn's worker is a process of its own
        process.wait(STOP_TIMEOUT_S)


def daemon(
    directory: Path, settings: Mapping[str, str] | None = None, *, certificate: Certificate | None = None
) -> AbstractContextManager[Server]:
    """Run `collabd serve` on a free port for the length of a block, with TLS where a certificate is given."""
    all_settings = {"SERVER__BIND": f"{HOST}:0"} | dict(settings or {})
    if certificate is not None:
        all_settings["SERVER__TLS_CERTIFICATE"] = str(certificate.chain)
        all_settings["SERVER__TLS_PRIVATE_KEY"] = str(certificate.key)
    command = [sys.executable, "-m", "collabd", "serve"]
    return running(command, directory, all_settings, authority=certificate and certificate.authority)


def hypercorn_alone(directory: Path, settings: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
    """Run the app under Hypercorn's own Trio worker for the length of a block, as its users would."""
    command = [sys.executable, "-m", "hypercorn", "-k", "trio", "-b", f"{HOST}:0", "--graceful-timeout", "1"]
    return running([*command, "collabd.asgi:app"], directory, settings or {})
