"""Peer addresses. Law of this file: pure text."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback_address(address: str) -> bool:
    """Whether a peer's address is this machine's own; a Unix socket's empty address is."""
    if not address:
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
