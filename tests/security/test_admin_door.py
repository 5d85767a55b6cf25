"""Who is let in behind the scenes."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock

from collabd.admin_door import AdminDoor
from collabd.auth import OpenDoor
from collabd.config import Config, Server
from collabd.errors import ConfigError, ProtocolError
from tests.security.gate import token_mode

TOKEN = "an admin token for tests"


def door(**server: Any) -> AdminDoor:
    """In open mode, with the admin token; `server` are settings of [server]."""
    return AdminDoor(Config(server=msgspec.structs.replace(Server(), **server)), OpenDoor(), TOKEN)


def lets_in(admin_door: AdminDoor, address: str = "127.0.0.1", **headers: str) -> bool:
    """Whether a request passes; if not, it may be told one thing only."""
    answer: ProtocolError | None = None
    try:
        admin_door.check({name.lower().replace("_", "-"): value for name, value in headers.items()}, address)
    except ProtocolError as error:
        answer = error
    assert answer is None or (answer.code, answer.message) == (
        "unauthorized",
        "this needs a valid token: Authorization: Bearer …",
    )
    return answer is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_on_one_machine_it_is_free(address: str) -> None:
    """Bind and peer are loopback, and nothing speaks of a proxy."""
    assert lets_in(door(), address)


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "::", "0.0.0.0", "2001:db8::1", "localhost", "?"])
def test_another_machine_needs_the_token(address: str) -> None:
    """Even if it got through to a server that listens on loopback."""
    assert not lets_in(door(), address)
    assert lets_in(door(), address, Authorization=f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    "server",
    [
        {"bind": "0.0.0.0:80"}, {"bind": "192.0.2.1:80"}, {"bind": "[::]:80"}, {"bind": "box:80"},
        {"public_url": "https://collab.example"}, {"trusted_proxies": ("127.0.0.1",)},
    ],
)  # fmt: skip
def test_a_server_that_others_reach_needs_the_token(server: dict[str, Any]) -> None:
    """From loopback too: that may be a proxy, or anybody's program."""
    assert not lets_in(door(**server))
    assert lets_in(door(**server), Authorization=f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "Via", "X_Forwarded_For", "X_Forwarded_Proto", "X_Forwarded_Host", "X_Forwarded_x", "X_Real_IP"],
)
def test_what_came_through_a_proxy_needs_the_token(header: str) -> None:
    """A proxy on the same machine that nobody configured is the world at the door."""
    assert not lets_in(door(), **{header: "x"})
    assert lets_in(door(), **{header: "x"}, Authorization=f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    "given",
    [
        "Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}, Bearer x", "Bearer é",
        "Bearer \udcff",
    ],
)  # fmt: skip
def test_a_wrong_token_is_worse_than_none(given: str) -> None:
    """Whoever tries is refused even where it would be free: a guess is never met with a yes."""
    assert not lets_in(door(), Authorization=given)


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_the_token_opens(given: str) -> None:
    """The scheme in any case (RFC 9110, section 11.1)."""
    assert lets_in(door(bind="0.0.0.0:80"), "192.0.2.1", Authorization=given)


@pytest.mark.parametrize("given", [f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer ", ""])
def test_what_is_no_bearer_token_is_none(given: str) -> None:
    """And opens nothing where one is needed."""
    assert not lets_in(door(bind="0.0.0.0:80"), "192.0.2.1", Authorization=given)


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of a guess is right, it takes as long."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not lets_in(door(), Authorization=f"Bearer {TOKEN}")
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


def test_without_any_token_it_does_not_begin() -> None:
    """Unless it can be reached from this machine only."""
    with pytest.raises(ConfigError):
        AdminDoor(Config(server=Server(bind="0.0.0.0:80")), OpenDoor(), None)
    assert not lets_in(AdminDoor(Config(), OpenDoor(), None), "192.0.2.1")


async def test_the_door_looks_at_the_peer_and_not_at_what_it_says(autojump_clock: MockClock) -> None:
    """A stranger who claims to come from loopback has just said that there is a proxy."""
    async with token_mode() as gate:
        answer = await gate.ask("/metrics", peer="192.0.2.1", **{"X-Forwarded-For": "127.0.0.1"})
        assert answer.status == 401
