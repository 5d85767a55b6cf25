"""The long forms of the tortures: `python -m tests.torture NAME [options]`; `NAME --help` tells a torture's options.

Law of this file: it finds the module NAME of this directory and hands over to its `main(arguments)`, whose answer is
the exit status: 0 when everything held, 1 when something did not, with what and the seed that shows it again.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def names() -> list[str]:
    """The tortures there are: the modules beside this one that have a `main`."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return [
        module.stem
        for module in modules
        if module.stem != "__main__" and "\ndef main(arguments: list[str]) -> int:" in module.read_text()
    ]


def main(arguments: list[str]) -> int:
    """Run the torture that the first argument names."""
    if not arguments or arguments[0] not in names():
        print(f"usage: python -m tests.torture {'|'.join(names())} [options]", file=sys.stderr)
        return 2
    status: int = import_module(f"tests.torture.{arguments[0]}").main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
