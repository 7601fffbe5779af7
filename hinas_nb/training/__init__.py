"""The loops: search, training and timing, each a generator of records."""
