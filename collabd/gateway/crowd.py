"""How many sockets each peer has open. Law of this file: counts only; what is done about one too many is the gateway's.

Half a handshake, a kept-alive request and a WebSocket all hold a descriptor, and descriptors are everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from collabd.protocol.addresses import counted_as


class Crowd:
    """Open sockets by peer address: at most `most()` each (0: any number), but for peers that `is_exempt` names."""

    def __init__(self, most: Callable[[], int], is_exempt: Callable[[str], bool]) -> None:
        self._most = most
        self._is_exempt = is_exempt
        self._open: dict[str, int] = {}

    @contextmanager
    def joined(self, address: str) -> Iterator[bool]:
        """Count a socket of this peer for the length of the block; False where it is one too many."""
        most = self._most()
        if not most or self._is_exempt(address):
            yield True
            return
        peer = counted_as(address)
        count = self._open[peer] = self._open.get(peer, 0) + 1
        try:
            yield count <= most
        finally:
            if self._open[peer] == 1:
                del self._open[peer]
            else:
                self._open[peer] -= 1
