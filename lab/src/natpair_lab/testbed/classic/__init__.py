"""The classic design: the architecture most people run today, which natpair is measured against (docs/classic.md).

Keepalived with one-second adverts, a notify script, a BGP speaker that is restarted at each change of role, conntrackd,
plain SNAT; no agent. Nothing here is part of a natpair gateway.
"""
