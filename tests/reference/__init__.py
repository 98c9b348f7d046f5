"""Scalar float64 references to test the package against: Python floats and `math` only, none of its code."""
