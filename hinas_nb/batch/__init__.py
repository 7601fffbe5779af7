"""The front door: what notebooks ask for, how long it takes, and their headless execution by papermill."""
