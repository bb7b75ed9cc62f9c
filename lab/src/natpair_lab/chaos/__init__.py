"""Faults on purpose: each one of a catalogue, judged by invariants over what independent witnesses recorded."""
