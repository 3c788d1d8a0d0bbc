"""Scans over spans: anchored months, spans that end anywhere, and the events of episodes."""

from collections.abc import Sequence

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason, SlowRegime
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP, Detection, MarketView, Plan, Strategy
from crypto_tracker.strategies.exits import make_plan
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.strategies.scan import block_view, cut, scan, setup_events
from tests.features.drawn import random_walk, same_bits, utc
from tests.strategies.drawn import BTC, START_MS, bars, facts, numbers

COINS = (Symbol("BTC", "USD"), Symbol("ETH", "USD"))


def random_market(
    timeframe: Timeframe, start_ms: int, end_ms: int, *, seed: int = 5, missing: float = 0.02
) -> MarketView:
    """Independent random walks on every timeframe that a strategy may read."""
    days = random_walk(Timeframe.D1, start_ms, end_ms, COINS[:1], seed=seed)
    codes = np.random.default_rng(seed).integers(1, 5, len(days)).astype(np.int8)
    wanted = (Timeframe.M5, Timeframe.M15, Timeframe.H4)
    return MarketView(
        timeframe=timeframe,
        panels={
            each: random_walk(each, start_ms, end_ms, COINS, seed=seed + each.ms, missing=missing, step=0.006)
            for each in wanted
        },
        reference={Timeframe.D1: days},
        instruments=facts(COINS),
        slow_regime=codes,
    )


def later(market: MarketView, start_ms: int) -> MarketView:
    """The same market for someone whose data begin at `start_ms`."""
    days = market.reference[Timeframe.D1]
    kept = days.between(start_ms, int(days.close_time_ms[-1]))
    assert market.slow_regime is not None
    return MarketView(
        timeframe=market.timeframe,
        panels={each: p.between(start_ms, int(p.close_time_ms[-1])) for each, p in market.panels.items()},
        reference={Timeframe.D1: kept},
        instruments=market.instruments,
        slow_regime=market.slow_regime[len(days) - len(kept) :],
    )


def joined(detections: Sequence[Detection]) -> dict[str, np.ndarray]:
    first = detections[0]
    arrays = {name: np.concatenate([d.measurements[name] for d in detections]) for name in first.measurements}
    for name in ("reason", "readiness", "confidence"):
        arrays[name] = np.concatenate([getattr(d, name) for d in detections]).astype(np.float64)
    arrays["time"] = np.concatenate([d.panel.close_time_ms for d in detections]).astype(np.float64)
    return arrays


@pytest.mark.parametrize("strategy", builtin().values(), ids=lambda s: s.name)
def test_a_scan_has_the_same_bits_whatever_span_is_asked_for_and_wherever_the_data_begin(strategy: Strategy):
    market = random_market(strategy.timeframe, utc(2025, 4, 20), utc(2025, 8, 4))
    parameters = numbers(strategy.name)
    whole = joined([d for _, d in scan(strategy, market, parameters, utc(2025, 7, 2), utc(2025, 8, 4))])
    start, end = utc(2025, 7, 20, 13, 15), utc(2025, 8, 2, 7, 45)
    # the anchor of July is 1 July less 300 bars of 4 h
    less = later(market, utc(2025, 7, 1) - 300 * Timeframe.H4.ms)
    part = joined([d for _, d in scan(strategy, less, parameters, start, end)])
    assert part["time"][0] == start + strategy.timeframe.ms
    assert part["time"][-1] == end
    rows = np.isin(whole["time"], part["time"])
    assert rows.sum() == len(part["time"])
    assert (part["reason"] > 2).mean() > 0.8
    for name, values in part.items():
        assert same_bits(values, whole[name][rows]), name


def test_bars_belong_to_the_span_by_their_close_and_to_the_month_by_their_open():
    market = random_market(Timeframe.M5, utc(2025, 6, 25), utc(2025, 7, 3))
    dca = builtin()["DCA"]
    blocks = [d.panel for _, d in scan(dca, market, numbers("DCA"), utc(2025, 6, 30, 23), utc(2025, 7, 1, 1))]
    assert [len(panel) for panel in blocks] == [12, 12]
    assert blocks[0].close_time_ms[-1] == utc(2025, 7, 1)  # opens in June, closes as July begins
    assert blocks[1].open_time_ms[0] == utc(2025, 7, 1)
    # a span that begins within a bar asks for that bar, which closes in it; one that ends within a bar does not
    odd = [
        d.panel for _, d in scan(dca, market, numbers("DCA"), utc(2025, 7, 2, 0, 2), utc(2025, 7, 2, 0, 13))
    ]
    assert [panel.close_time_ms.tolist() for panel in odd] == [
        [utc(2025, 7, 2, 0, 5), utc(2025, 7, 2, 0, 10)]
    ]
    assert list(scan(dca, market, numbers("DCA"), utc(2025, 7, 2), utc(2025, 7, 2))) == []


def test_a_block_sees_the_declared_warm_up_and_nothing_else():
    market = random_market(Timeframe.M15, utc(2025, 4, 1), utc(2025, 7, 5))
    block = block_view(builtin()["SWING"], market, utc(2025, 7, 2), utc(2025, 7, 4))
    assert set(block.panels) == {Timeframe.M15, Timeframe.H4}
    assert block.panels[Timeframe.M15].open_time_ms[0] == utc(2025, 7, 1) - 250 * Timeframe.M15.ms
    assert block.panels[Timeframe.H4].open_time_ms[0] == utc(2025, 7, 1) - 300 * Timeframe.H4.ms
    assert block.panels[Timeframe.H4].close_time_ms[-1] == utc(2025, 7, 4)
    assert block.slow_regime is None  # SWING declares no reference
    market = random_market(Timeframe.M5, utc(2025, 6, 1), utc(2025, 7, 5))
    block = block_view(builtin()["DCA"], market, utc(2025, 7, 2), utc(2025, 7, 4))
    assert block.reference[Timeframe.D1].open_time_ms[0] == utc(2025, 6, 30)
    assert block.slow_regime is not None
    assert market.slow_regime is not None
    assert block.slow_regime.tolist() == market.slow_regime[29:33].tolist()  # 30 June to 3 July


def test_a_strategy_may_scan_coarser_bars_than_its_own():
    market = random_market(Timeframe.H4, utc(2025, 4, 1), utc(2025, 8, 4))
    for strategy in builtin().values():
        found = [
            d for _, d in scan(strategy, market, numbers(strategy.name), utc(2025, 7, 1), utc(2025, 8, 4))
        ]
        reason = np.concatenate([d.reason for d in found])
        assert (reason > Reason.NO_BAR).mean() > 0.9, strategy.name


def test_a_market_without_the_bars_to_scan_says_so():
    market = random_market(Timeframe.M5, utc(2025, 6, 1), utc(2025, 6, 5))
    view = MarketView(
        timeframe=Timeframe.M15,
        panels={Timeframe.M5: market.panels[Timeframe.M5]},
        reference={},
        instruments=market.instruments,
    )
    with pytest.raises(DataError, match="the market holds 5m, but 15m bars are to be scanned"):
        builtin()["CHANNEL"].features(view)


def test_the_slow_regime_must_fit_the_daily_bars():
    days = bars(Timeframe.D1, [1.0, 2.0])
    with pytest.raises(DataError, match="one code for each daily bar"):
        MarketView(
            timeframe=Timeframe.D1,
            panels={},
            reference={Timeframe.D1: days},
            instruments=facts([BTC]),
            slow_regime=np.array([SlowRegime.BULL], dtype=np.int8),
        )


# ------------------------------------------------------------------------------------------------- events

S, F, N, B = Reason.ACCEPTED, Reason.DROP_TOO_SMALL, Reason.NOT_READY, Reason.NO_BAR


def said(*reasons: Reason, start_ms: int = START_MS) -> Detection:
    """A detection of one symbol that says these reasons, bar by bar."""
    codes = np.array(reasons, dtype=np.int8)[:, None]
    panel = bars(Timeframe.M15, [100.0 + i for i in range(len(reasons))], start_ms=start_ms)
    number = np.full(codes.shape, 0.6)
    instruments: Instruments = facts([BTC])
    plan: Plan = make_plan(instruments, numbers("DCA").exits, size_quote=50.0, levels=3, spacing=0.02)  # type: ignore[attr-defined]
    return Detection(
        strategy="DRAWN",
        panel=panel,
        setup=codes == Reason.ACCEPTED,
        reason=codes,
        readiness=100 * number,
        confidence=number,
        measurements={},
        plan=plan,
    )


def kinds(events: np.ndarray) -> list[tuple[int, int]]:
    """(bar, kind) of every event."""
    return [
        (int((t - START_MS) // Timeframe.M15.ms) - 1, int(k))
        for t, k in zip(events["time_ms"], events["kind"], strict=True)
    ]


def test_every_true_scan_is_a_setup_and_the_first_false_one_after_it_ends_the_episode():
    events = setup_events([said(F, S, S, F, F, S, F)], 0)
    assert kinds(events) == [
        (1, EVENT_SETUP),
        (2, EVENT_SETUP),
        (3, EVENT_RESET),
        (5, EVENT_SETUP),
        (6, EVENT_RESET),
    ]


def test_scans_without_bar_or_warm_up_end_no_episode():
    assert kinds(setup_events([said(S, B, N, B, F)], 0)) == [(0, EVENT_SETUP), (4, EVENT_RESET)]
    assert kinds(setup_events([said(S, B, S)], 0)) == [(0, EVENT_SETUP), (2, EVENT_SETUP)]


def test_an_episode_goes_on_over_the_border_of_two_months():
    second = START_MS + 2 * Timeframe.M15.ms
    assert kinds(setup_events([said(F, S), said(F, F, start_ms=second)], 0)) == [
        (1, EVENT_SETUP),
        (2, EVENT_RESET),
    ]
    assert kinds(setup_events([said(F, S), said(B, F, start_ms=second)], 0)) == [
        (1, EVENT_SETUP),
        (3, EVENT_RESET),
    ]


def test_an_event_carries_the_plan_and_the_moment_of_its_decision():
    (event,) = setup_events([said(F, S)], 7)
    assert event["time_ms"] == START_MS + 2 * Timeframe.M15.ms  # the close of the second bar
    assert (event["symbol"], event["strategy"], event["side"]) == (0, 7, 1)
    assert (event["size_quote"], event["levels"], event["spacing"]) == (50.0, 3, 0.02)
    assert (event["take_profit"], event["stop_loss"], event["trailing"]) == (0.04, 0.06, 0.02)
    assert event["max_hold_ms"] == 72 * HOUR_MS
    assert (event["decision_close"], event["wait_ms"]) == (101.0, Timeframe.M15.ms)
    assert (event["confidence"], event["readiness"]) == (0.6, 60.0)
    assert np.isnan(event["range_median"])
    assert np.isnan(event["max_entry_gap"])


def test_events_stand_in_order_of_time_and_symbol():
    market = random_market(Timeframe.M5, utc(2025, 5, 28), utc(2025, 7, 4))
    found = [d for _, d in scan(builtin()["DCA"], market, numbers("DCA"), utc(2025, 6, 1), utc(2025, 7, 4))]
    events = setup_events(found, 1)
    order = list(zip(events["time_ms"].tolist(), events["symbol"].tolist(), strict=True))
    assert order == sorted(order)
    assert (events["kind"] == EVENT_SETUP).sum() == sum(int(d.setup.sum()) for d in found) > 100
    assert set(events["symbol"].tolist()) == {0, 1}
    for symbol in (0, 1):  # a reset comes only after a setup, and never twice in a row
        own = events["kind"][events["symbol"] == symbol]
        assert own[0] == EVENT_SETUP
        assert not np.any((own[1:] == EVENT_RESET) & (own[:-1] == EVENT_RESET))


def test_nothing_found_is_no_event():
    assert len(setup_events([], 0)) == 0
    assert len(setup_events([said(F, N, B)], 0)) == 0


def test_one_scan_at_a_time_makes_the_events_of_the_whole_span():
    market = random_market(Timeframe.M5, utc(2025, 5, 28), utc(2025, 7, 4), missing=0.05)
    dca, start, end = builtin()["DCA"], utc(2025, 6, 29), utc(2025, 7, 2)
    found = list(scan(dca, market, numbers("DCA"), start, end))
    whole = setup_events([detection for _, detection in found], 1)
    was_setup = np.zeros(len(COINS), dtype=np.bool_)
    one_by_one = [
        setup_events([cut(features, detection, row, row + 1)[1]], 1, was_setup)
        for features, detection in found
        for row in range(len(detection.panel))
    ]
    assert (whole["kind"] == EVENT_RESET).sum() > 5
    assert repr(np.concatenate(one_by_one).tolist()) == repr(whole.tolist())


def test_what_was_a_setup_is_remembered_in_place():
    was_setup = np.zeros(1, dtype=np.bool_)
    assert kinds(setup_events([said(F, S)], 0, was_setup)) == [(1, EVENT_SETUP)]
    assert was_setup.tolist() == [True]
    third = START_MS + 2 * Timeframe.M15.ms
    assert kinds(setup_events([said(B, N, start_ms=third)], 0, was_setup)) == []
    assert was_setup.tolist() == [True]
    fifth = START_MS + 4 * Timeframe.M15.ms
    assert kinds(setup_events([said(F, start_ms=fifth)], 0, was_setup)) == [(4, EVENT_RESET)]
    assert was_setup.tolist() == [False]


def test_what_was_a_setup_must_be_told_for_the_symbols_that_are_scanned():
    with pytest.raises(DataError, match="do not have the same symbols"):
        setup_events([said(F)], 0, np.zeros(2, dtype=np.bool_))
