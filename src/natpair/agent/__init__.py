"""The agent: turns the outside into events, asks the core, does what it says. It decides nothing itself."""
