"""Fast twins of what `method` says plainly, equal to 1e-10; notebook `24_speed` times them against it.

What other wings use of it stands in this file.
"""
