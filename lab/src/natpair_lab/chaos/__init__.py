"""Faults on purpose: each one of a catalogue, checked by invariants over what independent witnesses recorded."""
