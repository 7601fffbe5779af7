"""The found networks on one's own pictures."""
