"""Drift: what the kernel and the disk hold that is not as rendered, who may have changed it, and how to repair it."""
