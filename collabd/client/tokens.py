"""When a token has to be renewed.

Law of this file: docs/client-behaviour.md R52. Pure: wall-clock times are seconds since 1970 of the *server's* clock.
A token is never verified here; that is the server's work.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Final

from collabd.client.settings import TOKEN_LEEWAY_S

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


def checked_token(value: object) -> str:
    """A token as it may stand in a header, without white space around it. Raises TypeError or ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"a token is a str, not {type(value).__name__}")
    token = value.strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError("a token is ASCII without spaces or line breaks, and not empty")
    return token


def expiry_of(token: str) -> float | None:
    """The `exp` of a token that looks like a JWT (RFC 7519), in seconds since 1970; None if it has none."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(expiry, bool) or not isinstance(expiry, int | float):
        return None
    try:
        seconds = float(expiry)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def renewal_due_in(expiry: float, server_now: float) -> float:
    """Seconds until a token that expires at `expiry` should be renewed: before its end, with time to spare."""
    left = expiry - server_now
    return max(0.0, left - min(TOKEN_LEEWAY_S, 0.2 * left))
