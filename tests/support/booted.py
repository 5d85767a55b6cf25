"""A real systemd as process 1 of namespaces of its own, on a throwaway overlay of this machine's files.

Law of this file: nothing that happens inside is seen outside, and nothing is left when the block ends or the test
process is gone. Each has its own control group: two managers in one would take each other's services for their own.
It needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
NEEDED = ("unshare", "nsenter", "script", "mount", "systemctl", "journalctl")
NAMESPACES = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--net")
BOOT_TIMEOUT_S = 90
# Units that would set up the machine outside, or wait for hardware that is not there.
MASKED = (
    *("sysctl", "modules-load", "tmpfiles-setup", "tmpfiles-setup-dev", "sysusers", "random-seed", "binfmt"),
    *("journal-flush", "update-utmp", "udevd", "udev-trigger"),
)

Result = TypeVar("Result")
Address = tuple[str, int] | str
LOOPBACK = ("127.0.0.1", 8080)

# The outer half: mounts in a namespace of its own, a control group, and the end of both when standard input closes.
OUTER = """
set -eu
base=$1 name=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base/low" "$base/root" "$base/up" "$base/work" "$base/cgroup"
mount --bind / "$base/low"
mount -t overlay overlay -o "lowerdir=$base/low,upperdir=$base/up,workdir=$base/work" "$base/root"
mount -t cgroup2 cgroup2 "$base/cgroup"
mkdir "$base/cgroup/$name"
tidy() {
  echo 1 >"$base/cgroup/$name/cgroup.kill" || true
  wait || true
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    find "$base/cgroup/$name" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
  done
}
trap tidy EXIT
( echo "$BASHPID" >"$base/cgroup/$name/cgroup.procs"
  exec script -qfec "unshare $5 --kill-child bash $3 $base/root" "$4"
) >/dev/null 2>&1 </dev/null &
cat >/dev/null
"""

# Process 1, before it becomes systemd.
INNER = """
set -e
R=$1
mount --make-rprivate /
mount -t proc proc $R/proc
mount -t sysfs sysfs $R/sys
for each in run tmp dev; do mount -t tmpfs tmpfs $R/$each; done
mkdir -p $R/dev/pts $R/dev/shm
for each in null zero full random urandom tty; do touch $R/dev/$each; mount --bind /dev/$each $R/dev/$each; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts $R/dev/pts
ln -s pts/ptmx $R/dev/ptmx
ln -s /proc/self/fd $R/dev/fd
touch $R/dev/console
mount --bind "$(tty)" $R/dev/console
mount -t cgroup2 cgroup2 $R/sys/fs/cgroup
BINDS
export container=private
mkdir -p $R/oldroot
cd $R
pivot_root . oldroot
umount -l /oldroot
mount --make-rshared /
exec /lib/systemd/systemd --system --unit=booted.target --log-target=journal --show-status=no
"""


class Booted:
    """A machine that runs. `pid` is its process 1 as this machine sees it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/root")

    def run(self, *command: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command inside, and fail with what it said unless told not to."""
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        done = subprocess.run([*inside, *command], capture_output=True, text=True, timeout=timeout, env=environment)
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.journal()}")
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def journal(self, unit: str = "collabd.service") -> str:
        """What a unit has written so far."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, check=False).stdout

    def until(self, holds: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait for something that comes about by itself."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {seconds} s: {what}\n{self.journal()}")
            time.sleep(0.1)

    def connect(self, address: Address, timeout: float = 60) -> socket.socket:
        """A socket inside, connected to (host, port) or to a path. Raises OSError."""

        def connect() -> socket.socket:
            if isinstance(address, tuple):
                return socket.create_connection(address, timeout)
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(str(self.root / address.lstrip("/")))
            return sock

        return self.in_its_network(connect)

    def in_its_network(self, work: Callable[[], Result]) -> Result:
        """Do something on a thread that sees the machine's network; a socket made there stays there."""

        def enter() -> Result:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{self.pid}/ns/net") as network:
                if libc.setns(network.fileno(), 0x40000000) != 0:  # CLONE_NEWNET
                    raise OSError(ctypes.get_errno(), "setns")
            return work()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter).result()

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """A listening socket inside."""
        return self.in_its_network(lambda: socket.create_server(address))

    def get(self, path: str, address: Address = LOOPBACK, *, token: str = "") -> tuple[int, bytes]:
        """One HTTP request on a connection of its own: status and body. Raises OSError and HTTPException."""
        return self._request("GET", path, address, None, {"Authorization": f"Bearer {token}"} if token else {})

    def post(self, path: str, body: object, address: Address = LOOPBACK) -> tuple[int, bytes]:
        """The same with a JSON body."""
        return self._request("POST", path, address, json.dumps(body), {"Content-Type": "application/json"})

    def _request(
        self, method: str, path: str, address: Address, body: str | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self.connect(address)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Connection": "close", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()


def require_systemd() -> None:
    """Skip loudly where no systemd can be booted; in CI that is a failure."""
    missing = [name for name in NEEDED if shutil.which(name) is None] + ([] if SYSTEMD.exists() else ["systemd"])
    why = "this needs root" if os.geteuid() != 0 else f"missing: {', '.join(missing)}" if missing else ""
    if not why and subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True).returncode != 0:
        why = "namespaces of its own are not allowed here"
    if why and os.environ.get("CI"):
        pytest.fail(f"NOT TESTED: systemd, {why}")
    if why:
        pytest.skip(f"NOT TESTED: systemd, {why}")


@contextlib.contextmanager
def booted() -> Iterator[Booted]:
    """Boot for the length of a block, with the program of this checkout as /usr/bin/collabd."""
    require_systemd()
    base = Path(tempfile.mkdtemp(prefix="collabd-systemd-"))
    try:
        inner, log, errors = (base.with_suffix(f".{each}") for each in ("inner", "log", "errors"))
        inner.write_text(INNER.replace("BINDS", "\n".join(_binds())))
        name = f"collabd-test-{uuid.uuid4().hex[:12]}"
        command = [
            "unshare",
            "--mount",
            "bash",
            "-c",
            OUTER,
            "boot",
            str(base),
            name,
            str(inner),
            str(log),
            " ".join(NAMESPACES),
        ]
        with errors.open("w") as said, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as outer:
            try:
                group = Path(f"/proc/{outer.pid}/root{base}/cgroup/{name}")
                yield _wait_for_boot(outer, group, [errors, log])
            finally:
                assert outer.stdin is not None
                outer.stdin.close()
                outer.wait(60)
    finally:
        base.rmdir()
        for leftover in (inner, log, errors):
            leftover.unlink(missing_ok=True)


def _wait_for_boot(outer: subprocess.Popen[bytes], group: Path, logs: list[Path]) -> Booted:
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while time.monotonic() < deadline and outer.poll() is None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            machine = Booted(int((group / "init.scope" / "cgroup.procs").read_text().split()[0]))
            if machine.run("systemctl", "is-active", "booted.target", check=False).returncode == 0:
                _install(machine)
                return machine
        time.sleep(0.1)
    said = "\n".join(log.read_text(errors="replace")[-3000:] for log in logs if log.exists())
    raise AssertionError(f"systemd did not boot in {BOOT_TIMEOUT_S} s:\n{said}")


def _binds() -> list[str]:
    """Lines for process 1: units for the boot, and the program with its Python, where anybody may read them."""
    units = "$R/etc/systemd/system"
    lines = [f"ln -sf /dev/null {units}/systemd-{unit}.service" for unit in MASKED]
    lines += [
        f"ln -sf /dev/null {units}/sysinit.target",
        "rm -f $R/etc/machine-id",
        f"printf '[Unit]\\nWants=systemd-journald.service\\nAfter=systemd-journald.service\\n' >{units}/booted.target",
        "mkdir -p $R/opt/collabd $R/opt/libraries $R/opt/python",
        f"cp -rp {ROOT}/collabd $R/opt/collabd/",  # times too: byte code that is older than its source is made anew
        "chmod -R a+rX $R/opt/collabd",
        f"mount --bind {sysconfig.get_path('purelib')} $R/opt/libraries",
        f"mount --bind {sys.base_prefix} $R/opt/python",
        f"printf '%s\\n' '#!/bin/sh' '{_start()}' >$R/usr/bin/collabd",
        "chmod 755 $R/usr/bin/collabd",
    ]
    return lines


def _start() -> str:
    python = f"/opt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    paths = "PYTHONPATH=/opt/collabd:/opt/libraries LD_LIBRARY_PATH=/opt/python/lib"
    return f'{paths} exec {python} -P -m collabd "$@"'


def _install(machine: Booted) -> None:
    """The units as they are shipped. The ordinary targets of a boot are not there to be waited for."""
    for unit in ("collabd.service", "collabd.socket"):
        machine.write(f"/etc/systemd/system/{unit}", (ROOT / "packaging" / unit).read_text())
        machine.write(f"/etc/systemd/system/{unit}.d/test.conf", "[Unit]\nDefaultDependencies=no\n")
    machine.run("systemctl", "daemon-reload")
