"""People read what is made here: saved tables and figures, executed notebooks as pages, the report."""
