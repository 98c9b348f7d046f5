"""From a study's statistics to what people read: a terminal table, an HTML page, Markdown and CSV files."""
