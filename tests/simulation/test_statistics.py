"""Statistics against the figures that their authors published, and against data whose truth is known."""

from itertools import combinations
from math import log, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.errors import UsageError
from crypto_tracker.simulation.statistics import (
    backtest_overfitting,
    bootstrap_by_group,
    deflated_sharpe,
    expected_maximum_sharpe,
    kurtosis,
    probabilistic_sharpe,
    probabilistic_sharpe_of_moments,
    search_variance,
    sharpe_ratio,
    skewness,
    wilson_interval,
)

TRADING_DAYS = 250  # of the papers


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_gives_the_figures_that_newcombe_published_in_1998(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_the_wilson_interval_holds_the_share_and_mirrors_with_it(trials, share):
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    other_low, other_high = wilson_interval(trials - successes, trials)
    assert (1.0 - other_high, 1.0 - other_low) == pytest.approx((low, high), abs=1e-12)


def test_no_trial_says_nothing_about_a_share():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(UsageError, match="3 successes of 2 trials"):
        wilson_interval(3, 2)
    with pytest.raises(UsageError, match="confidence is 1"):
        wilson_interval(1, 2, confidence=1.0)


def test_the_sharpe_ratio_is_mean_over_deviation_and_does_not_exist_without_variation():
    assert sharpe_ratio(np.array([0.01, 0.02, 0.03])) == pytest.approx(2.0)
    assert sharpe_ratio(np.array([-0.01, 0.01])) == 0.0
    assert sharpe_ratio(np.array([0.01])) is None
    assert sharpe_ratio(np.full(30, 0.1)) is None  # whose deviation rounds to 1e-17, not to 0
    assert sharpe_ratio(np.zeros(30)) is None


def test_shape_is_that_of_the_moments():
    # Values 0 0 0 4: mean 1, centred -1 -1 -1 3; m2 = 3, m3 = (27 - 3) / 4 = 6, m4 = (3 + 81) / 4 = 21.
    values = np.array([0.0, 0.0, 0.0, 4.0])
    assert skewness(values) == pytest.approx(6 / 3**1.5)
    assert kurtosis(values) == pytest.approx(21 / 9)
    assert (skewness(np.ones(5)), kurtosis(np.ones(5))) == (0.0, 3.0)


def test_the_probabilistic_sharpe_ratio_gives_the_figures_of_bailey_and_lopez_de_prado_2012():
    # Two years of months with an annual Sharpe ratio of 1.59: 0.982 if normal, 0.913 with their shape.
    assert probabilistic_sharpe_of_moments(0.458, periods=24, skew=0.0, kurt=3.0) == pytest.approx(
        0.982, abs=5e-4
    )
    shaped = probabilistic_sharpe_of_moments(0.458, periods=24, skew=-2.448, kurt=10.164)
    assert shaped == pytest.approx(0.913, abs=5e-4)
    # Three years of them reach 95 % against zero, says the same paper.
    assert probabilistic_sharpe_of_moments(0.458, periods=36, skew=-2.448, kurt=10.164) > 0.95


def test_the_probabilistic_sharpe_ratio_of_returns_is_that_of_their_moments():
    returns = np.array([0.02, -0.01, 0.005, 0.03, -0.02, 0.01])
    mean, deviation = returns.mean(), returns.std(ddof=1)
    centred = returns - mean
    m2, m3, m4 = ((centred**order).mean() for order in (2, 3, 4))
    sharpe = mean / deviation
    z = (sharpe - 0.1) * sqrt(5) / sqrt(1 - m3 / m2**1.5 * sharpe + (m4 / m2**2 - 1) / 4 * sharpe**2)
    assert probabilistic_sharpe(returns, 0.1) == pytest.approx(NormalDist().cdf(z))
    assert probabilistic_sharpe(np.zeros(9)) is None


def test_the_deflated_sharpe_ratio_gives_the_figures_of_bailey_and_lopez_de_prado_2014():
    # Five years of days, annual Sharpe ratio 2.5, skewness -3, kurtosis 10, 100 trials of annual variance 1/2.
    threshold = expected_maximum_sharpe(100, 0.5 / TRADING_DAYS)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic_sharpe_of_moments(
        2.5 / sqrt(TRADING_DAYS), periods=1250, skew=-3.0, kurt=10.0, benchmark=threshold
    )
    assert found == pytest.approx(0.9004, abs=5e-5)
    # With 46 trials instead of 100 it would have passed 95 %; normal returns would allow 88.
    of_46 = probabilistic_sharpe_of_moments(
        2.5 / sqrt(TRADING_DAYS),
        periods=1250,
        skew=-3.0,
        kurt=10.0,
        benchmark=expected_maximum_sharpe(46, 0.5 / TRADING_DAYS),
    )
    assert of_46 == pytest.approx(0.9505, abs=5e-5)
    of_88_normal = probabilistic_sharpe_of_moments(
        2.5 / sqrt(TRADING_DAYS),
        periods=1250,
        skew=0.0,
        kurt=3.0,
        benchmark=expected_maximum_sharpe(88, 0.5 / TRADING_DAYS),
    )
    assert of_88_normal == pytest.approx(0.9505, abs=5e-5)


def test_one_trial_deflates_nothing():
    returns = np.array([0.02, -0.01, 0.005, 0.03, -0.02, 0.01])
    assert expected_maximum_sharpe(1, 4.0) == 0.0
    assert deflated_sharpe(returns, trials=1, variance=0.5) == probabilistic_sharpe(returns)
    more = deflated_sharpe(returns, trials=50, variance=0.01)
    assert more is not None
    assert more < probabilistic_sharpe(returns)
    assert deflated_sharpe(np.zeros(4), trials=3, variance=0.1) is None
    with pytest.raises(UsageError, match="0 trials"):
        expected_maximum_sharpe(0, 0.1)


def test_the_variance_of_a_search_is_never_below_what_chance_gives_an_estimate():
    # 51 days of a Sharpe ratio of 0.2 a day: (1 + 0.04 / 2) / 50
    assert search_variance(None, sharpe=0.2, periods=51) == pytest.approx(0.0204)
    assert search_variance(0.0203, sharpe=0.2, periods=51) == pytest.approx(0.0204)
    assert search_variance(0.0205, sharpe=0.2, periods=51) == 0.0205
    # without a Sharpe ratio that of 0 stands, and a single day has no error to tell: that of two
    assert search_variance(None, sharpe=None, periods=51) == pytest.approx(0.02)
    assert search_variance(None, sharpe=None, periods=1) == 1.0


def test_chance_alone_varies_the_sharpe_ratio_of_days_as_it_is_said():
    drawn = np.random.default_rng(3).normal(0.2, 1.0, (20_000, 101))
    sharpes = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1)
    assert search_variance(None, sharpe=0.2, periods=101) == pytest.approx(np.var(sharpes), rel=0.05)


def test_the_best_of_two_by_chance_follows_from_the_days_alone():
    # The best of two: 0.5772 * z(1 - 1 / 2e), z(0.8161) = 0.9005; of 101 days without a gain sqrt(1 / 100).
    variance = search_variance(None, sharpe=0.0, periods=101)
    assert expected_maximum_sharpe(2, variance) == pytest.approx(0.1 * 0.5772 * 0.9005, rel=1e-3)


def test_the_expected_maximum_is_what_chance_reaches():
    drawn = np.random.default_rng(7).normal(0.0, 0.1, size=(4000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(50, 0.01) == pytest.approx(drawn, rel=0.02)


def slow_overfitting(performance, blocks):
    """The definition, one split after the other."""
    parts = np.array_split(np.arange(len(performance)), blocks)
    logits, pairs = [], []

    def ratio(column):
        return 0.0 if column.std(ddof=1) < 1e-14 else column.mean() / column.std(ddof=1)

    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[index] for index in chosen])
        outside = np.concatenate([parts[index] for index in range(blocks) if index not in chosen])
        past = [ratio(performance[inside, column]) for column in range(performance.shape[1])]
        future = [ratio(performance[outside, column]) for column in range(performance.shape[1])]
        best = past.index(max(past))
        below = sum(1 for value in future if value < future[best] - 1e-12)
        equal = sum(1 for value in future if abs(value - future[best]) <= 1e-12)
        relative = (below + (equal + 1) / 2) / (len(future) + 1)
        logits.append(log(relative / (1 - relative)))
        pairs.append((past[best], future[best]))
    return logits, pairs


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    blocks=st.sampled_from([2, 4, 6, 8]),
    configurations=st.integers(2, 9),
    extra=st.integers(0, 7),
)
def test_overfitting_is_its_definition_split_by_split(seed, blocks, configurations, extra):
    generator = np.random.default_rng(seed)
    performance = generator.normal(0.0, 0.02, size=(blocks * 5 + extra, configurations))
    performance[:, -1] = 0.0  # one that never trades
    found = backtest_overfitting(performance, blocks=blocks)
    logits, pairs = slow_overfitting(performance, blocks)
    assert found.logits == pytest.approx(logits, abs=1e-9)
    assert found.in_sample == pytest.approx([pair[0] for pair in pairs], abs=1e-9)
    assert found.out_of_sample == pytest.approx([pair[1] for pair in pairs], abs=1e-9)
    assert found.probability == np.mean([value <= 0 for value in logits])


def test_choosing_among_pure_chance_is_overfit_half_of_the_time():
    generator = np.random.default_rng(2015)
    found = [
        backtest_overfitting(generator.normal(0.0, 0.02, size=(400, 40)), blocks=8).probability
        for _ in range(40)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_a_truly_better_configuration_is_not_overfit():
    generator = np.random.default_rng(2015)
    performance = generator.normal(0.0, 0.02, size=(800, 40))
    performance[:, 17] += 0.006  # a Sharpe ratio of 0.3 a day
    found = backtest_overfitting(performance, blocks=16)
    assert found.probability < 0.001
    assert found.loss_share == 0.0
    assert len(found.logits) == 12_870
    assert (found.blocks, found.configurations, found.periods) == (16, 40, 800)


def test_what_was_best_because_of_its_past_alone_is_overfit_almost_always():
    # Each configuration has the same total: what it gained in one half it lost in the other.
    generator = np.random.default_rng(3)
    performance = generator.normal(0.0, 0.02, size=(320, 30))
    performance -= performance.mean(axis=0)
    found = backtest_overfitting(performance, blocks=8)
    assert found.probability > 0.9
    assert found.slope is not None
    assert found.slope < 0


def test_what_cannot_be_split_is_refused_in_a_sentence():
    for shape, blocks, words in [
        ((100, 5), 7, "an even number from 2 to 20"),
        ((100, 1), 4, "to choose among"),
        ((7, 3), 4, "each block needs at least 2 periods"),
    ]:
        with pytest.raises(UsageError, match=words):
            backtest_overfitting(np.ones(shape), blocks=blocks)
    with pytest.raises(UsageError, match="not a number"):
        backtest_overfitting(np.full((8, 2), np.nan), blocks=2)


def test_a_bootstrap_over_days_is_wider_where_the_values_of_a_day_agree():
    generator = np.random.default_rng(5)
    days = np.repeat(np.arange(50), 20)
    alike = np.repeat(generator.normal(0.0, 1.0, 50), 20)
    by_day = bootstrap_by_group(alike, days, draws=2000, seed=1, confidence=0.95)
    as_if_independent = bootstrap_by_group(alike, np.arange(1000), draws=2000, seed=1, confidence=0.95)
    assert by_day[1] - by_day[0] > 3 * (as_if_independent[1] - as_if_independent[0])
    assert by_day[0] < alike.mean() < by_day[1]
    expected = 2 * 1.96 * alike.reshape(50, 20)[:, 0].std() / sqrt(50)
    assert by_day[1] - by_day[0] == pytest.approx(expected, rel=0.1)


def test_a_bootstrap_is_the_same_for_the_same_seed_and_weighs_groups_by_their_size():
    values = np.array([1.0, 1.0, 1.0, 5.0])
    groups = np.array([9, 9, 9, 4])
    first = bootstrap_by_group(values, groups, draws=500, seed=3, confidence=0.9)
    assert first == bootstrap_by_group(values, groups, draws=500, seed=3, confidence=0.9)
    assert first == (1.0, 5.0)  # either group alone can be drawn twice; both together have the mean of 2
    with pytest.raises(UsageError, match="at least one value"):
        bootstrap_by_group(values[:0], groups[:0], draws=5, seed=1, confidence=0.9)
