"""Wheel and source archive. Law of this file: hatchling packs, and its hook (hatch_build.py) has the pages built."""

from __future__ import annotations

import sys
from pathlib import Path

from checkout import ROOT, SetupFailed, build_web_client, run, set_up_python
from workshop import DIST, environment, making, version

HATCHLING = "hatchling>=1.24"


def wheel() -> Path:
    """Build the wheel, if it is not there. Returns its path; raises SetupFailed."""
    return _pack("wheel", DIST / f"collabd-{version()}-py3-none-any.whl")


def sdist() -> Path:
    """Build the source archive, if it is not there. Returns its path; raises SetupFailed."""
    return _pack("sdist", DIST / f"collabd-{version()}.tar.gz")


def _pack(target: str, product: Path) -> Path:
    with making(target, product) as is_needed:
        if is_needed:
            set_up_python("")
            node = build_web_client()
            commands = environment(f"{target}-tools", sys.executable, HATCHLING)
            command = [
                str(commands / "python"),
                "-m",
                "hatchling",
                "build",
                "--target",
                target,
                "--directory",
                str(DIST),
            ]
            run(command, f"hatchling could not build the {target}", ROOT, node)
    if not product.exists():
        raise SetupFailed(f"hatchling built no {product.name}")
    return product
