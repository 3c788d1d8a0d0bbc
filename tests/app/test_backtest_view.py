"""What `backtest` prints fits a terminal of 80 columns, with every number whole."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from crypto_tracker.app.cli.backtest_view import closed_trades, costs, percent, performances, trades
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.metrics import GroupFigures
from crypto_tracker.simulation.report import Report, report
from tests.app.conftest import LIVELY, MARCH, Command
from tests.simulation.hand_made_run import ABOUT, START_MS, closed, run


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


def result(by_symbol: Sequence[GroupFigures]) -> Report:
    """A result with large numbers and long names in its tables."""
    rows = closed(("BTC", "DCA", ExitReason.TAKE_PROFIT, 1_000_000, 123_456.78))
    rows["exit_ms"] = rows["entry_ms"] = rows["decision_ms"] = START_MS + HOUR_MS
    scenario, records = run(rows, equity=(10_000.0, 5_188.43, 1_234_567.89))
    found = report(scenario, records, ABOUT)
    return replace(
        found,
        figures=replace(
            found.figures,
            n_trades=2_330,
            by_strategy=[group("DCA", -13_791.86), group("MEAN_CROSS", 10.0)],
            by_symbol=list(by_symbol),
            by_exit_reason=[group("take_profit", 13_077.4), group("stop_loss", -15_970.1)],
        ),
    )


SYMBOLS = [group("1000BONK/USDT:USDT", -746.74), group("FARTCOIN/USDC:USDC", 94.71)]


def printed(table: RenderableType | None, *, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_no_name_and_no_number_is_cut_at_80_columns():
    lines = printed(closed_trades(result(SYMBOLS), 1), width=80)
    assert "…" not in "".join(lines)
    assert all(len(line) <= 80 for line in lines)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["MEAN_CROSS"] == [
        "1,165", "100.00", "%", "+10.00", "+0.01", "%", "29.32", "2,422.89", "1,349.27",
    ]  # fmt: skip
    assert rows.keys() >= {"MEAN_CROSS", "1000BONK/USDT:USDT", "FARTCOIN/USDC:USDC", "stop_loss"}


def test_of_many_symbols_those_at_both_ends_are_shown():
    many = [group(f"C{place}/USD", float(place)) for place in range(-10, 10)]
    text = "\n".join(printed(closed_trades(result(many), 1), width=80))
    shown = [symbol.name for symbol in many if f"{symbol.name} " in text]
    assert shown == ["C-10/USD", "C-9/USD", "C-8/USD", "C-7/USD", "C6/USD", "C7/USD", "C8/USD", "C9/USD"]
    assert "of 20 symbols" in text


def test_marked_closed_and_held_stand_side_by_side():
    lines = printed(performances(result(SYMBOLS), 2), width=100)
    (row,) = [line for line in lines if line.startswith("Equity at end")]
    # The trade closed with 123,456.78; both symbols stayed where they were, less what buying them cost.
    assert row.split()[3:5] == ["1,234,567.89", "133,456.78"]
    assert 9_900 < float(row.split()[5].replace(",", "")) < 10_000


def test_a_win_rate_comes_with_its_interval():
    text = "\n".join(printed(trades(result(SYMBOLS), 2), width=80))
    assert "21 to 100 %" in text  # one trade, won: Wilson's interval begins at 1 / (1 + 1.96^2)


def test_costs_are_rows_of_their_own():
    lines = printed(costs(result(SYMBOLS), 1), width=80)
    assert [line.split("  ")[0] for line in lines if line][1:3] == ["Fees", "Slippage (in the prices)"]


@pytest.mark.parametrize("width", [80, 100])
def test_a_whole_result_keeps_within_the_terminal(
    home, command: Command, monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = command(
        home, "backtest", *MARCH, *LIVELY, "--breakdown", "day", "week", "--breakdown", "month"
    )
    assert code == 0
    assert "…" not in out
    assert all(len(line) <= width for line in out.splitlines())
    for name in (
        "DCA",
        "SWING",
        "CHANNEL",
        "take_profit",
        "ETH/USD",
        "reference BTC/USD",
        "2025-03-08",
        "2025-W10",
        "2025-03 ",
    ):
        assert name in out
    assert out.index("Performance") < out.index("Costs") < out.index("Closed trades") < out.index("By day")


def test_shares_are_printed_as_people_write_them():
    assert percent(0.025) == "2.50 %"
    assert percent(None) == "-"
