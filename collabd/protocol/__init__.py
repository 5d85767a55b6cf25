"""The collaboration protocol as plain functions and values.

Law of this package: no Trio, no clock, no randomness, no I/O. Time and random numbers are arguments, so everything
here is tested without an event loop. It imports only collabd.errors and msgspec.
"""
