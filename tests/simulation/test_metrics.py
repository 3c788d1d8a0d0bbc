"""The figures of a run, each found by hand on a handful of trades and closes."""

from datetime import UTC, datetime
from math import sqrt
from typing import Any

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import HOUR_MS, to_ms
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.metrics import (
    Figures,
    GroupFigures,
    daily_returns,
    figures,
    max_drawdown,
    profit_factor,
    sharpe,
    win_rate,
)
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP
from tests.simulation.hand_made_run import Rows, closed, run


def of(trades: Rows, **run_of: Any) -> Figures:
    """The figures of a run made by hand."""
    scenario, result = run(trades, **run_of)
    return figures(scenario, result, trading_days(scenario.panel.open_time_ms, "UTC"))


def group(groups: list[GroupFigures], name: str) -> GroupFigures:
    (found,) = [each for each in groups if each.name == name]
    return found


# ------------------------------------------------------------------------------------------- drawdown


def test_the_drawdown_is_the_deepest_fall_from_the_highest_point_so_far():
    # From 120 to 90 is a quarter; the later fall from 200 to 160 is a fifth.
    assert max_drawdown(np.array([110.0, 120.0, 90.0, 130.0, 200.0, 160.0]), 100.0) == 0.25


def test_a_loss_from_the_very_start_counts_as_drawdown():
    assert max_drawdown(np.array([95.0, 90.0, 99.0]), 100.0) == 0.1


def test_a_portfolio_that_only_rises_has_no_drawdown():
    assert max_drawdown(np.array([100.0, 101.0, 101.0]), 100.0) == 0.0
    assert max_drawdown(np.zeros(0), 100.0) == 0.0


# ---------------------------------------------------------------------------------- daily returns and Sharpe


def test_a_day_goes_from_the_last_close_of_the_day_before_to_its_own():
    days = np.array([7, 7, 7, 8, 8, 9])
    equity = np.array([101.0, 90.0, 110.0, 100.0, 99.0, 198.0])
    assert daily_returns(equity, days, 100.0) == pytest.approx([0.10, -0.10, 1.0])


def test_a_day_begins_at_midnight_of_the_trading_zone():
    # 22:00 to 01:00 UTC on 1 August: in Berlin (UTC+2) the new day begins with the bar of 22:00 UTC.
    start = to_ms(datetime(2025, 8, 1, 20, tzinfo=UTC))
    times = start + np.arange(6) * HOUR_MS
    utc, berlin, kolkata = (trading_days(times, zone) for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata"))
    assert np.diff(utc).tolist() == [0, 0, 0, 1, 0]
    assert np.diff(berlin).tolist() == [0, 1, 0, 0, 0]
    assert np.diff(kolkata).tolist() == [0, 0, 0, 0, 0]  # UTC+5:30: its midnight was at 18:30
    quarters = to_ms(datetime(2025, 8, 1, 18, tzinfo=UTC)) + np.arange(4) * HOUR_MS // 4
    assert np.diff(trading_days(quarters, "Asia/Kolkata")).tolist() == [0, 1, 0]


def test_the_day_on_which_clocks_go_back_has_25_hours():
    times = to_ms(datetime(2025, 10, 25, 22, tzinfo=UTC)) + np.arange(26) * HOUR_MS  # midnight in Berlin
    days = trading_days(times, "Europe/Berlin")
    assert (days == days[0]).sum() == 25


def test_sharpe_is_mean_over_deviation_of_daily_returns_times_the_root_of_365():
    # Days of +10 % and -10 %: the mean is 0. Days of +20 % and 0 %: mean 0.1, deviation sqrt(0.02) with n - 1.
    days = np.array([1, 2])
    assert sharpe(np.array([110.0, 99.0]), days, 100.0) == pytest.approx(0.0, abs=1e-12)
    assert sharpe(np.array([120.0, 120.0]), days, 100.0) == pytest.approx(0.1 / sqrt(0.02) * sqrt(365))


def test_sharpe_does_not_exist_below_two_days_or_without_variation():
    assert sharpe(np.array([101.0, 102.0]), np.array([1, 1]), 100.0) is None
    assert sharpe(np.array([100.0, 100.0]), np.array([1, 2]), 100.0) is None
    assert sharpe(np.zeros(0), np.zeros(0, dtype=np.int64), 100.0) is None


# --------------------------------------------------------------------------------- win rate, profit factor


def test_a_trade_whose_data_was_lost_is_neither_won_nor_lost():
    trades = closed(
        ("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 4),
        ("BTC", "DCA", ExitReason.STOP_LOSS, 100, -6),
        ("ETH", "DCA", ExitReason.DATA_LOST, 100, 50),
        ("ETH", "DCA", ExitReason.DATA_LOST, 100, -50),
    )
    assert win_rate(trades) == 0.5
    assert win_rate(trades[2:]) is None


def test_a_trade_that_earned_exactly_nothing_is_not_won():
    assert win_rate(closed(("BTC", "DCA", ExitReason.TIME_EXIT, 100, 0))) == 0.0


def test_the_profit_factor_is_gains_over_losses():
    trades = closed(
        ("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 9),
        ("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 3),
        ("ETH", "DCA", ExitReason.STOP_LOSS, 100, -8),
    )
    assert profit_factor(trades) == 1.5


def test_without_a_loss_there_is_no_profit_factor():
    assert profit_factor(closed(("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 9))) is None
    assert profit_factor(closed()) is None
    assert profit_factor(closed(("BTC", "DCA", ExitReason.STOP_LOSS, 100, -9))) == 0.0


# ----------------------------------------------------------------------------------------------- the whole


def test_groups_divide_summed_gains_by_summed_investments():
    # 10 on 100 and -30 on 900: together -2 %, although the mean of +10 % and -3.33 % is positive.
    found = of(
        closed(
            ("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 10),
            ("BTC", "DCA", ExitReason.STOP_LOSS, 900, -30),
            ("ETH", "SWING", ExitReason.TAKE_PROFIT, 50, 5),
        )
    )
    dca = group(found.by_strategy, "DCA")
    assert (dca.n_trades, dca.invested_quote, dca.pnl_quote) == (2, 1_000.0, -20.0)
    assert dca.return_net == pytest.approx(-0.02)
    assert (dca.win_rate, dca.profit_factor) == (0.5, pytest.approx(1 / 3))
    assert (dca.fees_quote, dca.slippage_quote) == (2.0, 1.0)
    assert [each.name for each in found.by_symbol] == ["BTC/USD", "ETH/USD"]
    assert group(found.by_symbol, "ETH/USD").return_net == pytest.approx(0.1)
    assert [each.name for each in found.by_exit_reason] == ["take_profit", "stop_loss"]
    assert group(found.by_exit_reason, "take_profit").pnl_quote == 15.0
    assert found.exits == {"take_profit": 2, "stop_loss": 1}


def test_a_strategy_without_trades_is_listed_with_nothing():
    channel = group(of(closed(("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 10))).by_strategy, "CHANNEL")
    assert (channel.n_trades, channel.pnl_quote, channel.invested_quote) == (0, 0.0, 0.0)
    assert channel.win_rate is channel.return_net is channel.profit_factor is None


def test_returns_are_told_as_marked_and_as_closed():
    open_trades = closed(("ETH", "SWING", ExitReason.NONE, 500, 150))
    found = of(
        closed(("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 50)),
        equity=(10_000.0, 9_900.0, 10_200.0),
        open_trades=open_trades,
    )
    assert (found.equity_start, found.equity_final) == (10_000.0, 10_200.0)
    assert found.return_net == pytest.approx(0.02)
    assert found.return_closed == pytest.approx(0.005)
    assert found.max_drawdown == pytest.approx(0.01)
    assert (found.n_trades, found.n_open) == (1, 1)


def test_fees_and_slippage_are_those_of_every_fill_also_of_open_trades():
    found = of(closed(("BTC", "DCA", ExitReason.TAKE_PROFIT, 100, 10)))
    assert (found.fees_quote, found.slippage_quote) == (1.5, 0.75)  # three fills of 0.5 and 0.25


def test_exposure_is_the_mean_share_of_equity_in_positions():
    # Nothing; 3,000 of 10,000 (1,000 more is reserved); 1,000 of 8,000.
    found = of(
        closed(),
        equity=(10_000.0, 10_000.0, 8_000.0),
        cash=(10_000.0, 6_000.0, 7_000.0),
        reserved=(0.0, 1_000.0, 0.0),
    )
    assert found.exposure == pytest.approx((0.0 + 0.3 + 0.125) / 3)


def test_the_market_change_is_the_mean_over_symbols_from_first_to_last_close():
    nan = float("nan")
    found = of(closed(), equity=(10_000.0,) * 3, close=[[100.0, nan], [110.0, 50.0], [nan, 60.0]])
    assert found.market_change == pytest.approx((0.10 + 0.20) / 2)
    assert of(closed(), close=[[nan, nan]]).market_change is None


def test_every_setup_without_a_trade_is_counted_under_its_reason():
    found = of(
        closed(),
        decisions=[
            (EVENT_SETUP, Reason.ACCEPTED, Reason.ACCEPTED),
            (EVENT_SETUP, Reason.ACCEPTED, Reason.EXPIRED),
            (EVENT_SETUP, Reason.COOLDOWN, Reason.ACCEPTED),
            (EVENT_SETUP, Reason.COOLDOWN, Reason.ACCEPTED),
            (EVENT_RESET, Reason.ACCEPTED, Reason.ACCEPTED),
        ],
    )
    assert found.setups == 4
    assert found.rejected == {"cooldown": 2, "expired": 1}
    assert list(found.rejected) == ["cooldown", "expired"]  # the most frequent first


def test_a_run_without_trades_has_no_rates():
    found = of(closed())
    assert found.win_rate is found.profit_factor is found.ambiguous_share is None
    assert found.exits == {}


def test_the_share_of_ambiguous_exits_is_that_of_closed_trades():
    trades = closed(*[("BTC", "DCA", ExitReason.STOP_LOSS, 100, -1)] * 4)
    trades["ambiguous"][0] = True
    assert of(trades).ambiguous_share == 0.25
