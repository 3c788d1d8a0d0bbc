"""What `backtest` prints fits a terminal of 80 columns, with every number whole."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from crypto_tracker.app.cli.backtest_view import closed_trades, percent
from crypto_tracker.simulation.metrics import Figures, GroupFigures
from tests.app.conftest import LIVELY, MARCH, Command


def group(name: str, pnl_quote: float) -> GroupFigures:
    return GroupFigures(
        name=name,
        n_trades=1_165,
        n_won=1_165,
        win_rate=1.0,
        win_rate_low=0.9967,
        win_rate_high=1.0,
        pnl_quote=pnl_quote,
        invested_quote=100_000.0,
        return_net=pnl_quote / 100_000.0,
        n_open=0,
        pnl_open_quote=0.0,
        pnl_marked_quote=pnl_quote,
        return_marked=pnl_quote / 100_000.0,
        fees_quote=2_422.89,
        slippage_quote=1_349.27,
        profit_factor=29.32,
        expectancy_quote=pnl_quote / 1_165,
        hold_hours_mean=7.5,
    )


FIGURES = Figures(
    equity_start=10_000.0,
    equity_final=5_188.43,
    return_net=-0.4812,
    return_closed=-0.482,
    max_drawdown=0.4938,
    sharpe=-2.15,
    n_trades=2_330,
    n_open=0,
    win_rate=0.62,
    profit_factor=0.77,
    fees_quote=3_446.15,
    slippage_quote=2_205.16,
    ambiguous_share=0.02,
    exposure=0.3,
    market_change=1.8765,
    exits={"take_profit": 1_165, "stop_loss": 1_165},
    by_strategy=[group("DCA", -13_791.86), group("MEAN_CROSS", 10.0)],
    by_symbol=[group("1000BONK/USDT:USDT", -746.74), group("FARTCOIN/USDC:USDC", 94.71)],
    by_exit_reason=[group("take_profit", 13_077.4), group("stop_loss", -15_970.1)],
    rejected={},
    setups=2_330,
)


def printed(figures: Figures, *, width: int, gap: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(closed_trades(figures, gap))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_no_name_and_no_number_is_cut_at_80_columns():
    lines = printed(FIGURES, width=80, gap=1)
    assert "…" not in "".join(lines)
    assert all(len(line) <= 80 for line in lines)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["DCA"] == [
        "1,165", "100.00", "%", "-13,791.86", "-13.79", "%", "29.32", "2,422.89", "1,349.27",
    ]  # fmt: skip
    assert rows.keys() >= {"MEAN_CROSS", "1000BONK/USDT:USDT", "FARTCOIN/USDC:USDC", "stop_loss"}


def test_of_many_symbols_those_at_both_ends_are_shown():
    many = [group(f"C{place}/USD", float(place)) for place in range(-10, 10)]
    text = "\n".join(printed(replace(FIGURES, by_symbol=many), width=80, gap=1))
    shown = [symbol.name for symbol in many if f"{symbol.name} " in text]
    assert shown == ["C-10/USD", "C-9/USD", "C-8/USD", "C-7/USD", "C6/USD", "C7/USD", "C8/USD", "C9/USD"]


@pytest.mark.parametrize("width", [80, 100])
def test_a_whole_result_keeps_within_the_terminal(
    home, command: Command, monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = command(home, "backtest", *MARCH, *LIVELY)
    assert code == 0
    assert "…" not in out
    assert all(len(line) <= width for line in out.splitlines())
    for name in ("DCA", "SWING", "CHANNEL", "take_profit", "ETH/USD", "reference BTC/USD"):
        assert name in out


def test_shares_are_printed_as_people_write_them():
    assert percent(0.025) == "2.50 %"
    assert percent(None) == "-"
