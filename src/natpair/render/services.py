"""The service table: what runs on a node, in start order. The systemd units and the lab are both made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from natpair.core import paths
from natpair.core.model import Gateway
from natpair.render.base import RenderedFile, Sides, fill
from natpair.render.keepalived import BIRD_RT_PRIORITY, RT_PRIORITY

PROGRAM = ("/usr/bin/natpair",)
RESTART_DELAY_MS = 200
_PREPARE_AGAIN_MS = 5000
_AGENT_WATCHDOG_SECONDS = 5.0
_AGENT_START_SECONDS = 300
HANDOVER_SECONDS = 30
"""Maximum time of a handover before a machine stops. The agent's own limits are shorter."""
_OOM_SCORE = -900

PREPARE = "natpair-prepare"
CONNTRACKD = "natpair-conntrackd"
BIRD = "natpair-bird"
KEEPALIVED = "natpair-keepalived"
AGENT = "natpair-agent"
HANDOVER = "natpair-handover"


@dataclass(frozen=True, slots=True)
class Service:
    """One supervised program. `start_pre` runs before each start, `stop` stops it, `stop_post` runs whenever it ended.

    With `restart_delay_ms` None it is never restarted; a oneshot is restarted only after a failure. The services in
    `after` start before it and stop after it. No service requires another, so that a failed one does not prevent the
    start of the others.
    """

    name: str
    argv: tuple[str, ...]
    oneshot: bool = False
    notify: bool = False
    watchdog_seconds: float | None = None
    restart_delay_ms: int | None = RESTART_DELAY_MS
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    start_pre: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    stop_post: tuple[str, ...] = ()
    after: tuple[str, ...] = (PREPARE,)
    rt_priority: int | None = None
    rt_limit_seconds: int | None = None
    description: str = ""
    capabilities: tuple[str, ...] = ()


def services(gateway: Gateway, node: str, *, program: tuple[str, ...] = PROGRAM) -> tuple[Service, ...]:
    """What runs on `node`, in start order; `program` is the command that runs natpair there."""
    gateway.node_named(node)
    return (_prepare(program), _conntrackd(), _bird(), _keepalived(), _agent(program), _handover(program))


def unit_files(sides: Sides) -> tuple[RenderedFile, ...]:
    """A systemd unit for each service, named after it."""
    return tuple(_unit(sides, service) for service in services(sides.gateway, sides.node.name))


def _prepare(program: tuple[str, ...]) -> Service:
    return Service(
        PREPARE,
        (*program, "prepare"),
        oneshot=True,
        restart_delay_ms=_PREPARE_AGAIN_MS,
        after=(),
        description="natpair: kernel settings, closed ruleset and run-time folders",
    )


def _conntrackd() -> Service:
    return Service(
        CONNTRACKD,
        ("/usr/sbin/conntrackd", "-C", paths.CONNTRACKD_CONF),
        # A killed conntrackd leaves its lock file, and the next conntrackd would refuse to start.
        start_pre=("/bin/rm", "-f", paths.CONNTRACKD_LOCK),
        description="natpair: replication of flows to the peer",
        capabilities=("CAP_NET_ADMIN", "CAP_SYS_NICE", "CAP_IPC_LOCK"),
    )


def _bird() -> Service:
    return Service(
        BIRD,
        ("/usr/sbin/bird", "-f", "-c", paths.BIRD_CONF, "-s", paths.BIRD_CTL, "-P", paths.BIRD_PID),
        # BIRD starts as standby, whatever it announced before, until the agent has checked the role.
        start_pre=("/bin/cp", paths.BIRD_ROLE_STANDBY, paths.BIRD_ROLE),
        # The same priority as the agent, so that an agent that asks cannot take BIRD's time to answer.
        rt_priority=BIRD_RT_PRIORITY,
        rt_limit_seconds=10,
        description="natpair: announcement of the floating addresses",
        capabilities=("CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_NICE"),
    )


def _keepalived() -> Service:
    # --no-syslog, because the journal would otherwise have each line twice.
    argv = ("/usr/sbin/keepalived", "--dont-fork", "--log-console", "--no-syslog", "--log-detail", "--vrrp")
    files = ("-f", paths.KEEPALIVED_CONF, "-p", paths.KEEPALIVED_PID, "-r", paths.VRRP_PID)
    return Service(
        KEEPALIVED,
        (*argv, *files),
        rt_priority=RT_PRIORITY,
        rt_limit_seconds=1,
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
        # The agent stops first, because its last actions need the other daemons.
        after=(PREPARE, CONNTRACKD, BIRD, KEEPALIVED),
        # The agent sets its real-time priority itself after its imports, which would delay the rest of the machine.
        rt_limit_seconds=10,
        description="natpair: the agent that follows the election",
    )


def _handover(program: tuple[str, ...]) -> Service:
    return Service(
        HANDOVER,
        ("/bin/true",),
        oneshot=True,
        restart_delay_ms=None,
        # Only a stop of all of natpair, such as a reboot, stops this service; it is the first to be stopped.
        stop=(*program, "agent-stopping"),
        after=(PREPARE, CONNTRACKD, BIRD, KEEPALIVED, AGENT),
        description="natpair: handover before this machine or all of natpair stops",
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
            "StartLimitIntervalSec=0",
        ]
    # Wants, not Requires: a restart of natpair-prepare must not stop the others, nor its failure at boot prevent them.
    # The network's units stop after these. StartLimit is off: a daemon that failed often must still restart at once
    # when the cause is gone.
    after = " ".join(["network.target", *(f"{name}.service" for name in service.after)])
    return [f"Wants={PREPARE}.service", f"After={after}", "StartLimitIntervalSec=0"]


def _service_lines(service: Service) -> list[str]:
    kind = "oneshot" if service.oneshot else "notify" if service.notify else "exec"
    lines = [f"Type={kind}", f"ExecStart={' '.join(service.argv)}"]
    if service.oneshot:
        lines.append("RemainAfterExit=yes")
    if service.watchdog_seconds is not None:
        lines += ["NotifyAccess=main", f"WatchdogSec={service.watchdog_seconds:g}"]
        lines.append(f"TimeoutStartSec={_AGENT_START_SECONDS}")
    if service.stop:
        lines += [f"ExecStop={' '.join(service.stop)}", f"TimeoutStopSec={HANDOVER_SECONDS}"]
    if service.start_pre:
        lines.append(f"ExecStartPre={' '.join(service.start_pre)}")
    if service.stop_post:
        lines.append(f"ExecStopPost={' '.join(service.stop_post)}")
    lines += [f"Environment={name}={value}" for name, value in sorted(service.environment.items())]
    if service.restart_delay_ms is not None:
        again = "on-failure" if service.oneshot else "always"
        lines += [f"Restart={again}", f"RestartSec={service.restart_delay_ms}ms"]
    if service.rt_priority is not None:
        lines += ["CPUSchedulingPolicy=rr", f"CPUSchedulingPriority={service.rt_priority}"]
    if service.rt_limit_seconds is not None:
        # The limit ends a daemon in an endless loop. Its normal work between two waits is far shorter.
        lines.append(f"LimitRTTIME={service.rt_limit_seconds}s")
    if not service.oneshot:
        # When memory runs out, the kernel kills these last.
        lines.append(f"OOMScoreAdjust={_OOM_SCORE}")
    return [*lines, *_hardening(service)]


def _hardening(service: Service) -> list[str]:
    # read-only, because natpair may be installed in a venv below /root or /home.
    lines = ["NoNewPrivileges=yes", "ProtectHome=read-only", "ProtectSystem=full", "ProtectControlGroups=yes"]
    lines += ["ProtectKernelLogs=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes", "UMask=0022"]
    lines += ["ProtectHostname=yes", "SystemCallArchitectures=native"]
    if service.name in {PREPARE, AGENT}:
        # These two undo a killed apply in these folders; the "-" allows a folder to be missing.
        folders = (
            paths.ETC,
            *_folders(paths.SYSCTL, paths.MODULES_LOAD, paths.TMPFILES, paths.NEEDRESTART),
            paths.UNITS,
        )
        lines.append(f"ReadWritePaths={' '.join(f'-{folder}' for folder in folders)}")
    if service.capabilities:
        lines.append(f"CapabilityBoundingSet={' '.join(service.capabilities)}")
    return lines


def _folders(*files: str) -> tuple[str, ...]:
    return tuple(file.rpartition("/")[0] for file in files)
