"""The world of the demonstration: a synthetic market, and what the strategies say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from crypto_tracker.app.demo.home import PROVIDER, keep_bars
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.clock import Clock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe, to_ms
from crypto_tracker.market.providers.synthetic import SyntheticMarket
from crypto_tracker.market.providers.synthetic_settings import SyntheticSettings, default_coins, flash_crash
from crypto_tracker.research.backtest import scenario
from crypto_tracker.research.detection import Detected, detect
from crypto_tracker.research.market import Market, gather
from crypto_tracker.simulation.records import Scenario
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.strategies.base import Detection, Features, Strategy, StrategyEntry
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan

# The first of a month, so that a run of a month is one anchored block; the years before it are warm-up.
START_MS = to_ms(datetime(2025, 3, 1, tzinfo=UTC))
GENESIS_MS = to_ms(datetime(2023, 6, 1, tzinfo=UTC))
MAX_DAYS = 60
LEAD_DAYS = 52  # bars before the run: 300 of 4 h are 50 days
CRASH_AT = 0.55  # of the run: when the scheduled crash begins
LATE_LISTING = ("IMX", 0.3)  # this coin is listed when that much of the run is over


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scans:
    """All scans of one strategy over the run, in pieces of one calendar month."""

    entry: StrategyEntry
    pieces: tuple[tuple[Features, Detection], ...]

    @property
    def strategy(self) -> Strategy:
        """The strategy that scanned."""
        return self.entry.strategy

    def at(self, time_ms: int) -> tuple[Features, Detection, int] | None:
        """The latest scan that closed by `time_ms`, with its row; None before the first."""
        found = None
        for features, detection in self.pieces:
            row = int(np.searchsorted(detection.panel.close_time_ms, time_ms, side="right")) - 1
            if row >= 0:
                found = (features, detection, row)
        return found

    def exactly_at(self, time_ms: int) -> tuple[Features, Detection, int] | None:
        """The scan that closed at `time_ms`, with its row."""
        found = self.at(time_ms)
        return found if found is not None and int(found[1].panel.close_time_ms[found[2]]) == time_ms else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """Everything that a run of the demonstration needs."""

    seed: int
    days: int
    market: Market
    scans: tuple[Scans, ...]
    detected: Detected
    scenario: Scenario

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies' names in the configured order."""
        return self.scenario.strategies


def build(
    configuration: Configuration,
    entries: tuple[StrategyEntry, ...],
    *,
    made: SyntheticMarket,
    home: Path,
    days: int,
    clock: Clock,
    version: str,
    keep_blocks: bool,
    tell: Callable[[str], None],
) -> World:
    """Keep the market's bars under `home`, and let every strategy scan them from there.

    `tell` is given what is going on, in words; `keep_blocks` keeps every scan in the compact form in which it
    is recorded.
    """
    end_ms = START_MS + days * DAY_MS
    seed = made.settings.seed
    settle(configuration, made=made, home=home, days=days, clock=clock, tell=tell)
    reference = _reference(configuration, made)
    tell(f"reading the bars of {len(made.symbols)} coins")
    with BarReader.open(home) as reader:
        market = gather(
            StoredBars(reader, dict.fromkeys(made.symbols, PROVIDER)),
            configuration,
            entries,
            made.symbols,
            reference_symbol=reference,
            base=Timeframe.M1,
            start_ms=START_MS,
            end_ms=end_ms,
        )
    detected = detect(
        market,
        entries,
        near_miss_readiness=configuration.decisions.near_miss_readiness,
        version=version,
        keep_blocks=keep_blocks,
        progress=lambda name, _share: tell(f"{name} scans {len(made.symbols)} coins over {days} days"),
    )
    return World(
        seed=seed,
        days=days,
        market=market,
        scans=tuple(
            Scans(
                entry=entry,
                pieces=tuple(
                    scan(
                        entry.strategy,
                        market.views[scan_timeframe(entry.strategy, market.base)],
                        entry.parameters,
                        START_MS,
                        end_ms,
                    )
                ),
            )
            for entry in entries
        ),
        detected=detected,
        scenario=scenario(market, entries, detected.setups, configuration),
    )


def settle(
    configuration: Configuration,
    *,
    made: SyntheticMarket,
    home: Path,
    days: int,
    clock: Clock,
    tell: Callable[[str], None],
) -> None:
    """Keep the market's bars under `home`, with what strategies look back at before the first day."""
    tell(f"making a synthetic market of {len(made.symbols)} coins (seed {made.settings.seed})")
    lead_days = max(configuration.fills.trailing_range_days, LEAD_DAYS)
    keep_bars(
        made,
        home,
        reference=_reference(configuration, made),
        start_ms=START_MS - lead_days * DAY_MS,
        end_ms=START_MS + days * DAY_MS,
        market_data=configuration.market_data,
        clock=clock,
    )


def synthetic_market(seed: int, days: int, quote: str) -> SyntheticMarket:
    """The market of the demonstration: twenty coins, one listed late, a crash and its recovery."""
    length_ms = days * DAY_MS
    listed_coin, listed_at = LATE_LISTING
    coins = tuple(
        coin.model_copy(update={"listed_ms": START_MS + _hour(length_ms * listed_at)})
        if coin.symbol.base == listed_coin
        else coin
        for coin in default_coins(quote)
    )
    crash = flash_crash(START_MS + _hour(length_ms * CRASH_AT))
    return SyntheticMarket(SyntheticSettings(seed=seed, genesis_ms=GENESIS_MS, coins=coins, crashes=(crash,)))


def _reference(configuration: Configuration, made: SyntheticMarket) -> Symbol | None:
    coin = Symbol(configuration.trading.reference, configuration.trading.quote)
    return coin if coin in made.symbols else None


def _hour(duration_ms: float) -> int:
    return round(duration_ms / HOUR_MS) * HOUR_MS
