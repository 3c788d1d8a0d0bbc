"""Searching: spaces, windows, candidates, and the evidence without which nothing is recommended."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.config.load import values
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import DAY_MS, to_ms
from crypto_tracker.research.optimize.evidence import Evidence, evidence, most_frequent
from crypto_tracker.research.optimize.objective import Measured, known_objective, measure
from crypto_tracker.research.optimize.search import Candidates, Request, best, known_method, search
from crypto_tracker.research.optimize.space import (
    Choices,
    ParameterSet,
    Range,
    drawn,
    grid,
    parameter_set,
    parse_space,
    point,
)
from crypto_tracker.research.optimize.windows import walk
from crypto_tracker.simulation.records import (
    FILL_DTYPE,
    HOLDING_DTYPE,
    ORDER_DTYPE,
    TRADE_DTYPE,
    SimulationResult,
)
from crypto_tracker.simulation.statistics import deflated_sharpe, expected_maximum_sharpe
from crypto_tracker.store.trials import History
from crypto_tracker.strategies.registry import builtin
from tests.research.worlds import configuration

E8 = 100_000_000
JANUARY_MS = to_ms(datetime(2025, 1, 1, tzinfo=UTC))
LOADED = load_configuration(
    {name: strategy.parameters_model for name, strategy in builtin().items()},
    file=None,
    environment={},
    assignments=(),
)


def load(assignments: Sequence[str]):
    return configuration(*assignments)


def parsed(*texts: str, scanning: Sequence[str] = ("DCA", "SWING", "CHANNEL")):
    return parse_space(texts, current=values(LOADED), scanning=scanning, load=load)


# -------------------------------------------------------------------------------------------------- spaces


def test_a_range_with_a_step_holds_its_ends_where_the_step_meets_them():
    (drop,) = parsed("strategies.DCA.drop.large_cap=0.02:0.05:0.01")
    assert drop.values == ("0.02", "0.03", "0.04", "0.05")
    (beside,) = parsed("strategies.DCA.drop.large_cap=0.02:0.05:0.02")
    assert beside.values == ("0.02", "0.04")
    (falling,) = parsed("protection.fast_regime.panic_1h=-0.07:-0.05:0.01")
    assert falling.values == ("-0.07", "-0.06", "-0.05")


def test_whole_numbers_stay_whole_and_step_by_one():
    (levels,) = parsed("strategies.DCA.levels=2:5")
    assert levels == Range(key=("strategies", "DCA", "levels"), low=2.0, high=5.0, step=1.0, whole=True)
    assert levels.values == ("2", "3", "4", "5")


def test_a_list_holds_words_switches_and_numbers_once_each():
    mode, switch, shares = parsed(
        "sizing.mode=fixed,adaptive,fixed",
        "protection.cancel_rungs_in_panic=true,false",
        "limits.shares.DCA=0.2,0.4",
    )
    assert mode == Choices(key=("sizing", "mode"), values=("fixed", "adaptive"))
    assert switch.values == ("true", "false")
    assert point((mode, switch, shares), ("adaptive", "false", "0.2"), load).assignments == (
        "sizing.mode=adaptive",
        "protection.cancel_rungs_in_panic=false",
        "limits.shares.DCA=0.2",
    )


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "nothing to search: name parameters with --space"),
        (
            ["limits.max_opne=1,2"],
            "unknown key limits.max_opne (--space limits.max_opne): did you mean limits.max_open",
        ),
        (["limits.max_open"], "names no values"),
        (["limits.max_open="], "names no values"),
        (["limits.max_open=7"], "has one value, which is no search"),
        (["limits=1,2"], "--space limits is a section"),
        (["limits.max_open=1.5:3"], "limits.max_open is a whole number"),
        (["limits.max_open=a,b"], 'limits.max_open is "a" (--space limits.max_open)'),
        (
            ["limits.min_confidence=0.5:7.0:0.5"],
            "limits.min_confidence is 7.0 (--space limits.min_confidence)",
        ),
        (["limits.min_confidence=high:higher"], "a range has numbers"),
        (["limits.min_confidence=0.7:0.5"], "low must be below high"),
        (["limits.min_confidence=0.5:0.7:0.3"], "low must be below high"),
        (["limits.min_confidence=0.5:0.7:0"], "low must be below high"),
        (["limits.min_confidence=0.5:0.7:0.000001"], "has 200,001 values"),
        (["sizing.mode=1:2"], "sizing.mode is no number but 'fixed'"),
        (["protection.cancel_rungs_in_panic=0:1"], "is no number but True"),
        (["limits.max_open=1,2", "limits.max_open=3:5"], "names limits.max_open twice"),
        (["strategies.TURTLE.levels=1,2"], "unknown key strategies.TURTLE"),
        # what is shared by all parameter sets
        (["trading.reference=BTC,ETH"], "changes which bars or books are read"),
        (["market_data.suspect_move=0.4:0.6:0.1"], "changes which bars or books are read"),
        (["protection.slow_regime.sma_fast=20,50"], "changes which bars or books are read"),
        (["fills.trailing_range_days=10:30:10"], "changes which bars or books are read"),
        (["fills.source=table,book"], "changes which bars or books are read"),
        (["fills.book_max_age_seconds=5:15:5"], "changes which bars or books are read"),
        (["trading.timezone=UTC,Europe/Berlin"], "changes what a day is"),
        # what changes no trade
        (["decisions.near_miss_readiness=70:90:10"], "changes no trade"),
        (["engine.grace_seconds=1:3:1"], "changes no trade"),
        (["optimize.windows=2,3"], "changes no trade"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(texts, words):
    with pytest.raises(UsageError) as refused:
        parsed(*texts)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_parameters_of_a_strategy_that_does_not_scan_are_refused():
    with pytest.raises(UsageError, match="SWING does not scan here; those that do are DCA"):
        parsed("strategies.SWING.breakout=1.01:1.1", scanning=["DCA"])


def test_a_grid_is_every_combination_and_needs_steps_and_room():
    space = parsed("limits.max_open=1,2,3", "limits.min_confidence=0.4:0.5:0.1")
    assert grid(space, most=6) == [(a, b) for a in ("1", "2", "3") for b in ("0.4", "0.5")]
    with pytest.raises(UsageError, match="the grid has 6 parameter sets, more than --trials 5"):
        grid(space, most=5)
    with pytest.raises(UsageError, match="has no step, which a grid needs"):
        grid(parsed("limits.min_confidence=0.4:0.5"), most=5)


@given(seed=st.integers(0, 1000), trials=st.integers(1, 40))
def test_what_is_drawn_lies_in_the_space_differs_and_is_the_same_for_the_same_seed(seed, trials):
    space = (
        Range(key=("a",), low=0.25, high=0.75, step=None, whole=False),
        Range(key=("b",), low=2.0, high=9.0, step=3.0, whole=True),
        Choices(key=("c",), values=("x", "y")),
    )
    found = list(drawn(space, trials=trials, seed=seed))
    assert found == list(drawn(space, trials=trials, seed=seed))
    assert len(set(found)) == len(found) == trials
    assert all(0.25 <= float(a) <= 0.75 and b in {"2", "5", "8"} and c in {"x", "y"} for a, b, c in found)


def test_a_small_space_is_drawn_out():
    space = (Choices(key=("a",), values=("x", "y", "z")),)
    assert sorted(drawn(space, trials=50, seed=1)) == [("x",), ("y",), ("z",)]


# ------------------------------------------------------------------------------------------------- windows


def days(count: int) -> list[int]:
    return [JANUARY_MS + day * DAY_MS for day in range(count)]


def in_days(span: tuple[int, int]) -> tuple[int, int]:
    return tuple((edge - JANUARY_MS) // DAY_MS for edge in span)


def walked(count: int, **changes):
    given_lengths = {"windows": 4, "ratio": 3.0, "in_sample_days": None, "out_of_sample_days": None}
    return walk(days(count), JANUARY_MS + count * DAY_MS, **given_lengths | changes)


def test_windows_step_by_what_they_trade_and_the_last_ends_with_the_span():
    # 70 days: 10 for each of 4 windows and 3 x 10 in sample
    path = walked(70)
    assert [in_days(window.in_sample) for window in path.windows] == [(0, 30), (10, 40), (20, 50), (30, 60)]
    assert [in_days(window.out_of_sample) for window in path.windows] == [
        (30, 40),
        (40, 50),
        (50, 60),
        (60, 70),
    ]
    assert in_days(path.latest) == (40, 70)
    assert path.searched == (*(window.in_sample for window in path.windows), path.latest)


@pytest.mark.parametrize(
    ("changes", "in_sample", "out_of_sample"),
    [
        (
            {"in_sample_days": 30, "out_of_sample_days": 20},
            [(0, 30), (20, 50), (40, 70)],
            [(30, 50), (50, 70), (70, 90)],
        ),
        ({"in_sample_days": 35, "out_of_sample_days": 20}, [(15, 50), (35, 70)], [(50, 70), (70, 90)]),
        ({"in_sample_days": 50, "windows": 2}, [(0, 50), (20, 70)], [(50, 70), (70, 90)]),
        ({"out_of_sample_days": 15, "windows": 2}, [(0, 60), (15, 75)], [(60, 75), (75, 90)]),
        ({"windows": 1, "ratio": 8.0}, [(0, 80)], [(80, 90)]),
    ],
)
def test_lengths_that_are_given_are_kept(changes, in_sample, out_of_sample):
    path = walked(90, **changes)
    assert [in_days(window.in_sample) for window in path.windows] == in_sample
    assert [in_days(window.out_of_sample) for window in path.windows] == out_of_sample
    assert {window.out_of_sample_days for window in path.windows} == {
        out_of_sample[0][1] - out_of_sample[0][0]
    }


@pytest.mark.parametrize(
    "changes", [{"in_sample_days": 90, "out_of_sample_days": 10}, {"windows": 60}, {"out_of_sample_days": 40}]
)
def test_a_span_that_is_too_short_is_refused(changes):
    with pytest.raises(UsageError, match="90 days make no windows of"):
        walked(90, **changes)


@given(count=st.integers(8, 400), windows=st.integers(1, 9), ratio=st.floats(0.5, 9.0))
def test_no_window_trades_what_it_searched_and_no_day_is_traded_twice(count, windows, ratio):
    try:
        path = walked(count, windows=windows, ratio=ratio)
    except UsageError:
        return
    assert len(path.windows) == windows
    assert all(window.in_sample[1] == window.out_of_sample[0] for window in path.windows)
    edges = [window.out_of_sample for window in path.windows]
    assert all(first[1] == second[0] for first, second in pairwise(edges))
    assert edges[-1][1] == JANUARY_MS + count * DAY_MS == path.latest[1]
    assert path.windows[0].in_sample[0] >= JANUARY_MS


# ---------------------------------------------------------------------------------------------- objectives


def result_of(equity: Sequence[float], trades: Sequence[tuple[float, float]]) -> SimulationResult:
    """A result with one bar a day, and closed trades of (invested, P&L)."""
    rows = np.zeros(len(trades), dtype=TRADE_DTYPE)
    rows["invested_e8"] = [round(invested * E8) for invested, _ in trades]
    rows["pnl_e8"] = [round(pnl * E8) for _, pnl in trades]
    rows["exit_reason"] = ExitReason.TAKE_PROFIT
    money = np.array([round(value * E8) for value in equity], dtype=np.int64)
    empty = np.zeros(0)
    return SimulationResult(
        fills=np.zeros(0, dtype=FILL_DTYPE),
        trades=rows,
        open_trades=rows[:0],
        holdings=np.zeros(0, dtype=HOLDING_DTYPE),
        orders=np.zeros(0, dtype=ORDER_DTYPE),
        decisions=empty,
        equity_e8=money,
        cash_e8=money,
        reserved_e8=money,
        regime=empty,
    )


def test_objectives_are_what_their_page_says():
    # 100 -> 110 -> 99 -> 118.8: returns +10 %, -10 %, +20 %
    found = measure(result_of([110, 99, 118.8], [(100, 30), (100, -10)]), np.arange(3), 100.0)
    returns = [0.1, -0.1, 0.2]
    mean, deviation = np.mean(returns), np.std(returns, ddof=1)
    assert found.returns == pytest.approx(returns)
    assert found.trades == 2
    assert found.max_drawdown == pytest.approx(0.1)
    assert found.figures == {
        "sharpe": pytest.approx(mean / deviation * 365**0.5),
        "sortino": pytest.approx(mean / (0.01 / 3) ** 0.5 * 365**0.5),
        "return": pytest.approx(0.188),
        "calmar": pytest.approx((1.188 ** (365 / 3) - 1) / 0.1),
        "omega": pytest.approx(0.3 / 0.1),
        # returns of the trades 0.3 and -0.1: mean 0.1, deviation 0.2828
        "sqn": pytest.approx(0.1 / 0.08**0.5 * 2**0.5),
        "profit_factor": pytest.approx(3.0),
    }


def test_what_does_not_exist_is_none():
    found = measure(result_of([100, 100], []), np.arange(2), 100.0)
    assert {name for name, value in found.figures.items() if value is None} == set(found.figures) - {"return"}


def test_unknown_objectives_and_methods_name_what_there_is():
    with pytest.raises(UsageError, match="--objective luck: there are sharpe, sortino, return, calmar"):
        known_objective("luck")
    with pytest.raises(UsageError, match="--method guess: there are grid, random, optuna"):
        known_method("guess")


def test_without_optuna_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'crypto-tracker\[research\]'"):
        known_method("optuna")


# --------------------------------------------------------------------------------------------------- search

WHOLE = (0, 100)
SPANS = ((0, 40), (20, 60), (60, 100))


def measured(score: float | None, *, trades: int = 50) -> Measured:
    return Measured(returns=np.zeros(3), trades=trades, max_drawdown=0.0, figures={"sharpe": score})


class Drawn:
    """An evaluator whose figures are a function of confidence and span; notes what was asked for."""

    def __init__(self, score: Callable[[float, tuple[int, int]], Measured]) -> None:
        self.score = score
        self.asked: list[tuple[str, tuple[int, int]]] = []

    def measure(self, sets, spans) -> None:
        self.asked += [(each.version, span) for each in sets for span in spans]

    def result(self, each: ParameterSet, span) -> Measured:
        confidence = [text for text in each.assignments if text.startswith("limits.min_confidence=")]
        return self.score(float(confidence[0].partition("=")[2]) if confidence else 0.45, span)


def requested(method: str, *texts: str, trials: int = 20, seed: int = 1) -> Request:
    return Request(
        space=parsed(*texts),
        method=method,
        trials=trials,
        seed=seed,
        batch=4,
        objective="sharpe",
        trades_min=10,
    )


def searched(request: Request, evaluator: Drawn) -> Candidates:
    return search(request, evaluator, load, searched=SPANS, whole=WHOLE, note=lambda _: None)


def near(peak: float):
    return lambda confidence, _span: measured(-abs(confidence - peak))


def test_a_grid_measures_every_set_once_on_every_span_and_keeps_the_current_one():
    # 0.45 is the current value: its grid point is the current configuration, and is not tried twice
    request = requested("grid", "limits.min_confidence=0.40:0.50:0.05")
    evaluator = Drawn(near(0.5))
    found = searched(request, evaluator)
    assert [each.assignments for each in found.everything] == [
        (),
        ("limits.min_confidence=0.4",),
        ("limits.min_confidence=0.5",),
    ]
    assert set(evaluator.asked) == {
        (each.version, span) for each in found.everything for span in (*SPANS, WHOLE)
    }
    assert all(found.by_span[span] == found.everything for span in SPANS)


def test_the_best_has_the_highest_score_and_enough_trades_and_ties_keep_the_first():
    request = requested("grid", "limits.min_confidence=0.40:0.50:0.05")
    sets = [parameter_set([f"limits.max_open={number}"], load) for number in (1, 2, 3, 4)]
    few = measured(9.0, trades=9)
    assert best(request, sets, [measured(1.0), measured(2.0), few, measured(2.0)]) is sets[1]
    assert best(request, sets, [measured(None), few, few, measured(-3.0)]) is sets[3]
    assert best(request, sets, [measured(None), few, few, few]) is None


def test_values_that_do_not_go_together_are_left_out_and_said():
    request = requested(
        "grid", "protection.fast_regime.panic_1h=-0.05,-0.01", "limits.min_confidence=0.4,0.5"
    )
    refusing = 0

    def picky(assignments: Sequence[str]):
        nonlocal refusing
        if (
            "limits.min_confidence=0.5" in assignments
            and "protection.fast_regime.panic_1h=-0.01" in assignments
        ):
            refusing += 1
            return configuration("limits.min_confidence=7")
        return configuration(*assignments)

    found = search(request, Drawn(near(0.5)), picky, searched=SPANS, whole=WHOLE, note=lambda _: None)
    assert refusing == 1
    assert list(found.refused) == [("-0.01", "0.5")]
    assert "limits.min_confidence is 7" in found.refused["-0.01", "0.5"]
    assert len(found.everything) == 4  # (-0.05, 0.4), (-0.05, 0.5), (-0.01, 0.4) and the current one


def test_optuna_comes_nearer_to_the_best_than_its_first_guesses_and_repeats_itself():
    request = requested("optuna", "limits.min_confidence=0.1:0.9", trials=28)
    found = searched(request, Drawn(near(0.62)))
    again = searched(request, Drawn(near(0.62)))
    assert found.by_span == again.by_span
    for span in SPANS:
        chosen = best(
            request, found.by_span[span], [near(0.62)(value_of(each), span) for each in found.by_span[span]]
        )
        assert chosen is not None
        assert abs(value_of(chosen) - 0.62) < 0.03


def value_of(each: ParameterSet) -> float:
    return float(each.assignments[0].partition("=")[2]) if each.assignments else 0.45


def test_what_an_adaptive_window_tries_knows_nothing_of_other_windows():
    request = requested(
        "optuna", "limits.min_confidence=0.1:0.9", "limits.max_open=1:50", "sizing.mode=fixed,adaptive"
    )
    plain = searched(request, Drawn(near(0.62)))

    def elsewhere(confidence: float, span: tuple[int, int]) -> Measured:
        return near(0.62 if span == SPANS[0] else 0.15)(confidence, span)

    other = searched(request, Drawn(elsewhere))
    assert other.by_span[SPANS[0]] == plain.by_span[SPANS[0]]
    assert other.by_span[SPANS[1]] != plain.by_span[SPANS[1]]


def test_an_adaptive_search_tells_too_few_trades_from_a_bad_score():
    request = requested("optuna", "limits.min_confidence=0.1:0.9", trials=30)

    def rare(confidence: float, _span: tuple[int, int]) -> Measured:
        return measured(confidence, trades=5 if confidence > 0.5 else 50)

    found = searched(request, Drawn(rare))
    chosen = best(
        request, found.by_span[SPANS[0]], [rare(value_of(each), SPANS[0]) for each in found.by_span[SPANS[0]]]
    )
    assert chosen is not None
    assert 0.4 < value_of(chosen) <= 0.5


# ------------------------------------------------------------------------------------------------- evidence


def judged(
    lead: float = 0.004,
    *,
    level: float = 0.004,
    trades: int = 90,
    trials: int = 20,
    skilled: bool = True,
    moved: bool = True,
    changes: bool = True,
    days: int = 200,
    sets: int = 20,
    variance: float | None = 0.01,
) -> Evidence:
    """What is found out of sample: daily returns of a level, and so much better than the current ones."""
    random = np.random.default_rng(12)
    market = random.normal(level, 0.01, days)
    performance = random.normal(0.0, 0.01, (days, sets))
    if skilled:
        performance[:, -1] += 0.006
    return evidence(
        chosen=market,
        current=market - lead + random.normal(0.0, 0.004, days),
        trades=trades,
        performance=performance,
        history=History(trials=trials, comparable=trials, variance=variance),
        moved=moved,
        changes=changes,
        seed=1,
        settings=configuration().optimize,
    )


def test_a_change_that_shows_everything_is_recommended():
    found = judged()
    assert found.recommended
    assert found.sentence == "Recommended: every check is passed."
    assert [check.name for check in found.checks] == [
        "trades",
        "deflated_sharpe",
        "overfitting",
        "lead",
        "change",
    ]
    assert found.lead_low < found.lead < found.lead_high


@pytest.mark.parametrize(
    ("missing", "changes", "words"),
    [
        ("trades", {"trades": 29}, "29 trades out of sample (30 are needed)"),
        ("deflated_sharpe", {"level": 0.0002}, "the deflated Sharpe ratio out of sample is 0."),
        ("deflated_sharpe", {"trials": 1_000_000, "level": 0.0015}, "(0.95 is needed)"),
        ("overfitting", {"skilled": False}, "the probability of backtest overfitting is 0."),
        ("overfitting", {"sets": 1}, "cannot be told from so few days or sets (at most 0.2)"),
        ("lead", {"lead": 0.0}, "with 95 % confidence (all of it must be above 0)"),
        ("lead", {"moved": False}, "no window chose anything but the current configuration, so there is no"),
        ("change", {"changes": False}, "the latest window chose nothing but the current configuration"),
    ],
)
def test_without_one_of_them_it_refuses_and_says_what_is_missing(missing, changes, words):
    found = judged(**changes)
    assert [check.name for check in found.checks if not check.passed] == [missing]
    assert found.sentence.startswith("Not recommended: ")
    assert words in found.sentence
    assert found.sentence.count(";") == 0


def test_everything_that_is_missing_is_said_in_one_sentence():
    found = judged(0.0, level=0.0, trades=3, skilled=False, changes=False)
    assert len([check for check in found.checks if not check.passed]) == 5
    assert found.sentence.count("; ") == 4
    assert found.sentence.endswith(".")


def test_where_the_search_keeps_the_current_configuration_there_is_no_lead_and_nothing_is_missing():
    found = judged(0.0, trades=3, moved=False, changes=False)
    assert found.kept
    assert not found.recommended
    assert found.sentence == (
        "Nothing to recommend: the search chose the current configuration in every window, the latest included."
    )
    assert {check.name: check.measured for check in found.checks}["lead"] is None
    assert not judged(moved=False).kept
    assert not judged(changes=False).kept


def test_the_more_was_tried_the_less_a_sharpe_ratio_is_worth():
    few, many = judged(trials=2), judged(trials=5000)
    assert few.deflated is not None
    assert many.deflated is not None
    assert few.deflated > many.deflated
    assert few.chance < many.chance
    assert few.probabilistic == many.probabilistic


def test_sets_that_resemble_each_other_deflate_no_less_than_chance_over_the_days_of_the_span():
    few, alike, apart = judged(variance=None), judged(variance=0.0004), judged(variance=0.03)
    assert few.sharpe is not None
    # 200 days of the span
    assert few.variance == alike.variance == pytest.approx((1.0 + few.sharpe**2 / 2.0) / 199.0)
    assert (few.chance, few.deflated) == (alike.chance, alike.deflated)
    assert apart.variance == 0.03
    assert apart.chance == expected_maximum_sharpe(20, 0.03)
    assert apart.deflated == deflated_sharpe(apart.chosen, trials=20, variance=0.03)


def test_a_short_span_is_cut_into_fewer_blocks():
    found = judged(days=41)
    assert found.overfitting is not None
    assert found.overfitting.blocks == 10  # of four days at least, an even number
    assert judged(days=15).overfitting is None


def test_returns_that_never_move_are_refused_not_divided_by():
    found = evidence(
        chosen=np.zeros(20),
        current=np.zeros(20),
        trades=0,
        performance=np.zeros((60, 3)),
        history=History(trials=0, comparable=0, variance=None),
        moved=True,
        changes=False,
        seed=1,
        settings=configuration().optimize,
    )
    assert not found.recommended
    assert (found.sharpe, found.deflated, found.lead) == (None, None, 0.0)
    assert "the deflated Sharpe ratio out of sample does not exist" in found.sentence


def test_the_value_that_stands_most_often_is_the_first_of_equals():
    assert most_frequent(["b", "a", "b", "a"]) == ("b", 2)
