"""How often something was tried: each configuration on each span once, and what counts for which span."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trials import Data, History, Trial, TrialStore

BTC, ETH, SUI = (Symbol(coin, "USDT") for coin in ("BTC", "ETH", "SUI"))


@pytest.fixture
def store(tmp_path: Path):
    opened = TrialStore.open(tmp_path)
    yield opened
    opened.close()


def data(first: int, last: int, *symbols: Symbol, provider: str = "kraken", **changes) -> Data:
    """Bars of the days [first, last)."""
    given = {
        "start_ms": first * DAY_MS,
        "end_ms": last * DAY_MS,
        "base": "1m",
        "provider_of": dict.fromkeys(symbols or (BTC,), provider),
        "synthetic": False,
    }
    return Data(**given | changes)


def trial(bars: Data, version: str = "aa", sharpe: float | None = 0.1, **changes) -> Trial:
    given = {"days": 30, "trades": 12, "source": "optimize", "assignments": ("limits.max_open=3",)}
    return Trial(data=bars, configuration_version=version, sharpe=sharpe, **given | changes)


def test_the_same_configuration_on_the_same_span_is_one_trial(store):
    bars = data(1, 31, BTC, ETH)
    store.remember([trial(bars, sharpe=0.1)], recorded_at_ms=1)
    store.remember([trial(bars, sharpe=0.2, trades=13, source="backtest")], recorded_at_ms=2)
    (found,) = store.trials()
    assert found == trial(bars, sharpe=0.2, trades=13, source="optimize")
    assert store.history(bars) == History(trials=1, comparable=1, variance=None)


def test_the_order_of_symbols_makes_no_other_trial(store):
    store.remember([trial(data(1, 31, BTC, ETH)), trial(data(1, 31, ETH, BTC))], recorded_at_ms=1)
    assert len(store.trials()) == 1


def test_another_span_base_or_provider_is_remembered_and_is_no_other_configuration(store):
    bars = data(1, 31)
    others = [data(1, 30), data(2, 31), data(1, 31, base="1h"), data(1, 31, provider="coinbase")]
    store.remember([trial(bars), trial(bars, "bb", 0.3), *map(trial, others)], recorded_at_ms=1)
    assert len(store.trials()) == 6
    # 0.1 and 0.3: mean 0.2, squares 0.01 + 0.01, over 1
    assert store.history(bars) == History(trials=2, comparable=2, variance=pytest.approx(0.02))


def test_to_look_at_parts_of_a_span_with_one_configuration_is_no_search(store):
    # Three months of a year, then the year: short spans vary by chance, and nothing was chosen among them.
    year = data(0, 365)
    months = [
        trial(data(0, 31), sharpe=-0.2),
        trial(data(31, 59), sharpe=0.4),
        trial(data(59, 90), sharpe=0.1),
    ]
    store.remember([*months, trial(year, sharpe=0.05)], recorded_at_ms=1)
    assert store.history(year) == History(trials=1, comparable=1, variance=None)
    assert store.history(data(0, 31)) == History(trials=1, comparable=1, variance=None)


def test_the_variance_is_of_spans_that_are_alike_while_every_configuration_counts(store):
    whole = data(0, 100)
    store.remember(
        [
            trial(whole, "a", 0.1),
            trial(data(0, 50), "b", 0.2),  # 50 days in common of 100
            trial(data(0, 200), "c", 0.6),  # 100 of 200
            trial(data(0, 49), "d", 9.0),  # 49 of 100
            trial(data(60, 140), "e", -9.0),  # 40 of 140
        ],
        recorded_at_ms=1,
    )
    # 0.1, 0.2, 0.6: mean 0.3, squares 0.04 + 0.01 + 0.09 = 0.14, over 2
    assert store.history(whole) == History(trials=5, comparable=3, variance=pytest.approx(0.07))


def test_of_each_configuration_the_trial_on_the_most_similar_span_is_taken(store):
    whole = data(0, 100, BTC, ETH)
    store.remember(
        [
            trial(data(0, 60, BTC, ETH), "a", 5.0),
            trial(data(0, 90, BTC, ETH), "a", 0.1),
            trial(data(0, 100, BTC, ETH), "a", None),  # has no Sharpe ratio
            trial(data(0, 100, BTC), "b", 6.0),  # as long, with fewer of the symbols
            trial(data(0, 100, BTC, ETH, base="1h"), "b", 7.0),  # of another base
            trial(data(0, 100, BTC, ETH), "b", 0.3),
        ],
        recorded_at_ms=1,
    )
    assert store.history(whole) == History(trials=2, comparable=2, variance=pytest.approx(0.02))


@settings(max_examples=15)
@given(orders=st.permutations(range(6)))
def test_the_order_of_remembering_changes_nothing(tmp_path_factory, orders):
    bars = [data(0, 100), data(0, 60), data(0, 90)]
    found = [trial(bars[i % 3], "ab"[i // 3], 0.1 * i) for i in range(6)]
    store = TrialStore.open(tmp_path_factory.mktemp("orders"))
    store.remember([found[i] for i in orders], recorded_at_ms=1)
    # of the whole span 0.0 and 0.3: squares 2 * 0.15 ** 2, over 1
    assert store.history(bars[0]) == History(trials=2, comparable=2, variance=pytest.approx(0.045))
    store.close()


def test_a_search_over_64_sets_counts_64_and_has_the_variance_of_all_of_them(store):
    bars = data(0, 212, BTC, ETH, SUI)
    sharpes = np.random.default_rng(5).normal(0.0, 0.1, 64)
    store.remember([trial(bars, f"{i:02}", sharpe) for i, sharpe in enumerate(sharpes)], recorded_at_ms=1)
    found = store.history(bars)
    assert (found.trials, found.comparable) == (64, 64)
    assert found.variance == pytest.approx(np.var(sharpes, ddof=1))


def test_the_variance_is_that_of_the_sharpe_ratios_that_exist(store):
    bars = data(1, 31)
    # 0.1, 0.2, 0.6: mean 0.3, squares 0.04 + 0.01 + 0.09 = 0.14, over 2
    found = [trial(bars, name, sharpe) for name, sharpe in (("a", 0.1), ("b", 0.2), ("c", 0.6), ("d", None))]
    store.remember(found, recorded_at_ms=1)
    history = store.history(bars)
    assert history == History(trials=4, comparable=3, variance=pytest.approx(0.07))


def test_only_overlapping_spans_with_a_common_symbol_count(store):
    store.remember(
        [
            trial(data(1, 10, BTC)),  # ends where the span begins
            trial(data(1, 11, BTC, ETH), "overlaps"),
            trial(data(19, 30, ETH), "also"),
            trial(data(20, 30, ETH)),  # begins where it ends
            trial(data(10, 20, SUI)),  # another coin
            trial(data(10, 20, ETH, synthetic=True)),  # no market at all
        ],
        recorded_at_ms=1,
    )
    assert store.history(data(10, 20, ETH)).trials == 2
    assert store.history(data(10, 20, ETH, synthetic=True)).trials == 1
    assert store.history(data(40, 50, ETH)) == History(trials=0, comparable=0, variance=None)


def test_trials_survive_the_process_and_are_read_as_they_were_written(tmp_path):
    written = [
        trial(data(1, 31, BTC, ETH), sharpe=None, assignments=()),
        trial(data(1, 31), source="backtest"),
    ]
    first = TrialStore.open(tmp_path)
    first.remember(written, recorded_at_ms=1)
    first.remember([], recorded_at_ms=2)
    first.close()
    second = TrialStore.open(tmp_path)
    assert second.trials() == written
    second.close()


@pytest.mark.parametrize("change", ["source = 'guess'", "end_ms = start_ms", "days = NULL"])
def test_the_database_itself_refuses_what_cannot_be(tmp_path, store, change):
    store.remember([trial(data(1, 31))], recorded_at_ms=1)
    engine = open_engine(tmp_path / "research.db")
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE trials SET {change}")
    engine.dispose()
