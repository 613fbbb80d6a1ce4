"""Benchmarks, as ratios within one run on fixed threads: ``make bench`` or ``python -m benchmarks [name ...]``."""
