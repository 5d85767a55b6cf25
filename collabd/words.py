"""Numbers as people read them. Law of this file: a leaf; numbers in, a few words out."""

from __future__ import annotations


def count(number: int, what: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size(size_bytes: int) -> str:
    """A size in bytes with three digits or so: `12.3 MB`."""
    if size_bytes < 10_000:
        return f"{size_bytes:,} B"
    for unit, factor in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if size_bytes < 1000 * factor:
            return (
                f"{size_bytes / factor:.3g} {unit}"
                if size_bytes >= 100 * factor
                else f"{size_bytes / factor:.1f} {unit}"
            )
    return f"{size_bytes / 1e12:,.1f} TB"


def age(seconds: float) -> str:
    """A span of time in its largest unit: `3 d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
