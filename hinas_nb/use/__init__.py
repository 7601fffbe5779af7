"""The found networks applied to one's own pictures."""
