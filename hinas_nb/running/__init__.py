"""Runs on disk: computed once, resumed, several at a time, collected into one table."""
