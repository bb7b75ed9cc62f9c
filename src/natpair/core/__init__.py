"""The pure core: models, decisions, desired state. No I/O, clock, environment or logging."""
