"""Benches: compare natpair with the classic design, in one run on one machine."""
