"""Markets that nobody can beat before costs, made whole and fast: the ground of the null test.

The price of every coin is a martingale in the history of all of them: E[next | past] = now. Variances are
drawn first, from random numbers of their own; given them every step of the log price is Gaussian with a drift
of minus half its variance. So volatility clusters and moves are as fat-tailed as one likes, but no past, not
even a known future of the variances, says anything of the direction.

Jumps come in both directions, and their own convexity is taken out, so that they too cost and bring nothing
on average. What differs is what an order can do while the price jumps (`Jumps`); docs/evidence.md says what
each kind does to a simulator that sees bars only.

`synthetic.py` has a martingale mode as well: its bars do not depend on the span, for which it pays with days
made one by one. Here a market is one span, made at once, so that hundreds of them take minutes.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field

from crypto_tracker.core.arrays import BoolArray, FloatArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe

DAY_MINUTES = 1440
DAY_HOURS = 24
SLOW_PERSISTENCE = 0.9  # of log volatility, from day to day
FAST_PERSISTENCE = 0.85  # of log volatility, from hour to hour
VOLUME_FLOOR = 0.4  # share of the usual volume that comes without a move; the rest grows with the bar's range
USUAL_WIDTH = 1.6  # of a minute's range, in its standard deviations: that of a Brownian path is sqrt(8 / pi)
VOLUME_NOISE = 0.5  # standard deviation of log volume beside it

Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class Jumps(StrEnum):
    """What can be traded while the price jumps.

    TRADED: a jump is a minute of extreme variance, in which the path passes every level between. BETWEEN: it
    lies between one bar's close and the next one's open, so that nothing trades on the way. INSIDE: the same
    in the middle of a bar, which shows the levels as passed although none of them was traded.
    """

    TRADED = "traded"
    BETWEEN = "between"
    INSIDE = "inside"


class MartingaleCoin(Frozen):
    """One coin: its price at the start, beta to the common factor, own volatility of a day, usual volume."""

    symbol: Symbol
    price: Positive
    beta: float
    own_volatility: Positive
    daily_volume_quote: Positive


class MartingaleSettings(Frozen):
    """A whole market. The same settings give the same bars.

    Attributes
    ----------
    number : which of the markets of one seed; their random numbers have nothing in common
    start_ms, days : the span that has bars, from the start of a UTC day
    factor_volatility : standard deviation of a day's log return of the common factor
    slow_volatility, fast_volatility : standard deviations of log volatility, over days and over hours
    jumps_per_day : expected jumps of each coin
    jump_size : standard deviation of the log move of one jump
    steps_per_minute : points of the path inside a minute; extremes between them are drawn from the exact law
    """

    seed: Annotated[int, Field(ge=0)]
    number: Annotated[int, Field(ge=0)] = 0
    start_ms: int
    days: Annotated[int, Field(ge=1)]
    coins: Annotated[tuple[MartingaleCoin, ...], Field(min_length=1)]
    factor_volatility: NotNegative = 0.025
    slow_volatility: NotNegative = 0.30
    fast_volatility: NotNegative = 0.40
    jumps: Jumps = Jumps.TRADED
    jumps_per_day: NotNegative = 0.5
    jump_size: NotNegative = 0.02
    steps_per_minute: Annotated[int, Field(ge=2, le=60)] = 6


class MartingaleMarket:
    """The bars of such a market; a source of bars like the store."""

    def __init__(self, settings: MartingaleSettings) -> None:
        symbols = [coin.symbol for coin in settings.coins]
        if len(set(symbols)) != len(symbols):
            raise UsageError("a martingale market has one coin per symbol, but a symbol was given twice")
        if settings.start_ms % DAY_MS:
            raise UsageError(f"start_ms {settings.start_ms} is not the start of a UTC day")
        self.settings = settings

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Every coin, in the order of the settings."""
        return tuple(coin.symbol for coin in self.settings.coins)

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars that open in [start_ms, end_ms), coarser ones made of minutes; unknown outside."""
        start, end = timeframe.floor(start_ms), timeframe.floor(end_ms)
        made = self.minutes.select(symbols)
        first, last = int(made.open_time_ms[0]), int(made.close_time_ms[-1])
        inside = made.between(max(start, first), min(end, last))
        before = Panel.empty(Timeframe.M1, symbols, start, max(start, min(end, first)))
        after = Panel.empty(Timeframe.M1, symbols, min(end, max(start, last)), end)
        return resample(_one_after_the_other([before, inside, after]), timeframe)

    @cached_property
    def minutes(self) -> Panel:
        """All bars of one minute."""
        settings = self.settings
        count, steps = settings.days * DAY_MINUTES, settings.steps_per_minute
        factor_random = self._random(0)
        factor_variance = self._variance(factor_random, settings.factor_volatility)
        factor_noise = factor_random.standard_normal(count * steps)
        columns = [
            self._bars(coin, self._random(1 + place), factor_variance, factor_noise)
            for place, coin in enumerate(settings.coins)
        ]
        fields = {
            name: np.asfortranarray(np.column_stack([column[name] for column in columns]))
            for name in BAR_FIELDS
        }
        covered: BoolArray = np.ones((count, len(columns)), dtype=np.bool_, order="F")
        times = settings.start_ms + np.arange(count, dtype=np.int64) * MINUTE_MS
        return Panel(
            timeframe=Timeframe.M1, symbols=self.symbols, open_time_ms=times, covered=covered, **fields
        )

    def _random(self, source: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, self.settings.number, source])

    def _variance(self, random: np.random.Generator, volatility: float) -> FloatArray:
        """The variance of every minute's log return, whose mean is that of `volatility` of a day."""
        settings = self.settings
        slow = _persistent(random, settings.days, SLOW_PERSISTENCE, settings.slow_volatility)
        fast = _persistent(random, settings.days * DAY_HOURS, FAST_PERSISTENCE, settings.fast_volatility)
        log_volatility = np.repeat(slow, DAY_HOURS) + fast
        spread = settings.slow_volatility**2 + settings.fast_volatility**2
        hourly = volatility**2 / DAY_MINUTES * np.exp(2.0 * log_volatility - 2.0 * spread)
        return np.repeat(hourly, DAY_MINUTES // DAY_HOURS)

    def _bars(
        self,
        coin: MartingaleCoin,
        random: np.random.Generator,
        factor_variance: FloatArray,
        factor_noise: FloatArray,
    ) -> dict[str, FloatArray]:
        """Open, high, low, close and volume of every minute, each (minutes,)."""
        settings, steps = self.settings, self.settings.steps_per_minute
        count = len(factor_variance)
        own = self._variance(random, coin.own_volatility)
        jumped = random.random(count) < settings.jumps_per_day / DAY_MINUTES
        jump_step = random.integers(1, steps, size=count)
        jump = random.standard_normal(count) * settings.jump_size - 0.5 * settings.jump_size**2
        jump[~jumped] = 0.0
        if settings.jumps is Jumps.TRADED:
            own = own + settings.jump_size**2 * jumped
            jump[:] = 0.0
        factor_step = np.repeat(coin.beta**2 * factor_variance / steps, steps)
        own_step = np.repeat(own / steps, steps)
        variance = factor_step + own_step
        moves = np.sign(coin.beta) * np.sqrt(factor_step) * factor_noise
        moves += np.sqrt(own_step) * random.standard_normal(count * steps)
        moves -= 0.5 * variance
        # A jump moves the price to where the next step begins, and no price is traded on the way.
        jumps = np.zeros(count * steps)
        at = np.arange(count) * steps + (jump_step if settings.jumps is Jumps.INSIDE else 0)
        jumps[at] = jump
        path = np.log(coin.price) + np.cumsum(moves + jumps)
        begins = path - moves
        # The extremes of a Brownian path between known points have a known law (docs/synthetic-market.md).
        middle, squared = 0.5 * (begins + path), moves * moves
        top = middle + 0.5 * np.sqrt(squared + 2.0 * variance * random.standard_exponential(len(path)))
        bottom = middle - 0.5 * np.sqrt(squared + 2.0 * variance * random.standard_exponential(len(path)))
        bars = {
            "open": np.exp(begins[::steps]),
            "high": np.exp(top.reshape(-1, steps).max(axis=1)),
            "low": np.exp(bottom.reshape(-1, steps).min(axis=1)),
            "close": np.exp(path[steps - 1 :: steps]),
        }
        bars["high"] = np.maximum(bars["high"], np.maximum(bars["open"], bars["close"]))
        bars["low"] = np.minimum(bars["low"], np.minimum(bars["open"], bars["close"]))
        bars["volume"] = self._volume(coin, random, bars)
        return bars

    def _volume(
        self, coin: MartingaleCoin, random: np.random.Generator, bars: dict[str, FloatArray]
    ) -> FloatArray:
        """Coins traded in each minute: more in wide bars, up or down alike."""
        usual = coin.beta**2 * self.settings.factor_volatility**2 + coin.own_volatility**2
        width = np.log(bars["high"] / bars["low"]) / (USUAL_WIDTH * np.sqrt(usual / DAY_MINUTES))
        activity = VOLUME_FLOOR + (1.0 - VOLUME_FLOOR) * width
        noise = np.exp(VOLUME_NOISE * random.standard_normal(len(width)) - 0.5 * VOLUME_NOISE**2)
        volume: FloatArray = coin.daily_volume_quote / DAY_MINUTES * activity * noise / bars["open"]
        return volume


def null_coins(quote: str) -> tuple[MartingaleCoin, ...]:
    """One coin of each tier under a real name, BTC among them; everything else is made up."""
    return tuple(
        MartingaleCoin(
            symbol=Symbol(base, quote),
            price=price,
            beta=beta,
            own_volatility=own_volatility,
            daily_volume_quote=daily_volume_quote,
        )
        for base, price, beta, own_volatility, daily_volume_quote in (
            ("BTC", 64_000.0, 1.0, 0.012, 8e8),
            ("SOL", 150.0, 1.2, 0.026, 6e8),
            ("KAS", 0.13, 1.15, 0.036, 8e7),
            ("PEPE", 1.1e-5, 1.4, 0.045, 1.5e8),
        )
    )


def _persistent(random: np.random.Generator, count: int, persistence: float, spread: float) -> FloatArray:
    """A stationary process that forgets slowly, with standard deviation `spread`, (count,)."""
    values = np.empty(count)
    shocks = random.standard_normal(count)
    fresh = np.sqrt(1.0 - persistence**2)
    value = shocks[0]
    for place in range(count):
        if place:
            value = persistence * value + fresh * shocks[place]
        values[place] = value
    return spread * values


def _one_after_the_other(panels: Sequence[Panel]) -> Panel:
    """Panels of the same symbols whose rows follow each other."""
    parts = [panel for panel in panels if len(panel)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return panels[0]
    return Panel(
        timeframe=parts[0].timeframe,
        symbols=parts[0].symbols,
        open_time_ms=np.concatenate([part.open_time_ms for part in parts]),
        open=np.concatenate([part.open for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        low=np.concatenate([part.low for part in parts]),
        close=np.concatenate([part.close for part in parts]),
        volume=np.concatenate([part.volume for part in parts]),
        covered=np.concatenate([part.covered for part in parts]),
    )
