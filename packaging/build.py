"""Build what collabd is installed from: `python3 packaging/build.py wheel|sdist|manual|deb|single-file|all`.

    wheel        dist/collabd-VERSION-py3-none-any.whl, the web client inside
    sdist        dist/collabd-VERSION.tar.gz, the web client inside, built and as source
    manual       dist/manual: man pages, and completions for bash, zsh and fish
    deb          dist/collabd_VERSION_ARCH.deb, for the Debian whose Python it is built with
    single-file  dist/collabd-VERSION-linux-ARCH, which runs by itself

Law of this file: it names the targets and their order; each has a module of its own. Standard library only, as in
checkout.py. Everything in between lies in build/, and is made again only when what it was made from has changed.

Exit status: 0 done, 1 something failed, 2 wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import debian_package
import manual
import python_packages
import single_file
from checkout import ROOT, SetupFailed, say

TARGETS: dict[str, Callable[[], Path]] = {
    "wheel": python_packages.wheel,
    "sdist": python_packages.sdist,
    "manual": manual.manual,
    "deb": debian_package.deb,
    "single-file": single_file.single_file,
}


def main(arguments: list[str]) -> int:
    """Build the targets named, and print where each is. Returns the exit status."""
    names = list(TARGETS) if arguments == ["all"] else arguments
    if not names or set(names) - set(TARGETS):
        return say(f"usage: python3 packaging/build.py {'|'.join(TARGETS)}|all", 0 if names == ["--help"] else 2)
    try:
        for name in names:
            made = TARGETS[name]()
            size = f"  {made.stat().st_size / 1e6:.1f} MB" if made.is_file() else ""
            print(f"{made.relative_to(ROOT)}{size}", flush=True)
    except SetupFailed as failure:
        return say(str(failure), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
