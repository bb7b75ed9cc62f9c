"""Rules of the campaign's own in a switch: what the lab's cables cannot do (one way, one protocol, some packets).

They live in a table beside the lab's, so that neither forgets the other's faults. Pure text but for `put`.
"""

from __future__ import annotations

from collections.abc import Sequence

from natpair.system.process import run
from natpair_lab.testbed.world import Lab

TABLE = "natpair_chaos"
_SECONDS = 10


def ruleset(forward: Sequence[str], entering: Sequence[str] = ()) -> str:
    """The nft transaction that makes a switch drop what `forward` (between ports) and `entering` match."""
    return f"""\
add table bridge {TABLE}
delete table bridge {TABLE}
table bridge {TABLE} {{
  chain entering {{
    type filter hook prerouting priority -290; policy accept;
{_lines(entering)}  }}
  chain between {{
    type filter hook forward priority 10; policy accept;
{_lines(forward)}  }}
}}
"""


def put(lab: Lab, switch: str, forward: Sequence[str] = (), entering: Sequence[str] = ()) -> None:
    """Replace the campaign's rules of a switch; without any it drops nothing."""
    namespace = ["ip", "netns", "exec", lab.switch_netns(switch)]
    run([*namespace, "nft", "-f", "-"], stdin=ruleset(forward, entering), timeout=_SECONDS)


def _lines(rules: Sequence[str]) -> str:
    return "".join(f"    {rule} drop\n" for rule in rules)
