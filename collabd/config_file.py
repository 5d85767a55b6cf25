"""Which configuration file a command reads. Law of this file: shared by all commands that know --config."""

from __future__ import annotations

import os
from pathlib import Path

import click

SYSTEM_CONFIG = Path("/etc/collabd/collabd.toml")

config_option = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Configuration file [default: $COLLABD_CONFIG, else /etc/collabd/collabd.toml if it can be read, else none]",
)


def find_config(given: Path | None) -> Path | None:
    """The configuration file to read: the one given, else $COLLABD_CONFIG, else the system's, else none.

    One that was named must exist; the system's may be absent or another user's.
    """
    if given is not None:
        return given
    if named := os.environ.get("COLLABD_CONFIG"):
        return Path(named)
    return SYSTEM_CONFIG if os.access(SYSTEM_CONFIG, os.R_OK) else None
