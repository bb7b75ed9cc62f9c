"""Chaos: injects the faults of a catalogue and checks invariants over the history that independent observers record."""
