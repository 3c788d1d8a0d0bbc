"""A seeded synthetic market: bars that look like crypto, and bars that nobody can beat.

The model, and which properties hold exactly, are described in `docs/synthetic-market.md`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe
from crypto_tracker.market.providers.synthetic_noise import (
    BLOCK_DAYS,
    DAY_MINUTES,
    IN_DAY,
    Minutes,
    Noise,
    generator,
    season,
)
from crypto_tracker.market.providers.synthetic_settings import SyntheticCoin, SyntheticSettings
from crypto_tracker.store.batch import BarBatch

CRASH_OWN_SHARE = 0.5  # of a crash's extra variance, relative to the usual one, that own noise gets
VOLUME_POWER = 0.5  # volume grows with this power of variance, that is, in proportion to volatility
VOLUME_NOISE = 0.5  # standard deviation of log volume beside it
TRADES_POWER = 0.7  # trades grow with this power of volume
FACTOR = "factor"
OUTAGES = "outages"


class SyntheticMarket:
    """Bars of one minute made from settings alone; the provider's name is `synthetic`.

    The bar of a (settings, symbol, minute) is the same, whatever span and whatever other symbols are
    asked for.
    """

    name = "synthetic"

    def __init__(self, settings: SyntheticSettings) -> None:
        self.settings = settings
        self._coins = {coin.symbol: coin for coin in settings.coins}
        self._factor = Noise(settings, FACTOR, settings.factor_volatility, crash_share=1.0, is_factor=True)
        usual = settings.factor_volatility
        self._own = {
            coin.symbol: Noise(
                settings,
                str(coin.symbol),
                coin.own_volatility,
                crash_share=CRASH_OWN_SHARE * (coin.own_volatility / usual) ** 2 if usual > 0 else 0.0,
                is_factor=False,
            )
            for coin in settings.coins
        }
        self._log_prices: dict[Symbol, list[FloatArray]] = {symbol: [] for symbol in self._coins}

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Every coin of the settings, in their order."""
        return tuple(self._coins)

    def panel(self, symbols: Sequence[Symbol], start_ms: int, end_ms: int) -> Panel:
        """The bars of one minute whose open time lies in [start_ms, end_ms), both floored to the minute.

        Times before genesis, before a coin's listing and in an outage are unknown (not covered); a covered
        minute without a bar had no trade. Raises UsageError for a symbol that the market does not have.
        """
        coins = [self._coin(symbol) for symbol in symbols]
        start, end = Timeframe.M1.floor(start_ms), Timeframe.M1.floor(end_ms)
        times = np.arange(start, end, MINUTE_MS, dtype=np.int64)
        shape = (len(times), len(coins))
        fields = {name: np.full(shape, np.nan, order="F") for name in BAR_FIELDS}
        covered = np.zeros(shape, dtype=np.bool_, order="F")
        for day_start in range(max(start - start % DAY_MS, self.settings.genesis_ms), end, DAY_MS):
            day = (day_start - self.settings.genesis_ms) // DAY_MS
            first = max(start, day_start)
            rows = slice((first - start) // MINUTE_MS, (min(end, day_start + DAY_MS) - start) // MINUTE_MS)
            minutes = slice(
                (first - day_start) // MINUTE_MS, (first - day_start) // MINUTE_MS + rows.stop - rows.start
            )
            available = self._available(day)
            factor = self._factor.minutes(day)
            for column, coin in enumerate(coins):
                known = available.copy()
                if coin.listed_ms is not None:
                    known &= day_start + np.arange(DAY_MINUTES) * MINUTE_MS >= coin.listed_ms
                if not known[minutes].any():
                    continue
                covered[rows, column] = known[minutes]
                bars = self._day_bars(coin, day, factor)
                for name in BAR_FIELDS:
                    fields[name][rows, column] = np.where(known, bars[name], np.nan)[minutes]
        return Panel(
            timeframe=Timeframe.M1, symbols=tuple(symbols), open_time_ms=times, covered=covered, **fields
        )

    def panels(self, symbols: Sequence[Symbol], start_ms: int, end_ms: int, *, days: int) -> Iterator[Panel]:
        """The same bars in pieces of at most `days` UTC days, for spans that do not fit into memory."""
        piece_ms = days * DAY_MS
        at = Timeframe.M1.floor(start_ms)
        while at < end_ms:
            until = min(end_ms, at - at % DAY_MS + piece_ms)
            yield self.panel(symbols, at, until)
            at = until

    def batches(
        self, symbols: Sequence[Symbol], start_ms: int, end_ms: int, *, days: int
    ) -> Iterator[tuple[Symbol, BarBatch, list[tuple[int, int]]]]:
        """The same bars as the store takes them, in pieces: symbol, bars, covered intervals."""
        for panel in self.panels(symbols, start_ms, end_ms, days=days):
            first, last = int(panel.open_time_ms[0]), int(panel.close_time_ms[-1])
            for symbol in panel.symbols:
                yield symbol, BarBatch.of_column(panel, symbol), self.coverage(symbol, first, last)

    def coverage(self, symbol: Symbol, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """The intervals [start, end) of [start_ms, end_ms) in which the provider answers for `symbol`."""
        coin = self._coin(symbol)
        listed = self.settings.genesis_ms if coin.listed_ms is None else coin.listed_ms
        start = max(
            Timeframe.M1.floor(start_ms), self.settings.genesis_ms, -(-listed // MINUTE_MS) * MINUTE_MS
        )
        end = Timeframe.M1.floor(end_ms)
        if start >= end:
            return []
        first_day = (start - self.settings.genesis_ms) // DAY_MS
        last_day = (end - 1 - self.settings.genesis_ms) // DAY_MS
        known = np.concatenate([self._available(day) for day in range(first_day, last_day + 1)])
        times = self.settings.genesis_ms + (first_day * DAY_MINUTES + np.arange(len(known))) * MINUTE_MS
        known &= (times >= start) & (times < end)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
        moments = np.append(times, times[-1] + MINUTE_MS)[edges].tolist()
        return list(zip(moments[::2], moments[1::2], strict=True))

    def _coin(self, symbol: Symbol) -> SyntheticCoin:
        coin = self._coins.get(symbol)
        if coin is None:
            known = ", ".join(str(each) for each in self._coins)
            raise UsageError(f"the synthetic market has no {symbol}: it has {known}")
        return coin

    def _available(self, day: int) -> BoolArray:
        """Minutes of a day that lie in no outage, bool (1440,)."""
        settings = self.settings
        available = np.ones(DAY_MINUTES, dtype=np.bool_)
        rng = generator(settings.seed, OUTAGES, IN_DAY, day)
        happens, begin, length = rng.random(3)
        if happens < settings.outages_per_day:
            first = int(begin * DAY_MINUTES)
            available[first : first + 5 + int(length * 56)] = False
        day_start = settings.genesis_ms + day * DAY_MS
        for start_ms, end_ms in settings.outages_ms:
            first, last = (start_ms - day_start) // MINUTE_MS, -(-(end_ms - day_start) // MINUTE_MS)
            available[max(first, 0) : max(last, 0)] = False
        return available

    def _log_price(self, coin: SyntheticCoin, day: int) -> tuple[float, float]:
        """The log price at the start and at the end of a day."""
        block, row = divmod(day, BLOCK_DAYS)
        done = self._log_prices[coin.symbol]
        while len(done) <= block:
            done.append(
                self._extend(coin, len(done), float(done[-1][-1]) if done else float(np.log(coin.price)))
            )
        return float(done[block][row]), float(done[block][row + 1])

    def _extend(self, coin: SyntheticCoin, block: int, log_price: float) -> FloatArray:
        """Log prices at the starts of the days of one block, and at its end: (BLOCK_DAYS + 1,)."""
        settings = self.settings
        factor, own = self._factor.block(block), self._own[coin.symbol].block(block)
        # The convexity term makes the expected price, and not the expected log price, stay where it is.
        steps = coin.beta * factor.day_return + own.day_return
        steps -= 0.5 * (coin.beta**2 * factor.day_variance + own.day_variance)
        if settings.mode == "martingale":
            return np.concatenate(([log_price], log_price + np.cumsum(steps)))
        edges = settings.genesis_ms + (block * BLOCK_DAYS + np.arange(BLOCK_DAYS + 1.0)) * DAY_MS
        crash = sum((each.log_path(edges) for each in settings.crashes), np.zeros(BLOCK_DAYS + 1))
        steps += coin.beta * (np.diff(crash) + settings.sentiment * factor.sentiment)
        start = float(np.log(coin.price))
        path = [log_price]
        for step, crashed in zip(steps.tolist(), crash[:-1].tolist(), strict=True):
            pulled = (path[-1] - start - coin.beta * crashed) / settings.anchor_days
            path.append(path[-1] + step - pulled)
        return np.array(path)

    def _day_bars(self, coin: SyntheticCoin, day: int, factor: Minutes) -> dict[str, FloatArray]:
        """All 1,440 bars of a day, NaN in minutes without trades; outages and listing are not applied yet."""
        settings = self.settings
        own = self._own[coin.symbol].minutes(day)
        variance = coin.beta**2 * factor.variance + own.variance
        bars = self._day_prices(coin, day, coin.beta * factor.path + own.path, variance, own.rng)
        usual = (coin.beta**2 * settings.factor_volatility**2 + coin.own_volatility**2) / DAY_MINUTES
        activity = (variance / usual) ** VOLUME_POWER
        activity *= np.repeat(season(settings, day, 1)[0], 60)
        activity *= np.exp(VOLUME_NOISE * own.rng.standard_normal(DAY_MINUTES) - 0.5 * VOLUME_NOISE**2)
        typical_price = 0.25 * (bars["open"] + bars["high"] + bars["low"] + bars["close"])
        bars["volume"] = coin.daily_volume_quote / DAY_MINUTES * activity / typical_price
        silent = own.rng.random(DAY_MINUTES) < np.exp(-coin.trades_per_minute * activity**TRADES_POWER)
        for values in bars.values():
            values[silent] = np.nan
        return bars

    def _day_prices(
        self,
        coin: SyntheticCoin,
        day: int,
        noise: FloatArray,
        variance: FloatArray,
        rng: np.random.Generator,
    ) -> dict[str, FloatArray]:
        """Open, high, low and close of every minute of a day, each (1440,).

        `noise` is the log path without drift at every point (1440 x steps,), `variance` that of each minute.
        """
        steps = self.settings.steps_per_minute
        is_market = self.settings.mode == "market"
        step_variance = np.repeat(variance / steps, steps)
        log_start, log_end = self._log_price(coin, day)
        path = noise - 0.5 * np.cumsum(step_variance)
        if is_market:
            path += coin.beta * self._crash_path(day)
        # What is left to the day's known end is the drift, and rounding: it is spread evenly over the day.
        path += (log_end - log_start - path[-1]) * np.arange(1, len(path) + 1) / len(path)
        path += log_start

        # The extremes of a Brownian path between two known points have a known law (docs, References).
        before = np.concatenate(([log_start], path[:-1]))
        middle, squared = 0.5 * (before + path), (path - before) ** 2
        top = middle + 0.5 * np.sqrt(squared + 2.0 * step_variance * rng.standard_exponential(len(path)))
        bottom = middle - 0.5 * np.sqrt(squared + 2.0 * step_variance * rng.standard_exponential(len(path)))
        prices = {
            "open": np.exp(before[::steps]),
            "high": np.exp(top.reshape(-1, steps).max(axis=1)),
            "low": np.exp(bottom.reshape(-1, steps).min(axis=1)),
            "close": np.exp(path[steps - 1 :: steps]),
        }
        # The first and the last trade of a minute meet the bid or the ask.
        sides = rng.integers(0, 2, size=(2, DAY_MINUTES)) * 2.0 - 1.0
        if is_market:
            prices["open"] *= 1.0 + coin.half_spread * sides[0]
            prices["close"] *= 1.0 + coin.half_spread * sides[1]
            prices = {
                name: np.maximum(np.round(values, coin.price_decimals), coin.tick)
                for name, values in prices.items()
            }
        prices["high"] = np.maximum(prices["high"], np.maximum(prices["open"], prices["close"]))
        prices["low"] = np.minimum(prices["low"], np.minimum(prices["open"], prices["close"]))
        return prices

    def _crash_path(self, day: int) -> FloatArray:
        """What crashes add to the factor inside one day, from its start, at every point of the path."""
        points = DAY_MINUTES * self.settings.steps_per_minute
        added = np.zeros(points)
        day_start = self.settings.genesis_ms + day * DAY_MS
        for crash in self.settings.crashes:
            if crash.start_ms < day_start + DAY_MS and crash.end_ms > day_start:
                log_path = crash.log_path(day_start + np.arange(points + 1.0) * (DAY_MS / points))
                added += log_path[1:] - log_path[0]
        return added
