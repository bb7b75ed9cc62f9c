"""A short fingerprint of a configuration, by which the two nodes see that they run the same one."""

from __future__ import annotations

import hashlib
import json

from natpair.core.model import Gateway

HASH_DIGITS = 16


def config_hash(gateway: Gateway) -> str:
    """16 hex digits over the meaning of the file: defaults filled in, order of keys and comments ignored."""
    canonical = json.dumps(gateway.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_DIGITS]
