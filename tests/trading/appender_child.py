"""A process that brings bars into a store while others read it. Started by test_appender.py.

Told to write some bars it writes them and says so; told to run it brings minute after minute by itself.
"""

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from tests.trading.worlds import NOW, PROVIDER, market_data, synthetic_market


class Bringer:
    """Writes minutes of the market of `tests.trading.worlds`."""

    def __init__(self, store: BarStore) -> None:
        self._store = store
        self._market = synthetic_market()
        self._known: dict[tuple[int, int], Panel] = {}

    def bring(
        self,
        symbol: Symbol,
        start_ms: int,
        end_ms: int,
        *,
        factor: float = 1.0,
        silent: bool = False,
    ) -> None:
        """Write [start_ms, end_ms) of a symbol, prices times `factor`; where it is `silent`, without bars."""
        panel = self._market.panel([symbol], start_ms, end_ms)
        bars = BarBatch.of_column(panel, symbol)
        if silent:
            bars = BarBatch.of_column(panel.rows(0, 0), symbol)
        prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
        self._store.write(
            PROVIDER, symbol, Timeframe.M1, replace(bars, **prices), [(start_ms, end_ms)], source="test"
        )

    def run(self, start_ms: int, end_ms: int, seed: int) -> None:
        """Bring every minute by itself, symbol by symbol; some come ten minutes late, and some never."""
        chance = random.Random(seed)
        late: list[tuple[int, Symbol, int]] = []
        for minute_ms in range(start_ms, end_ms, MINUTE_MS):
            for symbol in chance.sample(self._market.symbols, len(self._market.symbols)):
                fate = chance.random()
                if fate < 0.03:
                    late.append((minute_ms + 10 * MINUTE_MS, symbol, minute_ms))
                elif fate < 0.95:
                    self.bring(symbol, minute_ms, minute_ms + MINUTE_MS)
            for due_ms, symbol, late_ms in list(late):
                if due_ms <= minute_ms:
                    self.bring(symbol, late_ms, late_ms + MINUTE_MS)
                    late.remove((due_ms, symbol, late_ms))


@contextmanager
def bringer(home: Path) -> Iterator[Bringer]:
    """A bringer into the store of a home."""
    with BarStore.open(home, market_data=market_data(), clock=ManualClock(NOW)) as store:
        yield Bringer(store)


def main() -> None:
    """For each line of standard input do what it says, and say that it is done."""
    with bringer(Path(sys.argv[1])) as bringing:
        print("ready", flush=True)  # noqa: T201 - the answer to the test
        for line in sys.stdin:
            wish: dict[str, Any] = json.loads(line)
            if "seed" in wish:
                bringing.run(**wish)
            for each in wish.get("bars", ()):
                bringing.bring(Symbol.parse(each.pop("symbol")), **each)
            print("written", flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
