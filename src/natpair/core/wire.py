"""Heartbeat datagrams: sealed with HMAC-SHA256, and safe from replay.

A datagram is one line of JSON and the hex MAC of that line. Each sender has a boot id, fresh at
every start of its agent, and a counter that only grows. Within a known boot id a counter must grow
per path. A new boot id is accepted only if its message echoes a counter that *we* sent recently: a
recorded datagram cannot do that, and the boot id of an earlier start is refused. So a
replay never changes the view of the peer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pydantic import ValidationError

from natpair.core.messages import PeerMessage

VERSION = 1
"""Of the datagram and of what its fields mean. A new field of the message does not raise it: see `core/messages.py`."""
_LAST_SECOND = 2.0**40
MAX_DATAGRAM = 9216
"""A message in a frame of the largest usual MTU."""
_ECHO_WINDOW = 400
"""How many of our own messages an echo may be old: some seconds on both paths."""
_FORMER_LIVES = 64
"""How many boot ids of earlier starts are refused: more than can start within an echo window."""


class Path(StrEnum):
    """The two ways between the agents."""

    PRIVATE = "private"
    PUBLIC = "public"


class WireError(ValueError):
    """A datagram that is not a message of our peer; the text says why, never what it held."""


class BadSeal(WireError):
    """Not sealed with the pair's key."""


class OtherVersion(WireError):
    """Sealed with the pair's key, by an agent that speaks `version`."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version}, this agent speaks {VERSION}")
        self.version = version


@dataclass(frozen=True, slots=True)
class Stamp:
    """A boot id and a counter: the unique id of one message."""

    boot: str
    counter: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with everything needed to check its freshness.

    Now and then one is `fill` bytes longer than it has to be, so that its frame is as large as any of conntrackd's;
    `filled` counts those that the sender has sent, so that their loss is seen.
    """

    sender: str
    stamp: Stamp
    path: Path
    echoes: tuple[Stamp, ...]
    message: PeerMessage
    wall: float = 0.0
    """The sender's clock, seconds since 1970; 0 from a version that does not tell."""
    fill: int = 0
    filled: int = 0


def seal(key: bytes, envelope: Envelope) -> bytes:
    """The datagram for `envelope`."""
    head = json.dumps(
        {
            "v": VERSION,
            "from": envelope.sender,
            "stamp": [envelope.stamp.boot, envelope.stamp.counter],
            "path": envelope.path.value,
            "wall": round(envelope.wall, 1),
            "echo": [[echo.boot, echo.counter] for echo in envelope.echoes],
            "filled": envelope.filled,
        }
        | ({"fill": "." * envelope.fill} if envelope.fill else {}),
        separators=(",", ":"),
    )
    # Put together as text: a body that becomes a dict first takes longer, and this is done twelve times a second.
    line = f'{head[:-1]},"body":{envelope.message.model_dump_json()}}}'.encode()
    return line + b"\n" + hmac.new(key, line, hashlib.sha256).hexdigest().encode()


def unseal(key: bytes, datagram: bytes) -> Envelope:
    """The envelope in `datagram`; WireError unless it was sealed with `key` and is well formed."""
    if len(datagram) > MAX_DATAGRAM:
        raise WireError("longer than any message")
    line, _, mac = datagram.rpartition(b"\n")
    wanted = hmac.new(key, line, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(mac, wanted):
        raise BadSeal("wrong or missing MAC")
    try:
        return _parse(json.loads(line))
    except WireError:
        raise
    except (ValueError, KeyError, TypeError, ValidationError, RecursionError) as error:
        raise WireError(f"sealed but malformed ({type(error).__name__})") from error


def _stamp(raw: list[object]) -> Stamp:
    boot, counter = raw
    if not isinstance(boot, str) or not isinstance(counter, int):
        raise TypeError("stamp")
    return Stamp(boot, counter)


def _parse(raw: Mapping[str, object]) -> Envelope:
    if (version := raw["v"]) != VERSION:
        raise OtherVersion(version) if isinstance(version, int) else TypeError("version")
    echoes, stamp = raw["echo"], raw["stamp"]
    if not isinstance(echoes, list) or not isinstance(stamp, list):
        raise TypeError("echo")
    return Envelope(
        sender=str(raw["from"]),
        stamp=_stamp(stamp),
        path=Path(str(raw["path"])),
        echoes=tuple(_stamp(echo) for echo in echoes),
        message=PeerMessage.model_validate(raw["body"]),
        wall=_seconds(raw.get("wall")),
        fill=len(str(raw.get("fill", ""))),
        filled=_number(raw.get("filled")),
    )


def _number(raw: object) -> int:
    return raw if isinstance(raw, int) else 0


def _seconds(raw: object) -> float:
    return float(raw) if isinstance(raw, int | float) and abs(raw) < _LAST_SECOND else 0.0


@dataclass(frozen=True, slots=True)
class Session:
    """What one agent remembers to check its peer's datagrams. `own` is the stamp it sent last."""

    own: Stamp
    peer: str
    trusted: str = ""
    seen: Mapping[Path, int] = field(default_factory=dict)
    last_trusted: Stamp | None = None
    candidate: Stamp | None = None
    former: tuple[str, ...] = ()

    def next_stamp(self) -> Session:
        """The session after sending one more message; its `own` is that message's stamp."""
        return replace(self, own=Stamp(self.own.boot, self.own.counter + 1))

    @property
    def echoes(self) -> tuple[Stamp, ...]:
        """The stamps to echo: the trusted peer's, and that of a sender which still has to prove that it is live."""
        return tuple(stamp for stamp in (self.last_trusted, self.candidate) if stamp is not None)


def receive(session: Session, envelope: Envelope, path: Path) -> tuple[Session, bool]:
    """The session after `envelope` arrived on `path`, and whether its message is accepted."""
    if envelope.sender != session.peer or envelope.path is not path:
        return session, False
    stamp = envelope.stamp
    if stamp.boot == session.trusted:
        if stamp.counter <= session.seen.get(path, -1):
            return session, False
        return replace(session, seen={**session.seen, path: stamp.counter}, last_trusted=stamp), True
    if stamp.boot in session.former:
        return session, False
    if not _echoes_us(session.own, envelope.echoes):
        return replace(session, candidate=stamp), False
    former = (*session.former, session.trusted)[-_FORMER_LIVES:] if session.trusted else ()
    first = replace(session, trusted=stamp.boot, seen={path: stamp.counter}, last_trusted=stamp)
    return replace(first, candidate=None, former=former), True


def _echoes_us(own: Stamp, echoes: tuple[Stamp, ...]) -> bool:
    return any(echo.boot == own.boot and own.counter - _ECHO_WINDOW <= echo.counter <= own.counter for echo in echoes)
