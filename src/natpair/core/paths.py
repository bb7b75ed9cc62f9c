"""Where everything lives on a node, in one place; the lab gives each node a private copy of these folders.

Constants only. Rendered files stay below `ETC` except the few that systemd, sysctl and modprobe read
from folders of their own, which carry natpair's name and belong to no other package.
"""

from __future__ import annotations

ETC = "/etc/natpair"
CONFIG = f"{ETC}/gateway.toml"
KEY = f"{ETC}/pair.key"

GENERATED = f"{ETC}/generated"
KEEPALIVED_CONF = f"{GENERATED}/keepalived.conf"
CONNTRACKD_CONF = f"{GENERATED}/conntrackd.conf"
BIRD_CONF = f"{GENERATED}/bird.conf"
NFTABLES = f"{GENERATED}/nftables.nft"
TRAFFIC_LOCAL = f"{GENERATED}/traffic-local.nft"
TRAFFIC_RELAY = f"{GENERATED}/traffic-relay.nft"
TRAFFIC_CLOSED = f"{GENERATED}/traffic-closed.nft"
DUPLICATE_ON = f"{GENERATED}/duplicate-on.nft"
DUPLICATE_OFF = f"{GENERATED}/duplicate-off.nft"
SYNC_FENCE_ON = f"{GENERATED}/sync-fence-on.nft"
SYNC_FENCE_OFF = f"{GENERATED}/sync-fence-off.nft"
BIRD_ROLE_STANDBY = f"{GENERATED}/bird-standby.conf"
ROUTES = f"{GENERATED}/routes.ip"
GUARD = f"{GENERATED}/guard.tc"
FORWARDING = f"{GENERATED}/forwarding.sysctl"

SYSCTL = "/etc/sysctl.d/60-natpair.conf"
MODULES_LOAD = "/etc/modules-load.d/natpair.conf"
TMPFILES = "/etc/tmpfiles.d/natpair.conf"
UNITS = "/etc/systemd/system"

RUN = "/run/natpair"
AGENT_SOCKET = f"{RUN}/agent.sock"
NOTIFY_FIFO = f"{RUN}/notify.fifo"
TRACK = f"{RUN}/track"
TRACK_HEALTH = f"{TRACK}/health"
TRACK_BOOST = f"{TRACK}/boost"
BIRD_RUN = f"{RUN}/bird"
BIRD_ROLE = f"{BIRD_RUN}/role.conf"
BIRD_CTL = f"{RUN}/bird.ctl"
BIRD_PID = f"{RUN}/bird.pid"
CONNTRACKD_CTL = f"{RUN}/conntrackd.ctl"
CONNTRACKD_LOCK = f"{RUN}/conntrackd.lock"
KEEPALIVED_PID = f"{RUN}/keepalived.pid"
VRRP_PID = f"{RUN}/vrrp.pid"
KEEPALIVED_TMP = f"{RUN}/keepalived"
KEEPALIVED_JSON = f"{KEEPALIVED_TMP}/keepalived.json"
STATE = f"{RUN}/state.json"

VAR = "/var/lib/natpair"
EPOCH = f"{VAR}/epoch"
DRAINED = f"{VAR}/drained"
EVENTS = f"{VAR}/events.jsonl"
APPLY_JOURNAL = f"{VAR}/apply"
