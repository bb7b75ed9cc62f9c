"""Drills: measured failovers with real traffic through the pair, an event, and independent taps that record it."""
