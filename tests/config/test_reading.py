"""Where values come from, and what is said about those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from collabd.config import Config, load_config
from collabd.errors import ConfigError

Write = Callable[[str], Path]
HOME = {"HOME": "/nowhere"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration file and return its path."""

    def write(text: str) -> Path:
        path = tmp_path / "collabd.toml"
        path.write_text(text)
        return path

    return write


def problems_of(path: Path | None, environ: dict[str, str] | None = None, **options: str) -> list[str]:
    """What loading complains of, without the name of the file."""
    named = {name.replace("__", "."): text for name, text in options.items()}
    with pytest.raises(ConfigError) as caught:
        load_config(path, HOME | (environ or {}), options=named)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_no_file_and_no_environment_is_the_default_on_loopback() -> None:
    """The daemon runs without any configuration."""
    config = load_config(None, HOME)
    assert config.server.address == ("127.0.0.1", 8080)
    assert config.storage.data_dir == Path("/nowhere/.local/state/collabd")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/collabd", "XDG_STATE_HOME": "/x"}, "/var/lib/collabd"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, "/x/collabd"),
        ({"XDG_STATE_HOME": "relative"}, "/nowhere/.local/state/collabd"),
    ],
)
def test_the_data_directory_is_the_service_managers_or_the_users_own(environ: dict[str, str], expected: str) -> None:
    """STATE_DIRECTORY, then an absolute XDG_STATE_HOME, then the home directory."""
    assert load_config(None, HOME | environ).storage.data_dir == Path(expected)


def test_a_later_source_wins_key_by_key(write: Write) -> None:
    """Default, file, environment, command line."""
    path = write('[server]\nbind = "127.0.0.1:1"\n[limits]\nconnections = 2\nconnections_per_run = 3\n')
    config = load_config(
        path,
        HOME | {"COLLABD_SERVER__BIND": "127.0.0.1:4", "COLLABD_LIMITS__CONNECTIONS": "5"},
        options={"server.bind": "127.0.0.1:6"},
    )
    assert config.server.address[1] == 6
    assert config.limits.connections == 5
    assert config.limits.connections_per_run == 3
    assert config.limits.connections_per_user == Config().limits.connections_per_user


def test_environment_values_are_read_by_the_type_of_their_key() -> None:
    """Numbers and truth values as text, lists and tables as JSON, everything else as it stands."""
    config = load_config(
        None,
        HOME
        | {
            "COLLABD_PRESENCE__GRACE_S": "0.5",
            "COLLABD_RUNS__AUTO_CREATE": "false",
            "COLLABD_STORAGE__SYNCHRONOUS": "normal",
            "COLLABD_STORAGE__DATA_DIR": "/data",
            "COLLABD_EVENTS__PERSISTED_EVENT_TYPES": '["NOTE"]',
            "COLLABD_EVENTS__STATE_KEYS": '{"NOTE": "where"}',
        },
    )
    assert config.presence.grace_s == 0.5
    assert config.runs.auto_create is False
    assert config.storage.synchronous == "normal"
    assert config.storage.data_dir == Path("/data")
    assert config.events.persisted_event_types == ("NOTE",)
    assert config.events.state_keys == {"NOTE": "where"}


def test_relative_paths_start_at_the_configuration_file(write: Write) -> None:
    """A service's working directory is nobody's business."""
    path = write('[storage]\ndata_dir = "data"\n')
    assert load_config(path, HOME).storage.data_dir == path.parent / "data"


def test_every_problem_of_every_source_is_named_at_once(write: Write) -> None:
    """One run of check-config is enough to repair everything."""
    path = write(
        "top = 1\n"
        "[server]\nbnd = 1\n"
        '[limits]\nconnections = "many"\n'
        "[sever]\nx = 1\n"
        '[events]\ncritical_event_types = ["graft"]\n'
    )
    environ = {"COLLABD_RUNS__AUTO_CREAT": "1", "COLLABD_PRESENCE__GRACE_S": "soon"}
    assert problems_of(path, environ, server__bind="nowhere") == [
        "top: stands outside any table",
        '[server] bnd: unknown key; did you mean "bind"?',
        '[sever]: unknown table; did you mean "server"?',
        'environment variable COLLABD_RUNS__AUTO_CREAT: unknown setting; did you mean "COLLABD_RUNS__AUTO_CREATE"?',
        "[limits] connections: must be a whole number from 0, not 'many'",
        "environment variable COLLABD_PRESENCE__GRACE_S: [presence] grace_s: must be a number from 0, not 'soon'",
        "option --bind: [server] bind: must be HOST:PORT, like 127.0.0.1:8080 (found 'nowhere')",
        "[events] critical_event_types: 'graft' is no event type: 1 to 50 of A-Z, 0-9 and _, the first a letter",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[presence]\nconnections = 1", "[presence] connections: unknown key; it belongs in [limits]"),
        ("[presence]\nheartbeat_intervals = 1", 'did you mean "heartbeat_interval_s" in [websocket]?'),
        ("[runs]\nqqq = 1", "[runs] qqq: unknown key; known here: auto_create, idle_close_s"),
        ('bind = "127.0.0.1:1"', "bind: stands outside any table; it belongs in [server]"),
        ("[zzz]", "[zzz]: unknown table"),
        ("server = 3", "[server] must be a table, not 3"),
        ("[[server]]\nbind = 1", "[server] must be a table, not [{'bind': 1}]"),
    ],
)
def test_a_misplaced_key_is_told_where_it_belongs(write: Write, text: str, problem: str) -> None:
    """Nothing that is not understood is passed over."""
    assert problem in "\n".join(problems_of(write(text)))


def test_a_single_underscore_in_a_variable_is_noticed() -> None:
    """The likeliest slip would otherwise be ignored without a word."""
    assert problems_of(None, {"COLLABD_SERVER_BIND": "x"}) == [
        'environment variable COLLABD_SERVER_BIND: did you mean "COLLABD_SERVER__BIND" (two underscores)?'
    ]


def test_variables_that_are_no_settings_are_left_alone() -> None:
    """COLLABD_CONFIG and the variables of clients share the prefix."""
    environ = HOME | {"COLLABD_CONFIG": "/x", "COLLABD_TOKEN": "y", "OTHER__KEY": "z"}
    assert load_config(None, environ).server.bind == "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("key", "value", "must_be"),
    [
        ("limits.connections", "-1", "a whole number from 0"),
        ("limits.connections", "1.5", "a whole number from 0"),
        ("limits.connections", "true", "a whole number from 0"),
        ("limits.connections", "10000000000000000000000", "a whole number from 0"),
        ("limits.request_head_max_bytes", "10", "a whole number from 1024 to 1048576"),
        ("client.polling_interval_ms", "99", "a whole number from 100 to 600000"),
        ("storage.max_persisted_messages_per_run", "0", "a whole number from 1"),
        ("websocket.heartbeat_interval_s", "0", "a number above 0"),
        ("websocket.heartbeat_interval_s", "nan", "a number above 0"),
        ("websocket.heartbeat_interval_s", "inf", "a number above 0"),
        ("server.drain_timeout_s", "-0.1", "a number from 0"),
        ("runs.auto_create", '"yes"', "true or false"),
        ("runs.auto_create", "1", "true or false"),
        ("storage.synchronous", '"off"', '"full" or "normal"'),
        ("auth.mode", '"none"', '"open" or "jwt"'),
        ("logging.level", '"INFO"', '"debug" or "info" or "warning" or "error"'),
        ("server.bind", "8080", "a string"),
        ("storage.data_dir", "8080", "a path"),
        ("storage.data_dir", '"a\\u0000b"', "a path"),
        ("events.critical_event_types", '"GRAFT"', "a list of strings"),
        ("events.critical_event_types", "[1]", "a list of strings"),
        ("events.state_keys", '["GRAFT"]', "a table of strings"),
        ("events.state_keys", "{ GRAFT = 1 }", "a table of strings"),
    ],
)
def test_a_value_of_the_wrong_type_or_size_says_what_it_must_be(
    write: Write, key: str, value: str, must_be: str
) -> None:
    """TOML is read strictly: nothing is guessed from a value of another type."""
    table, _, name = key.partition(".")
    (problem,) = problems_of(write(f"[{table}]\n{name} = {value}\n"))
    assert problem.startswith(f"[{table}] {name}: must be {must_be}, not ")


@pytest.mark.parametrize("text", ["", "1.5", "٥", "1_0", " 1", "0x10", "nan"])
def test_a_number_in_the_environment_is_plain_digits(text: str) -> None:
    """What Python's int() or float() would also take is refused."""
    (problem,) = problems_of(None, {"COLLABD_LIMITS__CONNECTIONS": text})
    assert problem.endswith(f"must be a whole number from 0, not {text!r}")


@pytest.mark.parametrize("text", ["GRAFT", "[", "[1]", '{"A": "b"}', "[" * 100_000])
def test_a_list_in_the_environment_is_json(text: str) -> None:
    """Anything else is shown back, shortened."""
    (problem,) = problems_of(None, {"COLLABD_EVENTS__PERSISTED_EVENT_TYPES": text})
    assert "[events] persisted_event_types: must be a list of strings" in problem
    assert len(problem) < 250


def test_an_overridden_value_is_still_checked(write: Write) -> None:
    """A broken file does not wait for the day the environment changes."""
    assert problems_of(write("[presence]\ngrace_s = -1\n"), {"COLLABD_PRESENCE__GRACE_S": "1"})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[server\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 8)"),
        (b"[server]\nbind = 1\nbind = 2\n", "is not TOML: Cannot overwrite a value (at line 3, column 9)"),
        (b"# caf\xe9\n", "is not UTF-8 at byte 5"),
    ],
)
def test_a_file_that_is_no_toml_is_told_where(tmp_path: Path, content: bytes, problem: str) -> None:
    """With line and column where the parser knows them."""
    path = tmp_path / "collabd.toml"
    path.write_bytes(content)
    assert problems_of(path) == [problem]


def test_a_nested_file_that_exhausts_the_parser_is_an_error_not_a_crash(write: Write) -> None:
    """Whatever the parser makes of it."""
    (problem,) = problems_of(write(f"x = {'[' * 5_000}{']' * 5_000}"))
    assert "nested too deeply" in problem


def test_a_file_that_is_missing_or_a_directory_is_an_error(tmp_path: Path) -> None:
    """A file that was named is never passed over."""
    assert problems_of(tmp_path / "no.toml") == ["cannot be read: No such file or directory"]
    assert problems_of(tmp_path) == ["cannot be read: Is a directory"]


def test_problems_of_the_environment_are_named_beside_an_unreadable_file(tmp_path: Path) -> None:
    """But rules between settings are not judged on half of them."""
    environ = {"COLLABD_SERVER__BIND": "0.0.0.0:80", "COLLABD_LIMITS__CONNECTIONS": "x"}
    first, second = problems_of(tmp_path / "no.toml", environ)
    assert first == "cannot be read: No such file or directory"
    assert "COLLABD_LIMITS__CONNECTIONS" in second


def test_a_home_of_nobody_is_an_error_of_its_key(write: Write) -> None:
    """`~name` asks the system's list of users."""
    (problem,) = problems_of(write('[storage]\ndata_dir = "~no-such-user-here/x"\n'))
    assert problem.startswith("[storage] data_dir: ")


def test_secrets_that_the_service_manager_hands_over_are_used_where_none_is_named(write: Write, tmp_path: Path) -> None:
    """Under their names in $CREDENTIALS_DIRECTORY; a file that the configuration names comes first."""
    handed = tmp_path / "credentials"
    handed.mkdir()
    for name in ("admin-token", "token-key"):
        (handed / f"collabd.{name}").write_text("a secret of more than thirty-two bytes")
        (handed / f"collabd.{name}").chmod(0o400)
    environ = HOME | {"CREDENTIALS_DIRECTORY": str(handed)}
    config = load_config(write("[auth]\nmode = 'jwt'\n"), environ)
    assert config.auth.key_file == handed / "collabd.token-key"
    assert config.admin.token_file == handed / "collabd.admin-token"
    assert config.server.tls_certificate is None
    own = tmp_path / "own.key"
    own.write_text("another secret of more than thirty-two bytes")
    own.chmod(0o600)
    config = load_config(write(f"[auth]\nmode = 'jwt'\nkey_file = '{own}'\n"), environ)
    assert config.auth.key_file == own
    config = load_config(None, environ)
    assert config.auth.key_file is None, "in open mode a key would be a lock that nobody turned"
