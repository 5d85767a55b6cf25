"""Benchmarks: collabd beside its peers on one machine, in one run, by one load generator.

`python -m benchmarks` runs the table, `python -m benchmarks --quick` one workload against the peer that is quickest
to install. Law of this package: it measures and compares; nothing in `collabd` may import it.
"""
