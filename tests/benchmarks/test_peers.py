"""Trade lists of other engines held against ours: every kind of difference, on bars drawn by hand."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_peers import Engine, Report, Row, nanoseconds, print_report, run_engine
from peers.comparison import Verdict, compare
from peers.environments import CannotRunError
from peers.market import drawn_bars
from peers.ours.run import SHARED_RULES, panel_of, scenario, shared_setups, trades_of
from peers.protocol import Answer, Bars, Exits, Task, Trades

from crypto_tracker.simulation.backtest import simulate_portfolio

EXITS = Exits(take_profit=0.10, stop_loss=0.10, hours=1)
QUIET = (100.0, 101.0, 99.0, 100.0)
FEES = 0.006


def minutes(*drawn: tuple[float, float, float, float]) -> Bars:
    """Bars of one symbol, with as many quiet ones after them as a position may need to end."""
    rows = np.array([*drawn, *([QUIET] * (EXITS.bars + 3))])
    none = np.zeros(0, dtype=np.int64)
    sides = {name: rows[:, [at]] for at, name in enumerate(("open", "high", "low", "close"))}
    return Bars(
        open_time_ms=np.arange(len(rows)) * 60_000,
        volume=np.full((len(rows), 1), 1000.0),
        signal_row=none,
        signal_symbol=none,
        **sides,
    )


def trade(
    exit_row: int, exit_price: float, reason: str, entry_price: float = 100.0, fees: float = FEES
) -> Trades:
    """One trade that entered in the second bar."""
    trades = Trades()
    trades.append(0, 1, exit_row, entry_price, exit_price, reason, fees)
    return trades


def judged(bars: Bars, ours: Trades, theirs: Trades) -> dict[Verdict, int]:
    return dict(compare(bars, EXITS, ours, theirs))


def test_two_lists_that_agree_in_everything_are_the_same():
    bars = minutes(QUIET, QUIET, (100, 112, 99, 111))
    ours = trade(2, 110.0, "take_profit")
    assert judged(bars, ours, trade(2, 110.0, "take_profit")) == {Verdict.SAME: 1}
    assert judged(bars, ours, trade(2, 110.0 * (1 + 1e-10), "take_profit")) == {Verdict.SAME: 1}


def test_other_fees_are_no_agreement():
    bars = minutes(QUIET, QUIET, (100, 112, 99, 111))
    theirs = trade(2, 110.0, "take_profit", fees=0.003)
    assert judged(bars, trade(2, 110.0, "take_profit"), theirs) == {Verdict.FEES: 1}


def test_a_bar_that_spans_both_levels_explains_another_exit():
    bars = minutes(QUIET, QUIET, (100, 112, 89, 100))
    theirs = trade(2, 110.0, "take_profit")
    assert judged(bars, trade(2, 90.0, "stop_loss"), theirs) == {Verdict.BOTH_LEVELS: 1}


def test_a_bar_that_does_not_reach_the_stop_explains_nothing():
    bars = minutes(QUIET, QUIET, (100, 112, 95, 100))
    theirs = trade(2, 110.0, "take_profit")
    assert judged(bars, trade(2, 90.0, "stop_loss"), theirs) == {Verdict.UNEXPLAINED: 1}


def test_gaps_over_stop_and_target_are_told_apart_by_who_left_at_the_open():
    below = minutes(QUIET, QUIET, (85, 86, 84, 85))
    assert judged(below, trade(2, 85.0, "stop_loss"), trade(2, 90.0, "stop_loss")) == {Verdict.BELOW_STOP: 1}
    above = minutes(QUIET, QUIET, (115, 116, 114, 115))
    assert judged(above, trade(2, 110.0, "take_profit"), trade(2, 115.0, "take_profit")) == {
        Verdict.ABOVE_TARGET: 1
    }


def test_an_exit_in_the_bar_of_the_entry_is_known():
    bars = minutes(QUIET, (100, 112, 99, 100))
    late = trade(5, 110.0, "take_profit")
    assert judged(bars, trade(1, 110.0, "take_profit"), late) == {Verdict.ENTRY_BAR: 1}


def test_a_level_measured_from_the_close_before_is_known_in_the_bar_of_the_entry_only():
    bars = minutes((100, 103, 99, 102), (100, 113, 99, 100), (100, 113, 99, 100))
    ours = trade(1, 110.0, "take_profit")
    assert judged(bars, ours, trade(1, 112.2, "take_profit")) == {Verdict.CLOSE_LEVELS: 1}
    later = trade(2, 110.0, "take_profit")
    assert judged(bars, later, trade(2, 112.2, "take_profit")) == {Verdict.UNEXPLAINED: 1}


def test_an_exit_in_another_later_bar_is_not():
    bars = minutes(QUIET, QUIET, (100, 112, 99, 100))
    late = trade(5, 110.0, "take_profit")
    assert judged(bars, trade(2, 110.0, "take_profit"), late) == {Verdict.UNEXPLAINED: 1}


def test_an_entry_at_the_close_before_is_known_and_one_at_any_other_price_is_not():
    bars = minutes((100, 103, 99, 102), QUIET, (100, 115, 99, 111))
    ours = trade(2, 110.0, "take_profit")
    at_close = trade(2, 112.2, "take_profit", entry_price=102.0)
    assert judged(bars, ours, at_close) == {Verdict.ENTRY_PRICE: 1}
    elsewhere = trade(2, 112.2, "take_profit", entry_price=101.5)
    assert judged(bars, ours, elsewhere) == {Verdict.UNEXPLAINED: 1}


def test_trades_of_one_list_only_are_counted_unless_the_bars_end_too_soon():
    bars = minutes(QUIET, QUIET, (100, 112, 99, 111))
    ours = trade(2, 110.0, "take_profit")
    assert judged(bars, ours, Trades()) == {Verdict.ONLY_OURS: 1}
    assert judged(bars, Trades(), ours) == {Verdict.ONLY_THEIRS: 1}
    short = replace(bars, **{name: getattr(bars, name)[:4] for name in ("open", "high", "low", "close")})
    assert judged(short, ours, Trades()) == {}


def listed(*rows: tuple[int, int]) -> Trades:
    """Trades told by the bars of entry and exit alone."""
    trades = Trades()
    for entry_row, exit_row in rows:
        trades.append(0, entry_row, exit_row, 100.0, 110.0, "take_profit", FEES)
    return trades


def test_a_trade_is_missing_for_a_reason_where_the_other_still_held_the_one_before():
    bars = minutes(*[QUIET] * 20)
    assert judged(bars, listed((1, 1), (8, 9)), listed((1, 8))) == {Verdict.ENTRY_BAR: 1, Verdict.HELD: 1}
    assert judged(bars, listed((1, 1), (9, 9)), listed((1, 8))) == {
        Verdict.ENTRY_BAR: 1,
        Verdict.ONLY_OURS: 1,
    }


def test_a_second_entry_upon_one_signal_is_known_by_the_first_that_ended_at_once():
    bars = minutes(*[QUIET] * 20)
    assert judged(bars, listed((1, 1)), listed((1, 1), (2, 9))) == {Verdict.SAME: 1, Verdict.AGAIN: 1}
    assert judged(bars, listed((1, 1)), listed((1, 1), (6, 9))) == {Verdict.SAME: 1, Verdict.ONLY_THEIRS: 1}


def followed(bars: Bars, exits: Exits, fee: float) -> Trades:
    """Every entry walked bar by bar: the shared rules, as plainly as they can be written."""
    trades = Trades()
    for row, symbol in zip(bars.signal_row.tolist(), bars.signal_symbol.tolist(), strict=True):
        entry = float(bars.open[row + 1, symbol])
        stop, target = entry * (1 - exits.stop_loss), entry * (1 + exits.take_profit)
        for at in range(row + 1, len(bars.close)):
            opened = float(bars.open[at, symbol])
            if at > row + 1 and opened <= stop:
                left = opened, "stop_loss"
            elif at > row + 1 and opened > target:
                left = target, "take_profit"
            elif at - (row + 1) >= exits.bars:
                left = opened, "time_exit"
            elif bars.low[at, symbol] <= stop:
                left = min(stop, opened), "stop_loss"
            elif bars.high[at, symbol] > target:
                left = target, "take_profit"
            else:
                continue
            trades.append(symbol, row + 1, at, entry, left[0], left[1], fee * (1 + left[0] / entry))
            break
    return trades


def test_our_engine_under_the_shared_rules_trades_as_a_plain_loop_does():
    exits = Exits(take_profit=0.010, stop_loss=0.008, hours=1)
    bars = drawn_bars(symbols=3, days=20, spacing_minutes=exits.bars)
    panel = panel_of(bars)
    result = simulate_portfolio(scenario(panel, shared_setups(bars, exits), SHARED_RULES))
    verdicts = compare(bars, exits, trades_of(result, panel), followed(bars, exits, 0.003))
    assert set(verdicts) == {Verdict.SAME}
    assert verdicts[Verdict.SAME] > 500
    assert {*trades_of(result, panel).reason} == {"take_profit", "stop_loss", "time_exit"}


def test_entries_are_further_apart_than_the_longest_hold_and_on_closes_of_five_minutes():
    bars = drawn_bars(symbols=2, days=10, spacing_minutes=720)
    for symbol in range(2):
        rows = bars.signals_of(symbol)
        assert len(rows) > 5
        assert np.diff(rows).min() > 721
        assert np.all(rows % 5 == 4)


def test_a_task_and_an_answer_survive_their_files(tmp_path: Path):
    task = Task(tmp_path / "bars.npz", 10, 2, 0.003, (EXITS,), (EXITS, Exits(0.2, 0.1, 1)), 2)
    task.write(tmp_path / "task.json")
    assert Task.read(tmp_path / "task.json") == task
    answer = Answer("engine", {"engine": "1.0"})
    assert answer.take("way", lambda: 7, repetition=0) == 7
    answer.keep("way", trade(2, 110.0, "take_profit"), repetition=0)
    answer.keep("way", Trades(), repetition=0)
    assert [len(trades) for trades in answer.trades["way"]] == [1]
    answer.write(tmp_path / "answer.json")
    assert '"exit_row": [2]' in (tmp_path / "answer.json").read_text()


def test_the_figure_is_the_best_round_of_each_repetition_and_their_mean():
    takes = [
        {"repetition": 0, "sets": 1, "cpu": 3.0},
        {"repetition": 1, "sets": 1, "cpu": 2.0},
        {"repetition": 0, "sets": 1, "cpu": 1.0},
    ]
    assert nanoseconds(takes, bars=1_000_000_000) == pytest.approx(1.5)
    assert nanoseconds([{"repetition": 0, "sets": 4, "cpu": 8.0}], bars=1_000_000_000) == pytest.approx(2.0)


def test_an_engine_that_does_not_run_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench_peers.interpreter", lambda _: Path(sys.executable))
    with pytest.raises(CannotRunError, match=r"No module named 'peers\.absent'"):
        run_engine(Engine("absent", days=1), tmp_path / "bars.npz", tmp_path)


def test_the_table_fits_100_columns_and_names_what_is_missing(capsys: pytest.CaptureFixture[str]):
    verdicts = Counter(dict.fromkeys(Verdict, 10_000))
    row = Row("nautilus_trader, 5m and 1m", "1.9.78.123", 5_184_000, 123_456.7, 12_345.6, 5_000, verdicts)
    report = Report(
        "Processor, 2 cores", minutes(QUIET), [row], [row], {"engine": {"load": 0.1, "memory_mb": 99.0}}
    )
    report.missing["freqtrade"] = "no wheel"
    print_report(report)
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 100
    assert "freqtrade                     not measured: no wheel" in printed
    assert report.document()["rows"][0]["verdicts"]["same"] == 10_000
