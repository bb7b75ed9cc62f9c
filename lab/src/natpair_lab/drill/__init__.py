"""Measured failovers: real traffic through the pair, an event, and what independent taps saw."""
