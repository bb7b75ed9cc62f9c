"""Programs that run inside the hosts of a lab. They use only the standard library."""
