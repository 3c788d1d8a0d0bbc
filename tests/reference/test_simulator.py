"""The reference against a handful of markets computed by hand, so that the judge itself has been judged."""

import pytest

from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.simulation.records import Outcome, commands
from tests.reference.setups import simulate_setups
from tests.reference.simulator import simulate
from tests.reference.sketch import E8, FLAT, FREE, MISSING, START_MS, panel, scenario, setup
from tests.simulation.rules import same_for_all_tiers


def test_a_market_entry_pays_slippage_and_fee_and_the_target_pays_the_maker_fee() -> None:
    # buy 100 / (100 * 1.0015) = 0.998502246... coins at 100.15; target 100.15 * 1.05 = 105.1575
    market = panel([FLAT, FLAT, (100.0, 106.0, 100.0, 105.0, 1e6)])
    result = simulate(
        scenario(market, setup(), facts={"taker_fee": 0.003, "maker_fee": 0.001, "slippage": 0.0015})
    )
    entry, target = result.fills
    assert (entry["bar"], entry["price"], entry["notional_e8"]) == (1, 100 * 1.0015, 100 * E8)
    assert entry["quantity"] == 100.0 / (100 * 1.0015)
    assert entry["fee_e8"] == 30_000_000  # 0.30
    assert entry["slippage_e8"] == 14_977_534  # 0.99850224662 * 0.15
    assert (target["bar"], target["price"]) == (2, 100 * 1.0015 * 1.05)
    assert target["notional_e8"] == 105 * E8
    assert target["fee_e8"] == 10_500_000  # 0.105
    (trade,) = result.trades
    assert trade["pnl_e8"] == 5 * E8 - 30_000_000 - 10_500_000
    assert trade["exit_reason"] == ExitReason.TAKE_PROFIT
    # reserve 100 + max(0.3, 0.1); then all of it is cash again
    assert result.reserved_e8.tolist() == [100 * E8 + 30_000_000, 0, 0]
    assert result.cash_e8.tolist() == [
        9_899_70_000_000,
        9_899_70_000_000,
        9_899_70_000_000 + 105 * E8 - 10_500_000,
    ]
    # marked at 100: the slippage and the fee are gone at once
    assert result.equity_e8.tolist()[:2] == [10_000 * E8, 9_899_70_000_000 + 99_85_022_466]


def test_a_bar_that_spans_stop_and_target_is_an_ambiguous_stop_or_optimistically_a_target() -> None:
    market = panel([FLAT, FLAT, (100.0, 110.0, 90.0, 105.0, 1e6)])
    expected = {
        "pessimistic": (ExitReason.STOP_LOSS, 95.0),
        "optimistic": (ExitReason.TAKE_PROFIT, 105.0),
        "adaptive": (ExitReason.STOP_LOSS, 95.0),  # a tie: low first
    }
    for mode, (reason, price) in expected.items():
        (trade,) = simulate(scenario(market, setup(), rules={"intrabar": mode})).trades
        assert (trade["exit_reason"], trade["exit_price"], trade["ambiguous"]) == (reason, price, True)


def test_a_fall_through_two_rungs_and_the_stop_fills_all_in_falling_order() -> None:
    # rungs at 99 and 98; average (100 + 100 + 100) / (1 + 100/99 + 100/98) = 98.98990..., stop 5 % below
    market = panel([FLAT, FLAT, (100.0, 100.0, 90.0, 91.0, 1e6)])
    result = simulate(scenario(market, setup(levels=3, spacing=0.01)))
    assert result.fills["kind"].tolist() == [
        FillKind.ENTRY,
        FillKind.RUNG,
        FillKind.RUNG,
        FillKind.EXIT,
    ]
    assert result.fills["rung"].tolist() == [0, 1, 2, 0]
    average = (1.0 * 100.0 + 100 / 99.0 * 99.0 + 100 / 98.0 * 98.0) / (1.0 + 100 / 99.0 + 100 / 98.0)
    assert result.fills["price"].tolist() == [100.0, 99.0, 98.0, average * 0.95]
    assert result.trades[0]["entry_price"] == average
    assert result.trades[0]["pnl_e8"] == pytest.approx(-15 * E8, abs=2)


def test_a_limit_must_be_passed_by_a_tick_where_the_tick_is_known() -> None:
    # rung at 99: a low of 99 does not fill it, 98.9 does, at 99
    touched = (100.0, 100.0, 99.0, 99.5, 1e6)
    passed = (100.0, 100.0, 98.9, 99.5, 1e6)
    market = panel([FLAT, FLAT, touched, passed])
    result = simulate(scenario(market, setup(levels=2, spacing=0.01), facts=FREE | {"tick": 0.1}))
    assert result.fills["bar"].tolist() == [1, 3]
    assert result.fills["price"].tolist() == [100.0, 99.0]


def test_the_volume_of_a_bar_caps_entries_and_the_rest_is_cancelled_after_five_bars() -> None:
    # 0.05 of volume 4 is 0.2 coins of the 1 wanted, in each of five bars: 4, 3.5, 0, 4 and 4
    volumes = [4.0, 3.5, 0.0, 4.0, 4.0, 4.0, 4.0]
    market = panel([FLAT, *[(100.0, 100.0, 100.0, 100.0, volume) for volume in volumes]])
    result = simulate(scenario(market, setup()))
    assert result.fills["bar"].tolist() == [1, 2, 4, 5]
    assert result.fills["quantity"].tolist() == pytest.approx([0.2, 0.175, 0.2, 0.2])
    assert result.reserved_e8.tolist() == [
        100 * E8,
        80 * E8,
        62_50_000_000,
        62_50_000_000,
        42_50_000_000,
        0,
        0,
        0,
    ]


def test_an_exit_larger_than_the_bar_goes_on_at_the_next_opens() -> None:
    # the stop sells 0.25 of volume 2 in its bar, then nothing without volume, then all at the open
    market = panel(
        [
            FLAT,
            FLAT,
            (100.0, 100.0, 94.0, 94.0, 2.0),
            (93.0, 93.0, 93.0, 93.0, 0.0),
            (92.0, 99.0, 92.0, 99.0, 1e6),
        ]
    )
    result = simulate(scenario(market, setup()))
    assert result.fills["price"].tolist() == [100.0, 95.0, 92.0]
    assert result.fills["quantity"].tolist() == [1.0, 0.5, 0.5]
    assert result.fills["exit_reason"].tolist() == [0, ExitReason.STOP_LOSS, ExitReason.STOP_LOSS]
    assert result.trades[0]["pnl_e8"] == -(2_50_000_000 + 4 * E8)


def test_a_trailing_stop_armed_by_one_bar_sells_in_the_next() -> None:
    # high-water 104, distance 0.02: level 101.92, above the average with costs of 0
    market = panel([FLAT, FLAT, (100.0, 104.0, 100.0, 104.0, 1e6), (104.0, 104.0, 101.0, 101.0, 1e6)])
    (trade,) = simulate(scenario(market, setup(trailing=0.02))).trades
    assert (trade["exit_reason"], trade["exit_price"]) == (ExitReason.TRAILING_STOP, 104 * 0.98)


def test_an_order_waits_for_a_missing_bar_as_long_as_one_strategy_bar_and_then_expires() -> None:
    waits = panel([FLAT, MISSING, MISSING, FLAT], [FLAT] * 4)
    assert simulate(scenario(waits, setup())).fills["bar"].tolist() == [3]
    result = simulate(scenario(waits, setup(wait_ms=2 * MINUTE_MS)))
    assert not len(result.fills)
    assert result.decisions["end"].tolist() == [Reason.EXPIRED]
    assert result.reserved_e8.tolist() == [100 * E8, 100 * E8, 100 * E8, 0]


def test_a_symbol_without_bars_for_the_hours_given_is_closed_at_its_last_close() -> None:
    market = panel([FLAT, FLAT, (100.0, 100.0, 98.0, 98.0, 1e6), *[MISSING] * 4], [FLAT] * 7)
    result = simulate(
        scenario(market, setup(), rules={"data_lost_hours": 0.05}, facts=FREE | {"slippage": 0.01})
    )
    (trade,) = result.trades
    assert trade["exit_reason"] == ExitReason.DATA_LOST
    assert trade["exit_price"] == 98 * 0.99
    assert trade["exit_ms"] == START_MS + 5 * MINUTE_MS  # three minutes behind B at the close of bar 5


def test_two_setups_for_one_place_are_ranked_by_confidence_and_the_loser_names_its_limit() -> None:
    market = panel([FLAT] * 3, [FLAT] * 3)
    result = simulate(
        scenario(
            market,
            setup(symbol=0, confidence=0.5),
            setup(symbol=0, confidence=0.49, strategy=1),
            setup(symbol=1, confidence=0.7),
            rules={"max_open": 1},
        )
    )
    assert result.decisions["reason"].tolist() == [
        Reason.PORTFOLIO_LIMIT,
        Reason.OUTRANKED,
        Reason.ACCEPTED,
    ]
    assert result.decisions["rank"].tolist() == [1, -1, 0]


def test_three_losses_in_a_row_block_a_strategy_and_the_block_ends_by_the_clock() -> None:
    # each setup enters in the next bar and is stopped there; two losses, then 3 minutes of silence
    down = (100.0, 100.0, 90.0, 100.0, 1e6)
    market = panel([down] * 9)
    rules = {"losing_streak": 2, "losing_streak_hours": 0.05, "cooldown_stops": 99}
    resets = [setup(bar, kind=0) for bar in range(8)]
    both = sorted(
        [*resets, *[setup(bar) for bar in range(8)]], key=lambda row: (row[0], row[3])
    )  # each close opens the latch first
    result = simulate(scenario(market, *both, rules=rules))
    setups = result.decisions["reason"][1::2].tolist()
    # entries after bars 0 and 1 lose in bars 1 and 2; the block of bar 2's close ends at that of bar 5
    assert setups == [0, 0, *[Reason.LOSING_STREAK] * 3, 0, 0, Reason.LOSING_STREAK]


def test_a_crash_of_the_reference_is_a_panic_that_cancels_rungs_and_widens_stops() -> None:
    calm, crash = FLAT, (94.0, 94.0, 94.0, 94.0, 1e6)
    rows = 64
    traded = panel([FLAT] * rows)
    reference = panel([calm] * 61 + [crash] * 3)
    result = simulate(
        scenario(traded, setup(58, levels=2, spacing=0.02), setup(62, symbol=0), reference=reference)
    )
    assert result.regime.tolist() == [Regime.NORMAL] * 61 + [Regime.PANIC] * 3
    assert result.reserved_e8.tolist()[58:] == [200 * E8, 100 * E8, 100 * E8, 0, 0, 0]
    assert result.decisions["reason"].tolist() == [Reason.ACCEPTED, Reason.REGIME_PANIC]
    assert result.open_trades["stop_price"].tolist() == [100 * (1 - 0.05 * 1.5)]


def test_a_person_closes_a_position_at_the_next_open() -> None:
    market = panel([FLAT, FLAT, (101.0, 101.0, 101.0, 101.0, 1e6), FLAT])
    order = commands([(START_MS + 2 * MINUTE_MS, 2, 0, -1, ExitReason.MANUAL)])
    (trade,) = simulate(scenario(market, setup(), commands=order)).trades
    assert (trade["exit_reason"], trade["exit_price"]) == (ExitReason.MANUAL, 101.0)


def test_a_day_that_lost_a_tenth_takes_no_more_entries() -> None:
    market = panel([FLAT, FLAT, *[(89.0, 89.0, 89.0, 89.0, 1e6)] * 3])
    rules = {
        "capital_quote": 100.0,
        "reserve": 0.0,
        "max_symbol_exposure": 1.0,
        "max_strategy_exposure": 1.0,
        "shares": {"DCA": 1.0},
        "stop_widening__caps": same_for_all_tiers(1.0),
    }
    result = simulate(scenario(market, setup(stop_loss=0.5), setup(2, symbol=0), rules=rules))
    assert result.decisions["reason"].tolist() == [Reason.ACCEPTED, Reason.DAY_LOSS]


def test_a_setup_alone_has_its_outcome_and_its_excursions() -> None:
    market = panel([FLAT, FLAT, (100.0, 103.0, 97.0, 100.0, 1e6), (100.0, 106.0, 99.0, 105.0, 1e6)])
    (row,) = simulate_setups(scenario(market, setup()))
    assert (row["outcome"], row["exit_reason"]) == (Outcome.WIN, ExitReason.TAKE_PROFIT)
    assert (row["invested_e8"], row["return_net"], row["bars_held"]) == (100 * 10**8, 0.05, 3)
    assert (row["adverse"], row["favourable"]) == pytest.approx((-0.03, 0.06))
