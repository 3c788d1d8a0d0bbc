"""The figures of a whole run follow from its own trades and days, worked out again in plain Python."""

from datetime import datetime
from itertools import groupby
from math import sqrt
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import pytest

from crypto_tracker.simulation.statistics import deflated_sharpe, expected_maximum_sharpe, sharpe_ratio
from tests.app.books import Document
from tests.app.conftest import MARCH, backtest, run_command

YEAR_DAYS = 365


@pytest.fixture(scope="module")
def run(lively: tuple[Path, Document]) -> Document:
    return lively[1]


def hours(trade: dict[str, Any], end: str) -> float:
    held = datetime.fromisoformat(trade["exit_time"] or end) - datetime.fromisoformat(trade["entry_time"])
    return held.total_seconds() / 3_600


@pytest.mark.parametrize("kind", ["closed", "marked"])
def test_figures_of_trades_follow_from_the_trades(run: Document, kind: str):
    trades = run["trades"] + (run["open_trades"] if kind == "marked" else [])
    told = run[f"trades_{kind}"]
    gains = [trade["pnl_quote"] for trade in trades if trade["pnl_quote"] > 0]
    losses = [trade["pnl_quote"] for trade in trades if trade["pnl_quote"] < 0]
    pnl = [trade["pnl_quote"] for trade in trades]
    returns = [trade["return_net"] for trade in trades]
    assert not any(trade["exit_reason"] == "data_lost" for trade in trades)
    assert (told["n_trades"], told["n_won"], told["n_lost"]) == (len(trades), len(gains), len(losses))
    assert told["win_rate"] == pytest.approx(len(gains) / len(trades))
    assert told["win_rate_low"] < told["win_rate"] < told["win_rate_high"]
    assert told["return_net"] == pytest.approx(sum(pnl) / sum(trade["invested_quote"] for trade in trades))
    assert told["profit_factor"] == pytest.approx(sum(gains) / -sum(losses))
    assert told["payoff_ratio"] == pytest.approx(mean(gains) / -mean(losses))
    assert told["expectancy_quote"] == pytest.approx(mean(pnl))
    assert told["expectancy_ratio"] == pytest.approx(mean(pnl) / -mean(losses))
    won = len(gains) / (len(gains) + len(losses))
    assert told["kelly"] == pytest.approx(won - (1 - won) / (mean(gains) / -mean(losses)))
    assert told["sqn"] == pytest.approx(sqrt(len(pnl)) * mean(pnl) / stdev(pnl))
    assert (told["return_best"], told["return_worst"]) == (
        pytest.approx(max(returns)),
        pytest.approx(min(returns)),
    )
    streaks = [(sign, len(list(group))) for sign, group in groupby(pnl, lambda each: (each > 0) - (each < 0))]
    assert told["streak_won"] == max(length for sign, length in streaks if sign == 1)
    assert told["streak_lost"] == max(length for sign, length in streaks if sign == -1)
    held = [hours(trade, run["end"]) for trade in trades]
    assert told["hold_hours_mean"] == pytest.approx(mean(held))
    assert told["hold_hours_median"] == pytest.approx(median(held))
    assert told["hold_hours_max"] == pytest.approx(max(held))


def test_every_table_is_a_partition_of_the_same_trades(run: Document):
    for name in ("by_strategy", "by_symbol", "by_tier", "by_regime", "by_slow_regime", "by_entry_tag"):
        groups = run[name]
        assert sum(group["n_trades"] for group in groups) == run["n_trades"], name
        assert sum(group["n_open"] for group in groups) == run["n_open"], name
        assert sum(group["pnl_quote"] for group in groups) == pytest.approx(
            run["trades_closed"]["pnl_quote"], abs=1e-6
        ), name
        assert sum(group["pnl_marked_quote"] for group in groups) == pytest.approx(
            run["marked"]["pnl_quote"], abs=1e-6
        ), name
    assert len(run["by_regime"]) > 1  # the crash is in the span


def test_entry_tags_are_strategies_and_their_fallbacks(run: Document):
    for group in run["by_entry_tag"]:
        strategy, _, fallback = group["name"].partition(" ")
        mine = [
            trade
            for trade in run["trades"]
            if trade["strategy"] == strategy and trade["fallback"] == bool(fallback)
        ]
        assert group["n_trades"] == len(mine)
        assert group["pnl_quote"] == pytest.approx(sum(trade["pnl_quote"] for trade in mine), abs=1e-6)


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_periods_add_up_to_the_whole(run: Document, period: str):
    rows = run["breakdown"][period]
    assert sum(row["n_trades"] for row in rows) == run["n_trades"]
    assert sum(row["pnl_closed_quote"] for row in rows) == pytest.approx(run["closed"]["pnl_quote"], abs=1e-6)
    assert sum(row["pnl_marked_quote"] for row in rows) == pytest.approx(run["marked"]["pnl_quote"], abs=1e-6)
    assert rows[-1]["equity_final"] == run["equity_final"]
    assert max(row["max_drawdown"] for row in rows) <= run["max_drawdown"] + 1e-12
    held = 1.0
    for row in rows:
        held *= 1.0 + row["return_buy_and_hold"]
    assert held - 1.0 == pytest.approx(run["buy_and_hold"]["performance"]["return_net"])
    for row in rows:
        length = {"day": 10, "week": 8, "month": 7}[period]
        assert len(row["name"]) == length
        inside = [t for t in run["trades"] if row["first_day"] <= t["exit_time"][:10] <= row["last_day"]]
        assert row["n_trades"] == len(inside)
        assert row["n_won"] == sum(trade["pnl_quote"] > 0 for trade in inside)


def test_performance_follows_from_the_days(run: Document):
    days, told = run["breakdown"]["day"], run["marked"]
    returns = [day["return_marked"] for day in days]
    assert told["days"] == len(returns) == 15
    deviation, average = stdev(returns), mean(returns)
    assert told["volatility"] == pytest.approx(deviation * sqrt(YEAR_DAYS))
    assert told["sharpe"] == run["sharpe"] == pytest.approx(average / deviation * sqrt(YEAR_DAYS))
    downside = sqrt(mean(min(each, 0.0) ** 2 for each in returns))
    assert told["sortino"] == pytest.approx(average / downside * sqrt(YEAR_DAYS))
    assert told["omega"] == pytest.approx(
        sum(each for each in returns if each > 0) / -sum(each for each in returns if each < 0)
    )
    assert told["sqn"] == pytest.approx(average / deviation * sqrt(len(returns)))
    assert told["cagr"] == pytest.approx((1 + run["return_net"]) ** (YEAR_DAYS / 15) - 1)
    assert told["return_annual"] == pytest.approx(run["return_net"] * YEAR_DAYS / 15)
    assert told["calmar"] == pytest.approx(told["cagr"] / run["max_drawdown"])
    assert (told["best_day"], told["worst_day"]) == (max(returns), min(returns))
    assert told["drawdown"]["depth"] == run["max_drawdown"]
    assert 0.0 < told["probabilistic_sharpe"] < 1.0


def test_the_closed_curve_ends_with_the_gains_of_closed_trades(run: Document):
    gained = sum(trade["pnl_quote"] for trade in run["trades"])
    assert run["closed"]["equity_final"] == pytest.approx(run["equity_start"] + gained)
    assert run["closed"]["return_net"] == pytest.approx(run["return_closed"])
    fall = run["marked"]["drawdown"]
    assert run["start"] <= fall["peak_time"] < fall["trough_time"] <= run["end"]


def test_costs_and_refusals_add_up(run: Document):
    costs = run["costs"]
    assert (costs["fees_quote"], costs["slippage_quote"]) == (run["fees_quote"], run["slippage_quote"])
    assert costs["total_quote"] == pytest.approx(run["fees_quote"] + run["slippage_quote"])
    assert costs["pnl_before_costs_quote"] == pytest.approx(run["marked"]["pnl_quote"] + costs["total_quote"])
    # Everything that was bought, and what was sold of it again.
    bought = sum(trade["invested_quote"] for trade in run["trades"] + run["open_trades"])
    assert bought < costs["turnover_quote"] < 2.1 * bought
    refused: dict[str, int] = {}
    for reasons in run["rejected_by_strategy"].values():
        for reason, count in reasons.items():
            refused[reason] = refused.get(reason, 0) + count
    assert refused == run["rejected"]


def test_the_market_stands_beside_the_result(run: Document):
    changes = run["market_changes"]
    assert changes.keys() == set(run["symbols"])
    assert run["market_change"] == pytest.approx(mean(changes.values()))
    held = run["buy_and_hold"]
    assert held["symbols"] == len(run["symbols"])
    # A part gains what its symbol gains, on what is left of it after buying.
    assert held["performance"]["return_net"] < run["market_change"]
    assert held["performance"]["return_net"] == pytest.approx(run["market_change"], abs=0.02)
    assert held["return_sold"] < held["performance"]["return_net"]


def test_parts_of_a_span_seen_before_with_the_same_configuration_deflate_nothing(home: Path):
    pair = ("--pairs", "BTC/USD")
    for part in ("20250301-20250304", "20250304-20250307", "20250307-20250310"):
        backtest(home, "--timerange", part, *pair)
    whole = backtest(home, *MARCH, *pair)
    assert whole["deflated"] == {
        "trials": 1,
        "sharpe_expected": 0.0,
        "deflated_sharpe": whole["marked"]["probabilistic_sharpe"],
    }
    code, out, err = run_command(home, "backtest", *MARCH, *pair)
    assert code == 0, err
    words = "No other configuration was tried on an overlapping span with a common symbol"
    assert words in " ".join(out.split())


def test_another_configuration_deflates_whatever_span_it_saw(home: Path):
    pair = ("--pairs", "BTC/USD")
    backtest(home, "--timerange", "20250301-20250304", *pair, "--set", "limits.max_open=2")
    whole = backtest(home, *MARCH, *pair)
    returns = np.array([day["return_marked"] for day in whole["breakdown"]["day"]])
    sharpe = sharpe_ratio(returns)
    assert sharpe is not None
    # Three days are no measure for fifteen: the variance is that of chance over fifteen.
    variance = (1.0 + sharpe**2 / 2.0) / 14.0
    assert whole["deflated"] == {
        "trials": 2,
        "sharpe_expected": pytest.approx(expected_maximum_sharpe(2, variance) * sqrt(YEAR_DAYS)),
        "deflated_sharpe": pytest.approx(deflated_sharpe(returns, trials=2, variance=variance)),
    }
    code, out, err = run_command(home, "backtest", *MARCH, *pair)
    assert code == 0, err
    words = "The best of 2 configurations tried on overlapping spans with a common symbol reaches a Sharpe of"
    assert words in " ".join(out.split())


def test_the_run_is_the_first_trial_on_its_span(run: Document):
    assert run["deflated"] == {
        "trials": 1,
        "sharpe_expected": 0.0,
        "deflated_sharpe": run["marked"]["probabilistic_sharpe"],
    }
