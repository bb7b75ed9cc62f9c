"""From `gateway.toml` to a validated `Gateway`, or to the list of everything that is wrong with it."""
