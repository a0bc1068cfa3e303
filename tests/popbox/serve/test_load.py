"""What the benches of tests/bench/serve count, in short: each wait, each stream and each space has what is its own."""

from __future__ import annotations

import asyncio

import pytest
from tests.bench.serve.clients import Sender, Stream
from tests.bench.serve.hosts import DOMAIN, host_with, served
from tests.bench.serve.load import Load
from tests.bench.serve.spaces import TOKEN, in_spaces

from popbox.clients.wire import Address

BOXES, STREAMS, PER_S, SECONDS = 40, 10, 20, 4


@pytest.mark.slow
def test_each_wait_is_answered_with_its_messages_and_each_stream_has_each_event() -> None:
    """And in spaces side by side: one host for both."""
    said = "writes with the token of POPBOX_TOKEN"
    with (
        host_with(BOXES) as (state, host),
        served(state, "--allow-writes", said=said, POPBOX_TOKEN=TOKEN) as (at, pid),
    ):
        sender = Sender(host.address("smtp"), lambda number: f"box{number % BOXES}@{DOMAIN}", "Load", PER_S)
        load = Load(at, BOXES, STREAMS, sender, pid)
        asyncio.run(load.run(SECONDS))
        tenants = in_spaces(at, host.address("smtp"), TOKEN, processes=2, seconds=2)
    assert len(sender.sent) == PER_S * SECONDS
    assert list(load.faults()) == []
    assert [one.wrong for one in tenants] == [[], []]
    assert all(one.sent and one.refused and one.octets for one in tenants)


def test_the_bench_sees_a_gap_and_a_double() -> None:
    def frames(*seqs: int) -> bytes:
        return b"".join(b'id: %d\ndata: {"seq":%d}\n\n' % (seq, seq) for seq in seqs)

    whole = frames(5, 6, 7)
    for cut in range(len(whole)):
        stream = Stream(Address("h", 1), since=4)
        stream.data_received(whole[:cut])
        stream.data_received(whole[cut:])
        assert (stream.wrong, stream.last) == ("", 7)
    for seqs in ((5, 7), (5, 5, 6), (6,), (4, 5), (6, 5)):
        stream = Stream(Address("h", 1), since=4)
        stream.data_received(frames(*seqs))
        assert stream.wrong, seqs
