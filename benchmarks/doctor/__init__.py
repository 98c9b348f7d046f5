"""A benchmark of `steadystep.diagnose`: planted failures, healthy runs, and cases as from public reports."""
