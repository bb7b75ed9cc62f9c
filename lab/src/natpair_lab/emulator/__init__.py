"""The emulator: a stateful double of the parts of Linode API v4 that natpair uses, tested with Linode's own clients."""
