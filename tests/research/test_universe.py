"""Backtests buy what belonged to the universe of the day, and nothing else, however the span is run."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, to_ms
from crypto_tracker.research.backtest import Backtest, run_backtest, scenario
from crypto_tracker.research.chunks import run_in_months
from crypto_tracker.research.detection import detect
from crypto_tracker.research.market import gather
from crypto_tracker.research.prepared import Prepared, prepare
from crypto_tracker.research.universe import withhold
from crypto_tracker.store.choice import Choice, choose
from crypto_tracker.store.membership import Membership
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.universes import CONFIGURED, record_universe, universes
from crypto_tracker.strategies.base import EVENT_SETUP, SETUP_DTYPE
from tests.research.test_chunks import walk, without
from tests.research.worlds import configuration, entries
from tests.store.shelf import store

BTC, ETH, SOL = (Symbol(coin, "USD") for coin in ("BTC", "ETH", "SOL"))
START_MS = to_ms(datetime(2025, 2, 20, tzinfo=UTC))
DEATH_MS = to_ms(datetime(2025, 3, 12, 3, tzinfo=UTC))  # of ETH
SOL_MS = to_ms(datetime(2025, 3, 8, tzinfo=UTC))  # its first day in the universe
END_MS = to_ms(datetime(2025, 3, 20, tzinfo=UTC))
TODAY = ('universe.symbols=["BTC/USD", "SOL/USD"]',)  # as it is configured after the death of ETH


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three coins, of which one dies and one is discovered, and the universes of those days."""
    folder = tmp_path_factory.mktemp("universe")
    gone = [("2024-12-01", "2025-01-01"), ("2025-03-21", "2026-01-01")]
    with store(folder, now=datetime(2026, 1, 1, tzinfo=UTC)) as opened:
        opened.write("kraken", BTC, Timeframe.M1, without(walk(1), *gone))
        opened.write("kraken", ETH, Timeframe.M1, without(walk(2), *gone, ("2025-03-12 03:00", "2026-01-01")))
        opened.write("kraken", SOL, Timeframe.M1, without(walk(3), *gone))
    record_universe(folder, START_MS, "kraken", [BTC, ETH], CONFIGURED)
    record_universe(folder, SOL_MS, "kraken", [BTC, ETH, SOL], CONFIGURED)
    record_universe(folder, DEATH_MS // DAY_MS * DAY_MS + DAY_MS, "kraken", [BTC, SOL], CONFIGURED)
    return folder


def chosen(reader: BarReader, home: Path | None, *pairs: str, settings: Sequence[str] = TODAY) -> Choice:
    return choose(
        reader.series(),
        configuration(*settings),
        pairs=pairs,
        timeframe=None,
        provider=None,
        start_ms=START_MS,
        end_ms=END_MS,
        universes=[] if home is None else universes(home),
    )


def run(reader: BarReader, choice: Choice, how=run_backtest) -> Backtest:
    tree, ticks = configuration(*TODAY), count()
    return how(
        StoredBars(reader, choice.provider_of),
        tree,
        entries(tree, "DCA"),
        choice,
        version="v",
        keep_blocks=False,
        close_at_end=False,
        progress=lambda *_: None,
        stopwatch=lambda: float(next(ticks)),
    )


@pytest.fixture(scope="module")
def obedient(home: Path) -> Backtest:
    with BarReader.open(home) as reader:
        return run(reader, chosen(reader, home))


def answers(run: Backtest, symbol: Symbol) -> list[tuple[int, Reason]]:
    """When the setups of a coin were decided, and what the portfolio said."""
    column = run.scenario.panel.symbols.index(symbol)
    asked = (run.scenario.setups["kind"] == EVENT_SETUP) & (run.scenario.setups["symbol"] == column)
    times, reasons = run.scenario.setups["time_ms"][asked], run.result.decisions["reason"][asked]
    return [(int(time_ms), Reason(int(reason))) for time_ms, reason in zip(times, reasons, strict=True)]


def entries_of(run: Backtest, symbol: Symbol) -> list[int]:
    column = run.scenario.panel.symbols.index(symbol)
    trades = [*run.result.trades, *run.result.open_trades]
    return sorted(int(trade["entry_ms"]) for trade in trades if trade["symbol"] == column)


def test_a_coin_that_died_is_not_left_out_of_the_past(home: Path, obedient: Backtest):
    assert obedient.scenario.panel.symbols == (BTC, ETH, SOL)
    bought = entries_of(obedient, ETH)
    assert len(bought) > 3
    assert bought[-1] < DEATH_MS
    assert all(reason is not Reason.NOT_IN_UNIVERSE for _, reason in answers(obedient, ETH))
    with BarReader.open(home) as reader:  # as the configuration of today has it, the coin never was
        assert chosen(reader, None).symbols == (BTC, SOL)


def test_what_is_held_when_its_coin_dies_is_closed_as_lost(obedient: Backtest):
    column = obedient.scenario.panel.symbols.index(ETH)
    last = max(
        (trade for trade in obedient.result.trades if trade["symbol"] == column), key=lambda t: t["exit_ms"]
    )
    assert last["exit_reason"] == ExitReason.DATA_LOST
    assert not any(trade["symbol"] == column for trade in obedient.result.open_trades)


def test_a_coin_is_not_bought_before_it_belonged(obedient: Backtest):
    said = answers(obedient, SOL)
    before = [reason for time_ms, reason in said if time_ms < SOL_MS]
    after = [reason for time_ms, reason in said if time_ms >= SOL_MS]
    assert len(before) > 3
    assert set(before) == {Reason.NOT_IN_UNIVERSE}
    assert Reason.NOT_IN_UNIVERSE not in after
    assert Reason.ACCEPTED in after
    assert entries_of(obedient, SOL)[0] > SOL_MS


def test_the_rest_of_the_portfolio_trades_as_if_the_coin_were_blocked(home: Path, obedient: Backtest):
    # With SOL named, its early setups take part, and so the run is another one.
    with BarReader.open(home) as reader:
        named = run(reader, chosen(reader, None, "BTC/USD", "ETH/USD", "SOL/USD"))
    assert entries_of(named, SOL)[0] < SOL_MS
    assert entries_of(named, BTC) == entries_of(obedient, BTC)
    assert named.data_hash.total != obedient.data_hash.total
    assert {name: digest for name, digest in obedient.data_hash.symbols.items() if name != "universe"} == (
        named.data_hash.symbols
    )


def test_month_by_month_the_same_setups_are_withheld(home: Path, obedient: Backtest):
    with BarReader.open(home) as reader:
        months = run(reader, chosen(reader, home), run_in_months)
    np.testing.assert_array_equal(months.scenario.setups["withheld"], obedient.scenario.setups["withheld"])
    np.testing.assert_array_equal(months.result.equity_e8, obedient.result.equity_e8)
    np.testing.assert_array_equal(months.result.decisions["reason"], obedient.result.decisions["reason"])
    assert months.data_hash == obedient.data_hash


def test_a_prepared_market_withholds_the_same_setups(home: Path, obedient: Backtest, tmp_path: Path):
    tree = configuration(*TODAY)
    strategies = entries(tree, "DCA")
    with BarReader.open(home) as reader:
        choice = chosen(reader, home)
        market = gather(
            StoredBars(reader, choice.provider_of),
            tree,
            strategies,
            choice.symbols,
            reference_symbol=choice.reference_symbol,
            base=choice.base,
            start_ms=START_MS,
            end_ms=END_MS,
        )
        market = replace(market, universe=choice.universe)
        prepare(market, strategies, tree, tmp_path, progress=lambda *_: None)
        setups = detect(market, strategies, near_miss_readiness=80.0, version="").setups
        whole = scenario(market, strategies, setups, tree)
    prepared = Prepared(tmp_path, {entry.strategy.name: entry.strategy for entry in strategies})
    found = prepared.scenario(tree, strategies, start_ms=START_MS, end_ms=END_MS, close_at_end=False)
    for name in SETUP_DTYPE.names or ():
        np.testing.assert_array_equal(found.setups[name], whole.setups[name], err_msg=name)
    np.testing.assert_array_equal(whole.setups["withheld"], obedient.scenario.setups["withheld"])
    assert (whole.setups["withheld"] != 0).any()


def test_the_moment_of_a_decision_lies_in_the_day_that_it_begins():
    setups = np.zeros(5, dtype=SETUP_DTYPE)
    setups["time_ms"] = [SOL_MS - 1, SOL_MS, SOL_MS + 1, SOL_MS + DAY_MS - 1, SOL_MS + DAY_MS]
    setups["symbol"] = 1
    withhold(setups, (BTC, SOL), Membership(periods={BTC: (), SOL: ((SOL_MS, SOL_MS + DAY_MS),)}))
    out = int(Reason.NOT_IN_UNIVERSE)
    assert setups["withheld"].tolist() == [out, 0, 0, 0, out]


def test_what_a_setup_is_withheld_for_already_stays():
    setups = np.zeros(2, dtype=SETUP_DTYPE)
    setups["withheld"] = [Reason.DATA_DOUBTFUL, 0]
    withhold(setups, (BTC,), Membership(periods={BTC: ()}))
    assert setups["withheld"].tolist() == [Reason.DATA_DOUBTFUL, Reason.NOT_IN_UNIVERSE]
    withhold(setups, (BTC,), None)
    assert setups["withheld"].tolist() == [Reason.DATA_DOUBTFUL, Reason.NOT_IN_UNIVERSE]
