"""Scalar float64 references for the tests, written with Python floats and `math` only, without the package's code."""
