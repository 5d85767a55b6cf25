"""By which names the server answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.config import Config, load_config
from collabd.errors import ConfigError
from collabd.hub.hub import Hub
from collabd.protocol.hosts import KnownHosts
from collabd.store.memory import MemoryStore

LOCAL = KnownHosts(["127.0.0.1", "collab.example", "[2001:db8::1]"], is_local=True)
OPEN = KnownHosts(["0.0.0.0", "collab.example"], is_local=False)
NEVER = [
    "evil.example", "localhost.evil.example", "evil-localhost", "127.0.0.1.evil.example", "127.1", "0x7f.1",
    "2130706433", "", " ", ":8080", "localhost:123456", "localhost:80:80", "a@localhost", "localhost/",
    "localhost, evil", "[::1", "::1", "localhost\x00", "collab.example ", "xn--localhost", "ⅼocalhost", "[::1]x",
    "[::1]:x",
]  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8080", "localhost.", "localhost:", "127.0.0.1", "127.0.0.1:1", "127.9.9.9:65535",
        "[::1]", "[::1]:8080", "collab.example", "Collab.Example:443", "[2001:db8::1]:8080",
    ],
)  # fmt: skip
def test_a_local_server_answers_by_its_own_names(host: str) -> None:
    """Loopback in every spelling that a browser sends, and what the operator listed; the port never matters."""
    assert LOCAL.knows(host)


@pytest.mark.parametrize("host", [*NEVER, "192.0.2.1", "0.0.0.0:8080", "[2001:db8::2]"])
def test_a_local_server_answers_by_no_other(host: str) -> None:
    """A page of evil.example whose name was led to 127.0.0.1 finds nobody."""
    assert not LOCAL.knows(host)


@pytest.mark.parametrize("host", ["192.0.2.1:8080", "[2001:db8::2]", "localhost:8080", "127.0.0.1", "collab.example"])
def test_a_server_on_the_network_answers_by_its_addresses_too(host: str) -> None:
    """An address cannot be rebound, and which ones a machine has changes."""
    assert OPEN.knows(host)


@pytest.mark.parametrize("host", NEVER)
def test_a_server_on_the_network_answers_by_no_other_name(host: str) -> None:
    """A name that is not listed may be an attacker's."""
    assert not OPEN.knows(host)


def test_a_star_is_every_name() -> None:
    """Said knowingly."""
    assert KnownHosts(["*"], is_local=True).knows("evil.example")


@given(st.text())
def test_no_text_makes_it_fail(host: str) -> None:
    """It comes from outside."""
    LOCAL.knows(host)


@pytest.mark.parametrize(
    ("settings", "host", "known"),
    [
        ({}, "localhost:8080", True),
        ({}, "collab.example", False),
        ({"ALLOWED_HOSTS": '["collab.example"]'}, "collab.example:8080", True),
        ({"PUBLIC_URL": "https://collab.example/x", "BIND": "127.0.0.1:1"}, "collab.example", True),
        ({"BIND": "box:80"}, "box", True),
        ({"BIND": "box:80"}, "192.0.2.1", True),
        ({"BIND": "0.0.0.0:80"}, "192.0.2.1", True),
        ({"BIND": "0.0.0.0:80"}, "box", False),
        ({"BIND": "[::1]:80"}, "[::1]", True),
    ],
)
async def test_the_configuration_says_which_names(settings: dict[str, str], host: str, known: bool) -> None:
    """bind, public_url and allowed_hosts."""
    environ = {"HOME": "/h", "COLLABD_AUTH__ALLOW_OPEN": "true"}
    config = load_config(None, environ | {f"COLLABD_SERVER__{name}": text for name, text in settings.items()})
    assert Hub(config, MemoryStore()).known_hosts.knows(host) == known


@pytest.mark.parametrize("host", ["Box", "box:80", "http://box", "", "box/", "*.box", "böx"])
def test_a_host_that_could_never_match_is_refused(host: str) -> None:
    """At start, not in silence."""
    import json

    with pytest.raises(ConfigError, match="is no host name"):
        load_config(None, {"HOME": "/h", "COLLABD_SERVER__ALLOWED_HOSTS": json.dumps([host])})
    assert Config().server.allowed_hosts == ()
