"""A panel is a full grid of bars in which two kinds of missing are told apart."""

import numpy as np
import pytest

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe

BTC, ETH = Symbol("BTC", "USDT"), Symbol("ETH", "USDT")
NAN = float("nan")


def panel_of(close: list[list[float]], covered: list[list[bool]] | None = None, *, start: int = 0) -> Panel:
    """A panel on 1m whose prices are all the close and whose volume is 1."""
    values = np.array(close, dtype=np.float64)
    return Panel(
        timeframe=Timeframe.M1,
        symbols=(BTC, ETH)[: values.shape[1]],
        open_time_ms=start + np.arange(len(values)) * 60_000,
        open=values,
        high=values,
        low=values,
        close=values,
        volume=np.where(np.isnan(values), np.nan, 1.0),
        covered=~np.isnan(values) if covered is None else np.array(covered),
    )


def test_a_missing_bar_inside_coverage_had_no_trade_and_one_outside_is_unknown():
    panel = panel_of([[100.0], [NAN], [NAN]], [[True], [True], [False]])
    assert panel.present.ravel().tolist() == [True, False, False]
    assert panel.no_trade.ravel().tolist() == [False, True, False]


def test_the_last_close_is_carried_through_minutes_without_trades_and_never_across_the_unknown():
    close = [[NAN], [100.0], [NAN], [NAN], [NAN], [NAN], [103.0], [NAN]]
    covered = [[True], [True], [True], [True], [False], [True], [True], [True]]
    carried = panel_of(close, covered).carried()
    # 12:02 and 12:03 carry 100; 12:04 is unknown, and 12:05 after it has nothing to carry; 12:07 carries 103.
    np.testing.assert_array_equal(carried.close.ravel(), [NAN, 100, 100, 100, NAN, NAN, 103, 103])
    np.testing.assert_array_equal(carried.low.ravel(), [NAN, 100, 100, 100, NAN, NAN, 103, 103])
    np.testing.assert_array_equal(carried.volume.ravel(), [NAN, 1, 0, 0, NAN, NAN, 1, 0])


def test_a_bar_is_known_from_its_close_on():
    assert panel_of([[100.0], [101.0]], start=120_000).close_time_ms.tolist() == [180_000, 240_000]


def test_nobody_can_write_into_a_panel():
    panel = panel_of([[100.0]])
    for name in ("open", "high", "low", "close", "volume", "covered", "open_time_ms"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(panel, name)[0] = 0


def test_the_bars_of_one_symbol_lie_together_in_memory():
    panel = panel_of([[1.0, 2.0], [3.0, 4.0]])
    assert panel.close[:, 1].flags.c_contiguous
    assert panel.close.flags.f_contiguous


def test_a_panel_with_a_hole_in_its_rows_is_refused():
    with pytest.raises(DataError, match="grid"):
        Panel(
            timeframe=Timeframe.M1,
            symbols=(BTC,),
            open_time_ms=np.array([0, 120_000]),
            **dict.fromkeys(("open", "high", "low", "close", "volume"), np.ones((2, 1))),
            covered=np.ones((2, 1), dtype=bool),
        )


def test_a_panel_that_begins_off_the_grid_is_refused():
    with pytest.raises(DataError, match="grid"):
        panel_of([[100.0]], start=30_000)


def test_a_symbol_cannot_stand_twice():
    with pytest.raises(DataError, match="twice"):
        panel_of([[1.0, 2.0]]).select([BTC, BTC])


def test_a_field_of_the_wrong_shape_is_refused():
    with pytest.raises(DataError, match="shape"):
        panel_of([[100.0], [101.0]], [[True]])


def test_columns_are_selected_in_the_order_asked_for():
    panel = panel_of([[1.0, 2.0], [3.0, 4.0]]).select([ETH, BTC])
    assert panel.symbols == (ETH, BTC)
    assert panel.close.tolist() == [[2.0, 1.0], [4.0, 3.0]]


def test_a_symbol_that_is_not_there_is_named():
    with pytest.raises(DataError, match="SOL/USDT"):
        panel_of([[1.0, 2.0]]).select([Symbol("SOL", "USDT")])


def test_a_span_holds_its_start_and_not_its_end():
    panel = panel_of([[1.0], [2.0], [3.0]]).between(60_000, 120_000)
    assert panel.close.ravel().tolist() == [2.0]


def test_an_empty_panel_is_unknown_on_every_row_of_the_grid():
    panel = Panel.empty(Timeframe.M15, [BTC], 1, 2_700_001)
    assert panel.open_time_ms.tolist() == [0, 900_000, 1_800_000]
    assert not panel.covered.any()
    assert np.isnan(panel.close).all()
