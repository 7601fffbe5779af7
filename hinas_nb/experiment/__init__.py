"""What is asked, as values: settings, profiles, and the identity of a Run.

It stands on `scoring` and `comparators`, and computes nothing.
"""
