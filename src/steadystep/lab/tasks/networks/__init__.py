"""The networks of the tasks, one family a file."""
