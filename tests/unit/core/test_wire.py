"""Heartbeat datagrams: what goes in comes out, what was tampered with does not, and no replay changes anything."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.wire import Envelope, OtherVersion, Path, Session, Stamp, WireError, receive, seal, unseal
from node_strategies import messages

KEY = b"k" * 32
MESSAGE = PeerMessage(phase=Phase.ACTIVE, vrrp=VrrpRole.MASTER, epoch=20, clients=("192.168.1.101",))
ENVELOPE = Envelope("nat-b", Stamp("boot-1", 7), Path.PUBLIC, (Stamp("mine", 3),), MESSAGE)

boots, counters = st.text(max_size=20), st.integers(0, 2**62)
stamps = st.builds(Stamp, boots, counters)
envelopes = st.builds(
    Envelope,
    sender=st.text(max_size=30),
    stamp=stamps,
    path=st.sampled_from(Path),
    echoes=st.lists(stamps, max_size=2).map(tuple),
    message=messages,
)


@given(st.binary(min_size=1), envelopes)
def test_what_is_sealed_is_unsealed_the_same(key: bytes, envelope: Envelope) -> None:
    assert unseal(key, seal(key, envelope)) == envelope


@pytest.mark.parametrize("position", range(len(seal(KEY, ENVELOPE))))
def test_any_changed_byte_is_refused(position: int) -> None:
    datagram = bytearray(seal(KEY, ENVELOPE))
    datagram[position] ^= 0x01
    with pytest.raises(WireError):
        unseal(KEY, bytes(datagram))


@settings(max_examples=200)
@given(st.data())
def test_any_cut_or_longer_datagram_is_refused(data: st.DataObject) -> None:
    datagram = seal(KEY, ENVELOPE)
    short = datagram[: data.draw(st.integers(0, len(datagram) - 1))]
    long = datagram + data.draw(st.binary(min_size=1, max_size=70))
    for wrong in (short, long):
        with pytest.raises(WireError):
            unseal(KEY, wrong)


@given(st.binary(min_size=1, max_size=64).filter(lambda key: key.ljust(64, b"\0") != KEY.ljust(64, b"\0")))
def test_another_key_is_refused(key: bytes) -> None:
    with pytest.raises(WireError, match="MAC"):
        unseal(key, seal(KEY, ENVELOPE))


@settings(max_examples=300)
@given(st.binary(max_size=5000))
@example(b"")
@example(b"\n")
@example(b"\n" + b"0" * 64)
@example(b"{}\n" + "\u00e9".encode() * 32)
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(WireError):
        unseal(KEY, noise)


def sealed(line: bytes) -> bytes:
    """What only somebody with the key can send: a good MAC over anything."""
    return line + b"\n" + hmac.new(KEY, line, hashlib.sha256).hexdigest().encode()


def with_changes(**changes: object) -> bytes:
    line = json.loads(seal(KEY, ENVELOPE).split(b"\n")[0])
    for key, value in changes.items():
        if value is ...:
            del line[key]
        else:
            line[key] = value
    return sealed(json.dumps(line).encode())


BODY = MESSAGE.model_dump(mode="json")


@pytest.mark.parametrize(
    "datagram",
    [
        with_changes(v=2),
        with_changes(v="1"),
        with_changes(v=...),
        with_changes(stamp="boot"),
        with_changes(stamp=["boot"]),
        with_changes(stamp=["boot", 1, 2]),
        with_changes(stamp=["boot", "1"]),
        with_changes(stamp=[1, 1]),
        with_changes(path="wifi"),
        with_changes(echo=None),
        with_changes(echo=[["a"]]),
        with_changes(echo=[1]),
        with_changes(body=...),
        with_changes(body={**BODY, "phase": "king"}),
        with_changes(body={**BODY, "epoch": -1}),
        with_changes(body={**BODY, "epoch": 2**63}),
        with_changes(body={**BODY, "clients": ["192.168.1.1"] * 5}),
        with_changes(body={**BODY, "config_hash": "x" * 65}),
        sealed(b"[]"),
        sealed(b"null"),
        sealed(b"\xff"),
        sealed(b"[" * 3000),
    ],
)
def test_even_with_the_key_nonsense_is_refused(datagram: bytes) -> None:
    with pytest.raises(WireError):
        unseal(KEY, datagram)


def test_another_version_is_named_as_such() -> None:
    with pytest.raises(OtherVersion, match="version 2") as caught:
        unseal(KEY, with_changes(v=2, body="whatever that version says"))
    assert caught.value.version == 2


def test_without_the_key_nobody_can_claim_another_version() -> None:
    with pytest.raises(WireError) as caught:
        unseal(b"x" * 32, with_changes(v=2))
    assert not isinstance(caught.value, OtherVersion)


def test_the_next_release_and_the_last_one_are_understood() -> None:
    """A rolling upgrade: fields that are not known here are passed over, but sealed; optional ones may be missing."""
    more = unseal(KEY, with_changes(hint=1, body={**BODY, "of_tomorrow": {"x": [1]}}))
    assert more == ENVELOPE
    less = unseal(KEY, with_changes(body={"phase": "active", "vrrp": "MASTER"}))
    assert less.message == PeerMessage(phase=Phase.ACTIVE, vrrp=VrrpRole.MASTER)
    for needed in ("phase", "vrrp"):
        with pytest.raises(WireError, match="malformed"):
            unseal(KEY, with_changes(body={name: value for name, value in BODY.items() if name != needed}))


def test_a_refusal_never_shows_what_the_datagram_held() -> None:
    with pytest.raises(WireError) as caught:
        unseal(KEY, with_changes(body={**BODY, "config_hash": "secret" * 20}))
    assert "secret" not in str(caught.value)
    assert KEY.decode() not in str(caught.value)


def test_what_is_too_long_is_refused_unread() -> None:
    with pytest.raises(WireError, match="longer"):
        unseal(KEY, sealed(b" " * 10_000))


@given(envelopes)
def test_no_message_of_ours_is_too_long(envelope: Envelope) -> None:
    """What an agent sends has a name of 32, boot ids of 16 and two echoes; drawn here are worse ones."""
    assert len(seal(KEY, envelope)) < 2048


# --- sessions


class Speaker:
    """One agent's end: everything it ever sent is kept, for replays."""

    def __init__(self, name: str, peer: str, boot: str) -> None:
        self.name = name
        self.session = Session(own=Stamp(boot, 0), peer=peer)
        self.sent: list[Envelope] = []

    def send(self, path: Path = Path.PRIVATE) -> Envelope:
        self.session = self.session.next_stamp()
        self.sent.append(Envelope(self.name, self.session.own, path, self.session.echoes, MESSAGE))
        return self.sent[-1]

    def hear(self, envelope: Envelope) -> bool:
        self.session, believed = receive(self.session, envelope, envelope.path)
        return believed


def two() -> tuple[Speaker, Speaker]:
    return Speaker("nat-a", "nat-b", "a1"), Speaker("nat-b", "nat-a", "b1")


def acquainted() -> tuple[Speaker, Speaker]:
    ours, theirs = two()
    for _ in range(3):
        for path in Path:
            theirs.hear(ours.send(path))
            ours.hear(theirs.send(path))
    return ours, theirs


@pytest.mark.parametrize("path", Path)
def test_two_strangers_believe_each_other_within_three_messages(path: Path) -> None:
    ours, theirs = two()
    assert not theirs.hear(ours.send(path)), "anybody could have recorded this one"
    assert ours.hear(theirs.send(path)), "it echoes what we have just sent"
    assert theirs.hear(ours.send(path))


def test_believed_messages_go_on_being_believed_on_both_paths() -> None:
    ours, theirs = acquainted()
    for path in [*Path, *Path]:
        assert ours.hear(theirs.send(path))
        assert theirs.hear(ours.send(path))


def test_a_restarted_peer_is_believed_again_within_three_messages() -> None:
    ours, _ = acquainted()
    again = Speaker("nat-b", "nat-a", "b2")
    assert not ours.hear(again.send())
    assert again.hear(ours.send())
    assert ours.hear(again.send())
    assert ours.session.trusted == "b2"


def test_the_old_life_of_a_restarted_peer_is_not_believed_any_more() -> None:
    ours, theirs = acquainted()
    again = Speaker("nat-b", "nat-a", "b2")
    ours.hear(again.send())
    again.hear(ours.send())
    assert ours.hear(again.send())
    before = ours.session
    for recorded in [*theirs.sent, theirs.send()]:
        assert not ours.hear(recorded)
    assert ours.session == before
    assert ours.hear(again.send())


@settings(max_examples=200)
@given(st.data())
def test_no_replay_is_ever_believed(data: st.DataObject) -> None:
    """Whatever was heard before, on whichever path, in any order: it is not believed again, and trust stays."""
    ours, theirs = acquainted()
    heard = list(theirs.sent)
    for recorded in data.draw(st.lists(st.sampled_from(heard), max_size=20)):
        before = ours.session
        assert not ours.hear(recorded)
        assert (ours.session.trusted, ours.session.seen) == (before.trusted, before.seen)
        if data.draw(st.booleans()):
            assert ours.hear(theirs.send(recorded.path)), "and the real peer is not disturbed"


@settings(max_examples=100)
@given(st.data())
def test_a_recording_of_an_earlier_life_is_not_believed_by_a_fresh_agent(data: st.DataObject) -> None:
    _, theirs = acquainted()
    recorded = list(theirs.sent)
    fresh = Speaker("nat-a", "nat-b", "a2")
    for envelope in data.draw(st.lists(st.sampled_from(recorded), max_size=20)):
        if data.draw(st.booleans()):
            fresh.send(envelope.path)
        assert not fresh.hear(envelope)
        assert fresh.session.trusted == ""


def test_a_stranger_who_replays_does_not_keep_the_real_peer_out() -> None:
    ours, old = acquainted()
    again = Speaker("nat-b", "nat-a", "b2")
    for recorded in old.sent[:5]:
        ours.hear(recorded)
        ours.hear(again.send())
        again.hear(ours.send())
    assert ours.hear(again.send())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e: replace(e, path=Path.PRIVATE), "of the other path"),
        (lambda e: replace(e, sender="nat-a"), "of ourselves"),
        (lambda e: replace(e, sender="nat-c"), "of somebody else"),
    ],
)
def test_only_the_peers_messages_of_this_path_count(change: Callable[[Envelope], Envelope], why: str) -> None:
    ours, theirs = acquainted()
    envelope = change(theirs.send(Path.PUBLIC))
    before = ours.session
    session, believed = receive(before, envelope, Path.PUBLIC)
    assert not believed, why
    assert session == before


@pytest.mark.parametrize(("behind", "believed"), [(0, True), (400, True), (401, False), (-1, False)])
def test_an_echo_must_point_to_what_we_sent_lately(behind: int, believed: bool) -> None:
    own = Stamp("a1", 1000)
    session = Session(own=own, peer="nat-b")
    envelope = replace(ENVELOPE, echoes=(Stamp("a1", own.counter - behind),))
    assert receive(session, envelope, Path.PUBLIC)[1] is believed


@settings(max_examples=100)
@given(st.permutations(range(12)))
def test_late_messages_of_a_path_are_dropped_and_the_paths_do_not_hold_up_each_other(order: list[int]) -> None:
    ours, theirs = acquainted()
    batch = [theirs.send(path) for _ in range(6) for path in Path]
    newest: dict[Path, int] = {}
    for index in order:
        envelope = batch[index]
        fresh = envelope.stamp.counter > newest.get(envelope.path, -1)
        assert ours.hear(envelope) is fresh
        newest[envelope.path] = max(envelope.stamp.counter, newest.get(envelope.path, -1))
