"""Benches: natpair beside the architecture people run today, in one run on one machine."""
