"""The noise of a synthetic market: random variances first, then Gaussian returns with these variances."""

import hashlib
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.market.providers.synthetic_settings import SyntheticSettings

DAY_MINUTES = 1440
# Days are prepared in blocks of fixed size, so that no number depends on the span that was asked for.
BLOCK_DAYS = 128
BLOCK_HOURS = BLOCK_DAYS * 24
SLOW_PERSISTENCE = 0.90  # of log volatility, from day to day
FAST_PERSISTENCE = 0.85  # of log volatility, from hour to hour
FAST_TAPS = 40  # hours after which fast volatility is forgotten: 0.85 ** 40 is 0.0015
BURST_FADE = (0.5, 0.25, 0.125)  # what a minute's burst of variance leaves in the minutes after it
SENTIMENT_PERSISTENCE = 0.90  # of the factor's drift, from day to day
# Relative activity by UTC hour: quiet in the small hours, busiest when Europe and America both trade.
NIGHT, MORNING, AFTERNOON, EVENING = (
    (-4, -5, -5, -5, -4, -3),
    (-2, 0, 1, 1, 1, 1),
    (2, 5, 7, 7, 6, 4),
    (2, 0, -1, -2, -3, -3),
)
HOUR_PROFILE = np.array(NIGHT + MORNING + AFTERNOON + EVENING) / 10.0
WEEKEND_ACTIVITY = 0.7

NEWS_MINUTES = (10.0, 60.0)  # how long a piece of news moves a price

IN_BLOCK, IN_DAY = 0, 1  # kinds of random streams
Value = TypeVar("Value", float, FloatArray)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """One noise stream over `BLOCK_DAYS` days: what must be known of a day before its minutes are drawn."""

    hour_variance: FloatArray  # (days, 24), of log returns
    day_variance: FloatArray  # (days,), including crashes and news
    day_return: FloatArray  # (days,), without drift, including news
    news: FloatArray  # (days, 3): log move, first minute, length in minutes; a move of 0 is no news
    sentiment: FloatArray  # (days,), a standardised persistent process
    carried: tuple[float, float]  # slow volatility and sentiment at the end


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Minutes:
    """One noise stream inside one day."""

    path: FloatArray  # (1440 x steps,): log return since the start of the day, without drift
    variance: FloatArray  # (1440,): of each minute's log return
    rng: np.random.Generator  # goes on where the path ended


class Noise:
    """One source of Gaussian noise with a random variance: the factor, or what is a coin's own.

    Variances are drawn from other random numbers than returns. Given them, log returns are independent and
    Gaussian, so a day's total may be drawn before its minutes: the path inside the day is the bridge to it.
    """

    def __init__(
        self, settings: SyntheticSettings, key: str, volatility: float, *, crash_share: float, is_factor: bool
    ) -> None:
        self._settings = settings
        self._key = key
        self._volatility = volatility
        self._crash_share = crash_share
        self._is_factor = is_factor
        self._blocks: list[Block] = []

    def block(self, number: int) -> Block:
        """The block of days with that number, counted from genesis."""
        while len(self._blocks) <= number:
            self._blocks.append(self._make_block(len(self._blocks)))
        return self._blocks[number]

    def minutes(self, day: int) -> Minutes:
        """The path of one day, counted from genesis."""
        settings = self._settings
        block, row = divmod(day, BLOCK_DAYS)
        days = self.block(block)
        rng = generator(settings.seed, self._key, IN_DAY, day)
        # A Gaussian with inverse gamma variance is a Student t; scaled to its hour it cannot explode.
        burst = 1.0 / rng.standard_gamma(0.5 * settings.tail_freedom, size=DAY_MINUTES)
        weight = burst.copy()
        for minutes, share in enumerate(BURST_FADE, start=1):
            weight[minutes:] += share * burst[:-minutes]
        weight = weight.reshape(24, 60)
        weight *= (days.hour_variance[row] / weight.sum(axis=1))[:, np.newaxis]
        move, first, length = days.news[row].tolist()
        variance = weight.ravel() + self._crash_variance(day)
        variance[int(first) : int(first + length)] += _news_variance(move, length)
        steps = settings.steps_per_minute
        step_variance = np.repeat(variance / steps, steps)
        path = np.cumsum(rng.standard_normal(DAY_MINUTES * steps) * np.sqrt(step_variance))
        clock = np.cumsum(step_variance)
        if clock[-1] > 0.0:
            path += (days.day_return[row] - move - path[-1]) * (clock / clock[-1])
        if move != 0.0:
            passed = np.arange(1, len(path) + 1) / steps - first  # minutes since the news
            path += move * np.clip(passed / length, 0.0, 1.0)
        return Minutes(path=path, variance=variance, rng=rng)

    def _make_block(self, number: int) -> Block:
        settings = self._settings
        rng = generator(settings.seed, self._key, IN_BLOCK, number + 1)
        slow_shocks, return_shocks, sentiment_shocks = rng.standard_normal((3, BLOCK_DAYS))
        slow_before, sentiment_before = (
            self._blocks[-1].carried if self._blocks else rng.standard_normal(2).tolist()
        )
        slow = _persistent(slow_shocks, slow_before, SLOW_PERSISTENCE)
        sentiment = _persistent(sentiment_shocks, sentiment_before, SENTIMENT_PERSISTENCE)
        fast = self._fast(number)
        log_volatility = settings.slow_volatility * slow[:, np.newaxis] + settings.fast_volatility * fast
        # Less the variance of log volatility, so that the expected variance of a day is the one asked for.
        spread = settings.slow_volatility**2 + settings.fast_volatility**2
        first_day = number * BLOCK_DAYS
        seasons = season(settings, first_day, BLOCK_DAYS)
        hour_variance = self._volatility**2 / 24.0 * seasons * np.exp(2.0 * (log_volatility - spread))
        day_variance = hour_variance.sum(axis=1)
        for day in self._crash_days(first_day):
            day_variance[day - first_day] += self._crash_variance(day).sum()
        news = self._news(number)
        day_variance += _news_variance(news[:, 0], news[:, 2]) * news[:, 2]
        return Block(
            hour_variance=hour_variance,
            day_variance=day_variance,
            day_return=return_shocks * np.sqrt(day_variance) + news[:, 0],
            news=news,
            sentiment=sentiment,
            carried=(float(slow[-1]), float(sentiment[-1])),
        )

    def _fast(self, number: int) -> FloatArray:
        """Standardised fast log volatility, (days, 24): a moving average over the hours before."""
        shocks = np.concatenate([self._hour_shocks(number - 1)[-FAST_TAPS + 1 :], self._hour_shocks(number)])
        taps = FAST_PERSISTENCE ** np.arange(FAST_TAPS)
        taps /= np.sqrt((taps**2).sum())
        fast = np.zeros(BLOCK_HOURS)
        for lag, tap in enumerate(taps.tolist()):
            begin = FAST_TAPS - 1 - lag
            fast += tap * shocks[begin : begin + BLOCK_HOURS]
        return fast.reshape(BLOCK_DAYS, 24)

    def _news(self, number: int) -> FloatArray:
        """News of each day, (days, 3) as in `Block`. The factor has none, and neither has a martingale."""
        settings = self._settings
        rng = generator(settings.seed, self._key + " news", IN_BLOCK, number + 1)
        happens, begin, length = rng.random((3, BLOCK_DAYS))
        moves = settings.news_size * rng.standard_normal(BLOCK_DAYS)
        if settings.mode == "martingale" or self._is_factor:
            return np.tile([0.0, 0.0, 1.0], (BLOCK_DAYS, 1))
        lengths = np.floor(NEWS_MINUTES[0] + length * (NEWS_MINUTES[1] - NEWS_MINUTES[0]))
        first = np.floor(begin * (DAY_MINUTES - lengths))
        return np.stack([np.where(happens < settings.news_per_day, moves, 0.0), first, lengths], axis=1)

    def _hour_shocks(self, number: int) -> FloatArray:
        return generator(self._settings.seed, self._key + " hours", IN_BLOCK, number + 1).standard_normal(
            BLOCK_HOURS
        )

    def _crash_days(self, first_day: int) -> list[int]:
        """Days of the block beginning with `first_day` that a crash touches."""
        genesis = self._settings.genesis_ms
        touched: set[int] = set()
        for crash in self._settings.crashes:
            begin, end = (crash.start_ms - genesis) // DAY_MS, (crash.end_ms - genesis) // DAY_MS
            touched.update(range(max(begin, first_day), min(end + 1, first_day + BLOCK_DAYS)))
        return sorted(touched)

    def _crash_variance(self, day: int) -> FloatArray:
        """Extra variance of each minute of a day, (1440,)."""
        extra = np.zeros(DAY_MINUTES)
        day_start = self._settings.genesis_ms + day * DAY_MS
        for crash in self._settings.crashes:
            if crash.start_ms < day_start + DAY_MS and crash.end_ms > day_start:
                times = day_start + MINUTE_MS * np.arange(DAY_MINUTES, dtype=np.float64)
                extra += self._crash_share * crash.extra_variance(times)
        return extra


def _news_variance(move: Value, minutes: Value) -> Value:
    """Extra variance of each minute of a piece of news: its noise is as large as its drift."""
    return (move / minutes) ** 2


def season(settings: SyntheticSettings, first_day: int, count: int) -> FloatArray:
    """Relative variance and volume of each hour of some days, (count, 24); 1 on average over a week."""
    hours = np.exp(settings.season * HOUR_PROFILE)
    # 1970-01-01 was a Thursday; Monday is 0.
    weekday = (settings.genesis_ms // DAY_MS + first_day + np.arange(count) + 3) % 7
    weekend = 1.0 - settings.season * (1.0 - WEEKEND_ACTIVITY)
    days = np.where(weekday >= 5, weekend, 1.0) / ((5.0 + 2.0 * weekend) / 7.0)
    relative: FloatArray = days[:, np.newaxis] * (hours / hours.mean())
    return relative


def _persistent(shocks: FloatArray, before: float, persistence: float) -> FloatArray:
    """A standardised first-order autoregression over `shocks`, going on from the value `before`."""
    scale = float(np.sqrt(1.0 - persistence**2))
    values, value = [], before
    for shock in shocks.tolist():
        value = persistence * value + scale * shock
        values.append(value)
    return np.array(values)


def generator(seed: int, key: str, kind: int, number: int) -> np.random.Generator:
    """Random numbers of one stream in one block or day, independent of every other."""
    name = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(name, kind, number))))
