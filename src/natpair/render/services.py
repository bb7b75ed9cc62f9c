"""The service table: what runs on a node, in start order. systemd units and the lab both start from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from natpair.core import paths
from natpair.core.model import Gateway
from natpair.render.base import RenderedFile, Sides, fill
from natpair.render.keepalived import AGENT_RT_PRIORITY, RT_PRIORITY

PROGRAM = ("/usr/bin/natpair",)
RESTART_DELAY_MS = 200
_AGENT_WATCHDOG_SECONDS = 5.0
_EX_CONFIG = 78

PREPARE = "natpair-prepare"
CONNTRACKD = "natpair-conntrackd"
BIRD = "natpair-bird"
KEEPALIVED = "natpair-keepalived"
AGENT = "natpair-agent"


@dataclass(frozen=True, slots=True)
class Service:
    """One supervised program. `start_pre` runs before each start, `stop_post` after every end.

    `restart_delay_ms` None means never again.
    """

    name: str
    argv: tuple[str, ...]
    oneshot: bool = False
    notify: bool = False
    watchdog_seconds: float | None = None
    restart_delay_ms: int | None = RESTART_DELAY_MS
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    start_pre: tuple[str, ...] = ()
    stop_post: tuple[str, ...] = ()
    rt_priority: int | None = None
    rt_limit_seconds: int = 1
    description: str = ""
    capabilities: tuple[str, ...] = ()


def services(gateway: Gateway, node: str, *, program: tuple[str, ...] = PROGRAM) -> tuple[Service, ...]:
    """What runs on `node`, in start order; `program` is how natpair itself is called there."""
    gateway.node_named(node)
    return (_prepare(program), _conntrackd(), _bird(), _keepalived(), _agent(program))


def unit_files(sides: Sides) -> tuple[RenderedFile, ...]:
    """A systemd unit for each service, named after it."""
    return tuple(_unit(sides, service) for service in services(sides.gateway, sides.node.name))


def _prepare(program: tuple[str, ...]) -> Service:
    return Service(
        PREPARE,
        (*program, "prepare"),
        oneshot=True,
        restart_delay_ms=None,
        description="natpair: kernel settings, closed ruleset and run-time folders",
    )


def _conntrackd() -> Service:
    return Service(
        CONNTRACKD,
        ("/usr/sbin/conntrackd", "-C", paths.CONNTRACKD_CONF),
        # A killed conntrackd leaves its lock file, and the next one would refuse to start.
        start_pre=("/bin/rm", "-f", paths.CONNTRACKD_LOCK),
        description="natpair: replication of flows to the peer",
        capabilities=("CAP_NET_ADMIN", "CAP_SYS_NICE", "CAP_IPC_LOCK"),
    )


def _bird() -> Service:
    return Service(
        BIRD,
        ("/usr/sbin/bird", "-f", "-c", paths.BIRD_CONF, "-s", paths.BIRD_CTL, "-P", paths.BIRD_PID),
        # A BIRD that starts is standby until the agent has looked, whatever it announced before.
        start_pre=("/bin/cp", paths.BIRD_ROLE_STANDBY, paths.BIRD_ROLE),
        description="natpair: announcement of the floating addresses",
        capabilities=("CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"),
    )


def _keepalived() -> Service:
    argv = ("/usr/sbin/keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp")
    files = ("-f", paths.KEEPALIVED_CONF, "-p", paths.KEEPALIVED_PID, "-r", paths.VRRP_PID)
    return Service(
        KEEPALIVED,
        (*argv, *files),
        rt_priority=RT_PRIORITY,
        # Keepalived writes its JSON dump to TMPDIR.
        environment=MappingProxyType({"TMPDIR": paths.KEEPALIVED_TMP}),
        description="natpair: election of the active node",
        capabilities=("CAP_NET_ADMIN", "CAP_NET_BROADCAST", "CAP_NET_RAW", "CAP_SYS_NICE", "CAP_IPC_LOCK", "CAP_KILL"),
    )


def _agent(program: tuple[str, ...]) -> Service:
    return Service(
        AGENT,
        (*program, "agent"),
        notify=True,
        watchdog_seconds=_AGENT_WATCHDOG_SECONDS,
        stop_post=(*program, "agent-stopped"),
        # A takeover must not wait for whatever else wants the CPU; Keepalived and conntrackd stand above.
        rt_priority=AGENT_RT_PRIORITY,
        # Its imports take a second of CPU without a pause on a small machine, and that must not end it.
        rt_limit_seconds=10,
        description="natpair: the agent that follows the election",
    )


def _unit(sides: Sides, service: Service) -> RenderedFile:
    text = fill(
        "service.unit.j2",
        sides,
        service=service,
        unit_lines=_unit_lines(service),
        service_lines=_service_lines(service),
    )
    return RenderedFile(f"{paths.UNITS}/{service.name}.service", text)


def _unit_lines(service: Service) -> list[str]:
    if service.name == PREPARE:
        return [
            "Wants=network-online.target",
            "After=network-online.target nftables.service systemd-modules-load.service systemd-tmpfiles-setup.service",
        ]
    # StartLimit off: a daemon that fails often must still come back at once after the cause is gone.
    return [f"Requires={PREPARE}.service", f"After={PREPARE}.service", "StartLimitIntervalSec=0"]


def _service_lines(service: Service) -> list[str]:
    kind = "oneshot" if service.oneshot else "notify" if service.notify else "exec"
    lines = [f"Type={kind}", f"ExecStart={' '.join(service.argv)}"]
    if service.oneshot:
        lines.append("RemainAfterExit=yes")
    if service.watchdog_seconds is not None:
        lines += ["NotifyAccess=main", f"WatchdogSec={service.watchdog_seconds:g}"]
    if service.start_pre:
        lines.append(f"ExecStartPre={' '.join(service.start_pre)}")
    if service.stop_post:
        lines.append(f"ExecStopPost={' '.join(service.stop_post)}")
    lines += [f"Environment={name}={value}" for name, value in sorted(service.environment.items())]
    if service.restart_delay_ms is not None:
        lines += ["Restart=always", f"RestartSec={service.restart_delay_ms}ms"]
        lines.append(f"RestartPreventExitStatus={_EX_CONFIG}")
    if service.rt_priority is not None:
        # The limit ends a daemon that spins; its waits are far shorter.
        lines += ["CPUSchedulingPolicy=rr", f"CPUSchedulingPriority={service.rt_priority}"]
        lines.append(f"LimitRTTIME={service.rt_limit_seconds}s")
    return [*lines, *_hardening(service)]


def _hardening(service: Service) -> list[str]:
    lines = ["NoNewPrivileges=yes", "ProtectHome=yes", "ProtectSystem=full", "ProtectControlGroups=yes"]
    lines += ["ProtectKernelLogs=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes", "UMask=0022"]
    if service.name in {PREPARE, AGENT}:
        # They finish what a killed apply left in these folders; a "-" forgives one that is not there.
        folders = (paths.ETC, *_folders(paths.SYSCTL, paths.MODULES_LOAD, paths.TMPFILES), paths.UNITS)
        lines.append(f"ReadWritePaths={' '.join(f'-{folder}' for folder in folders)}")
    if service.capabilities:
        lines.append(f"CapabilityBoundingSet={' '.join(service.capabilities)}")
    return lines


def _folders(*files: str) -> tuple[str, ...]:
    return tuple(file.rpartition("/")[0] for file in files)
