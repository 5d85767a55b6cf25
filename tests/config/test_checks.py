"""Rules between settings, and for values that have more to them than type and range."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from collabd.config import Config, is_loopback, load_config, parse_address
from collabd.config.checks import CHECKS, RESERVED_EVENT_TYPES
from collabd.config.settings import settings
from collabd.errors import ConfigError

KEY_PAIR = ("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=localhost", "-days", "1")


def problems_of(**given: str) -> list[str]:
    """What loading complains of; settings are given as table__key, the way the environment does."""
    environ = {"HOME": "/nowhere"} | {f"COLLABD_{name.upper()}": text for name, text in given.items()}
    try:
        load_config(None, environ)
    except ConfigError as error:
        return [problem.removeprefix("environment variable ") for problem in error.problems]
    return []


def secret_file(path: Path, text: str = "secret") -> str:
    """Write a file that only its owner may read."""
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def key_pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Two self-signed certificates with their keys."""
    pairs = []
    for name in ("a", "b"):
        base = tmp_path_factory.mktemp(name)
        pair = (str(base / "certificate.pem"), str(base / "key.pem"))
        subprocess.run([*KEY_PAIR, "-out", pair[0], "-keyout", pair[1]], check=True, capture_output=True)
        os.chmod(pair[1], 0o600)
        pairs.append(pair)
    return pairs


@pytest.mark.parametrize(
    "bind",
    ["", "8080", ":8080", "host:", "host:x", "host:65536", "host:-1", "host:٨", "::1:80", "unix:", "unix:c.sock"],
)
def test_a_bind_that_is_no_address_is_refused(bind: str) -> None:
    """The daemon's own words, not the socket's."""
    (problem,) = problems_of(server__bind=bind)
    assert problem.startswith("COLLABD_SERVER__BIND: [server] bind: ")


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65_535)),
        ("[::1]:8080", ("::1", 8080)),
        ("collab.example:80", ("collab.example", 80)),
        ("unix:/run/collabd/collabd.sock", ("", 0)),
    ],
)
def test_an_address_is_split_at_its_port(bind: str, expected: tuple[str, int]) -> None:
    """IPv6 addresses stand in brackets and come out without."""
    assert parse_address(bind) == expected


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/collabd/collabd.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(bind: str, expected: bool) -> None:
    """The unspecified address is every address."""
    assert is_loopback(bind) is expected


@pytest.mark.parametrize("name", ["", "graft", "Graft", "1A", "_A", "A-B", "A" * 51, "GRAFT\n", "Ä"])
@pytest.mark.parametrize("key", ["critical_event_types", "persisted_event_types"])
def test_an_event_type_that_no_client_can_send_is_refused(key: str, name: str) -> None:
    """The protocol's pattern, matched whole."""
    escaped = name.replace("\n", "\\n")
    (problem,) = problems_of(**{f"events__{key}": f'["FINE", "{escaped}"]'})
    assert f"[events] {key}: {name!r} is no event type" in problem


@pytest.mark.parametrize("name", sorted(RESERVED_EVENT_TYPES))
def test_the_servers_own_event_types_are_refused(name: str) -> None:
    """In both lists and as a state key."""
    problems = problems_of(
        events__critical_event_types=f'["{name}"]',
        events__persisted_event_types=f'["{name}"]',
        events__state_keys=f'{{"{name}": "x"}}',
    )
    assert len(problems) == 3
    assert all(problem.endswith(f"{name} is reserved for the server") for problem in problems)


def test_event_types_of_fifty_characters_and_empty_lists_are_fine() -> None:
    """The edges of what is allowed."""
    longest = "A" * 50
    assert problems_of(events__critical_event_types=f'["{longest}"]', events__persisted_event_types="[]") == []
    assert problems_of(events__critical_event_types="[]", events__state_keys="{}") == []


def test_a_state_key_names_a_field() -> None:
    """An empty name could never be found."""
    (problem,) = problems_of(events__state_keys='{"GRAFT": ""}')
    assert "GRAFT has an empty name" in problem


def test_open_mode_beyond_loopback_must_be_meant() -> None:
    """Listening to the world with no lock takes a second word."""
    (problem,) = problems_of(server__bind="0.0.0.0:8080")
    assert "auth.allow_open = true" in problem
    assert problems_of(server__bind="0.0.0.0:8080", auth__allow_open="true") == []


@pytest.mark.parametrize(
    "given", [{"server__public_url": "https://a.example"}, {"server__trusted_proxies": '["127.0.0.1"]'}]
)
def test_a_daemon_behind_a_proxy_is_not_loopback(given: dict[str, str]) -> None:
    """Whatever address it binds."""
    (problem,) = problems_of(**given)
    assert "behind a proxy" in problem
    assert problems_of(**given, auth__allow_open="true") == []


@pytest.mark.parametrize(
    "url",
    [
        "a.example",
        "ftp://a.example",
        "https://",
        "https://a.example/",
        "https://a.example/?q",
        "https://a.example#f",
        "https://user:pass@a.example",
        "https://a.example:99999",
        "https://a b.example",
        "https://[::1",
    ],
)
def test_a_public_url_is_a_base_that_paths_are_appended_to(url: str) -> None:
    """And no password in it finds its way into a message."""
    (problem,) = problems_of(server__public_url=url, auth__allow_open="true")
    assert problem.startswith("COLLABD_SERVER__PUBLIC_URL: [server] public_url: must be an http or https URL")
    assert "pass@" not in problem


@pytest.mark.parametrize("url", ["https://a.example", "http://a.example:8443/collab", "http://[::1]:80"])
def test_a_public_url_may_have_port_and_path(url: str) -> None:
    """A path prefix is what some proxies have."""
    assert problems_of(server__public_url=url, auth__allow_open="true") == []


@pytest.mark.parametrize(
    "origin", ["*", "null", "a.example", "https://a.example/", "HTTPS://a.example", "https://A.example"]
)
def test_an_origin_that_could_never_match_is_refused(origin: str) -> None:
    """Origins are compared whole, as browsers send them."""
    (problem,) = problems_of(server__allowed_origins=f'["{origin}"]')
    assert f"{origin!r} is no origin" in problem


def test_origins_of_pages_and_of_apps_are_fine() -> None:
    """Apps with a built-in browser have schemes of their own."""
    assert problems_of(server__allowed_origins='["http://localhost:4200", "capacitor://localhost"]') == []


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", ""])
def test_a_proxy_that_is_no_network_is_refused(proxy: str) -> None:
    """Names are not resolved: who is trusted must not depend on DNS."""
    (problem,) = problems_of(server__trusted_proxies=f'["{proxy}"]', auth__allow_open="true")
    assert "[server] trusted_proxies: no address or network" in problem


def test_the_outbox_holds_the_largest_message_and_its_envelope() -> None:
    """The blame goes to the key that somebody set."""
    least = 65_536 + 4_096
    assert problems_of(websocket__outbox_max_bytes=str(least)) == []
    (problem,) = problems_of(websocket__outbox_max_bytes=str(least - 1))
    assert f"[websocket] outbox_max_bytes: outbox_max_bytes must be at least {least}" in problem
    (problem,) = problems_of(websocket__max_message_bytes="1048576")
    assert problem.startswith("COLLABD_WEBSOCKET__MAX_MESSAGE_BYTES: [websocket] max_message_bytes: outbox_max_bytes")


def test_one_run_may_not_keep_more_in_memory_than_all() -> None:
    """Two bounds that contradict each other are a slip."""
    assert problems_of(storage__ring_bytes_total="1", storage__ring_bytes_per_run="2")
    assert problems_of(storage__ring_bytes_total="0", storage__ring_bytes_per_run="0") == []


def test_a_rate_limit_without_a_burst_would_refuse_everything() -> None:
    """Both at 0 is no limit."""
    assert problems_of(limits__message_burst="0")
    assert problems_of(limits__message_burst="0", limits__messages_per_second="0") == []


def test_token_mode_needs_exactly_one_key(tmp_path: Path) -> None:
    """And a key without token mode is a lock that nobody turned."""
    key, jwks = secret_file(tmp_path / "key"), secret_file(tmp_path / "jwks")
    assert "needs a key" in problems_of(auth__mode="jwt")[0]
    assert "needs a key" in problems_of(auth__mode="jwt", auth__key_file=key, auth__jwks_file=jwks)[0]
    assert "do nothing" in problems_of(auth__key_file=key)[0]
    assert "do nothing" in problems_of(auth__jwks_file=jwks)[0]
    assert problems_of(auth__mode="jwt", auth__key_file=key, server__bind="0.0.0.0:80") == []
    assert problems_of(auth__mode="jwt", auth__jwks_file=jwks) == []


def test_files_that_are_named_must_be_there_and_be_files(tmp_path: Path) -> None:
    """Missing, empty, a directory, a pipe that nobody writes to: found at start and without waiting."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    empty = tmp_path / "empty"
    empty.touch(0o600)
    for path, reason in {
        tmp_path / "no": "cannot be read",
        tmp_path: "is no file",
        pipe: "no file",
        empty: "empty",
    }.items():
        (problem,) = problems_of(admin__token_file=str(path))
        assert "[admin] token_file: " in problem
        assert reason in problem


def test_secrets_that_everybody_can_read_are_refused(tmp_path: Path) -> None:
    """The group may (systemd and containers use it), others may not; a public key is no secret."""
    path = Path(secret_file(tmp_path / "token"))
    path.chmod(0o644)
    assert f"chmod 600 {path}" in problems_of(admin__token_file=str(path))[0]
    assert f"chmod 600 {path}" in problems_of(auth__mode="jwt", auth__key_file=str(path))[0]
    assert problems_of(auth__mode="jwt", auth__key_file=str(path), auth__algorithm="RS256") == []
    path.chmod(0o640)
    assert problems_of(admin__token_file=str(path)) == []


def test_certificate_and_key_come_together_and_fit(key_pairs: list[tuple[str, str]]) -> None:
    """Half a pair, or halves of two pairs, would fail at the first connection."""
    (certificate, key), (_, other_key) = key_pairs
    assert problems_of(server__tls_certificate=certificate, server__tls_private_key=key) == []
    assert "go together" in problems_of(server__tls_certificate=certificate)[0]
    assert "go together" in problems_of(server__tls_private_key=key)[0]
    (problem,) = problems_of(server__tls_certificate=certificate, server__tls_private_key=other_key)
    assert "[server] tls_private_key: does not work with tls_certificate" in problem


def test_a_key_with_a_pass_phrase_is_refused_without_asking_for_it(
    key_pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    """A daemon has no terminal to ask at."""
    certificate, key = key_pairs[0]
    locked = secret_file(tmp_path / "locked.pem")
    lock = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked]
    subprocess.run(lock, check=True, capture_output=True)
    (problem,) = problems_of(server__tls_certificate=certificate, server__tls_private_key=locked)
    assert "pass phrase" in problem


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """One that does not exist yet will be made."""
    (tmp_path / "file").touch()
    assert "is no directory" in problems_of(storage__data_dir=str(tmp_path / "file"))[0]
    assert problems_of(storage__data_dir=str(tmp_path / "new")) == []


def test_rules_are_about_settings_that_exist_and_hold_for_the_default() -> None:
    """A rule that names a key wrongly would blame nothing."""
    assert {name for check in CHECKS for name in check.names} <= set(settings())
    assert [problem for check in CHECKS for problem in check.find(Config())] == []
