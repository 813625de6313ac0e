"""
Synthetic Docker roots: a builder that writes what an engine would write, a bolt writer, and planters of faults.

Used by ``gcd demo``, by the tests and by the benchmarks. Writes only below a directory that it made itself.
"""
