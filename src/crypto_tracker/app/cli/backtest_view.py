"""What `backtest` prints for people. No number is ever cut: where room is short, names are folded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.timeframes import from_ms

if TYPE_CHECKING:
    from crypto_tracker.research.backtest import Backtest
    from crypto_tracker.simulation.metrics import Figures, GroupFigures
    from crypto_tracker.store.choice import Choice

_WIDE = 96  # columns from which on tables have air between their columns
_SYMBOLS_NAMED = 6
_EXTREME_SYMBOLS = 4
_REASONS_NAMED = 3


def show(
    session: Session, run: "Backtest", choice: "Choice", notes: Sequence[str], version: str, run_id: int
) -> None:
    """Print a result: what was traded, the figures, the closed trades in groups, and what came to nothing."""
    out, figures = session.out, run.figures
    out.print(
        f"[bold]Backtest {run_id}[/bold]  {from_ms(run.market.start_ms):%Y-%m-%d %H:%M} to "
        f"{from_ms(run.market.end_ms):%Y-%m-%d %H:%M} UTC, {choice.base} bars"
    )
    reference = "" if run.market.reference is None else f", reference {choice.reference_symbol}"
    out.print(Text(f"{_named(run)}\nconfiguration {version}{reference}", style="dim"))
    for note in notes:
        out.print(Text(f"! {note}", style="yellow"))
    out.print()
    out.print(_summary(figures))
    out.print()
    gap = 2 if out.width >= _WIDE else 1
    if figures.n_trades:
        out.print(closed_trades(figures, gap))
        if len(figures.by_symbol) > 2 * _EXTREME_SYMBOLS:
            out.print(
                Text(
                    f"of {len(figures.by_symbol)} symbols with trades the {_EXTREME_SYMBOLS} with the lowest "
                    f"and the {_EXTREME_SYMBOLS} with the highest P&L; --json has all",
                    style="dim",
                )
            )
        out.print()
    out.print(_scans(run, gap))
    out.print()
    if figures.rejected:
        refused = sum(figures.rejected.values())
        out.print(f"[bold]Setups without a trade[/bold] ({refused:,} of {figures.setups:,})")
        out.print(Text(", ".join(f"{reason} {count:,}" for reason, count in figures.rejected.items())))
        out.print()
    seconds = run.seconds
    out.print(
        Text(
            f"{int(run.market.panel.present.sum()):,} bars: loaded in {seconds['load']:.2f} s, "
            f"scanned in {seconds['features']:.2f} s, simulated in {seconds['simulate']:.2f} s",
            style="dim",
        )
    )
    if figures.n_trades:
        first = run.result.trades[0]
        symbol, moment = run.market.panel.symbols[first["symbol"]], from_ms(first["decision_ms"])
        out.print(Text(f"Why? crypto-tracker explain {symbol} --at {moment:%Y-%m-%dT%H:%M}", style="dim"))


def closed_trades(figures: "Figures", gap: int) -> Table:
    """Figures of the closed trades by strategy, by exit reason, and of the symbols at both ends."""
    table = _table("Closed trades", gap)
    table.add_column("", overflow="fold")
    for name in ("Trades", "Win\nrate", "P&L", "P&L /\ninvested", "Profit\nfactor", "Fees", "Slippage"):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    symbols = sorted(figures.by_symbol, key=lambda group: group.pnl_quote)
    if len(symbols) > 2 * _EXTREME_SYMBOLS:
        symbols = [*symbols[:_EXTREME_SYMBOLS], *symbols[-_EXTREME_SYMBOLS:]]
    for place, groups in enumerate((figures.by_strategy, figures.by_exit_reason, symbols)):
        if place:
            table.add_row()
        for group in groups:
            table.add_row(group.name, *_cells(group))
    return table


def percent(value: float | None) -> str:
    """A fraction as people read it.

    >>> percent(0.4157), percent(None)
    ('41.57 %', '-')
    """
    return "-" if value is None else f"{100.0 * value:.2f} %"


def _named(run: "Backtest") -> str:
    symbols = [str(symbol) for symbol in run.market.panel.symbols]
    more = len(symbols) - _SYMBOLS_NAMED
    return ", ".join(symbols[:_SYMBOLS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _summary(figures: "Figures") -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    for _ in range(2):
        table.add_column(style="dim")
        table.add_column(justify="right", no_wrap=True)
    left = [
        ("Equity at start", Text(f"{figures.equity_start:,.2f}")),
        ("Equity at end, marked", Text(f"{figures.equity_final:,.2f}")),
        ("Return, marked", _signed(figures.return_net)),
        ("Return, closed trades", _signed(figures.return_closed)),
        ("Market change (mean)", _signed(figures.market_change)),
        ("Maximum drawdown", Text(percent(figures.max_drawdown))),
        ("Sharpe (daily, 365)", Text(_plain(figures.sharpe))),
    ]
    right = [
        ("Closed trades", f"{figures.n_trades:,}"),
        ("Left open", f"{figures.n_open:,}"),
        ("Win rate", percent(figures.win_rate)),
        ("Profit factor", _plain(figures.profit_factor)),
        ("Fees", f"{figures.fees_quote:,.2f}"),
        ("Slippage (in the prices)", f"{figures.slippage_quote:,.2f}"),
        ("Ambiguous exits", percent(figures.ambiguous_share)),
    ]
    for (name, value), (name_right, value_right) in zip(left, right, strict=True):
        table.add_row(name, value, name_right, value_right)
    return table


def _cells(group: "GroupFigures") -> list[str | Text]:
    return [
        f"{group.n_trades:,}",
        percent(group.win_rate),
        Text(f"{group.pnl_quote:+,.2f}", style=_colour(group.pnl_quote)),
        _signed(group.return_net),
        _plain(group.profit_factor),
        f"{group.fees_quote:,.2f}",
        f"{group.slippage_quote:,.2f}",
    ]


def _scans(run: "Backtest", gap: int) -> Table:
    table = _table("What the scans said", gap)
    table.add_column("Strategy", overflow="fold")
    table.add_column("Scans", justify="right", no_wrap=True)
    table.add_column("Setups", justify="right", no_wrap=True)
    table.add_column("Stopped most often by")
    for name, counts in run.detected.scans.items():
        stopped = [f"{reason} {count:,}" for reason, count in counts.items() if reason != "accepted"]
        table.add_row(
            name,
            f"{sum(counts.values()):,}",
            f"{counts.get('accepted', 0):,}",
            ", ".join(stopped[:_REASONS_NAMED]),
        )
    return table


def _table(title: str, gap: int) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
    )


def _signed(value: float | None) -> Text:
    if value is None:
        return Text("-")
    return Text(f"{100.0 * value:+.2f} %", style=_colour(value))


def _colour(value: float) -> str:
    return "green" if value > 0 else "red" if value < 0 else ""


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
