"""A study as data: run it from Python, and read it as data frames, figures and text."""
