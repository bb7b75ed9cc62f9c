"""A toy Keepalived: one VRRPv3 instance as natpair configures it (BACKUP, nopreempt, track files, unicast).

After RFC 9568 section 6.4 and what Keepalived 2.2.7 does beyond it: a track file of weight 0 puts the instance into
FAULT, leaving the role sends a priority 0 advert, and `nopreempt` makes a backup content with any advert. Gratuitous
ARP is sent as keepalived.conf asks for it: on taking the role, a second later, with the first advert 5 s after the last
refresh, and as answer to an advert of lower priority.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from natpair.core.messages import VrrpRole
from simulation.clock import Clock

GARP_DELAY = 1.0
"""garp_master_delay"""
GARP_REFRESH = 5.0
"""garp_master_refresh"""


@dataclass(frozen=True)
class Advert:
    """`interval` 0: as the receiver's own."""

    priority: int
    address: int
    interval: float = 0.0


class Keepalived:
    """`send` puts an advert on the VLAN, `claim` gratuitous ARP, `notify` is the FIFO."""

    def __init__(
        self,
        clock: Clock,
        base: int,
        interval: float,
        down_after: int,
        send: Callable[[Advert], None],
        claim: Callable[[], None],
        notify: Callable[[VrrpRole], None],
    ) -> None:
        self._clock = clock
        self._base = base
        self._interval = interval
        self._down_after = down_after
        self._send = send
        self._claim = claim
        self._refresh_at = 0.0
        self._notify = notify
        self._deadline = 0.0
        self._timer = 0
        self.role = VrrpRole.INIT
        self.eligible = False
        self.link_up = True
        self.boost = 0
        self.running = False
        self.vip = False
        """In the kernel: a Keepalived that hangs or was killed leaves it there."""
        self._masters_interval = interval

    @property
    def priority(self) -> int:
        return min(self._base + self.boost, 254)

    @property
    def _skew(self) -> float:
        return (256 - self.priority) / 256 * self._masters_interval

    @property
    def _down(self) -> float:
        """RFC 9568 section 6.1: by the interval that the master tells."""
        return self._down_after * self._masters_interval + self._skew

    def start(self) -> None:
        self.running = True
        self.look()

    def look(self) -> None:
        """Track file or link have changed."""
        if not self.running:
            return
        fit = self.eligible and self.link_up
        if not fit and self.role is not VrrpRole.FAULT:
            if self.role is VrrpRole.MASTER:
                self._send(Advert(0, self._base, self._interval))
            self._become(VrrpRole.FAULT)
        elif fit and self.role in {VrrpRole.FAULT, VrrpRole.INIT}:
            self._become(VrrpRole.BACKUP)
            self._wait(self._down)

    def hear(self, advert: Advert) -> None:
        if not self.running or not self.link_up:
            return
        if self.role is VrrpRole.BACKUP:
            self._masters_interval = advert.interval or self._interval
            self._wait(self._skew if advert.priority == 0 else self._down)
        elif self.role is VrrpRole.MASTER and advert.priority == 0:
            self._advertise()
        elif self.role is VrrpRole.MASTER:
            if (advert.priority, advert.address) > (self.priority, self._base):
                self._become(VrrpRole.BACKUP)
                self._wait(self._down)
            else:
                self._send(Advert(self.priority, self._base, self._interval))  # vrrp_higher_prio_send_advert
                self._claim()  # vrrp_garp_lower_prio_repeat

    def thaw(self) -> None:
        """After a standstill timers that ran out meanwhile fire, one by one as they come."""
        self.running = True
        if self.role is VrrpRole.BACKUP:
            self._wait(max(0.0, self._deadline - self._clock.now))
        elif self.role is VrrpRole.MASTER:
            self._advertise()

    def end(self) -> None:
        """SIGTERM: it says goodbye and takes the VIP away."""
        if self.running and self.role is VrrpRole.MASTER:
            self._send(Advert(0, self._base, self._interval))
        self._become(VrrpRole.INIT)
        self.running = False

    def _become(self, role: VrrpRole) -> None:
        self.role = role
        self.vip = role is VrrpRole.MASTER
        self._timer += 1
        if self.vip:
            self._claim_now_and_later()
        self._notify(role)

    def _claim_now_and_later(self) -> None:
        due = self._refresh_at = self._clock.now + GARP_REFRESH
        self._claim()

        def again() -> None:
            if due == self._refresh_at and self.running and self.role is VrrpRole.MASTER:
                self._claim()

        self._clock.after(GARP_DELAY, again)

    def _wait(self, seconds: float) -> None:
        self._timer += 1
        timer = self._timer
        self._deadline = self._clock.now + seconds

        def expire() -> None:
            if timer == self._timer and self.running and self.role is VrrpRole.BACKUP:
                self._become(VrrpRole.MASTER)
                self._advertise()

        self._clock.at(self._deadline, expire)

    def _advertise(self) -> None:
        self._timer += 1
        timer = self._timer

        def again() -> None:
            if timer == self._timer and self.running and self.role is VrrpRole.MASTER:
                if self._clock.now >= self._refresh_at:
                    self._refresh_at = self._clock.now + GARP_REFRESH
                    self._claim()
                self._send(Advert(self.priority, self._base, self._interval))
                self._clock.after(self._interval, again)

        again()
