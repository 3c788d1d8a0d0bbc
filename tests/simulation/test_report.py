"""The whole result of a run made by hand: tables, trades, breakdown, buy and hold, costs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason, Regime, SlowRegime, Tier
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.breakdown import Period
from crypto_tracker.simulation.buy_and_hold import hold, market_changes
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.metrics import GroupFigures
from crypto_tracker.simulation.report import CURVE_POINTS, Report, against_search, report
from crypto_tracker.simulation.statistics import sharpe_ratio
from crypto_tracker.simulation.trade_figures import trade_figures
from crypto_tracker.strategies.base import EVENT_SETUP
from tests.simulation.hand_made_run import ABOUT, START_MS, Rows, closed, closed_with, run
from tests.simulation.rules import instruments

NAN = float("nan")


def at(trades: Rows, *hours: tuple[int, int, int]) -> Rows:
    """The same trades, decided, entered and closed at these hours; an hour of -1 is still open."""
    for trade, (decided, entered, left) in zip(trades, hours, strict=True):
        trade["decision_ms"] = START_MS + decided * HOUR_MS
        trade["entry_ms"] = START_MS + entered * HOUR_MS
        trade["exit_ms"] = START_MS + left * HOUR_MS if left >= 0 else -1
    return trades


def found(trades: Rows, *, change: dict[str, Any] | None = None, **run_of: Any) -> Report:
    """The report of a run made by hand; `change` replaces parts of its scenario or result."""
    scenario, result = run(trades, **run_of)
    change = change or {}
    ours = {name: change[name] for name in ("slow_regime", "instruments", "rules") if name in change}
    if "regime" in change:
        result = replace(result, regime=np.array(change["regime"], dtype=np.int8))
    return report(replace(scenario, **ours), result, ABOUT)


def rows(groups: Sequence[GroupFigures]) -> dict[str, tuple[int, float, int, float]]:
    return {each.name: (each.n_trades, each.pnl_quote, each.n_open, each.pnl_open_quote) for each in groups}


# ------------------------------------------------------------------------------------------- tables

WON_LOST = (
    ("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 10),
    ("ETH", "DCA", ExitReason.STOP_LOSS, 300, -30),
    ("BTC", "SWING", ExitReason.TIME_EXIT, 50, 5),
)


def test_trades_are_grouped_by_the_regime_that_was_known_when_they_were_decided():
    # Decided at the close of hour 0 (that is at 01:00), of hour 1 and of hour 2.
    report_of = found(
        at(closed(*WON_LOST), (1, 1, 3), (2, 2, 3), (3, 3, 3)),
        equity=(10_000.0,) * 4,
        change={
            "regime": [Regime.NORMAL, Regime.CAUTION, Regime.CAUTION, Regime.PANIC],
            "slow_regime": np.array(
                [SlowRegime.BULL, SlowRegime.BULL, SlowRegime.BEAR, SlowRegime.CRASH], dtype=np.int8
            ),
        },
    )
    assert rows(report_of.by_regime) == {"NORMAL": (1, 10.0, 0, 0.0), "CAUTION": (2, -25.0, 0, 0.0)}
    assert rows(report_of.by_slow_regime) == {"BULL": (2, -20.0, 0, 0.0), "BEAR": (1, 5.0, 0, 0.0)}


def test_a_run_without_reference_has_an_unknown_slow_regime():
    report_of = found(at(closed(*WON_LOST[:1]), (1, 1, 1)), equity=(10_000.0,) * 2)
    assert [each.name for each in report_of.by_slow_regime] == ["UNKNOWN"]


def test_tiers_and_entry_tags_have_tables_of_their_own():
    trades = at(closed(*WON_LOST), (1, 1, 1), (1, 1, 1), (1, 1, 1))
    trades["fallback"][1] = True
    facts = instruments(run(trades)[0].panel.symbols)
    report_of = found(
        trades,
        equity=(10_000.0,) * 2,
        change={"instruments": replace(facts, tier=np.array([Tier.LARGE_CAP, Tier.MEMECOIN], dtype=np.int8))},
    )
    assert rows(report_of.by_tier) == {"large_cap": (2, 15.0, 0, 0.0), "memecoin": (1, -30.0, 0, 0.0)}
    assert rows(report_of.by_entry_tag) == {
        "DCA": (1, 10.0, 0, 0.0),
        "DCA fallback": (1, -30.0, 0, 0.0),
        "SWING": (1, 5.0, 0, 0.0),
    }


def test_what_is_left_open_stands_beside_what_closed_in_every_table():
    left = at(closed(("BTC", "DCA", ExitReason.NONE, 300, -15)), (1, 1, -1))
    report_of = found(at(closed(*WON_LOST[:1]), (1, 1, 1)), equity=(10_000.0,) * 2, open_trades=left)
    (dca,) = report_of.by_entry_tag
    assert (dca.n_trades, dca.n_open, dca.pnl_quote, dca.pnl_open_quote) == (1, 1, 10.0, -15.0)
    assert (dca.return_net, dca.return_marked) == (pytest.approx(0.1), pytest.approx(-5.0 / 400.0))
    assert [each.name for each in report_of.figures.by_exit_reason] == ["take_profit"]
    assert [trade.pnl_quote for trade in report_of.open_trades] == [-15]


def test_refusals_are_counted_for_each_strategy():
    scenario, result = run(
        closed(),
        decisions=[
            (EVENT_SETUP, Reason.COOLDOWN, Reason.ACCEPTED),
            (EVENT_SETUP, Reason.COOLDOWN, Reason.ACCEPTED),
            (EVENT_SETUP, Reason.NO_CASH, Reason.ACCEPTED),
            (EVENT_SETUP, Reason.ACCEPTED, Reason.ACCEPTED),
        ],
    )
    scenario.setups["strategy"] = [0, 1, 1, 1]
    report_of = report(scenario, result, ABOUT)
    assert report_of.rejected_by_strategy == {
        "DCA": {"cooldown": 1}, "SWING": {"cooldown": 1, "no_cash": 1}, "CHANNEL": {},
    }  # fmt: skip


# ------------------------------------------------------------------------------------------- trades


def test_streaks_run_in_the_order_of_closing():
    found_of = trade_figures(closed_with([1, 2, -1, 3, 4, 5, -2, -3, 0, -4], invested=100.0), end_ms=0)
    assert (found_of.streak_won, found_of.streak_lost) == (3, 2)  # an even trade ends a streak
    assert (found_of.n_won, found_of.n_lost, found_of.n_even) == (5, 4, 1)


def test_expectancy_and_kelly_have_the_same_sign():
    # Three wins of 2 and one loss of 3: mean 0.75, a quarter of a mean loss; W - (1 - W) / R = 3/4 - 3/8.
    found_of = trade_figures(closed_with([2, 2, 2, -3], invested=100.0), end_ms=0)
    assert (found_of.expectancy_quote, found_of.expectancy_ratio) == (0.75, 0.25)
    assert (found_of.payoff_ratio, found_of.kelly) == (pytest.approx(2 / 3), pytest.approx(0.375))
    assert found_of.profit_factor == 2.0
    assert (found_of.gain_mean_quote, found_of.loss_mean_quote) == (2.0, -3.0)


def test_a_trade_whose_data_was_lost_has_a_gain_and_no_result():
    trades = closed_with([5, -5, 100], invested=100.0)
    trades["exit_reason"][2] = ExitReason.DATA_LOST
    found_of = trade_figures(trades, end_ms=0)
    assert (found_of.n_trades, found_of.n_no_result, found_of.win_rate) == (3, 1, 0.5)
    assert found_of.pnl_quote == 100.0
    assert found_of.streak_won == 1


def test_a_trade_is_held_from_its_first_entry_to_its_exit_or_the_end():
    trades = at(closed_with([5, -5, -5], invested=100.0), (0, 1, 3), (0, 1, 5), (0, 2, -1))
    found_of = trade_figures(trades, end_ms=START_MS + 12 * HOUR_MS)
    assert (found_of.hold_hours_mean, found_of.hold_hours_median) == (pytest.approx(16 / 3), 4.0)
    assert (found_of.hold_hours_max, found_of.hold_hours_mean_won) == (10.0, 2.0)
    assert found_of.hold_hours_mean_lost == 7.0


def test_without_trades_nothing_is_claimed():
    found_of = trade_figures(closed(), end_ms=0)
    assert found_of.n_trades == found_of.streak_won == found_of.streak_lost == 0
    assert found_of.win_rate is found_of.kelly is found_of.sqn is found_of.hold_hours_max is None


# ---------------------------------------------------------------------------------- closed and marked


def test_the_closed_curve_moves_when_a_trade_closes_and_only_then():
    report_of = found(
        at(closed(*WON_LOST[:2]), (0, 0, 1), (0, 0, 3)),
        equity=(10_000.0, 9_950.0, 10_100.0, 9_980.0),
    )
    assert report_of.curve.closed.tolist() == [10_000.0, 10_010.0, 10_010.0, 9_980.0]
    assert report_of.curve.marked.tolist() == [10_000.0, 9_950.0, 10_100.0, 9_980.0]
    assert report_of.closed.drawdown.depth == pytest.approx(30.0 / 10_010.0)
    assert report_of.marked.drawdown.depth == pytest.approx(120.0 / 10_100.0)
    assert report_of.closed.return_net == pytest.approx(-0.002)
    assert report_of.figures.return_closed == pytest.approx(-0.002)


def test_costs_are_those_of_all_fills():
    report_of = found(at(closed(*WON_LOST[:1]), (0, 0, 0)), equity=(10_010.0,))
    spent = report_of.costs
    assert (spent.fees_quote, spent.slippage_quote, spent.total_quote) == (1.5, 0.75, 2.25)
    assert spent.pnl_before_costs_quote == pytest.approx(12.25)
    assert spent.share_of_turnover is None  # these fills moved nothing


def test_the_largest_exposure_and_the_time_in_the_market():
    report_of = found(
        closed(),
        equity=(10_000.0,) * 4,
        cash=(10_000.0, 6_000.0, 9_000.0, 10_000.0),
        reserved=(0, 1_000, 0, 0),
    )
    assert (report_of.exposure_max, report_of.time_in_market) == (pytest.approx(0.3), 0.5)


def test_a_long_curve_is_drawn_at_few_points_without_losing_its_depth():
    bars = 5 * CURVE_POINTS + 7
    equity = np.full(bars, 10_000.0)
    equity[4_321] = 9_000.0
    curve = found(closed(), equity=equity.tolist()).curve
    assert len(curve.time_ms) <= CURVE_POINTS
    assert curve.time_ms[-1] == START_MS + bars * HOUR_MS
    assert curve.underwater.min() == pytest.approx(-0.1)
    assert curve.equity_low.min() == 9_000.0


def test_a_search_deflates_the_sharpe_ratio():
    days = np.arange(30 * 24) // 24
    report_of = found(closed(), equity=(10_000.0 + 300.0 * np.sin(2.3 * days) + 20.0 * days).tolist())
    alone = against_search(report_of, trials=1, variance=None).deflated
    searched = against_search(report_of, trials=200, variance=0.25).deflated
    assert alone is not None
    assert searched is not None
    assert alone.sharpe_expected == 0.0
    assert alone.deflated_sharpe == report_of.marked.probabilistic_sharpe
    assert searched.sharpe_expected == pytest.approx(0.5 * 2.7655 * np.sqrt(365), rel=1e-4)
    assert searched.deflated_sharpe < alone.deflated_sharpe


def test_a_search_is_never_held_against_less_than_chance_alone():
    days = np.arange(30 * 24) // 24
    report_of = found(closed(), equity=(10_000.0 + 300.0 * np.sin(2.3 * days) + 20.0 * days).tolist())
    sharpe = sharpe_ratio(report_of.daily_returns)
    assert sharpe is not None
    assert len(report_of.daily_returns) == 30
    alike = against_search(report_of, trials=200, variance=0.0001).deflated
    assert alike == against_search(report_of, trials=200, variance=None).deflated
    assert alike is not None
    by_chance = np.sqrt((1.0 + sharpe**2 / 2.0) / 29.0) * 2.7655
    assert alike.sharpe_expected == pytest.approx(by_chance * np.sqrt(365), rel=1e-4)


# ------------------------------------------------------------------------------------------ breakdown


def periods(report_of: Report, name: str) -> list[Period]:
    return report_of.breakdown[name]


def test_days_weeks_and_months_add_up():
    """Friday 1 August to Monday 4 August 2025: two ISO weeks, one month."""
    hours = 4 * 24
    equity = 10_000.0 + np.arange(1, hours + 1)
    trades = at(closed(*WON_LOST), (0, 0, 5), (0, 0, 24), (0, 0, 95))
    report_of = found(trades, equity=equity.tolist())
    days, weeks, (month,) = (periods(report_of, name) for name in ("day", "week", "month"))
    assert [day.name for day in days] == ["2025-08-01", "2025-08-02", "2025-08-03", "2025-08-04"]
    assert [week.name for week in weeks] == ["2025-W31", "2025-W32"]
    assert (month.name, month.first_day, month.last_day) == ("2025-08", date(2025, 8, 1), date(2025, 8, 4))
    assert [day.n_trades for day in days] == [1, 1, 0, 1]
    assert [day.pnl_closed_quote for day in days] == [10.0, -30.0, 0.0, 5.0]
    assert [week.pnl_closed_quote for week in weeks] == [-20.0, 5.0]
    assert [week.return_closed for week in weeks] == [pytest.approx(-20.0 / 400.0), pytest.approx(0.1)]
    assert days[2].return_closed is None
    assert [day.pnl_marked_quote for day in days] == [24.0] * 4
    assert (days[0].return_marked, days[1].equity_final) == (pytest.approx(0.0024), 10_048.0)
    for rows_of in (days, weeks, [month]):
        assert sum(row.pnl_marked_quote for row in rows_of) == pytest.approx(equity[-1] - 10_000.0)
        assert sum(row.n_trades for row in rows_of) == 3
        assert np.prod([1.0 + row.return_marked for row in rows_of]) == pytest.approx(equity[-1] / 10_000.0)


def test_the_days_of_a_breakdown_are_those_of_the_trading_zone():
    """Midnight of 1 August UTC is five in the afternoon of 31 July in Los Angeles."""
    trades = at(closed(*WON_LOST[:2]), (0, 0, 6), (0, 0, 7))
    scenario, result = run(trades, equity=(10_000.0,) * 12)
    rules = scenario.rules.model_copy(update={"timezone": "America/Los_Angeles"})
    days = report(replace(scenario, rules=rules), result, ABOUT).breakdown["day"]
    assert [(day.name, day.n_trades) for day in days] == [("2025-07-31", 1), ("2025-08-01", 1)]


def test_a_drawdown_within_a_day_is_measured_from_the_equity_at_its_begin():
    equity = [10_000.0] * 24 + [9_500.0] * 12 + [9_900.0] * 12 + [9_801.0] * 24
    days = periods(found(closed(), equity=equity), "day")
    assert [day.max_drawdown for day in days] == [0.0, pytest.approx(0.05), pytest.approx(0.01)]


# --------------------------------------------------------------------------------------- buy and hold


def test_buying_and_holding_pays_the_costs_of_a_market_order():
    """5,000 in each of two coins at fees of 0.3 % and slippage of 0.15 %: one doubles, one halves."""
    report_of = found(closed(), equity=(10_000.0,) * 2, close=[[100.0, 10.0], [200.0, 5.0]])
    held = report_of.buy_and_hold
    assert held is not None
    facts = run(closed())[0].instruments
    fee, slippage = float(facts.taker_fee[0]), float(facts.slippage[0])
    assert fee > 0
    assert slippage > 0
    paid = (1.0 + slippage) * (1.0 + fee)
    assert held.performance.equity_final == pytest.approx((10_000.0 + 2_500.0) / paid)
    assert held.return_sold == pytest.approx(1.25 / paid * (1.0 - slippage) * (1.0 - fee) - 1.0)
    bought, sold = 10_000.0 / (1.0 + fee), 12_500.0 / paid * (1.0 - slippage)
    assert held.fees_quote == pytest.approx((bought + sold) * fee)
    assert held.slippage_quote == pytest.approx((10_000.0 + 12_500.0) / paid * slippage)
    # Every unit is accounted for: what was paid in, less costs, plus what the prices did.
    gained = (12_500.0 - 10_000.0) / paid
    assert 10_000.0 * held.return_sold == pytest.approx(gained - held.fees_quote - held.slippage_quote)


def test_a_part_waits_in_cash_for_its_symbol_and_gaps_change_nothing():
    scenario, _ = run(
        closed(),
        equity=(10_000.0,) * 4,
        close=[[100.0, NAN], [NAN, NAN], [110.0, 50.0], [110.0, NAN]],
    )
    found_of = hold(scenario, trading_days(scenario.panel.open_time_ms, "UTC"))
    assert found_of is not None
    _, curve = found_of
    first = curve[0] - 5_000.0
    assert first < 5_000.0
    assert curve[1] == curve[0]
    assert curve[2] - curve[3] == 0.0
    assert curve[2] == pytest.approx(1.1 * first + first)
    assert market_changes(scenario) == {"BTC/USD": pytest.approx(0.1), "ETH/USD": 0.0}


def test_where_no_symbol_has_a_bar_there_is_nothing_to_hold():
    report_of = found(closed(), equity=(10_000.0,) * 2, close=[[NAN, NAN]] * 2)
    assert report_of.buy_and_hold is report_of.curve.buy_and_hold is None
    assert periods(report_of, "day")[0].return_buy_and_hold is None


def test_days_of_a_year_cost_no_copy_of_the_panel():
    """Columns are read one by one: what is made is no larger than a few of them."""
    import tracemalloc

    bars, columns = 20_000, 40
    close = np.full((bars, 2), 100.0)
    scenario, _ = run(closed(), equity=(10_000.0,) * bars, close=close.tolist())
    wide = np.asfortranarray(np.full((bars, columns), 100.0))
    symbols = tuple(type(scenario.panel.symbols[0])(f"C{place}", "USD") for place in range(columns))
    panel = replace(
        scenario.panel, symbols=symbols, open=wide, high=wide, low=wide, close=wide, volume=wide,
        covered=np.ones(wide.shape, dtype=np.bool_, order="F"),
    )  # fmt: skip
    many = replace(scenario, panel=panel, instruments=instruments(symbols))
    days = trading_days(panel.open_time_ms, "UTC")
    tracemalloc.start()
    hold(many, days)
    market_changes(many)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < wide.nbytes / 4
