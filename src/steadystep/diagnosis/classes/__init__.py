"""The classes of failures: one file each, with the swaps that decide for it or against it."""
