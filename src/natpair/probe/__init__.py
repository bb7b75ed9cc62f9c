"""The platform probe: what no document says about a provider's network, measured and turned into settings."""
