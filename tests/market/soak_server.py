"""The servers of a soak, in a process of their own: faults every minute, and floods. For test_collecting_soak."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection

from tests.market.collected import START
from tests.market.massive_world import World, massive_world
from tests.servers.massive_stream import (
    IN_TIME,
    ConnectionLog,
    Fault,
    FaultScript,
    Market,
    MassiveStreamServer,
)

FLOOD = 100  # times the normal rate
LAG_MAX = 4  # minutes that the market may go on meanwhile: a provider is not slower than its market
FLOOD_EVERY, FLOOD_FROM, FLOOD_UNTIL = 60, 5, 9


def market_of(symbols: int, minutes: int) -> Market:
    """The same in every process."""
    pairs = [f"C{number:03d}-USD" for number in range(symbols)]
    return Market(pairs, start_ms=START, n_minutes=minutes, seed=7)


def script_of(market: Market) -> FaultScript:
    """A fault in every minute; in the last ones the market is left in peace."""
    return FaultScript.from_seed(
        11, market.n_minutes - 2, pairs=market.pairs, kinds=IN_TIME, missed_max=0, seconds=0.1
    )


def is_flood(minute: int) -> bool:
    """Whether the minute is one of those in which everything comes a hundred times."""
    return FLOOD_FROM <= minute % FLOOD_EVERY < FLOOD_UNTIL


class Flooding(MassiveStreamServer):
    """Sends the bars of some minutes a hundred times, mostly the same, and some of them corrected."""

    async def _send_minute(
        self, connection: ServerConnection, log: ConnectionLog, minute: int, fault: Fault | None
    ) -> None:
        await super()._send_minute(connection, log, minute, fault)
        if not is_flood(minute):
            return
        end_ms = self.market.open_ms(minute + LAG_MAX)
        latest = [event for pair in self.market.pairs if (event := self._latest(minute, pair)) is not None]
        for turn in range(FLOOD - 1):
            if self.now_ms() > end_ms:
                return
            if turn % 33 == 32:
                chosen = latest[turn % len(latest)]
                chosen["v"] = round(chosen["v"] + 1.0, 4)
                self.corrected[chosen["pair"], chosen["s"]] = dict(chosen)
            await self._send_events(connection, latest)

    def _latest(self, minute: int, pair: str) -> dict[str, Any] | None:
        event = self.market.event(minute, pair)
        return None if event is None else dict(self.corrected.get((pair, event["s"]), event))


@contextmanager
def serving(market: Market, seconds_per_minute: float, *, disturbed: bool) -> Iterator[World]:
    """The world of a soak, or one in which nothing goes wrong."""
    script, server = (script_of(market), Flooding) if disturbed else (None, MassiveStreamServer)
    with massive_world(market, script, seconds_per_minute=seconds_per_minute, server=server) as world:
        yield world


def main(arguments: Sequence[str]) -> None:
    """Serve `symbols` for `minutes`, each of so many seconds, until standard input ends."""
    symbols, minutes, seconds = int(arguments[0]), int(arguments[1]), float(arguments[2])
    with serving(market_of(symbols, minutes), seconds, disturbed=len(arguments) == 3) as world:
        told = {"stream_url": world.stream.url, "rest_url": world.rest_url, "began": world.stream._began}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
