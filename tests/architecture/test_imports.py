"""The direction of imports: routes → hub → store → protocol, skipping downwards allowed (docs/architecture.md).

Between parts of the project an import counts wherever it stands: in a function and under TYPE_CHECKING too, since
knowing a type is knowing. A library may be named in types by anybody.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "collabd"

# What each part may know of the project. A part is a package or module directly below collabd; collabd itself
# (the version) is nobody's secret. The daemon sees everything and nobody but the command line sees the daemon.
LEAVES = {"errors", "config", "metrics", "figures", "auth"}
COMMANDS = {"client_commands", "data_commands", "operator_commands", "setup_commands", "token_command"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "exits": set(),
    "progress": set(),
    "words": set(),
    "metrics": {"errors"},
    "figures": set(),
    "service": LEAVES | {"log", "tokens", "admin_door", "protocol", "store", "hub", "gateway"},
    "log": set(),
    "config": {"errors"},
    "auth": {"errors", "config"},
    "tokens": {"errors", "config", "auth", "protocol"},
    "admin_door": {"errors", "config", "auth", "protocol"},
    "protocol": {"errors"},
    "store": LEAVES | {"protocol"},
    "hub": LEAVES | {"protocol", "store"},
    "gateway": LEAVES | {"protocol", "hub"},
    "routes": LEAVES | {"admin_door", "protocol", "store", "hub"},
    "client": {"errors", "protocol"},
    "client_commands": {"errors", "config", "protocol", "client"},
    "daemon": LEAVES | {"log", "service", "tokens", "admin_door", "protocol", "store", "hub", "gateway", "routes"},
    "asgi": {"admin_door", "config", "daemon", "routes"},
    "config_file": set(),
    "dashboard": {"figures"},
    "operating": {"errors", "config", "words"},
    "data_commands": {"errors", "exits", "config", "config_file", "progress", "protocol", "store", "words"},
    "setup_commands": {"operating"},
    "token_command": {"errors", "config", "config_file", "protocol", "tokens"},
    "operator_commands": {"errors", "exits", "config", "config_file", "dashboard", "operating", "progress", "store"},
    "cli": {"errors", "exits", "config", "config_file", "daemon", "tokens", "admin_door", "store", *COMMANDS},
    "__main__": {"cli"},
}

# Libraries that only some parts may know, so that each can be replaced in one place.
ONLY_IN: dict[str, set[str]] = {
    "sqlite3": {"store"},
    "sqlite_utils": {"store"},
    "quart": {"routes"},
    "quart_trio": {"routes"},
    "hypercorn": {"gateway", "daemon"},
    "prometheus_client": {"routes"},
    "trio_websocket": {"client", "client_commands"},
    "jwt": {"tokens"},
    "asyncio": set(),
}

# Libraries that are imported under another name than they are installed under.
INSTALLED_AS = {"jwt": "pyjwt"}

# Parts without Trio: what they do needs neither a clock nor a task, and their tests need no event loop.
WITHOUT_TRIO = {"errors", "metrics", "config", "protocol", "cli", "__main__"}

MODULES = sorted(PACKAGE.rglob("*.py"))
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))


def part_of(module: Path) -> str:
    """The part of the project that a file belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def without_types(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield from without_types(node)


def imports_of(source: str, walk: Callable[[ast.AST], Iterator[ast.AST]] = ast.walk) -> Iterator[str]:
    """Every module that a source text names in an import, with what is taken from it: `a.b` for `from a import b`."""
    for node in walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute, so that they can be read and searched"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_known_to(module: Path) -> set[str]:
    """The parts of the project that a file imports."""
    names = [name.split(".") for name in imports_of(module.read_text())]
    known = {name[1] for name in names if name[0] == "collabd" and len(name) > 1}
    return {name for name in known if not name.startswith("__")} - {part_of(module)}


@each_module
def test_a_part_knows_only_what_lies_below_it(module: Path) -> None:
    """A new part, or a new arrow, is a decision: it is made in MAY_IMPORT and in docs/architecture.md."""
    part = part_of(module)
    allowed = MAY_IMPORT["daemon"] if part == "__init__" else MAY_IMPORT[part]
    assert parts_known_to(module) <= allowed


@each_module
def test_a_library_is_known_only_where_it_belongs(module: Path) -> None:
    """Only the store knows SQLite, only the web shell Quart, only the gateway Hypercorn's insides."""
    part = part_of(module)
    libraries = {name.split(".")[0] for name in imports_of(module.read_text(), without_types)}
    assert {library for library in libraries if part not in ONLY_IN.get(library, {part})} == set()
    assert not (part in WITHOUT_TRIO and "trio" in libraries)


def test_every_library_that_is_imported_is_a_declared_dependency() -> None:
    """One that comes along with another may be gone with the other's next release."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    declared = {re.split("[^a-z0-9-]", line.lower())[0].replace("-", "_") for line in project["dependencies"]}
    names = {name.split(".")[0] for module in MODULES for name in imports_of(module.read_text())}
    imported = {INSTALLED_AS.get(name, name) for name in names}
    assert imported - declared - sys.stdlib_module_names - {"collabd"} == set()


def test_every_part_is_placed() -> None:
    """A part that MAY_IMPORT forgets would be free to know everything."""
    assert {part_of(module) for module in MODULES} - {"__init__"} <= set(MAY_IMPORT)


def test_imports_are_found_wherever_they_stand() -> None:
    """The rules above are worth what this finds."""
    source = "import a.b\nfrom c import d, e\ndef f():\n    from g.h import i\nif TYPE_CHECKING:\n    import j\n"
    assert set(imports_of(source)) == {"a.b", "c.d", "c.e", "g.h.i", "j"}
    assert set(imports_of(source, without_types)) == {"a.b", "c.d", "c.e", "g.h.i"}
    with pytest.raises(AssertionError):
        list(imports_of("from . import x"))
