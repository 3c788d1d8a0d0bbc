"""How often something was tried: each configuration on each span once, and what counts for which span."""

from pathlib import Path

import pytest
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
    assert store.history(bars) == History(trials=1, configurations=1, variance=0.0)


def test_the_order_of_symbols_makes_no_other_trial(store):
    store.remember([trial(data(1, 31, BTC, ETH)), trial(data(1, 31, ETH, BTC))], recorded_at_ms=1)
    assert len(store.trials()) == 1


def test_another_span_base_provider_or_configuration_is_another_trial(store):
    bars = data(1, 31)
    others = [data(1, 30), data(2, 31), data(1, 31, base="1h"), data(1, 31, provider="coinbase")]
    store.remember([trial(bars), trial(bars, "bb"), *map(trial, others)], recorded_at_ms=1)
    assert store.history(bars).trials == 6
    assert store.history(bars).configurations == 2


def test_the_variance_is_that_of_the_sharpe_ratios_that_exist(store):
    bars = data(1, 31)
    # 0.1, 0.2, 0.6: mean 0.3, squares 0.04 + 0.01 + 0.09 = 0.14, over 2
    found = [trial(bars, name, sharpe) for name, sharpe in (("a", 0.1), ("b", 0.2), ("c", 0.6), ("d", None))]
    store.remember(found, recorded_at_ms=1)
    history = store.history(bars)
    assert (history.trials, history.variance) == (4, pytest.approx(0.07))


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
    assert store.history(data(40, 50, ETH)) == History(trials=0, configurations=0, variance=0.0)


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
