"""collabd: shared, durable, ordered AI runs from one Trio process."""

__version__ = "0.1.0"
