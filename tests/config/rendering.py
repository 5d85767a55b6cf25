"""The configuration as docs/configuration.md shows it. `python -m tests.config.rendering` prints the tables anew."""

from __future__ import annotations

from collabd.config import Setting, settings


def row(setting: Setting) -> str:
    """The line of one setting in its table."""
    cells = [f"`{setting.key}`", setting.kind, f"`{setting.default}`", setting.meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def section(table: str) -> str:
    """Heading and table of one TOML table."""
    rows = [row(setting) for setting in settings().values() if setting.table == table]
    return "\n".join([f"### `[{table}]`", "", "| key | value | default | meaning |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    for name in dict.fromkeys(setting.table for setting in settings().values()):
        print(section(name), end="\n\n")
