"""The faults, one module a kind: each row of the catalogue with its code."""
