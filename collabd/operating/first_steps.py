"""The files of a new installation: the documented configuration, with what was chosen filled in, and its secrets.

Law of this file: nothing is overwritten, and nothing is left behind when something is in the way.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from collabd.config import load_config
from collabd.errors import ConfigError, NotDone

CONFIG_NAME: Final = "collabd.toml"
TOKEN_NAME: Final = "admin.token"
SECRET_NAME: Final = "auth.secret"


class SetUp(NamedTuple):
    """What was written, with what it is for, and what to type next, with why."""

    files: dict[Path, str]
    next_commands: dict[str, str]


def set_up(directory: Path, *, bind: str | None, data_dir: str, auth: str) -> SetUp:
    """Write a configuration and its secrets into a directory, made where it is not there.

    Raises NotDone where one of the files is there already or cannot be written, and ConfigError for values that make
    no configuration; then none of them is left.
    """
    chosen = {"storage.data_dir": data_dir, "admin.token_file": TOKEN_NAME}
    secret_files = {TOKEN_NAME: "the admin token, for status, top, doctor and Prometheus"}
    if bind is not None:
        chosen["server.bind"] = bind
    if auth == "jwt":
        chosen |= {"auth.mode": auth, "auth.key_file": SECRET_NAME}
        secret_files[SECRET_NAME] = "the secret that signs tokens of users"
    config = directory / CONFIG_NAME
    texts = {config: (_filled_in(chosen), 0o644)}
    texts |= {directory / name: (secrets.token_urlsafe(32) + "\n", 0o600) for name in secret_files}
    _write_all(directory, texts)
    try:
        load_config(config, {})
    except ConfigError:
        _remove(list(texts))
        raise
    meanings = {config: "the configuration, every key explained"}
    meanings |= {directory / name: meaning for name, meaning in secret_files.items()}
    return SetUp(meanings, _next_commands(config, auth))


def _next_commands(config: Path, auth: str) -> dict[str, str]:
    option = f"--config {shlex.quote(str(config))}"
    commands = {
        f"collabd check-config {option}": "after every change",
        f"collabd serve {option}": "until Ctrl-C; says its address when it is ready",
        f"collabd status {option}": "in another terminal: does it run, and what does it keep",
    }
    if auth == "jwt":
        commands[f"collabd token {option} --sub ann"] = "a token with which ann comes in"
    return commands


def documented_configuration() -> str:
    """The text of the documented configuration, every key commented out."""
    return (files("collabd.config") / CONFIG_NAME).read_text(encoding="utf-8")


def _filled_in(values: dict[str, str]) -> str:
    """The documented configuration with some keys ("table.key") set."""
    text = documented_configuration()
    for name, value in values.items():
        table, _, key = name.partition(".")
        line = re.compile(rf"(^\[{table}\]$(?:(?!^\[).)*?)^#{key} = [^\n]*$", re.MULTILINE | re.DOTALL)
        found = line.search(text)
        assert found is not None, f"{name} has its line in the documented configuration"
        text = f"{text[: found.end(1)]}{key} = {json.dumps(value, ensure_ascii=False)}{text[found.end() :]}"
    return text


def _write_all(directory: Path, texts: dict[Path, tuple[str, int]]) -> None:
    """Write every file with its mode, or none."""
    for path in texts:
        if path.exists() or path.is_symlink():
            raise NotDone(f"{path}: exists already and was left as it is; name another directory, or move it away")
    written: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, (text, mode) in texts.items():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(path)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        _remove(written)
        raise NotDone(f"{directory}: cannot be written: {error.strerror}; name another directory") from error


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
