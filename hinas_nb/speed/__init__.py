"""Costs of networks in multiply-adds, memory and milliseconds, and their export to other engines."""
