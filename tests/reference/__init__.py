"""Scalar float64 references that judge the package: Python floats and `math` only, nothing of its code."""
