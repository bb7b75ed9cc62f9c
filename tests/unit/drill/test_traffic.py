"""The traffic programs against each other over loopback: real sockets, no lab."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.errors import LabError
from natpair_lab.drill import traffic_common as common
from natpair_lab.drill.programs import Program
from natpair_lab.drill.records import flow_records, udp_record
from natpair_lab.drill.traffic import spare
from natpair_lab.drill.traffic_flows import MAX_BULK, MAX_PUSHED, kind_of

LOOPBACK = "127.0.0.1"


def here(_: str, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Stands in for Lab.popen: the program runs on this machine."""
    return subprocess.Popen(argv, **options)


@pytest.fixture
def programs() -> Iterator[Any]:
    started: list[Program] = []

    def start(module: str, *arguments: str) -> Program:
        program = Program(here, "here", module, arguments)
        started.append(program)
        program.wait_for("ready", 20)
        return program

    yield start
    for program in started:
        program.close()


class TestFrames:
    @given(st.integers(0, 3), st.integers(0, 2**63), st.binary(min_size=4, max_size=4), st.integers(0, 65535))
    def test_a_frame_survives_the_wire(self, kind: int, stamp: int, address: bytes, port: int) -> None:
        data = common.pack_frame(kind, stamp, address, port)
        frame = common.unpack_frame(data)
        assert len(data) == 32
        assert frame is not None
        assert (frame.kind, frame.stamp, frame.port) == (kind, stamp, port)
        assert frame.address == ".".join(str(byte) for byte in address)

    @given(st.binary(min_size=32, max_size=32).filter(lambda data: data[:4] != common.MAGIC))
    def test_other_bytes_are_no_frame(self, data: bytes) -> None:
        assert common.unpack_frame(data) is None

    @pytest.mark.parametrize("count", [1, 9, 10, 100, 1000, 10_000])
    def test_mix_of_kinds(self, count: int) -> None:
        kinds = [kind_of(index, count) for index in range(count)]
        assert kinds.count(common.KIND_BULK) == min(MAX_BULK, count // 10)
        assert kinds.count(common.KIND_PUSH) == min(MAX_PUSHED, count // 10)
        if count >= 100:
            assert set(kinds) == {0, 1, 2, 3}


class TestCommands:
    def test_lines_come_whole_and_the_end_means_stop(self) -> None:
        reader, writer = os.pipe()
        commands = common.Commands(reader)
        assert commands.read() == []
        os.write(writer, b"probe\nsto")
        assert commands.read() == ["probe"]
        os.write(writer, b"p\n")
        assert commands.read() == ["stop"]
        os.close(writer)
        assert commands.read() == ["stop"]
        os.close(reader)


class TestUdp:
    def test_every_packet_comes_back_with_the_address_seen(self, programs: Any) -> None:
        programs("traffic_udp_server", "--bind", LOOPBACK, "--port", "17007", "--priority", "0")
        client = programs("traffic_udp_client", LOOPBACK, "--port", "17007", "--priority", "0", "--rate", "200")
        deadline = time.monotonic() + 10
        while client.ask("state", "newest_echoed_ns")["sent"] < 100 and time.monotonic() < deadline:
            pass
        record = udp_record(client.finish("udp"))
        assert len(record.sent_ns) >= 100
        assert 0 not in record.received_ns
        assert [sighting.address.rpartition(":")[0] for sighting in record.seen] == [LOOPBACK]
        assert all(received > sent for sent, received in zip(record.sent_ns, record.received_ns, strict=True))

    def test_without_a_server_all_is_lost_and_the_program_lives(self, programs: Any) -> None:
        client = programs("traffic_udp_client", LOOPBACK, "--port", "17008", "--priority", "0", "--rate", "200")
        record = udp_record(client.finish("udp"))
        assert set(record.received_ns) <= {0}


class TestTcp:
    def test_all_kinds_open_speak_and_prove_themselves(self, programs: Any) -> None:
        programs("traffic_tcp_server", "--bind", LOOPBACK)
        client = programs("traffic_tcp_client", LOOPBACK, "--flows", "30")
        assert client.wait_for("open", 20)["open"] == 30
        client.tell("probe")
        assert client.wait_for("probed", 20) == {"probed": 30, "of": 30}
        flows = flow_records(client.finish("flows"))
        assert {flow.kind for flow in flows} == {"echo", "idle", "push", "bulk"}
        assert all(flow.address.startswith(LOOPBACK) and flow.proven_ns and not flow.error for flow in flows)
        assert all(not flow.changed_to for flow in flows)

    def test_several_processes_hold_one_set_between_them(self, programs: Any) -> None:
        for _ in range(2):
            programs("traffic_tcp_server", "--bind", LOOPBACK)
        share = ("--flows", "30", "--total", "60")
        places = (("0", "127.0.0.5"), ("30", "127.0.0.6"))
        clients = [
            programs("traffic_tcp_client", LOOPBACK, *share, "--first", first, "--source", source)
            for first, source in places
        ]
        for client in clients:
            assert client.wait_for("open", 20)["open"] == 30
            client.tell("probe")
        for client in clients:
            assert client.wait_for("probed", 20) == {"probed": 30, "of": 30}
        flows = [flow for client in clients for flow in flow_records(client.finish("flows"))]
        assert [flow.kind for flow in flows] == [common.KIND_NAMES[kind_of(index, 60)] for index in range(60)]
        assert [flow.address.split(":")[0] for flow in flows] == ["127.0.0.5"] * 30 + ["127.0.0.6"] * 30

    def test_new_connections_stop_when_the_proof_begins(self, programs: Any) -> None:
        programs("traffic_tcp_server", "--bind", LOOPBACK)
        client = programs("traffic_tcp_client", LOOPBACK, "--new-every-ms", "10")
        client.look_for("never", 0.5)
        client.tell("probe")
        told = client.wait_for("probed", 20)
        assert told["probed"] == told["of"] > 5
        flows = flow_records(client.finish("flows"))
        assert len(flows) == told["of"]

    def test_a_refused_connection_is_known(self, programs: Any) -> None:
        client = programs("traffic_tcp_client", "127.0.0.99", "--flows", "3")
        assert client.wait_for("open", 20)["open"] == 0
        client.tell("probe")
        assert client.wait_for("probed", 20) == {"probed": 0, "of": 3}
        flows = flow_records(client.finish("flows"))
        assert {flow.connect_error for flow in flows} == {"ECONNREFUSED"}

    def test_a_server_that_dies_breaks_every_flow(self, programs: Any) -> None:
        server = programs("traffic_tcp_server", "--bind", LOOPBACK)
        client = programs("traffic_tcp_client", LOOPBACK, "--flows", "20")
        client.wait_for("open", 20)
        server.close()
        client.tell("probe")
        client.wait_for("probed", 20)
        assert all(flow.error for flow in flow_records(client.finish("flows")))


class TestProgram:
    def test_one_that_cannot_start_is_told_in_its_own_words(self) -> None:
        program = Program(here, "here", "traffic_udp_client", ["--no-such-option"])
        with pytest.raises(LabError, match=r"no-such-option|required"):
            program.wait_for("ready", 20)
        program.close()

    def test_one_that_is_gone_is_noticed(self, programs: Any) -> None:
        program = programs("traffic_udp_server", "--bind", LOOPBACK, "--port", "17009", "--priority", "0")
        program.check()
        program.tell("stop")
        program.look_for("never", 5)
        with pytest.raises(LabError, match="ended too early"):
            program.check()
        program.close()


class TestSpareAddresses:
    def test_from_the_end_of_the_subnet_and_never_anybody_elses(self) -> None:
        taken = {IPv4Address("192.168.1.254"), IPv4Address("192.168.1.252")}
        found = spare(IPv4Network("192.168.1.0/24"), taken, 3)
        assert [str(address) for address in found] == ["192.168.1.253", "192.168.1.251", "192.168.1.250"]

    def test_a_small_subnet_has_few(self) -> None:
        taken = {IPv4Address(f"192.168.1.{host}") for host in (1, 2, 3, 4, 5)}
        assert spare(IPv4Network("192.168.1.0/29"), taken, 8) == (IPv4Address("192.168.1.6"),)
