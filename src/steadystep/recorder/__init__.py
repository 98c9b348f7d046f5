"""The black box: what led to a failure, kept while a run goes on."""
