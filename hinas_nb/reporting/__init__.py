"""What people read: saved tables and figures, executed notebooks as pages, the report."""
