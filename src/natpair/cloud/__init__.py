"""From a gateway.toml to a running pair on Linode and back: what to make, in which order, and what was made by us."""
