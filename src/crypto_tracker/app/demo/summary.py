"""What is said at the end of the demonstration, for people and as a document."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from crypto_tracker.app.demo.run import Outcome
from crypto_tracker.app.documents import trade_document
from crypto_tracker.app.screen import charts
from crypto_tracker.app.screen.text import DOWN, MUTED, UNKNOWN, UP, age, direction, money, percent
from crypto_tracker.core.arrays import FloatArray, RecordArray
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import DAY_MS, from_ms, to_ms
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.kernel import QUOTE

SYNTHETIC = "SYNTHETIC MARKET"
DISCLAIMER = "every price is made up: nothing here says anything about real money"
SHOWN_REASONS = 6
CURVE_POINTS = 480


def summary(outcome: Outcome, *, home: Path | None, width: int, drawn: bool) -> RenderableType:
    """The result of the run; `drawn` adds the equity curve in block characters.

    `home` is where bars and run were kept, None where they were not.
    """
    parts: list[RenderableType] = [Text(), *_heading(outcome), Text()]
    if drawn:
        start = outcome.figures.equity_start
        curve = equity_points(outcome.result.equity_e8 / QUOTE, len(outcome.world.scenario.panel))
        parts += [*charts.area_chart(curve, width=min(width, 100) - 2, height=5, base=start), Text()]
    parts += [_facts(outcome), Text(), *_why(outcome), *_next_steps(outcome, home)]
    return Group(*parts)


def document(
    outcome: Outcome, *, run_id: int | None, version: str, seconds: dict[str, float]
) -> dict[str, Any]:
    """The same as one JSON document, with every trade."""
    closed = _named(outcome, outcome.result.trades)
    best, worst = _extremes(closed)
    return asdict(outcome.figures) | {
        "synthetic": True,
        "note": f"{SYNTHETIC}: {DISCLAIMER}",
        "provider": "synthetic",
        "seed": outcome.world.seed,
        "days": outcome.world.days,
        "start": from_ms(outcome.world.market.start_ms),
        "end": from_ms(outcome.end_ms),
        "interrupted": outcome.interrupted,
        "run_id": run_id,
        "configuration_version": version,
        "symbols": [str(symbol) for symbol in outcome.scenario.panel.symbols],
        "strategies": list(outcome.scenario.strategies),
        "scans": outcome.world.detected.scans if not outcome.interrupted else None,
        "best_trade": None if best is None else trade_document(best),
        "worst_trade": None if worst is None else trade_document(worst),
        "trades": [trade_document(trade) for trade in closed],
        "open_trades": [trade_document(trade) for trade in _named(outcome, outcome.result.open_trades)],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def equity_points(equity: FloatArray, length: int) -> FloatArray:
    """Equity at evenly spaced moments of the whole run, NaN for those that have not come."""
    rows = np.rint((np.arange(CURVE_POINTS) + 1) * length / CURVE_POINTS).astype(np.int64) - 1
    curve = np.full(CURVE_POINTS, np.nan)
    reached = (rows >= 0) & (rows < len(equity))
    curve[reached] = equity[rows[reached]]
    if not reached.any():
        curve[0] = equity[-1]
    return curve


def _named(outcome: Outcome, rows: RecordArray) -> list[Trade]:
    """The trades of some rows, with the names of their coins and strategies."""
    return ledger.trades(rows, outcome.scenario.panel.symbols, outcome.scenario.strategies)


def _heading(outcome: Outcome) -> list[Text]:
    world = outcome.world
    first = Text(f" {SYNTHETIC} ", style="bold black on yellow")
    start, end = from_ms(world.market.start_ms), from_ms(outcome.end_ms)
    span = f"{start:%Y-%m-%d} to {end:%Y-%m-%d %H:%M}, {len(world.scenario.panel.symbols)} coins"
    first.append(f" seed {world.seed}, {span}", style="default on default")
    lines = [first, Text(f"{DISCLAIMER.capitalize()}.", style="yellow")]
    if outcome.interrupted:
        days = (outcome.end_ms - world.market.start_ms) / DAY_MS
        lines.append(Text(f"Stopped after {days:.1f} of {world.days} days; this is the result so far."))
    return lines


def _facts(outcome: Outcome) -> Table:
    figures, result = outcome.figures, outcome.result
    closed = _named(outcome, result.trades)
    best, worst = _extremes(closed)
    gained = figures.equity_final - figures.equity_start
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column()

    result_text = Text.assemble(
        (f"{money(gained, signed=True)} USD ({percent(figures.return_net)})", f"bold {direction(gained)}"),
        f" after all costs, equity {money(figures.equity_final)}",
    )
    table.add_row("Result", result_text)
    table.add_row(
        "",
        Text(
            f"deepest fall {percent(figures.max_drawdown, signed=False)}; the coins moved "
            f"{_or_unknown(figures.market_change)} on average",
            style=MUTED,
        ),
    )
    win_rate = "" if figures.win_rate is None else f", {100 * figures.win_rate:.0f} % won"
    unrealised = float(result.open_trades["pnl_e8"].sum()) / QUOTE
    left = f"; {figures.n_open} still open ({money(unrealised, signed=True)})" if figures.n_open else ""
    table.add_row("Trades", Text(f"{figures.n_trades} closed{win_rate}{left}"))
    for group in figures.by_strategy:
        table.add_row(
            "",
            Text.assemble(
                (f"{group.name:<8}", MUTED),
                f"{group.n_trades:>4} trades  ",
                (f"{money(group.pnl_quote, signed=True):>10}", direction(group.pnl_quote)),
            ),
        )
    table.add_row(
        "Costs",
        Text(f"fees {money(figures.fees_quote)}, slippage {money(figures.slippage_quote)} (in the prices)"),
    )
    if best is not None and worst is not None:
        table.add_row("Best", _trade_line(best))
        table.add_row("Worst", _trade_line(worst))
    if figures.exits:
        table.add_row("Exits", Text(_counts(figures.exits)))
    if figures.rejected:
        table.add_row("Refused", Text(_counts(figures.rejected)))
        table.add_row("", Text("setups that the portfolio did not take, by reason", style=MUTED))
    return table


def _why(outcome: Outcome) -> list[Text]:
    """The gates that the best trade passed before it was opened; nothing where no trade was closed."""
    best, _ = _extremes(_named(outcome, outcome.result.trades))
    if best is None:
        return []
    scans = next(each for each in outcome.world.scans if each.strategy.name == best.strategy)
    found = scans.exactly_at(to_ms(best.decision_time))
    if found is None:
        return []
    features, detection, row = found
    column = detection.panel.symbols.index(best.symbol)
    gates = scans.strategy.explain(detection, features, scans.entry.parameters, row, column)
    title = f"Why {best.strategy} bought {best.symbol.base} on {best.decision_time:%Y-%m-%d at %H:%M}"
    lines = [Text(title, style="bold cyan")]
    for gate in gates:
        mark = ("  passed  ", UP) if gate.passed else ("  failed  ", DOWN)
        lines.append(Text.assemble(mark, gate.sentence.partition(";")[0]))
    confidence = float(detection.confidence[row, column])
    lines.append(
        Text(f"  confidence {confidence:.2f}; so it went to the portfolio, which had room", style=MUTED)
    )
    return [*lines, Text()]


def _next_steps(outcome: Outcome, home: Path | None) -> list[Text]:
    best, worst = _extremes(_named(outcome, outcome.result.trades))
    on_this_market = []
    if home is not None and best is not None and worst is not None:
        on_this_market = [
            f"explain {worst.symbol} --at {worst.decision_time:%Y-%m-%dT%H:%M}",
            f"backtest --timerange {from_ms(outcome.world.market.start_ms):%Y%m%d}-",
        ]
    steps = [
        (f"demo --seed {outcome.world.seed + 1}", "another market: most of them lose"),
        ("list-strategies", "the rules that traded"),
        ("import-data PATH", "your own bars"),
        ("backtest --timerange 20250801-20250901", "the rules on your bars"),
        ("new-config", "all numbers, to change"),
    ]
    width = max(len(command) for command, _ in steps)
    return [
        Text("What to type next", style="bold cyan"),
        # Continued with a backslash: a line that the terminal wraps could not be copied.
        *(
            Text.assemble("  crypto-tracker ", (command, "bold"), f" \\\n      --home {home}")
            for command in on_this_market
        ),
        *(
            Text.assemble("  crypto-tracker ", (command.ljust(width), "bold"), (f"  {what}", MUTED))
            for command, what in steps
        ),
    ]


def _extremes(closed: Sequence[Trade]) -> tuple[Trade | None, Trade | None]:
    if not closed:
        return None, None
    return max(closed, key=lambda trade: trade.pnl_quote), min(closed, key=lambda trade: trade.pnl_quote)


def _trade_line(trade: Trade) -> Text:
    pnl = float(trade.pnl_quote)
    held = (
        "" if trade.exit_time is None else f" after {age(to_ms(trade.exit_time) - to_ms(trade.entry_time))}"
    )
    return Text.assemble(
        f"{trade.symbol.base} {trade.strategy} ",
        (f"{money(pnl, signed=True)} ({percent(trade.return_net)})", direction(pnl)),
        f" {trade.exit_reason.code.replace('_', ' ')}{held}",
    )


def _counts(counts: dict[str, int]) -> str:
    shown = list(counts.items()) if len(counts) <= SHOWN_REASONS + 1 else list(counts.items())[:SHOWN_REASONS]
    rest = len(counts) - len(shown)
    listed = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in shown)
    return listed + (f" and {rest} other reasons" if rest else "")


def _or_unknown(value: float | None) -> str:
    return UNKNOWN if value is None else percent(value)
