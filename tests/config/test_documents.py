"""collabd.toml and docs/configuration.md say what the code does: same keys, same defaults."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from collabd.config import Config, load_config, settings
from collabd.config.settings import Setting, tables
from tests.config.rendering import section, short

ROOT = Path(__file__).parents[2]
TOML = (ROOT / "collabd.toml").read_text()
DOCS = (ROOT / "docs" / "configuration.md").read_text()
SETTING_LINE = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)

each_setting = pytest.mark.parametrize("setting", settings().values(), ids=settings())


def test_collabd_toml_as_it_stands_changes_nothing() -> None:
    """Everything in it is commented out."""
    assert load_config(ROOT / "collabd.toml", {"HOME": "/h"}) == load_config(None, {"HOME": "/h"})
    assert not any(tomllib.loads(TOML).values())


def test_collabd_toml_uncommented_is_exactly_the_defaults(tmp_path: Path) -> None:
    """Every key of the code stands there, with its true default, and no other key does."""
    path = tmp_path / "collabd.toml"
    path.write_text(SETTING_LINE.sub("", TOML))
    assert load_config(path, {"HOME": "/h"}) == load_config(None, {"HOME": "/h"})
    document = tomllib.loads(path.read_text())
    assert [f"{table}.{key}" for table, keys in document.items() for key in keys] == list(settings())


@each_setting
def test_every_key_stands_in_collabd_toml_with_its_default(setting: Setting) -> None:
    """As a line that needs only its # removed."""
    assert f"\n#{setting.key} = {setting.default}\n" in TOML


@pytest.mark.parametrize("table", tables())
def test_every_table_stands_in_the_docs_as_the_code_has_it(table: str) -> None:
    """`python -m tests.config.rendering` prints what belongs there."""
    assert f"{section(table)}\n" in DOCS


def test_the_short_table_of_the_readme_is_the_codes() -> None:
    """`python -m tests.config.rendering` prints it first."""
    assert f"tests.config.rendering -->\n\n{short()}\n\n<!-- /" in (ROOT / "README.md").read_text()


def test_the_docs_show_no_key_that_is_gone() -> None:
    """Rows of the tables are the settings, one for one."""
    assert len(re.findall(r"^\| `", DOCS, re.MULTILINE)) == len(settings())


@each_setting
def test_every_key_says_what_it_means_in_a_sentence(setting: Setting) -> None:
    """The meaning is what docs and tools show."""
    assert setting.meaning.endswith(".")
    assert setting.kind


@each_setting
def test_every_default_is_allowed_by_its_own_key(setting: Setting, tmp_path: Path) -> None:
    """Written out in a file, a default is itself."""
    path = tmp_path / "one.toml"
    path.write_text(f"[{setting.table}]\n{setting.key} = {setting.default}\n")
    assert load_config(path, {"HOME": "/h"}) == load_config(None, {"HOME": "/h"})


def test_the_configuration_cannot_be_changed_once_read() -> None:
    """One that could would be read differently in two places."""
    config = Config()
    with pytest.raises(AttributeError):
        config.server = config.server  # type: ignore[misc]
    for table in tables():
        struct = getattr(config, table)
        assert isinstance(struct, msgspec.Struct)
        with pytest.raises(AttributeError):
            setattr(struct, struct.__struct_fields__[0], None)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("server.bind", "127.0.0.1:8080"),
        ("server.drain_timeout_s", 10),
        ("storage.synchronous", "full"),
        ("storage.max_persisted_messages_per_run", 1_000),
        ("storage.dedupe_window_s", 86_400),
        ("storage.ring_bytes_per_run", 4 * 1024 * 1024),
        ("storage.ring_bytes_total", 256 * 1024 * 1024),
        ("events.critical_event_types", ("GRAFT", "PRUNE", "FLAG")),
        ("events.persisted_event_types", ()),
        ("events.state_keys", {"GRAFT": "after", "PRUNE": "stepId", "FLAG": "stepId"}),
        ("runs.auto_create", True),
        ("presence.grace_s", 15),
        ("websocket.heartbeat_interval_s", 10),
        ("websocket.max_message_bytes", 65_536),
        ("websocket.outbox_max_bytes", 1_048_576),
        ("client.max_reconnect_attempts", 5),
        ("client.polling_interval_ms", 2_000),
        ("client.message_retry_limit", 3),
        ("limits.messages_per_second", 50),
        ("limits.message_burst", 200),
        ("limits.connections", 10_000),
        ("limits.connections_per_address", 256),
        ("limits.connections_per_run", 2_000),
        ("limits.connections_per_user", 64),
        ("auth.mode", "open"),
        ("auth.allow_open", False),
    ],
)
def test_the_defaults_that_the_outside_depends_on(name: str, default: object) -> None:
    """Changing one of these changes what people rely on."""
    table, _, key = name.partition(".")
    assert getattr(getattr(Config(), table), key) == default
