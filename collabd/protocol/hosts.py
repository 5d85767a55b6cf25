"""By which names this server may be called (the Host header, RFC 9110, section 7.2). Law of this file: pure text.

A page of evil.example can have that name point to this server (DNS rebinding), and is then of the same origin as
whatever answers there. So only names that the operator knows are answered. An IP address cannot be rebound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

ANY: Final = "*"
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?", re.ASCII)


class KnownHosts:
    """The names and addresses that a request may be for; the port never matters.

    `names` are host names or addresses, `*` for all. `is_local` says that the server listens on loopback only: then
    no other address is its own.
    """

    def __init__(self, names: Iterable[str], *, is_local: bool) -> None:
        self._names = {name.lower().strip("[]") for name in names if name} | {"localhost"}
        self._is_local = is_local

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server."""
        if ANY in self._names:
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().removesuffix(".").strip("[]")
        return name in self._names or self._is_own_address(name)

    def _is_own_address(self, name: str) -> bool:
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._is_local
