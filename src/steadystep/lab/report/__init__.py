"""Reports of results: tables in a terminal, HTML pages, Markdown and CSV files."""
