"""The same run under worse assumptions: each run changes what it says and nothing else, and never flatters."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.config.instruments import instruments
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.research.stress import (
    Stress,
    StressRules,
    dearer,
    holes,
    later_entries,
    stress_test,
    survival,
    thinner,
    with_holes,
)
from crypto_tracker.simulation.backtest import simulate_portfolio
from tests.research.worlds import configuration, lively


@pytest.fixture(scope="module")
def stress() -> Stress:
    tree, entries, market, _, base = lively()
    return stress_test(market, entries, tree, base, StressRules(), progress=lambda *_: None)


def run(stress: Stress, name: str):
    (found,) = [each for each in stress.runs if each.name == name]
    return found


# -------------------------------------------------------------------------------------------- what survives


def test_a_gain_that_halves_survives_by_half():
    assert survival(0.10, 0.05) == 0.5


def test_more_than_all_does_not_survive():
    assert survival(0.10, 0.30) == 1.0


def test_a_gain_that_becomes_a_loss_survives_by_less_than_nothing():
    assert survival(0.10, -0.20) == -2.0


@pytest.mark.parametrize("base", [0.0, -0.10])
def test_where_nothing_is_gained_nothing_can_survive(base: float):
    assert survival(base, 0.05) is None
    assert survival(base, -0.01) is None


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(0.0, 1.0))
def test_a_better_run_never_survives_by_less_and_never_by_more_than_all(base: float, low: float, more: float):
    worse, better = survival(base, low), survival(base, low + more)
    assert (worse is None) == (better is None) == (base <= 0.0)
    if worse is not None:
        assert worse <= better <= 1.0


# ------------------------------------------------------------------------------------------------- the runs


def test_the_base_is_the_run_as_configured(stress: Stress):
    *_, base = lively()
    result = simulate_portfolio(base)
    assert stress.base.name == "as configured"
    assert stress.base.trades == len(result.trades) > 10
    assert stress.base.return_net == pytest.approx(result.equity_e8[-1] / 1e8 / 10_000.0 - 1.0, abs=1e-12)


def test_every_assumption_has_its_run(stress: Stress):
    assert [each.name for each in stress.runs] == [
        "as configured",
        "adaptive",
        "optimistic",
        "costs x 2",
        "1 base bar later",
        "volume x 0.25",
        "2 % missing",
        "all together",
    ]


def test_the_mode_that_is_configured_is_the_base_and_the_others_are_beside_it():
    tree = configuration("fills.intrabar=optimistic")
    _, entries, market, _, base = lively()
    base = replace(base, rules=tree.rules())
    names = [
        each.name
        for each in stress_test(market, entries, tree, base, StressRules(), progress=lambda *_: None).runs
    ]
    assert names[1:3] == ["pessimistic", "adaptive"]


def test_doubled_costs_find_other_setups_where_costs_take_part_in_finding_them(stress: Stress):
    base, costly = stress.base, run(stress, "costs x 2")
    assert costly.setups < base.setups  # CHANNEL asks for a width of three round trips
    assert costly.fees_quote / costly.trades > 1.8 * base.fees_quote / base.trades


def test_everything_at_once_keeps_the_setups_of_doubled_costs(stress: Stress):
    assert run(stress, "all together").setups <= run(stress, "costs x 2").setups


def test_the_same_seed_gives_the_same_runs_and_another_one_other_gaps(stress: Stress):
    tree, entries, market, _, base = lively()
    again = stress_test(market, entries, tree, base, StressRules(), progress=lambda *_: None)
    assert again == stress
    other = stress_test(market, entries, tree, base, StressRules(seed=2), progress=lambda *_: None)
    assert run(other, "2 % missing") != run(stress, "2 % missing")
    assert run(other, "volume x 0.25") == run(stress, "volume x 0.25")


def test_progress_rises_from_nothing_and_names_the_run():
    tree, entries, market, _, base = lively()
    told: list[tuple[str, float]] = []
    stress_test(market, entries, tree, base, StressRules(), progress=lambda *heard: told.append(heard))
    assert told[0] == ("as configured", 0.0)
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert all(0.0 <= share < 1.0 for _, share in told)


# ------------------------------------------------------------------------------------------- each assumption


def test_dearer_doubles_fees_and_slippage_of_every_instrument():
    tree = configuration('instruments={"BTC/USD"={taker_fee=0.001, tick=0.01}}')
    _, _, market, _, _ = lively()
    plain, dear = (instruments(each, market.panel.symbols) for each in (tree, dearer(tree, 2.0)))
    for name in ("taker_fee", "maker_fee", "slippage"):
        assert np.array_equal(getattr(dear, name), 2.0 * getattr(plain, name))
    assert plain.taker_fee.min() == 0.001
    for name in ("tick", "lot", "min_notional", "tier"):
        assert np.array_equal(getattr(dear, name), getattr(plain, name))


def test_an_entry_comes_one_bar_later():
    *_, base = lively()
    fills = [simulate_portfolio(each).fills for each in (base, later_entries(base, 1))]
    first = [int(each["time_ms"].min()) for each in fills]
    assert first[1] - first[0] == MINUTE_MS


def test_what_would_be_decided_after_the_last_close_is_gone():
    *_, base = lively()
    rows = len(base.panel)
    later = later_entries(base, rows)
    assert len(later.setups) == 0
    assert len(later_entries(base, 0).setups) == len(base.setups)


def test_a_quarter_of_the_volume_is_a_quarter_of_the_share_of_it():
    *_, base = lively()
    fills = thinner(base, 0.25).rules.fills
    assert (fills.entry_participation, fills.exit_participation) == (0.0125, 0.0625)
    assert base.rules.fills.entry_participation == 0.05


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 0.5), st.floats(1.0, 20.0), st.integers(0, 2**32))
def test_the_share_that_is_missing_is_exact_and_only_what_was_there_goes(
    share: float, length: float, seed: int
):
    *_, base = lively()
    panel = base.panel.rows(0, 2_000)
    gone = holes(panel, share=share, run=length, seed=seed)
    assert gone.sum(axis=0).tolist() == [round(share * int(each)) for each in panel.present.sum(axis=0)]
    assert not np.any(gone & ~panel.present)


def test_holes_last_several_minutes_and_do_not_depend_on_what_stands_beside():
    *_, base = lively()
    panel = base.panel
    gone = holes(panel, share=0.02, run=5.0, seed=1)
    runs = int((np.diff(gone.astype(np.int8), axis=0, prepend=np.int8(0)) == 1).sum())
    assert 4.0 < gone.sum() / runs < 6.5
    alone = panel.select([panel.symbols[2]])
    assert np.array_equal(holes(alone, share=0.02, run=5.0, seed=1)[:, 0], gone[:, 2])


def test_a_missing_bar_is_missing_for_the_simulator_only():
    *_, base = lively()
    holed = with_holes(base, StressRules())
    gone = ~holed.panel.present
    assert 0 < gone.sum() == (np.isnan(holed.panel.volume)).sum()
    assert not np.any(holed.panel.covered & gone)
    kept = ~gone
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(holed.panel, name)[kept], getattr(base.panel, name)[kept])
    assert holed.setups is base.setups
    assert holed.reference is base.reference
