"""What `compare` says: two sides beside each other, their setups, their paired difference, their settings."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.simulation import paired
from crypto_tracker.simulation.evidence import Evidence, Setup, setup_of
from crypto_tracker.simulation.paired import Alone, Comparing, Comparison, Estimate, Finding, SideFigures

WIDTH_MAX = 100
_SETTINGS_SHOWN = 25
_VALUE_SHOWN = 24
_SYMBOLS_NAMED = 6
_WORDS = {
    paired.NO_SETUP: "found no setup then",
    paired.NOT_RECORDED: "not recorded",
    paired.STRATEGY_ABSENT: "does not trade the strategy",
    paired.SYMBOL_ABSENT: "does not trade the symbol",
    paired.UNFILLED: "order placed, not filled",
}
_STYLES = {Finding.BETTER: "bold green", Finding.WORSE: "bold red", Finding.OPEN: "bold"}


def show(out: Console, found: Comparison, rules: Comparing) -> None:
    """Print a comparison for people."""
    width = min(out.width, WIDTH_MAX)
    out.print(Text("Compare", style="bold"))
    for letter, side in (("A", found.first), ("B", found.second)):
        out.print(Text(f"{letter}: {_side(side)}"), width=width)
    out.print(Text(_ground(found.first, found.second), style="dim"), width=width)
    for note in found.notes:
        out.print(Text(f"! {note}", style="yellow"), width=width)
    out.print()
    out.print(_figures(found))
    out.print()
    out.print(_setups(found))
    if found.unfinished:
        out.print(
            Text(
                f"{found.unfinished:,} of those that both traded had not ended on both sides: they are in no "
                "P&L of setups.",
                style="dim",
            ),
            width=width,
        )
    out.print()
    out.print(_differences(found, rules))
    out.print()
    out.print(_settings(found))
    out.print()
    out.print(Text(found.sentence, style=_STYLES[found.finding]), width=width)


def document(found: Comparison, rules: Comparing) -> dict[str, Any]:
    """The same as one JSON document; differences are the second side less the first, fractions of one."""
    return {
        "start": from_ms(found.first.start_ms),
        "end": from_ms(found.first.end_ms),
        "first": _side_document(found.first, found.first_figures),
        "second": _side_document(found.second, found.second_figures),
        "notes": list(found.notes),
        "setups": {
            "both": [
                {
                    **_setup_document(pair.setup),
                    "first_pnl_quote": float(pair.first.pnl_quote),
                    "second_pnl_quote": float(pair.second.pnl_quote),
                    "first_return_net": pair.first.return_net,
                    "second_return_net": pair.second.return_net,
                }
                for pair in found.both
            ],
            "only_first": [_alone_document(each) for each in found.only_first],
            "only_second": [_alone_document(each) for each in found.only_second],
            "unfinished": found.unfinished,
        },
        "difference": {
            "confidence": rules.confidence,
            "by_day_marked": found.marked,
            "pnl_per_setup_quote": _estimate_document(found.pnl_per_setup),
            "return_per_setup": _estimate_document(found.return_per_setup),
            "pnl_per_day_quote": _estimate_document(found.pnl_per_day),
            "return_per_day": _estimate_document(found.return_per_day),
        },
        "settings": [asdict(each) for each in found.settings],
        "same": found.same,
        "finding": found.finding.value,
        "sentence": found.sentence,
    }


def _side(side: Evidence) -> str:
    return f"{side.name}, version {side.configuration_version}, code {side.code_version}"


def _ground(first: Evidence, second: Evidence) -> str:
    symbols = [str(symbol) for symbol in first.symbols if symbol in second.symbols]
    more = f" and {len(symbols) - _SYMBOLS_NAMED} more" if len(symbols) > _SYMBOLS_NAMED else ""
    bases = first.base if first.base == second.base else f"{first.base} and {second.base}"
    made_up = "SYNTHETIC " if first.synthetic else ""
    return (
        f"{from_ms(first.start_ms):%Y-%m-%d %H:%M} to {from_ms(first.end_ms):%Y-%m-%d %H:%M} UTC, "
        f"{made_up}{bases} bars of {', '.join(symbols[:_SYMBOLS_NAMED])}{more}"
    )


def _figures(found: Comparison) -> Table:
    table = _table("Side by side")
    table.add_column("", no_wrap=True)
    for name in ("A", "B", "B - A"):
        table.add_column(name, justify="right", no_wrap=True)
    rows: tuple[tuple[str, Callable[[SideFigures], float | None], Callable[[float], str]], ...] = (
        ("Return, marked", lambda each: each.return_marked, _signed_percent),
        ("Return, closed trades", lambda each: each.return_closed, _signed_percent),
        ("P&L, marked", lambda each: each.pnl_marked_quote, _signed_money),
        ("P&L, closed trades", lambda each: each.pnl_closed_quote, _signed_money),
        ("Maximum drawdown", lambda each: each.max_drawdown, _percent),
        ("Sharpe, a year", lambda each: each.sharpe, _plain),
        ("Closed trades", lambda each: each.n_trades, _count),
        ("Open at the end", lambda each: each.n_open, _count),
        ("Win rate", lambda each: each.win_rate, _percent),
        ("  lower end, 95 %", lambda each: each.win_rate_low, _percent),
        ("  upper end, 95 %", lambda each: each.win_rate_high, _percent),
        ("Profit factor", lambda each: each.profit_factor, _plain),
        ("Fees", lambda each: each.fees_quote, _money),
        ("Slippage", lambda each: each.slippage_quote, _money),
        ("Fees and slippage", lambda each: each.costs_quote, _money),
    )
    for name, of, written in rows:
        mine, others = of(found.first_figures), of(found.second_figures)
        cells = ["-" if each is None else written(each) for each in (mine, others)]
        change = None if mine is None or others is None else others - mine
        interval = name.startswith("  ")
        table.add_row(name, *cells, "" if interval else "-" if change is None else _change(change, written))
    return table


def _change(change: float, written: Callable[[float], str]) -> str:
    plain = written(abs(change)).lstrip("+")
    shown = any(digit in "123456789" for digit in plain)
    return f"{'+' if change > 0 else '-'}{plain}" if shown else plain


def _setups(found: Comparison) -> Table:
    table = _table("Setups that were traded")
    table.add_column("", no_wrap=True)
    for name in ("Setups", "P&L of A", "P&L of B"):
        table.add_column(name, justify="right", no_wrap=True)
    running = {setup_of(trade) for trade in (*found.first.running, *found.second.running)}
    both = [pair for pair in found.both if pair.setup not in running]
    table.add_row(
        "by both",
        f"{len(found.both):,}",
        _signed_money(float(sum(pair.first.pnl_quote for pair in both))),
        _signed_money(float(sum(pair.second.pnl_quote for pair in both))),
    )
    for letter, other, alone in (("A", "B", found.only_first), ("B", "A", found.only_second)):
        for name, rows in _by_reason(alone, f"only by {letter}", other):
            ended = [each.trade for each in rows if setup_of(each.trade) not in running]
            pnl = _signed_money(float(sum(trade.pnl_quote for trade in ended)))
            table.add_row(name, f"{len(rows):,}", pnl if letter == "A" else "", pnl if letter == "B" else "")
    return table


def _by_reason(alone: Sequence[Alone], title: str, other: str) -> list[tuple[str, list[Alone]]]:
    """All that one side traded alone, then the same by why the other did not, the most frequent first."""
    counts = Counter(each.why_not for each in alone)
    named = sorted(counts, key=lambda why: (-counts[why], why))
    return [
        (title, list(alone)),
        *(
            (f"  {other}: {_WORDS.get(why, why)}", [each for each in alone if each.why_not == why])
            for why in named
        ),
    ]


def _differences(found: Comparison, rules: Comparing) -> Table:
    table = _table("Difference, B - A, paired")
    table.add_column("", no_wrap=True)
    table.add_column("Mean", justify="right", no_wrap=True)
    table.add_column(f"{100 * rules.confidence:g} % interval", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("Days", justify="right", no_wrap=True)
    kind = "marked" if found.marked else "closed trades"
    rows: tuple[tuple[str, Estimate | None, Callable[[float], str]], ...] = (
        ("P&L of a common setup", found.pnl_per_setup, _signed_money),
        ("P&L / invested of a common setup", found.return_per_setup, _fine_percent),
        (f"P&L of a day, {kind}", found.pnl_per_day, _signed_money),
        (f"Return of a day, {kind}", found.return_per_day, _fine_percent),
    )
    for name, estimate, written in rows:
        if estimate is None:
            table.add_row(name, "-", "-", "0", "0")
            continue
        interval = "-"
        if estimate.low is not None and estimate.high is not None:
            interval = f"{written(estimate.low)} to {written(estimate.high)}"
        table.add_row(name, written(estimate.mean), interval, f"{estimate.n:,}", f"{estimate.days:,}")
    return table


def _settings(found: Comparison) -> Table | Text:
    if not found.settings:
        return Text("The configurations are the same.", style="dim")
    table = _table("Settings that differ")
    table.add_column("Key", overflow="fold")
    table.add_column("A", overflow="fold", max_width=_VALUE_SHOWN)
    table.add_column("B", overflow="fold", max_width=_VALUE_SHOWN)
    for each in found.settings[:_SETTINGS_SHOWN]:
        table.add_row(each.key, _value(each.first), _value(each.second))
    if len(found.settings) > _SETTINGS_SHOWN:
        table.add_row(f"and {len(found.settings) - _SETTINGS_SHOWN} more: see --json", "", "")
    return table


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _side_document(side: Evidence, figures: SideFigures) -> dict[str, Any]:
    return {
        "name": side.name,
        "source": side.source.value,
        "base": side.base,
        "symbols": [str(symbol) for symbol in side.symbols],
        "strategies": list(side.strategies),
        "synthetic": side.synthetic,
        "timezone": side.timezone,
        "configuration_version": side.configuration_version,
        "code_version": side.code_version,
        "data_hash": side.data_hash,
        "carried": side.carried,
        **asdict(figures),
    }


def _setup_document(setup: Setup) -> dict[str, Any]:
    symbol, strategy, decided_ms = setup
    return {"symbol": str(symbol), "strategy": strategy, "decision_time": from_ms(decided_ms)}


def _alone_document(each: Alone) -> dict[str, Any]:
    return {
        "symbol": str(each.trade.symbol),
        "strategy": each.trade.strategy,
        "decision_time": each.trade.decision_time,
        "pnl_quote": float(each.trade.pnl_quote),
        "return_net": each.trade.return_net,
        "why_not": each.why_not,
    }


def _estimate_document(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else asdict(estimate)


def _table(title: str) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
    )


def _signed_percent(value: float) -> str:
    return f"{100.0 * value:+.2f} %"


def _fine_percent(value: float) -> str:
    return f"{100.0 * value:+.4f} %"


def _percent(value: float) -> str:
    return f"{100.0 * value:.2f} %"


def _signed_money(value: float) -> str:
    return f"{value:+,.2f}"


def _money(value: float) -> str:
    return f"{value:,.2f}"


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"
