"""The provider's own client judges our local server: it logs in, subscribes and reads minutes there."""

import asyncio

import pytest
from websockets.asyncio.client import ClientConnection

from tests.market.streamed import PAIRS, START
from tests.servers.massive_stream import KEY, FaultScript, Kind, Market, MassiveStreamServer

massive = pytest.importorskip("massive", reason="the provider's client is not installed: pip install massive")
MINUTE = 60_000
N = 5
DEADLINE = 120.0  # seconds


def watched(server, *, key=KEY, subscriptions=("XA.BTC-USD", "XA.ETH-USD"), enough=2 * N):
    """The events that the official client hands out, until there are enough of them or it returns."""
    seen, connections = [], []

    class Kept(ClientConnection):
        """The client leaves connections that were cut half open: the test closes them."""

        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            connections.append(self)

    async def watch():
        client = massive.WebSocketClient(
            api_key=key,
            feed=f"127.0.0.1:{server.port}",
            market="crypto",
            secure=False,
            subscriptions=list(subscriptions),
            max_reconnects=3,
        )
        done = asyncio.Event()

        async def take(events):
            seen.extend(events)
            if len(seen) >= enough:
                done.set()

        reading = asyncio.ensure_future(client.connect(take, create_connection=Kept))
        waiting = asyncio.ensure_future(done.wait())
        ended, _ = await asyncio.wait(
            {reading, waiting}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        try:
            assert ended, f"after {DEADLINE:g} s the client still waits"
            if reading.done():
                reading.result()
        finally:
            await client.close()
            reading.cancel()
            await asyncio.gather(reading, waiting, return_exceptions=True)
            for connection in connections:
                connection.transport.abort()
                await connection.wait_closed()

    asyncio.run(watch())
    return seen


def market():
    return Market(PAIRS, start_ms=START, n_minutes=N, no_trade=0.0)


def test_the_official_client_reads_the_minutes_of_our_server():
    with MassiveStreamServer(market()) as server:
        seen = watched(server)
    expected = [server.market.event(minute, pair) for minute in range(N) for pair in PAIRS[:2]]
    assert [(e.pair, e.start_timestamp, e.end_timestamp) for e in seen] == [
        (e["pair"], e["s"], e["e"]) for e in expected
    ]
    assert [(e.open, e.high, e.low, e.close, e.volume, e.vwap) for e in seen] == [
        (e["o"], e["h"], e["l"], e["c"], e["v"], e["vw"]) for e in expected
    ]
    (connection,) = server.connections
    assert connection.path == "/crypto"
    assert connection.key == KEY
    assert connection.topics == {"XA.BTC-USD", "XA.ETH-USD"}


def test_the_official_client_subscribes_to_all_pairs_at_once():
    with MassiveStreamServer(market()) as server:
        seen = watched(server, subscriptions=["XA.*"], enough=3 * N)
    assert {event.pair for event in seen} == set(PAIRS)


def test_the_official_client_takes_our_refusal_of_a_key_for_one():
    with (
        MassiveStreamServer(market()) as server,
        pytest.raises(massive.exceptions.AuthError, match="authentication failed"),
    ):
        watched(server, key="not-the-key")


def test_the_official_client_reconnects_after_a_cut_and_subscribes_anew():
    with MassiveStreamServer(market(), FaultScript.of({2: Kind.CUT})) as server:
        seen = watched(server, enough=2 * (N - 1))
    minutes = [(event.start_timestamp - START) // MINUTE for event in seen if event.pair == PAIRS[0]]
    assert minutes == [0, 1, 3, 4]
    assert len(server.connections) == 2


def test_the_official_client_stops_without_a_word_at_a_clean_close_which_is_why_it_is_not_ours():
    with MassiveStreamServer(market(), FaultScript.of({2: Kind.CLEAN_CLOSE})) as server:
        seen = watched(server)  # which ends with the client: there are not enough minutes
    assert len(seen) == 4
    assert len(server.connections) == 1
