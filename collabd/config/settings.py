"""The tables of tables.py as a list: one `Setting` per key, for reading, for error messages and for the docs.

Law of this file: everything here is derived from the structs; nothing about a single key is said twice.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from collabd.config.tables import MOST, MOST_BYTES, YEAR_S, Config

UNBOUNDED = {MOST, MOST_BYTES, YEAR_S}  # upper ends that are not worth a word


class Setting(NamedTuple):
    """One key of the configuration.

    `hint` is the annotation without its Meta parts for files, with them otherwise (what msgspec checks by);
    `kind` says the type and range in words; `default` is the TOML text of the default value.
    """

    table: str
    key: str
    hint: Any
    kind: str
    default: str
    meaning: str

    @property
    def name(self) -> str:
        """`table.key`, as messages and docs call it."""
        return f"{self.table}.{self.key}"

    @property
    def environment(self) -> str:
        """The environment variable that overrides the file."""
        return f"COLLABD_{self.table}__{self.key}".upper()

    @property
    def is_path(self) -> bool:
        """Whether the value names a file or directory."""
        return Path in (self.hint, *get_args(self.hint))

    @property
    def is_text(self) -> bool:
        """Whether the value is one string (with a closed set of values or without)."""
        return self.is_path or self.hint is str or get_origin(self.hint) is Literal

    @property
    def is_collection(self) -> bool:
        """Whether the value is a list or table, which the environment gives as JSON."""
        return get_origin(self.hint) in (tuple, Mapping)


@cache
def settings() -> dict[str, Setting]:
    """Every setting by its name, in the order of the tables."""
    found = [
        _setting(table, struct, item) for table, struct in tables().items() for item in msgspec.structs.fields(struct)
    ]
    return {setting.name: setting for setting in found}


@cache
def tables() -> dict[str, type[msgspec.Struct]]:
    """The struct of each TOML table, in order."""
    return get_type_hints(Config)


def toml_text(value: object) -> str:
    """The value as it is written in collabd.toml."""
    match value:
        case None:
            return '""'
        case float() if value.is_integer():
            return str(int(value))
        case Mapping():
            return "{ " + ", ".join(f"{key} = {toml_text(item)}" for key, item in value.items()) + " }"
        case tuple():
            return "[" + ", ".join(map(toml_text, value)) + "]"
        case Path():
            return json.dumps(str(value), ensure_ascii=False)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _setting(table: str, struct: type[msgspec.Struct], item: msgspec.structs.FieldInfo) -> Setting:
    hint = get_type_hints(struct, include_extras=True)[item.name]
    bare, metas = hint.__origin__, hint.__metadata__
    meaning = next(meta.description for meta in metas if meta.description)
    ranged = Annotated[bare, *metas] if bare in (int, float) else bare
    if bare is Path:
        default = '""'  # it depends on the environment; the empty text asks for it
    else:
        default = toml_text(item.default if item.default is not msgspec.NODEFAULT else item.default_factory())
    return Setting(table, item.name, ranged, _kind(bare, metas), default, meaning)


def _kind(bare: Any, metas: tuple[msgspec.Meta, ...]) -> str:
    """Type and range in words that an error message can end with."""
    if bare in (int, float):
        return {int: "whole number", float: "number"}[bare] + _range(metas)
    if get_origin(bare) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(bare))
    if bare in (Path, Path | None) or isinstance(bare, types.UnionType):
        return "path"
    return {bool: "true or false", str: "string", tuple: "list of strings", Mapping: "table of strings"}[
        get_origin(bare) or bare
    ]


def _range(metas: tuple[msgspec.Meta, ...]) -> str:
    for meta in metas:
        if meta.gt is not None:
            return f" above {meta.gt}"
        if meta.ge is not None:
            return f" from {meta.ge}" + ("" if meta.le in UNBOUNDED else f" to {meta.le}")
    return ""
