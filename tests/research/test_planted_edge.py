"""A search finds what is truly there and recommends it, and recommends nothing where nothing is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pytest
from pydantic import Field

from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.load import values
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.research.executor import InThisProcess
from crypto_tracker.research.market import gather
from crypto_tracker.research.optimize.evaluation import Workplace, leave
from crypto_tracker.research.optimize.objective import Measured
from crypto_tracker.research.optimize.run import Lengths, Optimized, optimize
from crypto_tracker.research.optimize.search import Request
from crypto_tracker.research.optimize.space import ParameterSet, parse_space
from crypto_tracker.research.prepared import prepare
from crypto_tracker.simulation.statistics import sharpe_ratio
from crypto_tracker.store.trials import Data, Trial, TrialStore
from crypto_tracker.strategies.base import Detection, Features, MarketView, Strategy
from crypto_tracker.strategies.exits import Exits, make_plan
from crypto_tracker.strategies.registry import builtin
from tests.research.worlds import MARCH_MS

DAYS = 140
BEFORE_DAYS = 40
BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
NOON = 12


def every(value: float) -> ByTier:
    return ByTier(large_cap=value, mid_cap=value, small_cap=value, memecoin=value)


class AtAnHourParameters(Frozen):
    hour: Annotated[int, Field(ge=0, le=23)] = 3
    exits: Exits = Exits(
        take_profit=every(0.5), stop_loss=every(0.5), trailing=every(0.0), max_hold_hours=1.0
    )


class AtAnHour:
    """Buys when a given hour of the day begins, and sells an hour later."""

    name: ClassVar[str] = "HOUR"
    timeframe: ClassVar[Timeframe] = Timeframe.H1
    warmup: ClassVar[Mapping[Timeframe, int]] = {Timeframe.H1: 1}
    reference_warmup: ClassVar[Mapping[Timeframe, int]] = {}
    parameters_model: ClassVar[type[Frozen]] = AtAnHourParameters

    def features(self, market: MarketView) -> Features:
        panel = market.panels[market.timeframe]
        hour = (panel.close_time_ms % DAY_MS // HOUR_MS).astype(np.float64)
        return Features(
            panel=panel,
            instruments=market.instruments,
            values={"hour": np.repeat(hour[:, None], len(panel.symbols), axis=1)},
            ready=panel.present,
        )

    def detect(self, features: Features, parameters: Frozen) -> Detection:
        assert isinstance(parameters, AtAnHourParameters)
        setup = features.values["hour"] == parameters.hour
        shape = setup.shape
        return Detection(
            strategy=self.name,
            panel=features.panel,
            setup=setup,
            reason=np.where(setup, Reason.ACCEPTED, Reason.RULE_NOT_MET).astype(np.int8),
            readiness=np.full(shape, 50.0),
            confidence=np.full(shape, 0.9),
            measurements={},
            plan=make_plan(features.instruments, parameters.exits, size_quote=1000.0),
        )

    def explain(self, *_):
        return []


def strategies() -> dict[str, Strategy]:
    return {**builtin(), "HOUR": AtAnHour()}


class Hours:
    """Hourly bars of two coins that walk at random; the hour from noon on gains `edge` on average."""

    def __init__(self, seed: int, edge: float) -> None:
        random = np.random.default_rng(seed)
        self.start_ms = MARCH_MS - BEFORE_DAYS * DAY_MS
        hours = (BEFORE_DAYS + DAYS) * 24
        change = random.normal(0.0, 0.004, (hours, 2))
        change[NOON::24] += edge
        self.close = 100.0 * np.exp(np.cumsum(change, axis=0))
        self.open = np.vstack([[100.0, 100.0], self.close[:-1]])

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        empty = Panel.empty(timeframe, symbols, start_ms, end_ms)
        group = timeframe.ms // HOUR_MS
        rows = (empty.open_time_ms - self.start_ms) // HOUR_MS
        known = (rows >= 0) & (rows + group <= len(self.close))
        first, last = rows[known], rows[known] + group - 1
        columns = [[BTC, ETH].index(symbol) for symbol in symbols]
        shape = (len(empty), len(symbols))
        opened, closed = np.full(shape, np.nan), np.full(shape, np.nan)
        opened[known], closed[known] = self.open[np.ix_(first, columns)], self.close[np.ix_(last, columns)]
        return Panel(
            timeframe=timeframe,
            symbols=tuple(symbols),
            open_time_ms=empty.open_time_ms,
            open=opened,
            high=np.maximum(opened, closed),
            low=np.minimum(opened, closed),
            close=closed,
            volume=np.where(np.isnan(closed), np.nan, 1e6),
            covered=np.repeat(known[:, None], len(symbols), axis=1),
        )


GIVEN = (
    'trading.strategies=["HOUR"]',
    "limits.shares.DCA=0.1",
    "limits.shares.HOUR=0.3",
    "costs.taker_fee=0.0",
    "costs.maker_fee=0.0",
    *(f"costs.slippage.{tier}=0.0" for tier in ("large_cap", "mid_cap", "small_cap", "memecoin")),
)


def searched(home: Path, source: Hours) -> Optimized:
    """All 24 hours held against a market, as the command does it."""
    models = {name: strategy.parameters_model for name, strategy in strategies().items()}

    def loaded(assignments: Sequence[str]):
        return load_configuration(models, file=None, environment={}, assignments=[*GIVEN, *assignments])

    def load(assignments: Sequence[str]) -> Configuration:
        return loaded(assignments).tree

    tree = load(())
    entries = configured_strategies(strategies(), tree, None)
    market = gather(
        source,
        tree,
        entries,
        [BTC, ETH],
        reference_symbol=BTC,
        base=Timeframe.H1,
        start_ms=MARCH_MS,
        end_ms=MARCH_MS + DAYS * DAY_MS,
    )
    folder = home / "prepared"
    folder.mkdir()
    prepare(market, entries, tree, folder, progress=lambda _what, _share: None)
    workplace = Workplace(folder=folder, strategies=strategies, only=())
    data = Data(
        start_ms=MARCH_MS,
        end_ms=MARCH_MS + DAYS * DAY_MS,
        base="1h",
        provider_of={BTC: "drawn", ETH: "drawn"},
        synthetic=False,
    )
    store = TrialStore.open(home)

    def remember(each: ParameterSet, measured: Measured) -> None:
        trial = Trial(
            data=data,
            configuration_version=each.version,
            sharpe=sharpe_ratio(measured.returns),
            days=len(measured.returns),
            trades=measured.trades,
            source="optimize",
            assignments=each.assignments,
        )
        store.remember([trial], recorded_at_ms=0)

    request = Request(
        space=parse_space(
            ["strategies.HOUR.hour=0:23"], current=values(loaded(())), scanning=["HOUR"], load=load
        ),
        method="grid",
        trials=100,
        seed=1,
        batch=8,
        objective="sharpe",
        trades_min=20,
    )
    shares: list[float] = []
    try:
        found = optimize(
            request,
            tree.optimize,
            Lengths(windows=4, in_sample_days=None, out_of_sample_days=None),
            workplace=workplace,
            load=load,
            executor=InThisProcess(),
            remember=remember,
            history=lambda: store.history(data),
            progress=lambda _what, share: shares.append(share),
        )
    finally:
        leave(workplace)
        store.close()
    assert shares == sorted(shares)
    assert 0.9 <= shares[-1] <= 1.0
    return found


def test_a_true_edge_is_found_in_every_window_and_recommended(tmp_path: Path):
    found = searched(tmp_path, Hours(seed=1, edge=0.004))
    hour = ("strategies.HOUR.hour=12",)
    assert [window.chosen.assignments for window in found.windows] == [hour] * 4
    assert found.proposal.assignments == hour
    assert found.tried == 24
    assert found.evidence.history.trials == 24
    assert found.evidence.recommended, found.evidence.sentence
    assert found.evidence.overfitting is not None
    assert found.evidence.overfitting.probability < 0.05
    # 140 days: 20 for each window, and both coins once on each of them (the last hour of a window sells none)
    assert [window.out_of_sample.trades for window in found.windows] == [40] * 4
    assert len(found.evidence.chosen) == 80


@pytest.mark.parametrize(
    "seed", [2, 3, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(4, 24))]
)
def test_the_best_of_24_hours_of_chance_is_not_recommended(tmp_path: Path, seed: int):
    found = searched(tmp_path, Hours(seed=seed, edge=0.0))
    best = max(window.in_sample.figures["sharpe"] for window in found.windows)
    assert best > 1.5  # in sample chance looks like skill
    assert not found.evidence.recommended
    assert found.evidence.deflated is not None
    assert found.evidence.deflated < 0.95
