"""Lines from recorded scans, each by the configuration of its time, and marks from fills."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.app.serving import levels as module
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.levels import SCANS_MAX, Line, levels, marks, straights
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.orders import ExitReason, Fill, FillKind
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.desk.views.trades import Trade
from crypto_tracker.strategies.decisions import ScanBlock
from crypto_tracker.strategies.registry import builtin
from tests.app.serving.recorded import Recorded
from tests.store.shelf import BTC, at
from tests.trading.worlds import configuration

_BOOKS = count()
START = at("2025-03-01 00:00")


def scope(until_ms: int) -> Scope:
    """A book of its own each time: scans that were looked at are remembered."""
    return Scope(
        account=f"drawn {next(_BOOKS)}",
        bars=HomeBars(Path("nowhere")),
        symbols=(BTC,),
        reference=None,
        providers={},
        history="",
        strategies=("DCA",),
        installed=builtin(),
        configuration=configuration(),
        version="now",
        quote="USDT",
        start_ms=START,
        until_ms=until_ms,
        live=False,
        near_miss_readiness=80.0,
        now_ms=lambda: until_ms,
    )


def block(time_ms: int, high: float, version: str = "now") -> ScanBlock:
    number = np.array([50.0])
    return ScanBlock(
        strategy="DCA",
        time_ms=time_ms,
        version=version,
        symbols=(BTC,),
        reason=np.array([20], dtype=np.int8),
        readiness=number,
        confidence=number / 100,
        measurements={"high_4h": np.array([high]), "drop": number / 5000},
    )


# In the world of these tests DCA buys 0.8 % below the high.
def drawn(recorded: Recorded, end_ms: int) -> dict[str, tuple[list[int], list[float | None]]]:
    found = levels(scope(end_ms), recorded, BTC, START, end_ms + 1, (), None, [])
    return {line.name: (line.time_ms, line.price) for line in found.strategies[0].lines}


def test_lines_go_from_scan_to_scan_and_break_where_nothing_was_measured():
    five = Timeframe.M5.ms
    recorded = Recorded(
        *(block(START + row * five, high) for row, high in ((1, 100.0), (2, np.nan), (4, 80.0)))
    )
    lines = drawn(recorded, START + 4 * five)
    times = [START + row * five for row in (1, 2, 4)]
    assert lines["4 h high"] == (times, [100.0, None, 80.0])
    assert lines["buy below"] == (times, [pytest.approx(99.2), None, pytest.approx(79.36)])


def test_a_threshold_is_that_of_the_configuration_of_its_time(monkeypatch: pytest.MonkeyPatch):
    usual = configuration()
    drops = dict.fromkeys(("large_cap", "mid_cap", "small_cap", "memecoin"), 0.1)
    deep = type(usual.parameters("DCA")).model_validate(
        {**usual.parameters("DCA").model_dump(), "drop": drops}
    )
    other = usual.model_copy(update={"strategies": usual.strategies.model_copy(update={"DCA": deep})})
    known: dict[str, Any] = {"now": usual, "before": other}
    monkeypatch.setattr(module, "configuration_of", lambda _, version: known[version])
    five = Timeframe.M5.ms
    recorded = Recorded(block(START + five, 100.0, "before"), block(START + 2 * five, 100.0, "now"))
    assert drawn(recorded, START + 2 * five)["buy below"][1] == [pytest.approx(90.0), pytest.approx(99.2)]


def test_scans_that_draw_the_same_line_are_one_line_and_it_breaks_where_the_channel_changes():
    # 100, 101, 102 rise by 1 a bar; then another channel, at 90, falls by 2 a bar; one scan without any.
    line = Line(reach=8)
    line.time_ms.extend(10 * row for row in range(1, 7))
    line.price.extend([100.0, 101.0, 102.0, np.nan, 90.0, 88.0])
    line.slope.extend([1.0, 1.0, 1.0, np.nan, -2.0, -2.0])
    drawn = straights(line, 10)
    assert drawn is not None
    # The first from the open of its first bar to the close of its last. The newest goes back over 8 bars: its
    # price in the middle of the bar that opens at 40 is 90, and 2 more in each of the 6 before.
    assert (drawn.start_ms, drawn.end_ms) == ([0, -20], [30, 60])
    assert drawn.start_price == pytest.approx([99.5, 103.0])
    assert drawn.end_price == pytest.approx([102.5, 87.0])


def test_a_line_that_ended_reaches_no_further_back_than_its_scans():
    line = Line(reach=8)
    line.time_ms.extend([10, 20])
    line.price.extend([100.0, np.nan])
    line.slope.extend([0.0, np.nan])
    drawn = straights(line, 10)
    assert drawn is not None
    assert (drawn.start_ms, drawn.end_ms) == ([0], [10])


def test_where_a_scan_has_no_slope_its_price_lies_level_over_its_bar():
    # 100 twice, then 103; a line that rises by 1 from 110; then 104 again, which is not drawn back.
    line = Line(reach=8)
    line.time_ms.extend(10 * row for row in range(1, 7))
    line.price.extend([100.0, 100.0, 103.0, 110.0, 111.0, 104.0])
    line.slope.extend([np.nan, np.nan, np.nan, 1.0, 1.0, np.nan])
    drawn = straights(line, 10)
    assert drawn is not None
    assert (drawn.start_ms, drawn.end_ms) == ([0, 20, 30, 50], [20, 30, 50, 60])
    assert drawn.start_price == pytest.approx([100.0, 103.0, 109.5, 104.0])
    assert drawn.end_price == pytest.approx([100.0, 103.0, 111.5, 104.0])


def test_a_level_line_through_the_same_price_does_not_go_on_a_rising_one():
    line = Line(reach=8)
    line.time_ms.extend([10, 20])
    line.price.extend([100.0, 100.0])
    line.slope.extend([0.0, np.nan])
    drawn = straights(line, 10)
    assert drawn is not None
    assert drawn.end_ms == [10, 20]


def test_a_level_without_a_slope_is_no_straight_line():
    line = Line(reach=0)
    line.time_ms.append(10)
    line.price.append(100.0)
    assert straights(line, 10) is None


@pytest.mark.parametrize(("days", "least"), [(1, 288), (3, 288), (40, 400)])
def test_a_long_span_is_thinned_evenly_and_keeps_its_last_scan(days: int, least: int):
    asked: list[Sequence[int]] = []

    class Asked(Recorded):
        def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
            asked.append(times_ms)
            return super().encoded_blocks(strategy, times_ms)

    drawn(Asked(), START + days * DAY_MS)
    (times,) = asked
    assert least <= len(times) <= SCANS_MAX + 1
    assert times[-1] == START + days * DAY_MS
    assert len(set(np.diff(times[:-1]).tolist())) == 1


def fill(group: str, kind: FillKind, minute: int, reason: ExitReason = ExitReason.NONE) -> Fill:
    return Fill(
        trade_group_id=group,
        symbol=BTC,
        strategy="DCA",
        kind=kind,
        rung=1 if kind is FillKind.RUNG else 0,
        bar_open_time=from_ms(START + minute * MINUTE_MS),
        price=Decimal("100.5"),
        quantity=Decimal(1),
        notional_quote=Decimal("100.5"),
        fee_quote=Decimal("0.3"),
        slippage_quote=Decimal(0),
        exit_reason=reason,
        volume_unknown=False,
    )


def closed(group: str, pnl: float) -> Trade:
    return Trade(
        trade_group_id=group,
        symbol="BTC/USDT",
        strategy="DCA",
        tier="large_cap",
        decision_ms=START,
        entry_ms=START,
        exit_ms=START + MINUTE_MS,
        held_ms=MINUTE_MS,
        entry_price=100.0,
        exit_price=100.0,
        quantity=1.0,
        invested_quote=100.0,
        pnl_quote=pnl,
        return_net=pnl / 100,
        fee_quote=0.0,
        slippage_quote=0.0,
        exit_reason="take_profit",
        entry_fills=1,
        ambiguous=False,
        fallback=False,
        configuration_version=None,
    )


def test_the_result_of_a_trade_stands_at_its_last_sell_alone():
    stop = ExitReason.STOP_LOSS
    fills = [
        fill("one", FillKind.ENTRY, 0),
        fill("one", FillKind.RUNG, 1),
        fill("one", FillKind.EXIT, 2, stop),
        fill("one", FillKind.EXIT, 3, stop),
        fill("two", FillKind.ENTRY, 4),
        fill("two", FillKind.EXIT, 5, stop),  # a part of a position that is still held
    ]
    found = marks(fills, [closed("one", -7.5)])
    assert [mark.side for mark in found] == ["buy", "buy", "sell", "sell", "buy", "sell"]
    assert [mark.kind for mark in found[:3]] == ["entry", "rung", "exit"]
    assert [mark.pnl_quote for mark in found] == [None, None, None, -7.5, None, None]
    assert [mark.exit_reason for mark in found[1:3]] == [None, "stop_loss"]
    assert found[1].time_ms == int(datetime(2025, 3, 1, 0, 1, tzinfo=UTC).timestamp() * 1000)
    assert (found[0].price, found[0].quote) == (100.5, 100.5)


def test_only_what_lies_before_the_accounts_present_is_drawn():
    five = Timeframe.M5.ms
    recorded = Recorded(block(START + five, 100.0), block(START + 2 * five, 90.0))
    early = replace(scope(START + five), start_ms=START)
    found = levels(early, recorded, BTC, START, START + DAY_MS, ("DCA",), None, [])
    assert found.strategies[0].lines[0].time_ms == [START + five]


def test_scans_that_were_looked_at_are_not_read_again():
    asked: list[Sequence[int]] = []

    class Asked(Recorded):
        def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
            asked.append(times_ms)
            return super().encoded_blocks(strategy, times_ms)

    five = Timeframe.M5.ms
    recorded = Asked(*(block(START + row * five, 100.0 + row) for row in range(1, 9)))
    book = scope(START + 8 * five)
    first = levels(book, recorded, BTC, START + five, START + 4 * five + 1, ("DCA",), None, [])
    later = levels(book, recorded, BTC, START + 3 * five, START + 6 * five + 1, ("DCA",), None, [])
    assert asked == [[START + row * five for row in rows] for rows in ((1, 2, 3, 4), (5, 6))]
    assert first.strategies[0].lines[0].price == [101.0, 102.0, 103.0, 104.0]
    assert later.strategies[0].lines[0].price == [103.0, 104.0, 105.0, 106.0]
