"""The networks of the tasks, one family per file."""
