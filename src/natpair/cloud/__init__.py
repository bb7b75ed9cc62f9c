"""Create a pair on Linode from a gateway.toml and remove it: the plan, its steps, and what natpair created."""
