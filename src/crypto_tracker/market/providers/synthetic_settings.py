"""What a synthetic market is made of: coins, crashes, and the numbers of its noise."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, to_ms

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class SyntheticCoin(Frozen):
    """One made-up coin that carries a real name.

    Attributes
    ----------
    price : quote currency, at genesis (also of a coin that is listed later)
    price_decimals : its tick is 10 ** -price_decimals; not used in martingale mode
    beta : log return for each unit of the factor's log return
    own_volatility : standard deviation of a day's own log return
    daily_volume_quote : typical volume of one day in quote currency
    trades_per_minute : typical number of trades; a minute without any has no bar
    half_spread : half the distance of bid and ask, a fraction; not used in martingale mode
    listed_ms : when it was listed; earlier is unknown. None: before genesis
    """

    symbol: Symbol
    price: Positive
    price_decimals: Annotated[int, Field(ge=0, le=15)]
    beta: float
    own_volatility: Positive
    daily_volume_quote: Positive
    trades_per_minute: Positive
    half_spread: Annotated[float, Field(ge=0.0, lt=0.5)]
    listed_ms: int | None = None

    @property
    def tick(self) -> float:
        """The price grid in quote currency."""
        return 10.0**-self.price_decimals


class Crash(Frozen):
    """A scheduled fall of the factor, and what comes back of it.

    The log path of the factor falls by ln(1 - depth) with growing speed over `fall_minutes`, then regains the
    fraction `recovered` of it with waning speed over `recovery_minutes`. A coin falls by its beta. Meanwhile
    the factor carries extra noise of `volatility` (standard deviation of a day), which fades in the recovery.
    """

    start_ms: int
    depth: Annotated[float, Field(gt=0.0, lt=1.0)]
    fall_minutes: Annotated[int, Field(ge=1)]
    recovery_minutes: Annotated[int, Field(ge=1)]
    recovered: Fraction
    volatility: NotNegative

    @property
    def end_ms(self) -> int:
        """When the recovery is over."""
        return self.start_ms + (self.fall_minutes + self.recovery_minutes) * MINUTE_MS

    def log_path(self, time_ms: FloatArray) -> FloatArray:
        """What the crash has added to the factor's log price at each time; 0 before it starts."""
        fallen, regained = self._progress(time_ms)
        regain = self.recovered * (1.0 - (1.0 - regained) ** 2)
        path: FloatArray = np.log1p(-self.depth) * fallen**2 * (1.0 - regain)
        return path

    def extra_variance(self, time_ms: FloatArray) -> FloatArray:
        """The extra variance of the minute that begins at each time."""
        fallen, regained = self._progress(time_ms)
        profile = np.where(fallen < 1.0, fallen, (1.0 - regained) ** 4)
        return profile * self.volatility**2 / (DAY_MS // MINUTE_MS)

    def _progress(self, time_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
        minutes = (time_ms - self.start_ms) / MINUTE_MS
        fallen = np.clip(minutes / self.fall_minutes, 0.0, 1.0)
        regained = np.clip((minutes - self.fall_minutes) / self.recovery_minutes, 0.0, 1.0)
        return fallen, regained


class SyntheticSettings(Frozen):
    """A whole synthetic market. The same settings give the same bars, whatever span or symbols are asked for.

    Attributes
    ----------
    mode : `market` has everything below; `martingale` has no drift, crash, spread or tick, so that no rule
        can have an edge before costs
    genesis_ms : start of a UTC day; nothing is known before it
    factor_volatility : standard deviation of a day's log return of the common factor
    slow_volatility, fast_volatility : standard deviations of log volatility, over days and over hours
    tail_freedom : degrees of freedom of the Student-like minute returns; smaller is fatter
    season : how much of volatility and volume follows the hour and the weekday, 0 for none
    news_per_day : expected news of each coin in a day: a move of its own within minutes, with much volume
        (market mode)
    news_size : standard deviation of the log move of one piece of news
    sentiment : standard deviation of the factor's daily drift, which persists for some days (market mode)
    anchor_days : log prices return to their start with this time constant (market mode)
    steps_per_minute : points of the price path inside a minute; extremes between them are drawn exactly
    outages_per_day : expected provider outages, 5 to 60 minutes long, of all symbols at once
    outages_ms : further outages, as [start, end)
    """

    seed: Annotated[int, Field(ge=0)]
    mode: Literal["market", "martingale"] = "market"
    genesis_ms: int = to_ms(datetime(2024, 1, 1, tzinfo=UTC))
    coins: tuple[SyntheticCoin, ...]
    factor_volatility: NotNegative = 0.025
    slow_volatility: NotNegative = 0.30
    fast_volatility: NotNegative = 0.40
    tail_freedom: Annotated[float, Field(gt=2.0)] = 4.0
    season: Fraction = 0.6
    news_per_day: Fraction = 0.25
    news_size: NotNegative = 0.03
    sentiment: NotNegative = 0.004
    anchor_days: Positive = 250.0
    steps_per_minute: Annotated[int, Field(ge=1, le=60)] = 4
    outages_per_day: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02
    outages_ms: tuple[tuple[int, int], ...] = ()
    crashes: tuple[Crash, ...] = ()

    @model_validator(mode="after")
    def _is_possible(self) -> "SyntheticSettings":
        if self.genesis_ms % DAY_MS:
            raise ValueError(f"genesis_ms {self.genesis_ms} is not the start of a UTC day")
        if self.mode == "martingale" and self.crashes:
            raise ValueError("a martingale has no scheduled crash: leave crashes empty or use mode market")
        symbols = [coin.symbol for coin in self.coins]
        if len(set(symbols)) != len(symbols):
            raise ValueError("a synthetic market has one coin per symbol, but a symbol was given twice")
        for start_ms, end_ms in self.outages_ms:
            if start_ms >= end_ms:
                raise ValueError(f"outage [{start_ms}, {end_ms}) is empty")
        return self


_BETA = ByTier(large_cap=1.0, mid_cap=1.2, small_cap=1.15, memecoin=1.4)
_OWN_VOLATILITY = ByTier(large_cap=0.012, mid_cap=0.026, small_cap=0.036, memecoin=0.045)
_DAILY_VOLUME = ByTier(large_cap=8e8, mid_cap=6e7, small_cap=8e6, memecoin=1.5e7)
_TRADES_PER_MINUTE = ByTier(large_cap=300.0, mid_cap=25.0, small_cap=4.0, memecoin=6.0)
_HALF_SPREAD = ByTier(large_cap=0.00002, mid_cap=0.0001, small_cap=0.0003, memecoin=0.0003)

_UNIVERSE: tuple[tuple[str, str, float, int], ...] = (
    ("BTC", "large_cap", 64_000.0, 1),
    ("ETH", "large_cap", 3_100.0, 2),
    ("SOL", "mid_cap", 150.0, 2),
    ("XRP", "mid_cap", 0.55, 5),
    ("ADA", "mid_cap", 0.45, 5),
    ("DOGE", "mid_cap", 0.15, 5),
    ("AVAX", "mid_cap", 32.0, 3),
    ("LINK", "mid_cap", 15.0, 3),
    ("DOT", "mid_cap", 6.5, 4),
    ("UNI", "mid_cap", 8.0, 4),
    ("NEAR", "mid_cap", 5.5, 4),
    ("AAVE", "mid_cap", 95.0, 2),
    ("TIA", "small_cap", 7.0, 4),
    ("RUNE", "small_cap", 5.0, 4),
    ("IMX", "small_cap", 1.7, 5),
    ("KAS", "small_cap", 0.13, 6),
    ("PEPE", "memecoin", 1.1e-5, 10),
    ("WIF", "memecoin", 2.4, 4),
    ("BONK", "memecoin", 2.6e-5, 10),
    ("FLOKI", "memecoin", 1.7e-4, 9),
)


def default_coins(quote: str = "USD") -> tuple[SyntheticCoin, ...]:
    """Twenty well known names in four classes of size. The names are real, everything else is made up."""
    return tuple(
        SyntheticCoin(
            symbol=Symbol(base, quote),
            price=price,
            price_decimals=decimals,
            beta=getattr(_BETA, tier),
            own_volatility=getattr(_OWN_VOLATILITY, tier),
            daily_volume_quote=getattr(_DAILY_VOLUME, tier),
            trades_per_minute=getattr(_TRADES_PER_MINUTE, tier),
            half_spread=getattr(_HALF_SPREAD, tier),
        )
        for base, tier, price, decimals in _UNIVERSE
    )


def flash_crash(start_ms: int) -> Crash:
    """A fall of the factor by 0.15 within three hours, of which 0.8 comes back over two days."""
    return Crash(
        start_ms=start_ms,
        depth=0.15,
        fall_minutes=180,
        recovery_minutes=2 * 1440,
        recovered=0.8,
        volatility=0.12,
    )
