"""The demonstration's own home folder: its bars and its configuration, so that every command works on it.

The market is written into a store like bars from anywhere else, and the demonstration reads it from there.
So `explain`, `backtest` and `list-data` can be tried on it, and nothing synthetic lies among a person's own
bars.
"""

import tomllib
from pathlib import Path

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.clock import Clock
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.providers.synthetic import SyntheticMarket
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch

PROVIDER = SyntheticMarket.name
_PIECE_DAYS = 31


def folder(home: Path, *, seed: int, days: int) -> Path:
    """Where the demonstration of this market lies under a person's home folder."""
    return home / "demo" / f"seed-{seed}-{days}d"


def configuration_text(own: str, made: SyntheticMarket) -> str:
    """A person's configuration, to which the price grids of the synthetic coins are added.

    Coins for which the person has written something keep that.
    """
    written = tomllib.loads(own).get("instruments", {})
    added = [
        f'[instruments."{coin.symbol}"]\ntick = {coin.tick:.10f}\n'
        for coin in made.settings.coins
        if str(coin.symbol) not in written
    ]
    heading = "# Of the demonstration: the grids on which its made-up prices lie."
    return "\n".join([own.rstrip(), "", heading, *added]).lstrip()


def keep_bars(
    made: SyntheticMarket,
    home: Path,
    *,
    reference: Symbol | None,
    start_ms: int,
    end_ms: int,
    market_data: MarketData,
    clock: Clock,
) -> None:
    """Write the market's minutes of [start_ms, end_ms), and the days of the reference coin before them.

    Nothing is written where the minutes are there already: the same seed makes the same bars.
    """
    with BarStore.open(home, market_data=market_data, clock=clock) as store:
        stored = {info.symbol for info in store.reader.series() if info.timeframe is Timeframe.M1}
        finished = [
            info.end_ms
            for info in store.reader.series()
            if info.timeframe is Timeframe.M1 and info.symbol == made.symbols[-1]
        ]
        if stored >= set(made.symbols) and finished and max(finished) >= end_ms - DAY_MS // 24:
            return
        if reference is not None and made.settings.genesis_ms < start_ms:
            minutes = made.panel([reference], made.settings.genesis_ms, start_ms)
            days = BarBatch.of_column(resample(minutes, Timeframe.D1), reference)
            span = [(made.settings.genesis_ms, start_ms)]
            store.write(PROVIDER, reference, Timeframe.D1, days, span, source=_source(made))
        for symbol, bars, covered in made.batches(made.symbols, start_ms, end_ms, days=_PIECE_DAYS):
            store.write(PROVIDER, symbol, Timeframe.M1, bars, covered, source=_source(made))


def _source(made: SyntheticMarket) -> str:
    return f"synthetic market, seed {made.settings.seed}"
