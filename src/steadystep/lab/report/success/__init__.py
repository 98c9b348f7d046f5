"""Success rates as a document."""
