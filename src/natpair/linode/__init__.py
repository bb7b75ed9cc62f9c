"""Linode's API v4, the part natpair uses: typed, asynchronous, knows nothing of the gateway and can be used alone."""
