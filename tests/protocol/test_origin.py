"""Which browser pages may talk to this server."""

from __future__ import annotations

import pytest

from collabd.protocol.addresses import is_loopback_address
from collabd.protocol.origin import origin_allowed, origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://example.com", "http://example.com:80"),
        ("https://EXAMPLE.com/", "https://example.com:443"),
        ("http://example.com:8080/path?x", "http://example.com:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("HTTP://example.com:80", "http://example.com:80"),
        ("null", ""),
        ("", ""),
        ("example.com", ""),
        ("http://", ""),
        ("http://example.com:port", ""),
        ("http://example.com:99999", ""),
        ("file:///etc/hosts", ""),
        ("http://[::1", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    """Compared in one form; what is no such URL is no origin (RFC 6454)."""
    assert origin_of(url) == origin


def allowed(
    origin: str | None,
    *,
    host: str = "127.0.0.1:8080",
    scheme: str = "http",
    public_url: str | None = None,
    listed: tuple[str, ...] = (),
) -> bool:
    """Whether a page may connect, with the usual surroundings."""
    return origin_allowed(origin, host=host, scheme=scheme, public_url=public_url, allowed=listed)


def test_no_origin_is_no_browser() -> None:
    """Scripts and agents send none."""
    assert allowed(None)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8080", "HTTP://127.0.0.1:8080"])
def test_the_servers_own_pages_may(origin: str) -> None:
    """Scheme, host and port of the request itself."""
    assert allowed(origin)


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "https://127.0.0.1:8080", "http://127.0.0.1", "http://127.0.0.1:8081", "http://localhost:8080"),
        *("http://127.0.0.1:8080.evil.example", "http://127.0.0.1:8080@evil.example", "http://evil.example"),
    ],
)
def test_other_pages_may_not(origin: str) -> None:
    """Another scheme, host or port is another origin, however alike."""
    assert not allowed(origin)


def test_behind_a_proxy_the_public_url_is_the_servers_own_origin() -> None:
    """And the address behind the proxy is not."""
    assert allowed("https://app.example", public_url="https://app.example/")
    assert not allowed("http://127.0.0.1:8080", public_url="https://app.example/")


def test_listed_origins_may() -> None:
    """In whatever spelling they are listed."""
    listed = ("https://one.example", "https://TWO.example:443/")
    assert allowed("https://one.example", listed=listed)
    assert allowed("https://two.example", listed=listed)
    assert not allowed("http://two.example", listed=listed)
    assert not allowed("null", listed=listed)


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("", True), ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False), ("::", False), ("0.0.0.0", False), ("localhost", False), ("fe80::1%eth0", False),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_and_a_unix_socket(address: str, is_local: bool) -> None:
    """What cannot be read is not trusted."""
    assert is_loopback_address(address) == is_local
