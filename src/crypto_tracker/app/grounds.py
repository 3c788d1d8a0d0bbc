"""The bars on which features and strategies are proven: a synthetic market, or bars of the store."""

from collections.abc import Sequence
from datetime import UTC, datetime

from crypto_tracker.app.analysis import Ground
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe, from_ms, to_ms
from crypto_tracker.market.providers.synthetic import SyntheticMarket
from crypto_tracker.market.providers.synthetic_settings import SyntheticSettings, default_coins, flash_crash
from crypto_tracker.store.choice import Choice
from crypto_tracker.store.sources import StoredBars

# Nine days around the turn of a month, long after genesis, so that every warm-up lies between.
START_MS = to_ms(datetime(2025, 2, 26, tzinfo=UTC))
END_MS = to_ms(datetime(2025, 3, 7, tzinfo=UTC))
COINS = ("BTC", "ETH", "SOL", "KAS", "PEPE", "WIF")  # every tier; KAS has many minutes without a trade
LISTED_LATE = "WIF"
OUTAGES_PER_DAY = 0.3
STORED_DAYS = 9
STORED_SYMBOLS = 5


class SyntheticBars:
    """A synthetic market as a source of bars: minutes are made, everything else is derived from them."""

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of `symbols` that open in [start_ms, end_ms)."""
        minutes = self._market.panel(symbols, timeframe.floor(start_ms), timeframe.floor(end_ms))
        return resample(minutes, timeframe)


def synthetic_ground(seed: int, *, gaps: bool, quote: str, reference: str) -> Ground:
    """Six coins with a crash and its recovery; with `gaps` also outages, and a coin that is listed late.

    Without gaps the declared warm-up can be judged: where bars are missing, there is less than it.
    """
    listed_ms = START_MS + 3 * DAY_MS + 7 * HOUR_MS
    coins = tuple(
        coin.model_copy(update={"listed_ms": listed_ms}) if gaps and coin.symbol.base == LISTED_LATE else coin
        for coin in default_coins(quote)
        if coin.symbol.base in COINS
    )
    market = SyntheticMarket(
        SyntheticSettings(
            seed=seed,
            coins=coins,
            crashes=(flash_crash(START_MS + 4 * DAY_MS + 5 * HOUR_MS),),
            outages_per_day=OUTAGES_PER_DAY if gaps else 0.0,
        )
    )
    benchmark = Symbol(reference, quote)
    return Ground(
        source=SyntheticBars(market),
        symbols=market.symbols,
        reference_symbol=benchmark if benchmark in market.symbols else None,
        base=Timeframe.M1,
        start_ms=START_MS,
        end_ms=END_MS,
        words=f"a synthetic market of {len(coins)} coins (seed {seed})",
    )


def stored_ground(bars: StoredBars, choice: Choice, *, pairs_given: bool, start_given: bool) -> Ground:
    """Bars of the store; what was not asked for is limited to a few symbols and the last days."""
    symbols = choice.symbols if pairs_given else choice.symbols[:STORED_SYMBOLS]
    start_ms = choice.start_ms
    if not start_given:
        start_ms = max(start_ms, (choice.end_ms // DAY_MS - STORED_DAYS) * DAY_MS)
    of_all = "" if len(symbols) == len(choice.symbols) else f" of {len(choice.symbols)}"
    return Ground(
        source=bars,
        symbols=symbols,
        reference_symbol=choice.reference_symbol,
        base=choice.base,
        start_ms=start_ms,
        end_ms=choice.end_ms,
        words=(
            f"stored bars of {len(symbols)}{of_all} symbols, base {choice.base}, "
            f"{from_ms(start_ms):%Y-%m-%d %H:%M} to {from_ms(choice.end_ms):%Y-%m-%d %H:%M} UTC"
        ),
    )
