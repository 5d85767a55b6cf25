"""Whose address a request counts for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.hub.admission import make_caller
from collabd.protocol.addresses import Proxies, counted_as

PROXIES = Proxies(["10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "1.2.3.4, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7,10.9.9.9 , 10.1.1.1", "192.0.2.7"),
        ("10.0.0.1", "10.5.5.5, 10.9.9.9", "10.5.5.5"),
        ("2001:db8:1::5", "2001:DB8:2::1", "2001:db8:2::1"),
        ("10.0.0.1", "[2001:db8:2::1]:4711", "2001:db8:2::1"),
        ("10.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("10.0.0.1", "::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
    ],
)
def test_the_rightmost_address_that_is_no_proxy_of_ours_is_the_client(
    peer: str, forwarded_for: str, client: str
) -> None:
    """Each proxy adds on the right whom it got the request from."""
    assert PROXIES.client_address(peer, forwarded_for) == client


@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "2001:db8:2::1", "", "unix", "fe80::1%eth0"])
def test_nobody_else_is_believed(peer: str) -> None:
    """What a stranger writes there is a stranger's word."""
    assert PROXIES.client_address(peer, "203.0.113.9") == peer
    assert PROXIES.client_scheme(peer, "http", "https") == "http"


@pytest.mark.parametrize("garbage", ["", "unknown", "_hidden", "1.2.3", "x, y", "1.2.3.4, unknown", "😀", "1.2.3.4.5"])
def test_garbage_leaves_the_last_address_that_is_known(garbage: str) -> None:
    """The proxy's own, never what stands left of the garbage."""
    assert PROXIES.client_address("10.0.0.1", garbage) == "10.0.0.1"
    assert PROXIES.client_address("10.0.0.1", f"{garbage}, 10.2.2.2") == "10.2.2.2"


def test_without_the_header_it_is_the_peer() -> None:
    """A proxy that says nothing, or no proxy at all."""
    assert PROXIES.client_address("10.0.0.1", None) == "10.0.0.1"
    assert Proxies().client_address("127.0.0.1", "192.0.2.7") == "127.0.0.1"


def test_only_so_many_entries_are_looked_at() -> None:
    """A header of five thousand addresses must not cost five thousand times as much."""
    long = ",".join(["192.0.2.7"] + ["10.0.0.2"] * 5000)
    assert PROXIES.client_address("10.0.0.1", long) == "10.0.0.2"


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http, https", "https"),
        ("https, http", "http"),
        ("wss", "http"),
        ("", "http"),
    ],
)
def test_the_nearest_proxy_says_how_the_browser_came(said: str, scheme: str) -> None:
    """https for the Origin check where TLS ends at the proxy."""
    assert PROXIES.client_scheme("10.0.0.1", "http", said) == scheme


@given(st.text(), st.text())
def test_no_text_makes_it_fail(peer: str, forwarded_for: str) -> None:
    """Both come from outside."""
    PROXIES.client_address(peer, forwarded_for)
    PROXIES.client_address("10.0.0.1", forwarded_for)
    counted_as(peer)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("", ""),
        ("rubbish", "rubbish"),
    ],
)
def test_an_ipv6_customer_counts_as_one(address: str, counted: str) -> None:
    """One that has a /64 has more addresses than anybody can count."""
    assert counted_as(address) == counted


def test_a_header_given_twice_is_read_whole() -> None:
    """In its order (RFC 9110, section 5.3): a forged line cannot hide the proxy's own, before or after it."""
    lines = [("X-Forwarded-For", "203.0.113.9"), ("x-forwarded-for", "192.0.2.7"), ("Host", "a"), ("host", "b")]
    caller = make_caller(PROXIES, "GET", lines, "http", "10.0.0.1")
    assert caller.address == "192.0.2.7"
    assert caller.headers["host"] == "a, b"


def test_a_unix_socket_is_a_proxy_where_that_is_said() -> None:
    """Its address is empty; unlisted it is this machine's own and nothing is believed."""
    assert Proxies(["unix:"]).client_address("", "203.0.113.7, 198.51.100.2") == "198.51.100.2"
    assert Proxies(["127.0.0.1"]).client_address("", "203.0.113.7") == ""
    assert Proxies(["unix:"]).client_address("127.0.0.1", "203.0.113.7") == "127.0.0.1"
