"""Which browser pages may talk to this server (RFC 6454, RFC 6455 section 10.2). Law of this file: pure text."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def origin_of(url: str) -> str:
    """scheme://host:port of a URL, lower-case and with the port always there; empty for what is no such URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    if not parts.hostname or not port:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def origin_allowed(
    origin: str | None, *, host: str, scheme: str, public_url: str | None, allowed: Sequence[str]
) -> bool:
    """Whether a request with this Origin header may act: no Origin (no browser), same origin, or a listed one.

    `host` is the Host header, `scheme` http or https; where `public_url` is set, that is this server's own origin.
    """
    if origin is None:
        return True
    asked = origin_of(origin)
    if not asked:
        return False
    own = public_url or f"{scheme}://{host}"
    return asked == origin_of(own) or origin_listed(origin, allowed)


def origin_listed(origin: str, allowed: Sequence[str]) -> bool:
    """Whether an Origin header names a listed origin."""
    asked = origin_of(origin)
    return bool(asked) and any(asked == origin_of(entry) for entry in allowed)
