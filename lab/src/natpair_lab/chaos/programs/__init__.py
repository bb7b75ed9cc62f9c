"""Programs that run inside the hosts of a lab, with nothing but the standard library."""
