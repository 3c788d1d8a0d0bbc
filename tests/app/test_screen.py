"""The view in the terminal: what it draws, at every size, and the words that it uses."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from crypto_tracker.app.demo.summary import SYNTHETIC
from crypto_tracker.app.demo.world import START_MS
from crypto_tracker.app.screen import charts, words
from crypto_tracker.app.screen.snapshot import (
    DecisionFacts,
    Heading,
    Kind,
    MarketFacts,
    Notice,
    PositionFacts,
    ReadinessFacts,
    Snapshot,
    StrategyFacts,
    Tone,
    TradeFacts,
)
from crypto_tracker.app.screen.view import render
from crypto_tracker.core.decisions import Condition, Reason, Regime
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.strategies.gates import volume_explanation


def position(coin: str = "SOL", **changes: object) -> PositionFacts:
    held = PositionFacts(
        coin=coin,
        strategy="DCA",
        fills=2,
        levels=5,
        entry_price=142.31,
        price=145.2,
        stop_price=131.2,
        target_price=152.3,
        pnl_quote=6.2,
        return_net=0.031,
        age_ms=125 * MINUTE_MS,
    )
    return replace(held, **changes)  # type: ignore[arg-type]  # the fields are checked when the facts are built


def snapshot(**changes: object) -> Snapshot:
    curve = np.concatenate([10_000 + 3.0 * np.arange(300), np.full(180, np.nan)])
    nearest = tuple(
        ReadinessFacts(coin=coin, readiness=readiness, words="volume")
        for coin, readiness in (("BTC", 95.0), ("XRP", 64.0), ("ETH", 31.0), ("ADA", 4.0))
    )
    shown = Snapshot(
        heading=Heading(
            program="crypto-tracker demo",
            badge=Notice(tone=Tone.WARNING, title=SYNTHETIC),
            note="made-up prices, seed 7",
            hint="Ctrl-C: summary",
        ),
        quote="USD",
        time_ms=START_MS + 6 * DAY_MS + 14 * HOUR_MS + 35 * MINUTE_MS,
        start_ms=START_MS,
        end_ms=START_MS + 10 * DAY_MS,
        speed=19_200.0,
        equity_start=10_000.0,
        equity=10_897.0,
        cash=5_123.1,
        reserved=800.0,
        drawdown=0.021,
        equity_curve=curve,
        curve_base=10_000.0,
        market=MarketFacts(
            regime=Regime.CAUTION,
            condition=Condition.SIDEWAYS,
            favoured="CHANNEL",
            volatility=0.0423,
            reference="BTC",
            reference_price=64_210.5,
            reference_change=-0.012,
            rising=7,
            symbols=20,
        ),
        positions=(position(), position("BTC", price=140.0, pnl_quote=-2.1, return_net=-0.0105)),
        strategies=tuple(
            StrategyFacts(name=name, off="volatility" if name == "CHANNEL" else "", nearest=nearest)
            for name in ("DCA", "SWING", "CHANNEL")
        ),
        decisions=(
            DecisionFacts(
                time_ms=START_MS, kind=Kind.TAKEN, coin="SOL", strategy="DCA", words="fell 3.40 % in 4 h"
            ),
            DecisionFacts(
                time_ms=START_MS, kind=Kind.MARKET, coin="", strategy="", words="PANIC: no entries"
            ),
        ),
        trades=(
            TradeFacts(
                time_ms=START_MS,
                coin="WIF",
                strategy="SWING",
                exit_reason="stop_loss",
                pnl_quote=-24.1,
                return_net=-0.12,
                age_ms=HOUR_MS,
            ),
        ),
        n_trades=31,
        n_wins=17,
        fees_quote=81.2,
        slippage_quote=44.4,
    )
    return replace(shown, **changes)  # type: ignore[arg-type]  # the fields are checked when the facts are built


def drawn(renderable: object, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, record=True)
    console.print(renderable)
    text = console.export_text()
    assert text.endswith("\n")
    return text[:-1].split("\n")


# ------------------------------------------------------------------------------------------ the view


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (100, 30), (110, 34), (120, 40), (140, 36), (210, 60)])
def test_the_view_fills_its_terminal_exactly_and_always_says_that_the_market_is_synthetic(size):
    width, height = size
    held = tuple(position(f"C{n}") for n in range(30))
    for shown in (snapshot(), snapshot(positions=held), snapshot(positions=(), decisions=(), trades=())):
        lines = drawn(render(shown, width=width, height=height), width, height)
        assert len(lines) == height
        assert max(len(line) for line in lines) <= width
        assert "SYNTHETIC MARKET" in lines[0]


def test_at_80_by_24_everything_that_matters_is_there():
    text = "\n".join(drawn(render(snapshot(), width=80, height=24), 80, 24))
    for expected in (
        "2025-03-07 14:35 UTC",
        "day 7 of 10",
        "x19,200",
        "10,897.00 USD",
        "+897.00 (+8.97 %)",
        "CAUTION",
        "vol 4.23 %",
        "BTC 64,210.5 -1.20 %",
        "7/20 up",
        "145.20",  # now
        "131.20",  # stop
        "152.30",  # target
        "+6.20",
        "2h05",
        "95 READY",
        "64 CLOSE",
        "31 NEUTRAL",
        "BUY",
        "fell 3.40 % in 4 h",
        "31, 17 won, 14 lost",
        "stop loss",
    ):
        assert expected in text, expected


def test_at_120_by_40_it_also_tells_entries_cash_and_what_each_symbol_lacks():
    text = "\n".join(drawn(render(snapshot(), width=120, height=40), 120, 40))
    for expected in ("142.31", "2/5", "5,123.10", "invested", "4 WAITING", "volume", "off: volatility"):
        assert expected in text, expected


def test_positions_that_do_not_fit_are_counted_and_added_up():
    held = tuple(position(f"C{n}", pnl_quote=1.5) for n in range(30))
    lines = drawn(render(snapshot(positions=held), width=80, height=24), 80, 24)
    shown = sum(line.startswith("C") and " DCA " in line for line in lines)
    rest = 30 - shown
    assert any(line.startswith(f"and {rest} more, +{1.5 * rest:.2f} together") for line in lines)


def test_a_terminal_that_is_too_small_says_how_large_it_must_be():
    text = " ".join(" ".join(drawn(render(snapshot(), width=40, height=10), 40, 10)).split())
    assert "SYNTHETIC" in text
    assert "at least 60 x 16" in text


@pytest.mark.parametrize(
    ("readiness", "word", "style"),
    [(100, "READY", "green"), (80, "READY", "green"), (79.9, "CLOSE", "yellow"), (60, "CLOSE", "yellow"),
     (59.9, "NEUTRAL", "blue"), (30, "NEUTRAL", "blue"), (29.9, "WAITING", "bright_black")],
)  # fmt: skip
def test_readiness_has_the_words_and_colours_of_the_dashboard(readiness, word, style):
    assert charts.readiness_style(readiness) == (word, style)


# ------------------------------------------------------------------------------------------ drawings


def plain(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


def test_a_curve_rises_green_above_its_base_and_hangs_red_below_it():
    # Base 100, two lines above and two below, one line for each 10: 120 fills both, 115 one and a half,
    # 90 one below, 80 two. What has not happened yet is dotted on the base.
    values = np.array([120.0, 115.0, 100.0, 90.0, 80.0, np.nan])
    lines = charts.area_chart(values, width=6, height=4, base=100.0)
    assert plain(lines) == [
        "█▄    ",
        "██▁  ┈",
        "   ██ ",
        "    █ ",
    ]
    assert lines[0].spans[0].style == "green"
    assert {span.style for span in lines[3].spans} >= {"red"}


def test_a_flat_curve_does_not_look_like_a_drama():
    lines = charts.area_chart(np.array([10_000.0, 10_000.4]), width=2, height=2, base=10_000.0)
    assert plain(lines) == ["  ", "▁▁"]


def test_a_curve_that_only_fell_hangs_from_the_top():
    lines = charts.area_chart(np.array([100.0, 80.0]), width=2, height=3, base=100.0)
    assert plain(lines)[0] == "▁ "
    assert plain(lines)[1:] == [" █", " █"]


def test_the_gauge_runs_from_stop_to_target():
    # Stop 90, target 110 on eleven places: entry 100 stands in the middle, 106 on the ninth.
    gauge = charts.stop_to_target(stop=90.0, entry=100.0, price=106.0, target=110.0, width=11)
    assert gauge.plain == "─────┿━━●──"
    fallen = charts.stop_to_target(stop=90.0, entry=100.0, price=80.0, target=110.0, width=11)
    assert fallen.plain == "●━━━━┿─────"
    assert any(span.style == "bold red" for span in fallen.spans)


def test_bars_and_lines_fill_in_proportion():
    assert charts.level_bar(0.75, width=4, style="green").plain == "━━━─"
    assert charts.level_bar(0.625, width=4, style="green").plain == "━━╸─"
    assert charts.level_bar(2.0, width=4, style="green").plain == "━━━━"
    assert charts.progress_bar(0.5, width=4, style="cyan").plain == "━━──"


# ------------------------------------------------------------------------------------------ words


def test_every_reason_of_the_portfolio_has_words_of_its_own():
    told = {
        reason: words.refusal(reason, "DCA", 0.12, 0.1, START_MS)
        for reason in Reason
        if reason >= Reason.UNSUPPORTED_SIDE
    }
    assert len(set(told.values())) == len(told)
    assert all(reason.code.replace("_", " ") != text for reason, text in told.items())


def test_refusals_carry_the_numbers_that_decided():
    assert (
        words.refusal(Reason.SHARE_USED, "DCA", 3561.2, 3233.8, 0)
        == "its share is used: 3,561 would exceed 3,234"
    )
    assert words.refusal(Reason.CONFIDENCE_LOW, "DCA", 0.41, 0.45, 0) == "confidence 0.41, needs 0.45"
    wait = words.refusal(Reason.COOLDOWN, "DCA", START_MS, START_MS + 5 * HOUR_MS, START_MS)
    assert wait.endswith("cools down 5h00 more")


def test_entries_say_what_each_strategy_saw():
    assert (
        words.entry("DCA", {"drop": 0.034, "volume_ratio": 1.84}, 0.7)
        == "fell 3.40 % in 4 h, volume 1.8x, conf 0.70"
    )
    swing = words.entry("SWING", {"breakout": 1.012, "volume_ratio": 2.0}, 0.5)
    assert swing == "1.20 % above resistance, volume 2.0x, conf 0.50"
    channel = words.entry("CHANNEL", {"place": 0.08, "strength": 0.81}, 0.5)
    assert channel == "at 8 % of a channel of strength 0.81, conf 0.50"
    assert words.entry("MINE", {}, 0.5) == "MINE setup, conf 0.50"


def test_numbers_that_are_not_known_yet_are_dashes():
    early = snapshot(
        speed=math.nan,
        market=replace(
            snapshot().market, volatility=math.nan, reference_price=math.nan, reference_change=math.nan
        ),
    )
    text = "\n".join(drawn(render(early, width=80, height=24), 80, 24))
    assert "vol -" in text
    assert "nan" not in text


def test_a_number_that_misses_its_threshold_never_reads_as_if_it_met_it():
    assert volume_explanation(0.9984, 1.0, window=20, passed=False).sentence == (
        "the volume is 0.99 x its 20-bar mean; a setup needs 1 x"
    )
    assert words.almost(Reason.VOLUME_LOW, {"volume_ratio": 0.9984}) == "volume is 0.99 x its mean"
    assert words.almost(Reason.RSI_LOW, {"rsi": 49.96}) == "RSI is only 49.9"
    assert words.almost(Reason.DROP_TOO_SMALL, {"drop": 0.024999}) == "fell only 2.49 % in 4 h"
    assert words.almost(Reason.DROP_TOO_SMALL, {"drop": 0.29}) == "fell only 29.00 % in 4 h"
    assert words.almost(Reason.BREAKOUT_TOO_SMALL, {"breakout": 0.99999}) == "0.01 % below resistance"
    assert words.almost(Reason.NOT_IN_BUY_ZONE, {"place": 0.2001}) == "at 21 % of its channel, too high"


@given(
    measured=st.floats(0.0, 3.0).map(lambda value: round(value, 5)),
    needed=st.integers(1, 300).map(lambda cents: cents / 100),
)
def test_one_number_is_told_alike_wherever_and_compares_with_its_threshold_as_it_does(
    measured: float, needed: float
):
    gate = volume_explanation(measured, needed, window=20, passed=measured >= needed).sentence
    near = words.almost(Reason.VOLUME_LOW, {"volume_ratio": measured})
    shown = near.removeprefix("volume is ").removesuffix(" x its mean")
    assert f"the volume is {shown} x" in gate
    assert (float(shown) >= needed) == (measured >= needed)


def test_a_price_below_its_channel_is_not_too_high():
    assert words.almost(Reason.NOT_IN_BUY_ZONE, {"place": -0.71}) == "below its channel: broken"
    assert words.lacks(Reason.NOT_IN_BUY_ZONE, {"place": -0.71}) == "whole channel"
