"""Peer addresses, and whose word about them counts. Law of this file: pure text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_LONGEST: Final = 64
_UNIX: Final = "unix:"
_MAX_HOPS: Final = 20
"""Entries of X-Forwarded-For that are looked at, from the right: no honest way is longer."""


def is_loopback_address(address: str) -> bool:
    """Whether a peer's address is this machine's own; a Unix socket's empty address is."""
    if not address:
        return True
    parsed = _parse(address)
    return parsed is not None and parsed.is_loopback


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """What an address counts as where peers are limited.

    One IPv6 customer has at least a /64 (RFC 6177, section 2) and with it more addresses than can be counted.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


class Proxies:
    """The proxies whose X-Forwarded headers are believed.

    `networks` are addresses or CIDR networks; `unix:` stands for whoever comes through a Unix socket.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        given = set(networks)
        self._trusts_unix = _UNIX in given
        self._networks = [ip_network(network) for network in given - {_UNIX}]

    def is_trusted(self, address: str) -> bool:
        """Whether an address is one of them; a Unix socket's is empty."""
        if not address:
            return self._trusts_unix
        parsed = _parse(address) if self._networks else None
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Whose request it is: the rightmost address in X-Forwarded-For that is no proxy of ours.

        Each proxy adds on the right whom it got the request from; what stands further left the client may have
        written. Where nothing is to be believed it is the peer itself.
        """
        if forwarded_for is None or not self.is_trusted(peer):
            return peer
        client = peer
        for entry in reversed(forwarded_for.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
            parsed = _parse(_without_port(entry.strip()))
            if parsed is None:
                break
            client = str(parsed)
            if not self.is_trusted(client):
                break
        return client

    def client_scheme(self, peer: str, scheme: str, forwarded_proto: str | None) -> str:
        """http or https, as the browser sees it: what the nearest proxy says, or how the peer came."""
        if forwarded_proto is None or not self.is_trusted(peer):
            return scheme
        said = forwarded_proto.rpartition(",")[2].strip().lower()
        return said if said in ("http", "https") else scheme


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """The address, None for what is none; nothing longer than the longest spelling is looked at, or remembered."""
    return _parse_short(address) if len(address) <= _LONGEST else None


@lru_cache(maxsize=4096)  # asked several times for each request, and dear
def _parse_short(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    # A dual-stack socket reports IPv4 peers as ::ffff:127.0.0.1, which Python takes for loopback only from 3.13 on.
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _without_port(entry: str) -> str:
    """Some proxies write a port: `192.0.2.1:5000`, `[2001:db8::1]:5000`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
