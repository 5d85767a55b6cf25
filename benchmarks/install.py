"""Installs the peers and compiles the load generator, each once, into .cache.

Law: an installer either works or raises `Missing` with a reason a person can act on; nothing is skipped in silence.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.paths import CACHE, LOAD_BINARY, LOAD_SOURCES, NGINX_HOME, NODE_HOME, PYTHON_ENV

INSTALL_TIMEOUT_S = 180


class Missing(Exception):
    """A peer, or a tool to build one, cannot be had here; the text says which and why."""


def run(command: list[str], where: Path) -> str:
    """Run an install step and return its output; `Missing` with the last line of it when it fails."""
    try:
        done = subprocess.run(
            command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_TIMEOUT_S
        )
    except FileNotFoundError:
        raise Missing(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{' '.join(command[:3])} took longer than {INSTALL_TIMEOUT_S} s") from None
    if done.returncode != 0:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise Missing(f"{Path(command[0]).name} {' '.join(command[1:3])} failed: {last[0]}")
    return done.stdout


def load_generator() -> Path:
    """The compiled load generator; compiled anew when a source is newer."""
    CACHE.mkdir(exist_ok=True)
    sources = sorted(LOAD_SOURCES.glob("*.c"))
    newest = max(source.stat().st_mtime for source in [*sources, LOAD_SOURCES / "load.h"])
    if not LOAD_BINARY.exists() or LOAD_BINARY.stat().st_mtime < newest:
        flags = ["-O2", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
        run(["cc", *flags, "-o", str(LOAD_BINARY), *map(str, sources)], LOAD_SOURCES)
    return LOAD_BINARY


def socketify() -> Path:
    """A Python with socketify (uWebSockets), in an environment of its own."""
    python = PYTHON_ENV / "bin" / "python"
    if not any(PYTHON_ENV.glob("lib/python*/site-packages/socketify")):
        CACHE.mkdir(exist_ok=True)
        run([sys.executable, "-m", "venv", str(PYTHON_ENV)], CACHE)
        run([str(python), "-m", "pip", "install", "--quiet", "socketify"], CACHE)
    return python


def node_modules() -> Path:
    """The folder of node modules with `ws`, its native helper, and `socket.io`."""
    modules = NODE_HOME / "node_modules"
    wanted = ["ws@8", "bufferutil@4", "socket.io@4"]
    if not all((modules / name.split("@")[0]).exists() for name in wanted):
        NODE_HOME.mkdir(parents=True, exist_ok=True)
        (NODE_HOME / "package.json").write_text('{"private": true}\n')
        run(["npm", "install", "--no-audit", "--no-fund", *wanted], NODE_HOME)
    if shutil.which("node") is None:
        raise Missing("node is not installed")
    return modules


def nginx_with_nchan() -> tuple[Path, Path]:
    """nginx and the Nchan module: Debian's as installed, else its packages unpacked into .cache."""
    installed = Path("/usr/sbin/nginx"), Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    if all(file.exists() for file in installed):
        return installed
    unpacked = NGINX_HOME / "usr/sbin/nginx", NGINX_HOME / "usr/lib/nginx/modules/ngx_nchan_module.so"
    if not all(file.exists() for file in unpacked):
        NGINX_HOME.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            run(["apt-get", "update", "-qq"], NGINX_HOME)
        run(["apt-get", "download", "nginx", "libnginx-mod-nchan"], NGINX_HOME)
        for package in NGINX_HOME.glob("*.deb"):
            run(["dpkg", "-x", package.name, "."], NGINX_HOME)
    make_nginx_state()
    return unpacked


def make_nginx_state() -> None:
    """Nchan makes nginx look for its package's state directory, whatever the configuration says."""
    try:
        Path("/var/lib/nginx").mkdir(exist_ok=True)
    except PermissionError:
        raise Missing("nginx needs /var/lib/nginx; install libnginx-mod-nchan, or run once as root") from None
