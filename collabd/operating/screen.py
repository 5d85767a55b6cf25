"""The terminal that `collabd top` fills. Law of this file: it looks again and again, and survives a restart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from collabd.operating.server import ServerUnreachable
from collabd.operating.top import WIDE, draw, look

if TYPE_CHECKING:
    from collabd.operating.server import Server


def show(server: Server, interval: float) -> None:
    """Show the server every `interval` seconds until Ctrl-C; once where the output is no terminal."""
    console = Console()
    report = look(server)
    if not console.is_terminal:
        Console(width=max(WIDE, console.width)).print(draw(report))
        return
    with Live(draw(report, *console.size), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                problem = None
                try:
                    report = look(server)
                except ServerUnreachable as error:
                    problem = f"{error} (the figures below are old)"
                live.update(draw(report, *console.size, problem), refresh=True)
        except KeyboardInterrupt:
            return
