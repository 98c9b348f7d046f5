"""Ten runs that fail in the ways that public reports describe, each as a user would write it down."""
