"""Peer addresses. Law of this file: pure text."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback_address(address: str) -> bool:
    """Whether a peer's address is this machine's own; a Unix socket's empty address is."""
    if not address:
        return True
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    # A dual-stack socket reports IPv4 peers as ::ffff:127.0.0.1, which Python takes for loopback only from 3.13 on.
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
