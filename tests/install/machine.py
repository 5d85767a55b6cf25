"""A machine like this one, on which a package may be installed: an overlay of / in a mount namespace of its own.

Law of this file: it changes nothing of the machine itself. What is written goes into memory, and is gone with the
process that holds the namespace, which ends with its standard input.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.install.built import needs, run

_SETUP = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/merged"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/merged"
mount -t proc proc "$0/merged/proc"
mount --rbind /dev "$0/merged/dev"
echo ready
exec cat
"""


class Machine:
    """Commands on the overlay. `inside` is what to put before a command."""

    def __init__(self, holder: int, root: Path) -> None:
        self.inside = ["nsenter", f"--target={holder}", "--mount", "chroot", str(root)]

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command; what it printed."""
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        return run([*self.inside, *command], status=status, environment=environment)

    def has(self, path: str) -> bool:
        """Whether there is something at a path, a link to nothing included."""
        return self.run("sh", "-c", 'if [ -e "$0" ] || [ -L "$0" ]; then echo yes; fi', path) != ""


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """An overlay machine for the length of a block, mounted on a folder that is empty for everybody else."""
    needs(os.geteuid() == 0, "root, for an overlay of / in a mount namespace of its own")
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SETUP, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            needs(holder.stdout.readline() == "ready\n", "overlayfs over /, which this kernel or container refuses")
            yield Machine(holder.pid, folder / "merged")
        finally:
            holder.stdin.close()
