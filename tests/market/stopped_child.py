"""Collects from a market of another process and tells what it saw; its parent stops it meanwhile."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.collecting.service import Assignment, Collecting
from crypto_tracker.store.bars import BarStore
from tests.market.collected import START, Told
from tests.market.massive_world import differences
from tests.market.soak_server import market_of
from tests.market.test_collecting_soak import drained, servers
from tests.market.witness import Witnessed, deceptions

SYMBOLS, MINUTES, SECONDS = 5, 11, 1.0
STOP_AT, STOP_MINUTES = 5.5, 2.2
"""In the middle of a minute, for more than two of them."""


async def collect(home: Path) -> dict[str, Any]:
    """Collect the whole market; a line is written when it is time to be stopped."""
    with servers(SYMBOLS, MINUTES, SECONDS, "undisturbed") as world:
        settings = world.settings(settle_seconds=20.0)
        history, stream = world.providers(world.short(settings))
        told = Told()
        market = market_of(SYMBOLS, MINUTES)
        with BarStore.open(home, market_data=settings, clock=world) as opened:
            store: Any = Witnessed(opened, START)
            assignment = Assignment(
                history=history,
                stream=stream,
                symbols=world.symbols,
                needed=lambda _symbol, _now_ms: {Timeframe.M1: START},
            )
            collecting = Collecting(assignment, store, home, settings, world, told)
            stop = asyncio.Event()
            running = asyncio.create_task(collecting.run(stop))
            await asyncio.sleep(world.seconds(int(START + STOP_AT * 60_000 - world.now_ms())))
            say({"now": "stop me"})
            await asyncio.wait([running], timeout=world.seconds(market.open_ms(MINUTES) - world.now_ms()))
            await drained(collecting, running, store, world, market.open_ms(MINUTES - 2))
            stop.set()
            await running
            await history.close()
            return {
                "deceptions": deceptions(store.first, market, {}),
                "differences": differences(store.reader, market, {}, 0, MINUTES - 2),
                "figures": collecting.figures(),
                "notes": told.notes,
            }


def say(document: dict[str, Any]) -> None:
    """One line for the parent."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    say(asyncio.run(collect(Path(sys.argv[1]))))
