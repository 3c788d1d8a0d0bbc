"""A prepared market: read once, measured once, and the same simulations as from the store."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.market.providers.martingale import MartingaleMarket
from crypto_tracker.research.backtest import scenario
from crypto_tracker.research.detection import detect
from crypto_tracker.research.market import gather
from crypto_tracker.research.prepared import INDEX, Prepared, prepare
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.books import order_books
from crypto_tracker.simulation.records import Scenario
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import Features, MarketView, Strategy, StrategyEntry
from crypto_tracker.strategies.registry import builtin
from tests.research.worlds import MARCH_MS, configuration, entries, martingale

DAYS = 40  # into April
BASE = Timeframe.M15


@cache
def bars() -> MartingaleMarket:
    return martingale(5, days=DAYS)


def gathered(
    source: BarSource, tree: Configuration, strategies: Sequence[StrategyEntry], start_ms: int, end_ms: int
):
    symbols = bars().symbols
    return gather(
        source,
        tree,
        strategies,
        symbols[:3],
        reference_symbol=symbols[0],
        base=BASE,
        start_ms=start_ms,
        end_ms=end_ms,
    )


def prepared_in(
    folder: Path, tree: Configuration, strategies: Sequence[StrategyEntry], source: BarSource | None = None
) -> Prepared:
    market = gathered(source or bars(), tree, strategies, MARCH_MS, MARCH_MS + DAYS * DAY_MS)
    prepare(market, strategies, tree, folder, progress=lambda _what, _share: None)
    return Prepared(folder, {entry.strategy.name: entry.strategy for entry in strategies})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    tree = configuration()
    return prepared_in(tmp_path_factory.mktemp("prepared"), tree, entries(tree))


def assert_same_scenarios(found: Scenario, expected: Scenario) -> None:
    for name in (*BAR_FIELDS, "covered", "open_time_ms"):
        np.testing.assert_array_equal(getattr(found.panel, name), getattr(expected.panel, name), err_msg=name)
        assert found.reference is not None
        assert expected.reference is not None
        np.testing.assert_array_equal(getattr(found.reference, name), getattr(expected.reference, name))
    for name in found.setups.dtype.names:
        np.testing.assert_array_equal(found.setups[name], expected.setups[name], err_msg=name)
    np.testing.assert_array_equal(found.slow_regime, expected.slow_regime)
    assert found.rules == expected.rules
    assert (found.strategies, found.enabled) == (expected.strategies, expected.enabled)


WINDOWS = [(0, DAYS), (0, 12), (7, 19), (25, 38), (31, 40)]  # the last begins with a month
CHANGES = [
    (),
    ("strategies.DCA.drop.large_cap=0.01", "strategies.DCA.drop.mid_cap=0.015"),
    ("costs.taker_fee=0.0005", "costs.slippage.mid_cap=0.0", "strategies.CHANNEL.strength=0.4"),
]


@pytest.mark.parametrize("changes", CHANGES, ids=["current", "parameters", "costs"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_a_window_is_what_a_backtest_of_that_window_is_given(prepared: Prepared, window, changes):
    start_ms, end_ms = (MARCH_MS + day * DAY_MS for day in window)
    tree = configuration(*changes)
    strategies = entries(tree)
    market = gathered(bars(), tree, strategies, start_ms, end_ms)
    found = detect(market, strategies, near_miss_readiness=80.0, version="")
    expected = scenario(market, strategies, found.setups, tree, close_at_end=True)
    actual = prepared.scenario(tree, strategies, start_ms=start_ms, end_ms=end_ms, close_at_end=True)
    assert_same_scenarios(actual, expected)
    left, right = simulate_portfolio(actual), simulate_portfolio(expected)
    assert len(left.fills)
    for name in ("fills", "trades"):
        for field in getattr(left, name).dtype.names:
            np.testing.assert_array_equal(
                getattr(left, name)[field], getattr(right, name)[field], err_msg=field
            )
    np.testing.assert_array_equal(left.equity_e8, right.equity_e8)


@pytest.mark.parametrize("window", [(0, 40), (7, 19)], ids=str)
def test_recorded_books_of_a_window_are_those_that_its_backtest_reads(tmp_path: Path, window):
    tree = configuration("fills.source=book")
    strategies = entries(tree)
    # a book seven seconds before every open, which is fresh there
    shots = [
        (time_ms - 7_000, [(90.0, 1e6), (89.0, 1e6)], [(95.0, 1e6)])
        for time_ms in range(MARCH_MS, MARCH_MS + DAYS * DAY_MS, BASE.ms)
    ]
    books = order_books([shots, [], shots[::2]])

    def shown(start_ms: int, end_ms: int):
        market = gathered(bars(), tree, strategies, start_ms, end_ms)
        return replace(market, books=books.between(start_ms - 10_000, end_ms))

    prepare(shown(MARCH_MS, MARCH_MS + DAYS * DAY_MS), strategies, tree, tmp_path, progress=lambda *_: None)
    found = Prepared(tmp_path, {entry.strategy.name: entry.strategy for entry in strategies})
    start_ms, end_ms = (MARCH_MS + day * DAY_MS for day in window)
    market = shown(start_ms, end_ms)
    setups = detect(market, strategies, near_miss_readiness=80.0, version="").setups
    expected = scenario(market, strategies, setups, tree, close_at_end=True)
    actual = found.scenario(tree, strategies, start_ms=start_ms, end_ms=end_ms, close_at_end=True)
    assert actual.books is not None
    assert expected.books is not None
    for name in ("first", "snapshots", "levels"):
        np.testing.assert_array_equal(getattr(actual.books, name), getattr(expected.books, name))
    left, right = simulate_portfolio(actual), simulate_portfolio(expected)
    assert (left.fills["book_ms"] >= 0).any()
    np.testing.assert_array_equal(left.fills["price"], right.fills["price"])
    plain = configuration()
    without = found.scenario(plain, entries(plain), start_ms=start_ms, end_ms=end_ms, close_at_end=True)
    assert without.books is None


def test_the_windows_hold_setups_that_began_before_them(prepared: Prepared):
    # Without these, the test above would not see a reset that is left over.
    tree = configuration(*CHANGES[1])
    strategies = entries(tree)
    whole = prepared.scenario(
        tree, strategies, start_ms=MARCH_MS, end_ms=MARCH_MS + DAYS * DAY_MS, close_at_end=False
    )
    begun = 0
    for start_ms in range(MARCH_MS + DAY_MS, MARCH_MS + 30 * DAY_MS, HOUR_MS):
        later = prepared.scenario(
            tree, strategies, start_ms=start_ms, end_ms=MARCH_MS + DAYS * DAY_MS, close_at_end=False
        )
        plain = whole.setups[whole.setups["time_ms"] > start_ms]
        assert len(later.setups) <= len(plain)
        begun += len(plain) - len(later.setups)
    assert begun > 0


class Counted:
    """A bar source that notes what was read."""

    def __init__(self, source: BarSource) -> None:
        self.source = source
        self.reads: list[tuple[str, Timeframe, int, int]] = []

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        self.reads.append((",".join(map(str, symbols)), timeframe, start_ms, end_ms))
        return self.source.panel(symbols, timeframe, start_ms, end_ms)


def counting(strategy: Strategy, calls: Counter[str]) -> Strategy:
    """The same strategy, whose calls are counted."""

    class Counting(type(strategy)):
        def features(self, market: MarketView) -> Features:
            calls["features", self.name] += 1
            return super().features(market)

        def detect(self, features, parameters):
            calls["detect", self.name] += 1
            return super().detect(features, parameters)

    return Counting()


def test_64_parameter_sets_never_read_bars_or_compute_a_feature_twice(tmp_path: Path):
    calls: Counter = Counter()
    strategies = {name: counting(strategy, calls) for name, strategy in builtin().items()}
    tree = configuration()

    def counted_entries(configured: Configuration) -> tuple[StrategyEntry, ...]:
        return tuple(
            StrategyEntry(strategy=strategy, parameters=configured.parameters(name))
            for name, strategy in strategies.items()
        )

    plain, source = Counted(bars()), Counted(bars())
    gathered(plain, tree, counted_entries(tree), MARCH_MS, MARCH_MS + DAYS * DAY_MS)
    found = prepared_in(tmp_path, tree, counted_entries(tree), source)
    months = 2
    assert source.reads == plain.reads  # those of one backtest
    assert calls == {("features", name): months for name in strategies}
    curves = set()
    for drop in range(8):
        for confidence in range(8):
            configured = configuration(
                f"strategies.DCA.drop.mid_cap={0.01 + 0.005 * drop}",
                f"limits.min_confidence={0.3 + 0.05 * confidence}",
            )
            inputs = found.scenario(
                configured,
                counted_entries(configured),
                start_ms=MARCH_MS,
                end_ms=MARCH_MS + DAYS * DAY_MS,
                close_at_end=True,
            )
            curves.add(simulate_portfolio(inputs).equity_e8.tobytes())
    assert source.reads == plain.reads
    assert {key: number for key, number in calls.items() if key[0] == "features"} == {
        ("features", name): months for name in strategies
    }
    # Detection runs once for each set of a strategy's own parameters: eight of DCA, one of the others.
    assert calls["detect", "DCA"] == 8 * months
    assert calls["detect", "SWING"] == calls["detect", "CHANNEL"] == months
    assert len(curves) > 16  # the sets differ in what they come to


def test_arrays_are_mapped_from_the_files_and_writing_into_one_changes_no_file(tmp_path: Path):
    tree = configuration()
    strategies = entries(tree, "DCA")
    found = prepared_in(tmp_path, tree, strategies)

    def is_mapped(array: np.ndarray) -> bool:
        while array is not None:
            if isinstance(array, np.memmap):
                return True
            array = array.base
        return False

    (april,) = [
        block for block in found._blocks["DCA"] if block.panel.open_time_ms[-1] > MARCH_MS + 31 * DAY_MS
    ]
    arrays = [getattr(found.panel, name) for name in BAR_FIELDS]
    arrays += [april.panel.close, april.ready, *april.values.values()]
    assert all(is_mapped(array) for array in arrays)
    name = next(iter(april.values))
    before = np.array(april.values[name])
    april.values[name][:] = -1.0
    other = Prepared(tmp_path, {"DCA": strategies[0].strategy})
    np.testing.assert_array_equal(other._blocks["DCA"][-1].values[name], before)


def test_a_folder_without_a_market_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="there is no prepared market in"):
        Prepared(tmp_path / "nowhere", {})


def test_the_index_is_the_last_thing_written(tmp_path: Path):
    tree = configuration()
    strategies = entries(tree, "DCA")
    market = gathered(bars(), tree, strategies, MARCH_MS, MARCH_MS + 3 * DAY_MS)
    seen = []

    def note(what: str, share: float) -> None:
        seen.append((what, share))
        assert not (tmp_path / INDEX).exists()

    prepare(market, strategies, tree, tmp_path, progress=note)
    assert seen == [("measuring DCA", 0.0), ("measured", 1.0)]
    assert json.loads((tmp_path / INDEX).read_text())["start_ms"] == MARCH_MS
