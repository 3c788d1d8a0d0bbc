"""The scorecard: every figure by hand, what counts as met, and the three verdicts."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.simulation.evidence import Answer, Evidence, setup_of
from crypto_tracker.simulation.scorecard import (
    DayShares,
    Row,
    State,
    Targets,
    Verdict,
    correlation_interval,
    rank_correlation,
    scorecard,
)
from crypto_tracker.simulation.statistics import wilson_interval
from tests.simulation.sides import BTC, ETH, daily, gained, side, traded

TARGETS = Targets(
    win_rate_min=0.52,
    strategy_win_rate_min={"DCA": 0.55, "SWING": 0.50},
    setup_quality_min=0.60,
    false_positives_max=0.30,
    model_accuracy_min=0.55,
    model_setups_min=100,
    confidence_correlation_min=0.0,
    profit_factor_min=1.2,
    drawdown_max=0.10,
    sharpe_min=1.0,
    pnl_quote_min=0.0,
    uptime_min=0.95,
    data_quality_min=0.99,
    late_seconds=60.0,
    trades_min=4,
    days_min=3,
    confidence=0.95,
    draws=500,
)
NAMES = [
    "win_rate.DCA",
    "win_rate.SWING",
    "win_rate",
    "setup_quality",
    "false_positives",
    "model_accuracy",
    "confidence_correlation",
    "profit_factor",
    "max_drawdown",
    "sharpe",
    "pnl_net",
    "uptime",
    "data_quality",
]
WHOLE = DayShares(day=np.arange(3), good=np.full(3, 1_440.0), all=np.full(3, 1_440.0), source="by hand")
LOST = ExitReason.STOP_LOSS


def rows_of(evidence: Evidence, **changes: object) -> dict[str, Row]:
    targets = TARGETS.model_copy(update=changes)
    card = scorecard(evidence, targets, uptime=WHOLE, data_quality=WHOLE)
    return {row.name: row for row in card.rows}


def six_trades() -> list[Trade]:
    """DCA wins three of four, SWING one of two; costs are 7.5 each, and one loss is smaller than that."""
    return [
        traded(BTC, "DCA", 0.1, 60.0),
        traded(BTC, "DCA", 0.3, 30.0),
        traded(BTC, "DCA", 1.1, 10.0),
        traded(BTC, "DCA", 1.3, -40.0, reason=LOST),
        traded(ETH, "SWING", 2.1, 20.0),
        traded(ETH, "SWING", 2.3, -5.0, reason=ExitReason.TIME_EXIT),
    ]


def test_every_target_of_the_specification_has_its_row_in_its_order():
    assert list(rows_of(side(trades=six_trades()))) == NAMES


def test_rates_of_trades_are_those_of_a_hand_count():
    lost_data = traded(BTC, "CHANNEL", 2.6, -90.0, reason=ExitReason.DATA_LOST)
    rows = rows_of(side(trades=[*six_trades(), lost_data], days=daily(1.0, 1.0, 1.0)))
    assert (rows["win_rate"].value, rows["win_rate"].n) == (4 / 6, 6)
    assert (rows["win_rate"].low, rows["win_rate"].high) == wilson_interval(4, 6)
    assert (rows["win_rate.DCA"].value, rows["win_rate.SWING"].value) == (3 / 4, 1 / 2)
    # -5 after costs of 7.5 paid for itself before them; -40 did not.
    assert rows["setup_quality"].value == 5 / 6
    assert rows["false_positives"].value == 1 / 6
    # What was lost with the data counts as a loss here, as in every profit factor.
    assert rows["profit_factor"].value == pytest.approx(120 / 135)
    assert rows["profit_factor"].n == 7


def test_a_stop_with_a_gain_is_no_false_positive():
    stopped_ahead = traded(BTC, "DCA", 0.5, 5.0, reason=LOST)
    assert rows_of(side(trades=[*six_trades(), stopped_ahead]))["false_positives"].value == 1 / 7


def test_the_equity_gives_drawdown_sharpe_and_gain():
    rows = rows_of(side(days=daily(10_100.0, 9_898.0, 10_025.0)))
    assert rows["max_drawdown"].value == pytest.approx(0.02)
    assert rows["pnl_net"].value == pytest.approx(25.0)
    returns = np.array([0.01, -0.02, 127 / 9_898])
    assert rows["sharpe"].value == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365))
    assert {rows[name].n for name in ("max_drawdown", "sharpe", "pnl_net")} == {3}
    # Three days drawn with replacement: the gain lies between three times the worst and the best of them.
    low, high = rows["pnl_net"].low, rows["pnl_net"].high
    assert low is not None
    assert high is not None
    assert -606.0 <= low < 25.0 < high <= 381.0


def test_rank_correlation_is_that_of_the_formula_without_ties_and_shares_ranks_with_them():
    # Differences of ranks 0, 1, 1, 0, 0: 1 - 6 x 2 / (5 x 24) = 0.9.
    first, second = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([-3.0, 1.0, 0.0, 4.0, 9.0])
    assert rank_correlation(first, second) == pytest.approx(0.9)
    assert rank_correlation(first, -first) == -1.0
    # Ranks 1.5, 1.5, 3 against 1, 2, 3: covariance 1.5 over sqrt(1.5 x 2).
    assert rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(0.8660254)
    assert rank_correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    assert rank_correlation(np.zeros(0), np.zeros(0)) is None


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=30))
def test_rank_correlation_does_not_change_with_order_or_scale(pairs: list[tuple[int, int]]):
    values = np.array(pairs, dtype=np.float64)
    found = rank_correlation(values[:, 0], values[:, 1])
    other = rank_correlation(np.exp(values[::-1, 1]), 5.0 * values[::-1, 0] - 3.0)
    assert found == pytest.approx(other, abs=1e-12)
    assert found is None or -1.0 <= found <= 1.0


def test_the_interval_of_a_correlation_needs_four_pairs():
    assert correlation_interval(0.5, 3, 0.95) == (None, None)
    assert correlation_interval(1.0, 9, 0.95) == (1.0, 1.0)
    low, high = correlation_interval(0.0, 103, 0.95)
    assert (low, high) == (pytest.approx(-0.1936, abs=1e-4), pytest.approx(0.1936, abs=1e-4))


def test_confidence_is_held_against_the_return_of_the_same_setup():
    trades = six_trades()
    plain = side(trades=trades)
    # The surer the strategy was, the more the trade lost.
    answers = {
        setup_of(trade): Answer(plain.answers[setup_of(trade)].reason, 0.5 - trade.return_net)
        for trade in trades
    }
    rows = rows_of(replace(plain, answers=answers))
    assert rows["confidence_correlation"].value == -1.0
    assert rows["confidence_correlation"].state is State.NOT_MET
    unknown = rows_of(replace(plain, answers=None))["confidence_correlation"]
    assert (unknown.state, unknown.n) == (State.NOT_KNOWN, 0)
    assert "not recorded" in unknown.why
    assert rows_of(plain)["confidence_correlation"].why == "confidence and return must both vary"


def test_uptime_and_quality_are_shares_of_all_days_together():
    shares = DayShares(
        day=np.arange(3), good=np.array([1_440.0, 720.0, 1_440.0]), all=np.full(3, 1_440.0), source=""
    )
    card = scorecard(side(), TARGETS, uptime=shares, data_quality="the store does not have its bars")
    uptime, quality = card.rows[-2:]
    assert (uptime.value, uptime.low, uptime.high) == (5 / 6, 0.5, 1.0)
    assert uptime.state is State.NOT_MET
    assert (quality.state, quality.why) == (State.NOT_KNOWN, "the store does not have its bars")
    assert shares.between(1, 3).good.tolist() == [720.0, 1_440.0]


def test_a_target_must_be_passed_and_not_only_reached():
    half = [traded(ETH, "SWING", 0.1 * n, 10.0 if n % 2 else -10.0) for n in range(1, 9)]
    row = rows_of(side(trades=half))["win_rate.SWING"]
    assert (row.value, row.target, row.state) == (0.5, 0.5, State.NOT_MET)
    row = Row(
        name="x", value=0.1, low=None, high=None, n=9, n_min=1, unit="", target=0.1, above=False, why=""
    )
    assert (row.state, row.sure) == (State.NOT_MET, None)


def test_a_small_sample_is_thin_and_not_met_however_good_it_looks():
    rows = rows_of(side(trades=six_trades()), trades_min=7)
    assert rows["win_rate"].value == 4 / 6
    assert rows["win_rate"].thin
    assert rows["win_rate"].state is State.NOT_KNOWN


def test_a_value_is_sure_where_its_whole_interval_lies_on_its_side_of_the_target():
    def row(value: float, low: float, high: float, *, above: bool = True) -> Row:
        return Row(
            name="x",
            value=value,
            low=low,
            high=high,
            n=9,
            n_min=1,
            unit="",
            target=0.5,
            above=above,
            why="",
        )

    assert row(0.7, 0.6, 0.8).sure
    assert not row(0.7, 0.5, 0.8).sure
    assert row(0.3, 0.2, 0.4).sure
    assert not row(0.3, 0.2, 0.6).sure
    assert row(0.3, 0.2, 0.4, above=False).sure
    assert row(1.7, 0.6, inf).sure


def test_there_is_no_model_and_so_its_accuracy_is_not_met():
    row = rows_of(side(trades=six_trades()))["model_accuracy"]
    assert (row.value, row.n, row.n_min, row.state) == (None, 0, 100, State.NOT_KNOWN)
    assert row.why == "there is no model yet"


def test_nothing_traded_meets_nothing_and_a_strategy_that_is_absent_says_so():
    flat = side(days=daily(10_000.0, 10_000.0, 10_000.0), strategies=("DCA",))
    card = scorecard(flat, TARGETS, uptime="a replay keeps no time", data_quality=WHOLE)
    states = {row.name: row.state for row in card.rows}
    # A drawdown of nothing and whole data are met; a gain of nothing is none.
    assert {name for name, state in states.items() if state is State.MET} == {"max_drawdown", "data_quality"}
    assert states["pnl_net"] is State.NOT_MET
    rows = {row.name: row for row in card.rows}
    assert rows["win_rate.SWING"].why == "SWING does not trade here"
    assert rows["win_rate"].why == "no trade has closed"
    assert rows["sharpe"].why == "no day differs from another"
    assert card.verdict is Verdict.OPTIMISE
    without_marks = scorecard(replace(flat, days=None), TARGETS, uptime=WHOLE, data_quality=WHOLE)
    assert without_marks.rows[-3].why == "the marked equity is not known"


def good_side(days: Sequence[float]) -> Evidence:
    """All rows but that of the model are met, if the days gain enough."""
    trades = [
        *(
            traded(BTC, strategy, n / 10, 20.0 + n)
            for n, strategy in enumerate(["DCA", "SWING"] * 10, start=1)
        ),
        *(traded(ETH, strategy, 2.5, -10.0, reason=LOST) for strategy in ("DCA", "SWING")),
    ]
    made = side(trades=trades, days=gained(days))
    answers = {
        setup_of(trade): Answer(made.answers[setup_of(trade)].reason, trade.return_net) for trade in trades
    }
    return replace(made, answers=answers)


def test_all_that_can_be_met_is_not_enough_without_the_model():
    card = scorecard(good_side([0.01, 0.02, 0.015, 0.01]), TARGETS, uptime=WHOLE, data_quality=WHOLE)
    assert [row.name for row in card.rows if row.state is not State.MET] == ["model_accuracy"]
    assert card.verdict is Verdict.OPTIMISE
    assert card.sentence == (
        "Optimise: 12 of 13 targets are met, 1 not known, which is not met (model_accuracy)."
    )


def with_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it will be once there is a model: right in 70 of 100 setups."""
    row = Row(
        name="model_accuracy",
        value=0.7,
        low=0.6,
        high=0.8,
        n=100,
        n_min=100,
        unit="setups",
        target=0.55,
        above=True,
        why="",
    )
    monkeypatch.setattr("crypto_tracker.simulation.scorecard._model_accuracy", lambda _: row)


def test_it_goes_on_where_everything_is_met_and_the_gain_is_sure(monkeypatch: pytest.MonkeyPatch):
    with_a_model(monkeypatch)
    card = scorecard(good_side([0.01, 0.02, 0.015, 0.01]), TARGETS, uptime=WHOLE, data_quality=WHOLE)
    assert card.verdict is Verdict.GO_ON
    assert card.count(State.MET) == 13


def test_it_does_not_go_on_where_the_gain_may_be_chance(monkeypatch: pytest.MonkeyPatch):
    with_a_model(monkeypatch)
    card = scorecard(good_side([0.02, -0.015, 0.02, -0.015]), TARGETS, uptime=WHOLE, data_quality=WHOLE)
    assert card.count(State.MET) == 13
    assert card.verdict is Verdict.OPTIMISE
    assert card.sentence == "Optimise: 13 of 13 targets are met, but the gain may be chance."


def test_a_sure_loss_means_pivot_and_one_that_may_be_chance_does_not():
    def verdict(*days: float) -> Verdict:
        made = side(trades=six_trades(), days=gained(days))
        return scorecard(made, TARGETS, uptime=WHOLE, data_quality=WHOLE).verdict

    assert verdict(-0.01, -0.02, -0.01, -0.03) is Verdict.PIVOT
    assert verdict(-0.02, 0.015, -0.02, 0.015) is Verdict.OPTIMISE
    assert verdict(-0.01, -0.02) is Verdict.OPTIMISE  # two days are thin


@given(st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=30), st.randoms())
@settings(max_examples=25)
def test_the_order_of_the_days_does_not_change_the_sharpe_ratio(changes: list[float], chance):
    shuffled = list(changes)
    chance.shuffle(shuffled)
    before, after = (rows_of(side(days=gained(each)))["sharpe"] for each in (changes, shuffled))
    assert before.n == after.n
    if before.value is None or after.value is None:
        assert np.std(changes) < 1e-6
    else:
        assert before.value == pytest.approx(after.value, rel=1e-6, abs=1e-6)
