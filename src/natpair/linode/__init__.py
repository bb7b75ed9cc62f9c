"""A typed, asynchronous client for the part of Linode's API v4 that natpair uses. It can be used without the
gateway."""
