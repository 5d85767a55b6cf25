"""From file, environment and command line to a checked `Config`, or to every problem at once.

Law of this file: nothing here knows a single key; what exists is in tables.py, what must hold in checks.py.
A later source wins: default, file, environment, command line. A value that is overridden is still checked, so that
a broken file does not wait for the day the environment changes.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from collabd.config.checks import CHECKS
from collabd.config.settings import Setting, settings, tables
from collabd.config.tables import Config, default_data_dir, handed_secrets
from collabd.errors import ConfigError

PREFIX = "COLLABD_"
SHOWN_CHARACTERS = 60


class Given(NamedTuple):
    """One value as somebody gave it: for which setting, where, and whether it still is plain text to be parsed."""

    setting: Setting
    where: str
    value: object
    is_text: bool
    base: Path


def load_config(path: Path | None, environ: Mapping[str, str], *, options: Mapping[str, str] | None = None) -> Config:
    """Read the configuration.

    `path` is a TOML file, or None for none; `environ` is searched for COLLABD_SECTION__KEY; `options` maps setting
    names (`server.bind`) to texts from the command line. Raises ConfigError with one sentence for each problem.
    """
    problems: list[str] = []
    document = {} if path is None else _parse_file(path, problems)
    given = list(_from_document(document, path, problems)) if path and document else []
    given += _from_environment(environ, problems)
    given += [_from_option(name, text) for name, text in (options or {}).items()]
    values, bad = _convert_all(given, problems)
    config = _build(values, environ)
    if document is not None:  # otherwise half of what the checks compare is missing
        problems += _broken_rules(config, {each.setting.name: each.where for each in given}, bad)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def check_rules(config: Config, sources: Mapping[str, str]) -> None:
    """Check what must hold between settings, for values that were put together elsewhere.

    `sources` says, by setting name, where a value comes from. Raises ConfigError.
    """
    problems = list(dict.fromkeys(_broken_rules(config, sources, set())))
    if problems:
        raise ConfigError(problems)


def _from_document(document: dict[str, Any], path: Path, problems: list[str]) -> Iterator[Given]:
    base = path.absolute().parent
    for table, content in document.items():
        if table not in tables():
            problems.append(f"{path}: {_unknown_at_top(table, content)}")
        elif not isinstance(content, dict):
            problems.append(f"{path}: [{table}] must be a table, not {_shown(content)}")
        else:
            for key, value in content.items():
                if setting := settings().get(f"{table}.{key}"):
                    yield Given(setting, str(path), value, False, base)
                else:
                    problems.append(f"{path}: [{table}] {key}: unknown key{_nearest_key(table, key)}")


def _parse_file(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: is not UTF-8 at byte {error.start}")
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{path}: is not TOML: {error}")
    except RecursionError:
        problems.append(f"{path}: is nested too deeply")
    return None


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[Given]:
    known = {setting.environment: setting for setting in settings().values()}
    flat = {name.replace("__", "_"): name for name in known}
    for name, text in sorted(environ.items()):
        if setting := known.get(name):
            yield Given(setting, f"environment variable {name}", text, True, Path.cwd())
        elif name in flat:
            problems.append(f'environment variable {name}: did you mean "{flat[name]}" (two underscores)?')
        elif name.startswith(PREFIX) and "__" in name:
            problems.append(f"environment variable {name}: unknown setting{_did_you_mean(name, known)}")


def _from_option(name: str, text: str) -> Given:
    setting = settings()[name]
    return Given(setting, f"option --{setting.key.replace('_', '-')}", text, True, Path.cwd())


def _convert_all(given: Iterable[Given], problems: list[str]) -> tuple[dict[str, object], set[str]]:
    """The values by setting name, the later source winning, and the names of the settings that were given wrongly."""
    values: dict[str, object] = {}
    bad: set[str] = set()
    for each in given:
        try:
            values[each.setting.name] = _convert(each)
        except ValueError as error:
            bad.add(each.setting.name)
            problems.append(f"{each.where}: [{each.setting.table}] {each.setting.key}: {error}")
    return values, bad


def _convert(given: Given) -> object:
    """The value in its setting's type. Raises ValueError with the reason."""
    setting, value = given.setting, given.value
    if given.is_text and setting.is_collection:
        value = _parse_json(str(value), setting)
    if setting.is_path:
        return _path(value, given.base)
    try:
        return msgspec.convert(value, setting.hint, strict=not given.is_text or setting.is_text)
    except msgspec.ValidationError:
        raise ValueError(f"must be {_article(setting.kind)}, not {_shown(given.value)}") from None


def _path(value: object, base: Path) -> Path | None:
    """An absolute path, relative ones starting at the configuration file; None for the empty text."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"must be a path, not {_shown(value)}")
    try:
        return base / Path(value).expanduser() if value else None
    except RuntimeError as error:
        raise ValueError(f"{value!r}: {error}") from None


def _parse_json(text: str, setting: Setting) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        example = '\'["A", "B"]\'' if setting.kind.startswith("list") else '\'{"A": "b"}\''
        raise ValueError(f"must be {_article(setting.kind)} in JSON, like {example}, not {_shown(text)}") from None


def _build(values: Mapping[str, object], environ: Mapping[str, str]) -> Config:
    filled = {"storage.data_dir": default_data_dir(environ)} | {
        name: value for name, value in values.items() if (name, value) != ("storage.data_dir", None)
    }
    filled |= handed_secrets(environ, values)
    parts: dict[str, Any] = {
        table: struct(
            **{name.partition(".")[2]: value for name, value in filled.items() if name.startswith(f"{table}.")}
        )
        for table, struct in tables().items()
    }
    return Config(**parts)


def _broken_rules(config: Config, sources: Mapping[str, str], bad: set[str]) -> Iterator[str]:
    """What checks.py finds, except where a setting concerned is already known to be wrong."""
    for check in CHECKS:
        if bad.isdisjoint(check.names):
            blamed = next((name for name in check.names if name in sources), check.names[0])
            table, _, key = blamed.partition(".")
            for problem in check.find(config):
                yield f"{sources.get(blamed, 'default')}: [{table}] {key}: {problem}"


def _unknown_at_top(name: str, content: object) -> str:
    if isinstance(content, dict | list):
        return f"[{name}]: unknown table{_did_you_mean(name, tables())}"
    return f"{name}: stands outside any table{_nearest_key('', name)}"


def _nearest_key(table: str, key: str) -> str:
    """A hint in words: the same key in another table, else a similar one here, else a similar one anywhere."""
    if owners := [each.table for each in settings().values() if each.key == key]:
        return f"; it belongs in [{owners[0]}]"
    here = [each.key for each in settings().values() if each.table == table]
    if hint := _did_you_mean(key, here):
        return hint
    everywhere = {each.key: each for each in settings().values()}
    near = difflib.get_close_matches(key, everywhere, n=1)
    return f'; did you mean "{near[0]}" in [{everywhere[near[0]].table}]?' if near else _choices(here)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _choices(keys: list[str]) -> str:
    return f"; known here: {', '.join(keys)}" if keys else ""


def _article(kind: str) -> str:
    return f"a {kind}" if kind.split()[0] in ("whole", "number", "path", "list", "table", "string") else kind


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
