"""Show the progress of a study and estimate how long it will still take."""
