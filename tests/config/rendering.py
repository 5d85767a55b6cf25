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


SHORT = (
    "server.bind",
    "server.public_url",
    "server.trusted_proxies",
    "server.tls_certificate",
    "storage.data_dir",
    "storage.max_persisted_messages_per_run",
    "events.critical_event_types",
    "runs.auto_create",
    "websocket.max_message_bytes",
    "limits.messages_per_second",
    "limits.connections",
    "auth.mode",
    "logging.format",
)
"""The keys that README.md shows."""


def short() -> str:
    """The table of README.md."""
    chosen = [settings()[name] for name in SHORT]
    rows = [f"| `{setting.table}.{row(setting).removeprefix('| `')}" for setting in chosen]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(short(), end="\n\n")
    for name in dict.fromkeys(setting.table for setting in settings().values()):
        print(section(name), end="\n\n")
