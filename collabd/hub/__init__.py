"""Runs and who is in them: the part of collabd that persists, numbers and tells.

Law of this package: the only tasks are those that a run or the hub owns in its nursery. Whoever persists also tells;
a connection's own task only reads, checks and hands over, so losing it never loses or half-tells an event.
"""
