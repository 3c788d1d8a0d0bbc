"""Two sides held against each other: pairs, reasons, differences, and what may be said of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.simulation import paired
from crypto_tracker.simulation.evidence import setup_of
from crypto_tracker.simulation.paired import Comparing, Finding, compare, key_differences, side_figures
from tests.simulation.sides import BTC, ETH, START_MS, daily, gained, side, traded

RULES = Comparing(confidence=0.95, draws=500, days_min=20)
returns = st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=40)


def test_trades_are_paired_by_symbol_strategy_and_the_moment_of_the_decision():
    common = traded(BTC, "DCA", 0.25, 20.0)
    more = replace(common, pnl_quote=common.pnl_quote + 10, return_net=0.03)
    mine, others = traded(ETH, "DCA", 0.5, -30.0), traded(BTC, "SWING", 0.25, 5.0)
    first = side("A", [common, mine], refused={setup_of(others): Reason.SYMBOL_LIMIT})
    second = side("B", [more, others], refused={setup_of(mine): Reason.CONFIDENCE_LOW})
    found = compare(first, second, RULES)
    assert [(pair.first, pair.second) for pair in found.both] == [(common, more)]
    assert [(each.trade, each.why_not) for each in found.only_first] == [(mine, "confidence_low")]
    assert [(each.trade, each.why_not) for each in found.only_second] == [(others, "symbol_limit")]
    assert found.pnl_per_setup is not None
    assert (found.pnl_per_setup.mean, found.pnl_per_setup.n, found.pnl_per_setup.days) == (10.0, 1, 1)
    assert found.pnl_per_setup.low is None
    assert found.return_per_setup is not None
    assert found.return_per_setup.mean == pytest.approx(0.01)


def test_why_the_other_did_not_trade_is_told_in_every_case():
    alone = traded(ETH, "SWING", 0.5, 1.0)
    first = side("A", [alone])
    for other, why in (
        (side("B"), paired.NO_SETUP),
        (side("B", answers=None), paired.NOT_RECORDED),
        (side("B", strategies=("DCA",)), paired.STRATEGY_ABSENT),
        (side("B", symbols=(BTC,)), paired.SYMBOL_ABSENT),
        (side("B", refused={setup_of(alone): Reason.ACCEPTED}), paired.UNFILLED),
        (side("B", refused={setup_of(alone): Reason.EXPIRED}), "expired"),
    ):
        assert [each.why_not for each in compare(first, other, RULES).only_first] == [why]


def test_the_figures_of_a_side_are_those_of_a_hand_calculation():
    trades = [
        traded(BTC, "DCA", 0.1, 60.0),
        traded(BTC, "DCA", 0.4, -40.0, reason=ExitReason.STOP_LOSS),
        traded(ETH, "DCA", 0.5, 10.0, reason=ExitReason.DATA_LOST),
        traded(ETH, "SWING", 0.6, -5.0, reason=ExitReason.NONE),
    ]
    found = side_figures(side("A", trades, days=daily(10_100.0, 9_898.0, 10_025.0)))
    assert (found.pnl_marked_quote, found.return_marked) == (25.0, pytest.approx(0.0025))
    assert (found.pnl_closed_quote, found.return_closed) == (30.0, pytest.approx(0.003))
    assert found.max_drawdown == pytest.approx(0.02)
    assert (found.n_trades, found.n_open, found.n_won) == (3, 1, 1)
    assert (found.win_rate, found.profit_factor) == (0.5, pytest.approx(70 / 40))
    assert (found.fees_quote, found.slippage_quote, found.costs_quote) == (24.0, 6.0, 30.0)
    daily_returns = np.array([0.01, -0.02, 127 / 9_898])
    assert found.sharpe == pytest.approx(daily_returns.mean() / daily_returns.std(ddof=1) * np.sqrt(365))


@given(returns)
@settings(max_examples=30)
def test_a_side_held_against_itself_shows_no_difference(changes: list[float]):
    trades = [traded(BTC, "DCA", 0.1 + n, 1_000.0 * change) for n, change in enumerate(changes)]
    same = side("A", trades, days=gained(changes))
    found = compare(same, replace(same, name="B"), RULES)
    assert found.same
    assert found.finding is Finding.OPEN
    assert "did the same as A" in found.sentence
    for estimate in (
        found.pnl_per_day,
        found.return_per_day,
        found.pnl_per_setup,
        found.return_per_setup,
    ):
        assert estimate is not None
        assert (estimate.mean, estimate.low, estimate.high) == (0.0, 0.0, 0.0)
    assert (found.only_first, found.only_second, found.settings) == ((), (), ())


def test_a_constant_advantage_is_told_apart_in_both_directions():
    noise = np.random.default_rng(7).normal(0.0, 0.02, size=60)
    plain, ahead = side("A", days=gained(noise)), side("B", days=gained(noise + 0.001))
    better = compare(plain, ahead, RULES)
    assert better.finding is Finding.BETTER
    assert better.return_per_day.mean == pytest.approx(0.001)
    assert better.sentence == (
        "B is better than A on this evidence: difference +0.1000 % of the equity a day "
        "(95 % interval +0.1000 to +0.1000 %, 60 days)."
    )
    worse = compare(ahead, plain, RULES)
    assert worse.finding is Finding.WORSE
    assert worse.return_per_day.mean == pytest.approx(-0.001)


def test_an_advantage_in_the_noise_is_not_told_apart():
    draws = np.random.default_rng(7).normal(0.0, 0.02, size=(2, 60))
    found = compare(side("A", days=gained(draws[0])), side("B", days=gained(draws[1] + 0.001)), RULES)
    assert found.finding is Finding.OPEN
    low, high = found.return_per_day.low, found.return_per_day.high
    assert low is not None
    assert high is not None
    assert low < 0.0 < high
    assert "cannot be told apart on this evidence" in found.sentence


def test_too_few_days_tell_nothing_apart_however_clear_they_look():
    rising, flat = [0.01] * 19, [0.0] * 19
    found = compare(side("A", days=gained(flat)), side("B", days=gained(rising)), RULES)
    assert found.finding is Finding.OPEN
    assert found.sentence.endswith("19 days); fewer than 20 days tell nothing apart.")
    enough = compare(side("A", days=gained([0.0] * 20)), side("B", days=gained([0.01] * 20)), RULES)
    assert enough.finding is Finding.BETTER


@given(returns, st.randoms())
@settings(max_examples=30)
def test_the_order_of_the_days_does_not_change_the_difference(changes: list[float], chance):
    others = [0.5 * change + 0.001 for change in changes]
    order = list(range(len(changes)))
    chance.shuffle(order)
    found = compare(side("A", days=gained(changes)), side("B", days=gained(others)), RULES)
    shuffled = compare(
        side("A", days=gained([changes[n] for n in order])),
        side("B", days=gained([others[n] for n in order])),
        RULES,
    )
    assert shuffled.return_per_day.mean == pytest.approx(found.return_per_day.mean, abs=1e-12)


def test_different_spans_are_cut_to_the_days_of_both_and_it_is_said():
    early = traded(BTC, "DCA", 0.5, 10.0)
    late = traded(BTC, "DCA", 1.5, 10.0)
    longer = side("A", [early, late], days=daily(10_010.0, 10_020.0, 10_020.0))
    shorter = replace(side("B", [late], days=daily(10_000.0, 10_010.0, 10_010.0)), start_ms=START_MS + DAY_MS)
    found = compare(longer, shorter, RULES)
    assert (found.first.start_ms, found.first.end_ms) == (START_MS + DAY_MS, START_MS + 3 * DAY_MS)
    assert [pair.setup for pair in found.both] == [setup_of(late)]
    assert found.only_first == ()
    assert found.return_per_day.n == 2
    assert any(note.startswith("the spans differ (A 2025-08-01") for note in found.notes)


def test_a_span_cuts_sides_that_are_alike_to_the_whole_days_in_it_without_a_word():
    trades = [traded(BTC, "DCA", day, 10.0) for day in (0.5, 1.5, 2.5)]
    whole = side("A", trades, days=daily(10_010.0, 10_020.0, 10_030.0))
    found = compare(
        whole, replace(whole, name="B"), RULES, start_ms=START_MS + DAY_MS // 2, end_ms=START_MS + 2 * DAY_MS
    )
    assert [pair.first for pair in found.both] == [trades[1]]
    assert (found.first_figures.equity_start, found.first_figures.days, found.notes) == (10_010.0, 1, ())
    with pytest.raises(DataError, match=r"A .* has no whole trading day"):
        compare(whole, whole, RULES, start_ms=START_MS + 9 * DAY_MS)


def test_a_pair_that_had_not_ended_on_both_sides_is_counted_apart():
    closed = traded(BTC, "DCA", 0.5, 10.0)
    running = traded(BTC, "DCA", 0.5, 99.0, closed_day=2.5)
    longer = side("A", [running], days=daily(10_000.0, 10_000.0, 10_099.0))
    found = compare(longer, side("B", [closed], days=daily(10_010.0, 10_010.0)), RULES)
    assert (len(found.both), found.unfinished, found.pnl_per_setup) == (1, 1, None)


def test_without_marks_closed_trades_count_on_the_day_of_their_exit():
    first = replace(side("A", [traded(BTC, "DCA", 0.5, 10.0)]), days=None)
    second = side("B", [traded(ETH, "DCA", 0.5, 30.0, closed_day=1.5)])
    found = compare(first, second, RULES)
    assert not found.marked
    assert found.pnl_per_day.mean == 10.0  # -10 on the first day, +30 on the second
    assert found.first_figures.pnl_marked_quote == 10.0
    assert any("marks are not known" in note for note in found.notes)


def test_digits_that_arithmetic_loses_are_no_difference():
    exact = side("A", days=gained([0.01, -0.02] * 15))
    assert exact.days is not None
    nearly = replace(exact, name="B", days=replace(exact.days, equity=exact.days.equity + 1e-9))
    assert compare(exact, nearly, RULES).same


def test_what_is_not_alike_is_said():
    first = side("A", data_hash="aa", strategies=("DCA", "SWING"))
    second = side("B", data_hash="bb", base="1h", symbols=(BTC, Symbol("SOL", "USD")), code_version="0.2.0")
    notes = " | ".join(compare(first, second, RULES).notes)
    assert "only A trades ETH/USD; only B trades SOL/USD" in notes
    assert "the strategies differ: only B has CHANNEL" in notes
    assert "the bases differ (A 1m, B 1h)" in notes
    assert "did not read the same bars" in notes
    assert "the code differs: 0.1.0 and 0.2.0" in notes


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"synthetic": True}, "SYNTHETIC bars and the other side real ones"),
        ({"symbols": (Symbol("SOL", "USD"),)}, "no symbol in common"),
        ({"timezone": "Europe/Berlin"}, "begin at different moments"),
        (
            {"start_ms": START_MS + 9 * DAY_MS, "end_ms": START_MS + 11 * DAY_MS},
            "no whole trading day in common",
        ),
    ],
)
def test_what_has_nothing_in_common_is_refused(changes: dict[str, object], complaint: str):
    with pytest.raises(DataError, match=complaint):
        compare(side("A"), side("B", **changes), RULES)


def test_settings_differ_by_key():
    first = {"limits": {"min_confidence": 0.45, "max_open": 50}, "trading": {"quote": "USD"}}
    second = {"limits": {"min_confidence": 0.65, "max_open": 50}, "trading": {"quote": "USD", "new": [1]}}
    assert [(each.key, each.first, each.second) for each in key_differences(first, second)] == [
        ("limits.min_confidence", 0.45, 0.65),
        ("trading.new", None, [1]),
    ]
