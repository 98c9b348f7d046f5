"""Group-sequential tests: data are looked at several times, and the error rates hold all the same."""
