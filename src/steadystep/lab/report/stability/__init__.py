"""The report of a learning rate sweep."""
