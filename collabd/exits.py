"""The exit statuses of `collabd`, for scripts and service managers. Law of this file: a leaf, and the only place where
they stand in code; docs/cli.md says what each means, and tests hold the two together.
"""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
"""It could not be done; the line on standard error says why and what to do next. Nothing was damaged."""
UNUSABLE: Final = 2
"""Wrong usage, or a configuration or database that cannot be used: trying again as it is will not help."""
ATTENTION: Final = 3
"""It was looked at, and something wants attention: degraded, not running, a migration to be done."""
UNHEALTHY: Final = 4
INTERRUPTED: Final = 130
"""Ctrl-C, as shells have it (128 + SIGINT)."""
NO_READER: Final = 141
"""Whoever read the output went away, as shells have it (128 + SIGPIPE)."""
