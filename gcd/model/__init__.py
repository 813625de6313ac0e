"""
The vocabulary of gcd: identifiers, readings, facts, the inventory, the graph, findings and the result of a run.

Everything here is a frozen value or a pure function over such values: no I/O, no clock, nothing but the standard
library.
"""
