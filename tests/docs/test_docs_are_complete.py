"""What the outside depends on stands in the docs, and the docs name nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from quart_trio import QuartTrio
from werkzeug.routing import Rule

from benchmarks.report import chosen, fill
from collabd.admin_door import AdminDoor
from collabd.config import Config, settings
from collabd.config.settings import Setting
from collabd.errors import ERROR_TABLE
from collabd.hub.hub import Hub
from collabd.protocol.close_codes import CLOSE_CODES
from collabd.protocol.messages import CONTROL_TYPES
from collabd.protocol.names import RESERVED_EVENT_TYPES
from collabd.routes.app import make_app
from collabd.store.memory import MemoryStore

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
PROTOCOL = DOCS["protocol.md"]
ARCHITECTURE = DOCS["architecture.md"]
KNOWN_TYPES = RESERVED_EVENT_TYPES | {*Config().events.critical_event_types, "CURSOR_MOVE"}
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


async def app() -> QuartTrio:
    """The app as it is served, over a hub that does not run."""
    config = Config()
    hub = Hub(config, MemoryStore())
    return make_app(hub, AdminDoor(config, hub.authenticator, "a token of enough characters"))


def routes() -> list[str]:
    """Every route as the docs write it: `GET /api/runs/{}/collaboration/poll`."""
    return sorted({f"{verb} {_path(rule)}" for rule in trio.run(app).url_map.iter_rules() for verb in _verbs(rule)})


def _verbs(rule: Rule) -> list[str]:
    return [verb for verb in VERBS if verb in (rule.methods or ())]


def _path(rule: Rule) -> str:
    return re.sub(r"<[^>]+>", "{}", rule.rule)


def documented_routes() -> set[str]:
    """Every `VERB /path` in the docs, parameters without their names."""
    verbs = "|".join(VERBS)
    found = {match for text in DOCS.values() for match in re.findall(rf"`((?:{verbs}) /[^`?]*)", text)}
    return {re.sub(r"\{\w+\}", "{}", route) for route in found}


def rows(heading: str) -> list[list[str]]:
    """The cells of a table of docs/protocol.md: below a heading, without its head."""
    section = PROTOCOL.split(f"\n{heading}\n", 1)[1]
    section = re.split(r"\n#+ ", section, maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize("route", routes())
def test_every_route_stands_in_the_docs(route: str) -> None:
    """With its method, in docs/protocol.md or another page."""
    assert route in documented_routes()


def test_the_protocol_names_no_route_that_is_not_served() -> None:
    """A route that is gone must go from the page too."""
    served = set(routes())
    named = {re.sub(r"\{\w+\}", "{}", route) for route in re.findall(r"`((?:GET|POST|DELETE) /[^`?…]*)", PROTOCOL)}
    assert named - served == set()


@pytest.mark.parametrize("event_type", sorted(KNOWN_TYPES))
def test_every_event_type_is_explained(event_type: str) -> None:
    """In a table of docs/protocol.md, not only in the list of reserved names."""
    first_cells = [line.split("|")[1] for line in PROTOCOL.splitlines() if line.startswith("| ")]
    assert any(re.search(rf"\b{event_type}\b", cell) for cell in first_cells)


def test_the_list_of_reserved_types_is_the_servers() -> None:
    """A name added to it is taken away from applications."""
    sentence = re.search(r"Reserved, refused as application events: ([A-Z_,\s]+)\.", PROTOCOL)
    assert sentence is not None
    assert set(re.findall(r"\w+", sentence[1])) == RESERVED_EVENT_TYPES


def test_the_messages_for_the_server_have_their_rows() -> None:
    """And no row is left of one that is gone."""
    assert {cells[0] for cells in rows("### Client to server")} == CONTROL_TYPES


def test_the_table_of_close_codes_is_the_servers() -> None:
    """Code, meaning, and whether the client comes back."""
    documented = {int(code): (meaning, comes_back == "yes") for code, meaning, comes_back, _ in rows("### Close codes")}
    known = {code: (row.meaning, row.comes_back) for code, row in CLOSE_CODES.items()}
    assert documented.keys() == known.keys()
    assert {code: back for code, (_, back) in documented.items()} == {code: back for code, (_, back) in known.items()}
    assert {code for code, (meaning, _) in known.items() if not documented[code][0].startswith(meaning)} == set()


def test_the_table_of_error_codes_is_the_servers() -> None:
    """Code, HTTP status, and whether the same message may succeed later."""
    documented = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows("## Errors")}
    known = {
        code: (str(kind.status or "–"), "yes" if kind.retryable else "no") for code, kind in ERROR_TABLE.items()
    }  # fmt: skip
    assert documented == known


@pytest.mark.parametrize("setting", settings().values(), ids=settings())
def test_every_configuration_key_stands_in_its_table(setting: Setting) -> None:
    """With its default; docs/configuration.md is checked in full beside the configuration's own tests."""
    section = DOCS["configuration.md"].split(f"### `[{setting.table}]`", 1)[1].split("\n###", 1)[0]
    assert f"| `{setting.key}` |" in section


def test_every_configuration_key_that_a_page_names_exists() -> None:
    """`table.key` in backquotes is a key, but for what is a file."""
    tables = {setting.table for setting in settings().values()}
    pattern = re.compile(rf"`((?:{'|'.join(sorted(tables))})\.[a-z_]+)(?: = [^`]*)?`")
    named = {name for text in (PROTOCOL, ARCHITECTURE) for name in pattern.findall(text)}
    assert named - set(settings()) == {"admin.token", "auth.py"}


def test_every_file_that_the_architecture_names_exists() -> None:
    """Whoever follows the page finds the place."""
    named = set(re.findall(r"`([\w/]+\.(?:py|md|toml))`", ARCHITECTURE))
    found = [path for folder in ("collabd", "tests", "docs") for path in (ROOT / folder).rglob("*.*")]
    names = {path.relative_to(ROOT).as_posix() for path in found}
    assert {name for name in named if not any(f"/{known}".endswith(f"/{name}") for known in names)} == set()


def test_every_package_stands_in_the_architecture() -> None:
    """A new one is a decision, and is explained where it is made."""
    packages = {path.parent.name for path in (ROOT / "collabd").glob("*/__init__.py")}
    assert {package for package in packages if f"`{package}/`" not in ARCHITECTURE} == set()


def test_every_table_of_the_database_stands_in_the_architecture() -> None:
    """People look into it with other programs."""
    schema = (ROOT / "collabd" / "store" / "schema.py").read_text()
    tables = re.findall(r"^CREATE TABLE (\w+)", schema, re.MULTILINE)
    assert tables
    assert {table for table in tables if f"`{table}`" not in ARCHITECTURE} == set()


def test_the_readme_shows_the_figures_that_the_page_of_performance_shows() -> None:
    """`python -m benchmarks --render` writes both."""
    goals = DOCS["performance.md"].split("<!-- goals -->")[1].split("<!-- /goals -->")[0]
    readme = (ROOT / "README.md").read_text()
    assert fill(readme, "performance", chosen(goals)) == readme
