"""Experiments are values: settings, profiles, and Runs with their hashes.

It stands on `scoring` and `comparators`, and computes nothing.
"""
