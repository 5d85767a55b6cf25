"""A real proxy before a real daemon, both with what packaging/ and docs/proxies.md give to operators.

Law of this file: it starts and stops processes. The shipped configurations are changed only where an operator changes
them: names, ports and files, and the lines that docs/proxies.md names for its variants.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.transports.servers import Certificate, make_certificate

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".venv" / "debian" / "usr"
READY = "collabd is ready at "
START_TIMEOUT_S = 60.0
PREFIX = "/collab"


def program(name: str) -> str:
    """The path of a Debian program. Missing, a test is skipped and says so; in CI it fails."""
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", str(UNPACKED / "sbin"), str(UNPACKED / "bin")]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        message = f"NOT TESTED: {name} is not installed (Debian: apt install {name})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class Shape(NamedTuple):
    """How proxy and daemon are put together."""

    proxy: str
    prefix: str = ""
    unix: bool = False
    daemon_tls: bool = False
    strips_prefix: bool = False


class Backend:
    """The daemon behind the proxy, at one address over restarts."""

    def __init__(self, directory: Path, shape: Shape, public_url: str, certificate: Certificate) -> None:
        self._directory = directory
        self._data_dir = directory / "data"
        self.upstream = f"unix:{directory}/c.sock" if shape.unix else "127.0.0.1:0"
        self._environ = {name: text for name, text in os.environ.items() if not name.startswith("COLLABD_")} | {
            "COLLABD_STORAGE__DATA_DIR": str(self._data_dir),
            "COLLABD_SERVER__PUBLIC_URL": public_url,
            "COLLABD_SERVER__TRUSTED_PROXIES": '["unix:"]' if shape.unix else '["127.0.0.1"]',
            "COLLABD_AUTH__ALLOW_OPEN": "true",
            "COLLABD_WEBSOCKET__HEARTBEAT_INTERVAL_S": "0.5",
        }
        if shape.daemon_tls:
            self._environ["COLLABD_SERVER__TLS_CERTIFICATE"] = str(certificate.chain)
            self._environ["COLLABD_SERVER__TLS_PRIVATE_KEY"] = str(certificate.key)
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it serves."""
        with (self._directory / "daemon.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "collabd", "serve", "--bind", self.upstream],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environ,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._process.stdout.close()
        assert line.startswith(READY), (line, (self._directory / "daemon.log").read_text())
        self.upstream = line.removeprefix(READY).strip().removeprefix("http://").removeprefix("https://")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait for that."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(60)
            self._process = None

    @property
    def admin_token(self) -> str:
        """The operator's token."""
        return (self._data_dir / "admin.token").read_text().strip()


class Stack(NamedTuple):
    """A daemon behind a proxy. `url` is what clients use, without a slash at its end."""

    shape: Shape
    url: str
    port: int
    authority: Path
    backend: Backend

    def http(self, address: str = "127.0.0.1", *, http2: bool = False) -> httpx.Client:
        """A client at this loopback address."""
        context = ssl.create_default_context(cafile=self.authority)
        transport = httpx.HTTPTransport(verify=context, local_address=address, http2=http2)
        return httpx.Client(base_url=self.url, transport=transport, timeout=20)

    def operator(self) -> httpx.Client:
        """A client with the admin token."""
        client = self.http()
        client.headers["authorization"] = f"Bearer {self.backend.admin_token}"
        return client


@contextlib.contextmanager
def stack(directory: Path, shape: Shape, changes: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Run a daemon and a proxy before it. `changes` are further replacements in the proxy's configuration."""
    executable = program(shape.proxy)
    certificate = make_certificate(directory)
    for _ in range(5):  # somebody else may take the port before the proxy does
        port = _free_port()
        url = f"https://localhost:{port}{shape.prefix}"
        backend = Backend(directory, shape, url, certificate)
        try:
            write = {"nginx": _nginx, "caddy": _caddy}[shape.proxy]
            command = write(executable, directory, shape, _Names(port, backend.upstream, certificate), changes or {})
            with _running(command, directory, port) as runs:
                if runs:
                    yield Stack(shape, url, port, certificate.authority, backend)
                    return
        finally:
            backend.stop(signal.SIGKILL)
    raise AssertionError((directory / "proxy.log").read_text())


class _Names(NamedTuple):
    port: int
    upstream: str
    certificate: Certificate


def _nginx(executable: str, directory: Path, shape: Shape, names: _Names, changes: Mapping[str, str]) -> list[str]:
    site = (ROOT / "packaging" / "nginx.conf").read_text()
    replaced = {
        "listen 443 ": f"listen 127.0.0.1:{names.port} ",
        "collab.example;": "localhost;",
        "/etc/letsencrypt/live/collab.example/fullchain.pem": str(names.certificate.chain),
        "/etc/letsencrypt/live/collab.example/privkey.pem": str(names.certificate.key),
        "127.0.0.1:8080": names.upstream,
    }
    if shape.prefix:
        replaced |= {"location / {": f"location {PREFIX}/ {{", "location /ws/ {": f"location {PREFIX}/ws/ {{"}
    if shape.strips_prefix:
        replaced |= {"http://collabd;": "http://collabd/;", "http://collabd_sockets;": "http://collabd_sockets/ws/;"}
    if shape.daemon_tls:
        verify = f"proxy_ssl_trusted_certificate {names.certificate.authority}; proxy_ssl_verify on; "
        replaced |= {
            "    proxy_http_version 1.1;": f"    proxy_http_version 1.1; {verify} proxy_ssl_name localhost;",
            "http://collabd;": "https://collabd;",
            "http://collabd_sockets;": "https://collabd_sockets;",
        }
    (directory / "site.conf").write_text(_replace(site, {**replaced, **changes}))
    places = "".join(
        f"{kind}_temp_path {directory}/tmp-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off;\npid {directory}/nginx.pid;\nuser {_user()};\nworker_processes 1;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}include {directory}/site.conf;\n}}\n"
    )
    return [executable, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]


def _caddy(executable: str, directory: Path, shape: Shape, names: _Names, changes: Mapping[str, str]) -> list[str]:
    site = (ROOT / "packaging" / "Caddyfile").read_text()
    upstream = names.upstream.replace("unix:", "unix/")
    tls = f"tls {names.certificate.chain} {names.certificate.key}"
    replaced = {
        "collab.example {": f"https://localhost:{names.port} {{\n\tbind 127.0.0.1\n\t{tls}",
        "127.0.0.1:8080": f"https://{upstream}" if shape.daemon_tls else upstream,
    }
    if shape.prefix:
        handle = f"handle_path {PREFIX}/*" if shape.strips_prefix else f"handle {PREFIX}*"
        replaced |= {"\t# WebSockets get": f"\t{handle} {{\n\t# WebSockets get", "\t}\n}\n": "\t}\n}\n}\n"}
    if shape.prefix and not shape.strips_prefix:
        replaced |= {"path /ws/*": f"path {PREFIX}/ws/*"}
    if shape.daemon_tls:
        replaced |= {"transport http {": f"transport http {{\n\t\t\ttls_trusted_ca_certs {names.certificate.authority}"}
    text = _replace(site, {**replaced, **changes})
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
    (directory / "Caddyfile").write_text(options + text)
    return [executable, "run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]


def _replace(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        assert old in text, f"{old!r} is gone from the shipped configuration"
        text = text.replace(old, new)
    return text


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextlib.contextmanager
def _running(command: list[str], directory: Path, port: int) -> Iterator[bool]:
    """Run the proxy; False where it ended instead of listening."""
    environ = {**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    with (directory / "proxy.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True)
    try:
        yield _wait(lambda: process.poll() is None, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def _wait(is_alive: Callable[[], bool], port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and is_alive():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False
