"""The method, readable by itself: genotype, operations, super-cell, supernet, decoding, derived network, loss.

It knows torch and nothing else of this package. `fast` holds the same numbers, computed faster.
"""
