"""A stateful double of the part of Linode API v4 that natpair needs, held to Linode's own published clients."""
