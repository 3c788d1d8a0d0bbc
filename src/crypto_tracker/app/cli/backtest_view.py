"""What `backtest` prints for people. No number is ever cut: where room is short, names are folded."""

from collections.abc import Callable, Sequence

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from crypto_tracker.core.orders import Trade
from crypto_tracker.simulation.breakdown import Period
from crypto_tracker.simulation.metrics import GroupFigures
from crypto_tracker.simulation.performance import Drawdown, Performance
from crypto_tracker.simulation.report import Deflated, Report
from crypto_tracker.simulation.trade_figures import TradeFigures

_WIDE = 96  # columns from which on tables have air between their columns
_SYMBOLS_NAMED = 6
_EXTREME_SYMBOLS = 4
_REASONS_NAMED = 3
_OPEN_NAMED = 8
_BETWEEN = 4  # columns between two tables that stand side by side

Cell = str | Text


def show(out: Console, found: Report, periods: Sequence[str]) -> None:
    """Print a result: performance, trades, costs, tables, and what came to nothing; then the periods."""
    gap = 2 if out.width >= _WIDE else 1
    for part in (
        _heading(found),
        _beside(out, performances(found, gap), trades(found, gap)),
        _sentences(found),
        costs(found, gap),
        closed_trades(found, gap),
        _left_open(found, gap),
        _scans(found, gap),
        _rejected(found, gap),
        *(_breakdown(period, found.breakdown[period], gap, out.width) for period in periods),
        _end(found),
    ):
        if part is not None:
            out.print(part)
            out.print()


def performances(found: Report, gap: int) -> Table:
    """Return, risk and drawdown of the marked equity, of closed trades, and of buying and holding."""
    columns = [found.marked, found.closed]
    table = _table("Performance", gap)
    table.add_column("", no_wrap=True)
    _numbers(table, "Marked", "Closed")
    if found.buy_and_hold is not None:
        _numbers(table, "Buy & hold")
        columns.append(found.buy_and_hold.performance)
    start = found.figures.equity_start
    rows: tuple[tuple[str, Callable[[Performance], Cell]], ...] = (
        ("Equity at start", lambda _: f"{start:,.2f}"),
        ("Equity at end", lambda each: f"{each.equity_final:,.2f}"),
        ("Return", lambda each: _signed(each.return_net)),
        ("Return a year, simple", lambda each: _signed(each.return_annual)),
        ("CAGR", lambda each: _signed(each.cagr)),
        ("Volatility, a year", lambda each: percent(each.volatility)),
        ("Sharpe", lambda each: _plain(each.sharpe)),
        ("Sortino", lambda each: _plain(each.sortino)),
        ("Calmar", lambda each: _plain(each.calmar)),
        ("Omega", lambda each: _plain(each.omega)),
        ("SQN of the days", lambda each: _plain(each.sqn)),
        ("P(true Sharpe > 0)", lambda each: percent(each.probabilistic_sharpe)),
        ("Best day", lambda each: _signed(each.best_day)),
        ("Worst day", lambda each: _signed(each.worst_day)),
        ("Maximum drawdown", lambda each: percent(each.drawdown.depth)),
        ("  it lasted", lambda each: _days(each.drawdown.days)),
        ("  longest of any", lambda each: _days(each.drawdown.longest_days)),
        ("  time under water", lambda each: percent(each.drawdown.underwater_share)),
    )
    for name, cell in rows:
        table.add_row(name, *(cell(column) for column in columns))
    return table


def trades(found: Report, gap: int) -> Table:
    """Figures over closed trades, and over these and those left open."""
    table = _table("Trades", gap)
    table.add_column("", no_wrap=True)
    _numbers(table, "Closed", "With open")
    rows: tuple[tuple[str, Callable[[TradeFigures], Cell]], ...] = (
        ("Trades", lambda each: f"{each.n_trades:,}"),
        ("Won / lost", lambda each: f"{each.n_won:,} / {each.n_lost:,}"),
        ("Win rate", lambda each: percent(each.win_rate)),
        ("  95 % interval", lambda each: _interval(each.win_rate_low, each.win_rate_high)),
        ("P&L", lambda each: _money(each.pnl_quote)),
        ("P&L / invested", lambda each: _signed(each.return_net)),
        ("Profit factor", lambda each: _plain(each.profit_factor)),
        ("Payoff ratio", lambda each: _plain(each.payoff_ratio)),
        ("Expectancy", lambda each: _money(each.expectancy_quote)),
        ("  in mean losses", lambda each: _plain(each.expectancy_ratio)),
        ("Kelly", lambda each: _signed(each.kelly)),
        ("SQN of the trades", lambda each: _plain(each.sqn)),
        ("Best", lambda each: _signed(each.return_best)),
        ("Worst", lambda each: _signed(each.return_worst)),
        ("Streak won / lost", lambda each: f"{each.streak_won:,} / {each.streak_lost:,}"),
        ("Held, mean", lambda each: _hours(each.hold_hours_mean)),
        ("Held, median", lambda each: _hours(each.hold_hours_median)),
        ("Held, longest", lambda each: _hours(each.hold_hours_max)),
    )
    for name, cell in rows:
        table.add_row(name, cell(found.trades_closed), cell(found.trades_marked))
    return table


def costs(found: Report, gap: int) -> Table:
    """Fees and slippage as rows of their own, beside how much was at stake."""
    spent, figures = found.costs, found.figures
    table = _table("Costs and exposure", gap + 1, header=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    left: list[tuple[str, Cell]] = [
        ("Fees", f"{spent.fees_quote:,.2f}"),
        ("Slippage (in the prices)", f"{spent.slippage_quote:,.2f}"),
        ("Both / turnover", percent(spent.share_of_turnover)),
        ("P&L before costs, marked", _money(spent.pnl_before_costs_quote)),
    ]
    right: list[tuple[str, Cell]] = [
        ("Exposure, mean", percent(figures.exposure)),
        ("Exposure, largest", percent(found.exposure_max)),
        ("Time in the market", percent(found.time_in_market)),
        ("Ambiguous exits", percent(figures.ambiguous_share)),
    ]
    for (name, value), (name_right, value_right) in zip(left, right, strict=True):
        table.add_row(name, value, name_right, value_right)
    return table


def closed_trades(found: Report, gap: int) -> Table | None:
    """Closed trades by strategy, entry tag, exit reason, tier, regimes, and of the symbols at both ends."""
    if not found.figures.n_trades:
        return None
    table = _table("Closed trades", gap)
    table.add_column("", overflow="fold")
    _numbers(table, "Trades", "Win\nrate", "P&L", "P&L /\ninvested", "Profit\nfactor", "Fees", "Slippage")
    symbols = sorted(found.figures.by_symbol, key=lambda group: group.pnl_quote)
    many = len(symbols) > 2 * _EXTREME_SYMBOLS
    blocks: list[tuple[str, Sequence[GroupFigures]]] = [
        ("by strategy", found.figures.by_strategy),
        ("by exit", found.figures.by_exit_reason),
        ("by tier", found.by_tier),
        ("by regime at the decision", found.by_regime),
        ("by slow regime at the decision", found.by_slow_regime),
        (
            f"of {len(symbols)} symbols the lowest and highest {_EXTREME_SYMBOLS}" if many else "by symbol",
            [*symbols[:_EXTREME_SYMBOLS], *symbols[-_EXTREME_SYMBOLS:]] if many else symbols,
        ),
    ]
    if [group.name for group in found.by_entry_tag] != [
        group.name for group in found.figures.by_strategy if group.n_trades or group.n_open
    ]:
        blocks.insert(1, ("by entry tag", found.by_entry_tag))
    indent = "  " if gap > 1 else ""
    for title, groups in blocks:
        table.add_row(Text(title, style="dim italic"))
        for group in groups:
            if group.n_trades or groups is found.figures.by_strategy:
                table.add_row(f"{indent}{group.name}", *_cells(group))
    return table


def percent(value: float | None) -> str:
    """A fraction as people read it.

    >>> percent(0.4157), percent(None)
    ('41.57 %', '-')
    """
    return "-" if value is None else f"{100.0 * value:,.2f} %"


def _heading(found: Report) -> Text:
    about = found.about
    number = "" if about.run_id is None else f" {about.run_id}"
    whose = ", ".join(sorted(set(about.providers.values())))
    text = Text()
    text.append(f"Backtest{number}", style="bold")
    text.append(
        f"  {about.start:%Y-%m-%d %H:%M} to {about.end:%Y-%m-%d %H:%M} UTC "
        f"({found.marked.days:,} days), {about.base} bars of {whose}\n"
    )
    more = len(about.symbols) - _SYMBOLS_NAMED
    reference = "" if about.reference is None else f", reference {about.reference}"
    text.append(
        ", ".join(about.symbols[:_SYMBOLS_NAMED]) + (f" and {more} more" if more > 0 else "") + "\n",
        style="dim",
    )
    text.append(
        f"configuration {about.configuration_version}{reference}\nbars {about.data_hash}, "
        f"code {about.code_version}",
        style="dim",
    )
    for note in about.notes:
        text.append(f"\n! {note}", style="yellow")
    return text


def _sentences(found: Report) -> Text:
    """When the equity fell, what the search leaves of the Sharpe ratio, and what the market did."""
    lines = [_fall(found.marked.drawdown)]
    if found.deflated is not None:
        lines.append(_search(found.deflated))
    if found.figures.market_change is not None and found.buy_and_hold is not None:
        lines.append(
            f"Market change (mean) {100.0 * found.figures.market_change:+.2f} %; buying and holding "
            f"{100.0 * found.buy_and_hold.performance.return_net:+.2f} %, and "
            f"{100.0 * found.buy_and_hold.return_sold:+.2f} % when sold at the end."
        )
    return Text("\n".join(line for line in lines if line))


def _search(search: Deflated) -> str:
    if search.trials == 1:
        return (
            "No other configuration was tried on an overlapping span with a common symbol, "
            "so there is no search to deflate the Sharpe for."
        )
    return (
        f"The best of {search.trials:,} configurations tried on overlapping spans with a common "
        f"symbol reaches a Sharpe of {search.sharpe_expected:.2f} by chance alone; "
        f"deflated Sharpe {percent(search.deflated_sharpe)}."
    )


def _fall(fall: Drawdown) -> str:
    if fall.peak_time is None or fall.trough_time is None:
        return ""
    end = (
        "not recovered by the end"
        if fall.recovered_time is None
        else f"recovered on {fall.recovered_time:%Y-%m-%d %H:%M}"
    )
    return (
        f"The equity fell from {fall.peak_time:%Y-%m-%d %H:%M} to {fall.trough_time:%Y-%m-%d %H:%M}, {end}."
    )


def _left_open(found: Report, gap: int) -> Table | None:
    if not found.open_trades:
        return None
    shown = sorted(found.open_trades, key=lambda trade: trade.pnl_quote)[:_OPEN_NAMED]
    hidden = len(found.open_trades) - len(shown)
    title = "Left open" + (f" (the worst {_OPEN_NAMED} of {len(found.open_trades):,})" if hidden else "")
    table = _table(title, gap)
    for name in ("Symbol", "Strategy"):
        table.add_column(name, overflow="fold")
    table.add_column("Since", no_wrap=True)
    _numbers(table, "Entry price", "Invested", "P&L", "P&L /\ninvested")
    for trade in shown:
        table.add_row(*_open_cells(trade))
    return table


def _open_cells(trade: Trade) -> list[Cell]:
    return [
        str(trade.symbol),
        trade.strategy,
        f"{trade.entry_time:%Y-%m-%d %H:%M}",
        f"{float(trade.entry_price):,.8g}",
        f"{trade.invested_quote:,.2f}",
        _money(float(trade.pnl_quote)),
        _signed(trade.return_net),
    ]


def _scans(found: Report, gap: int) -> Table:
    table = _table("What the scans said", gap)
    table.add_column("Strategy", overflow="fold")
    _numbers(table, "Scans", "Setups")
    table.add_column("Stopped most often by")
    for name, counts in found.about.scans.items():
        stopped = [f"{reason} {count:,}" for reason, count in counts.items() if reason != "accepted"]
        table.add_row(
            name,
            f"{sum(counts.values()):,}",
            f"{counts.get('accepted', 0):,}",
            ", ".join(stopped[:_REASONS_NAMED]),
        )
    return table


def _rejected(found: Report, gap: int) -> Table | None:
    rejected = found.figures.rejected
    if not rejected:
        return None
    table = _table(f"Setups without a trade ({sum(rejected.values()):,} of {found.figures.setups:,})", gap)
    table.add_column("Reason", overflow="fold")
    _numbers(table, "Setups")
    table.add_column("Of these", overflow="fold")
    for reason, count in rejected.items():
        parts = [
            f"{name} {reasons[reason]:,}"
            for name, reasons in found.rejected_by_strategy.items()
            if reason in reasons
        ]
        table.add_row(reason, f"{count:,}", ", ".join(parts))
    return table


def _breakdown(period: str, rows: Sequence[Period], gap: int, width: int) -> Table:
    table = _table(f"By {period}", gap)
    table.add_column(period.capitalize(), no_wrap=True)
    _numbers(table, "P&L\nmarked", "Return\nmarked", "Draw-\ndown", "Trades", "Won", "P&L\nclosed")
    _numbers(table, "P&L /\ninvested", "Buy &\nhold")
    if width >= _WIDE:
        _numbers(table, "Fees")
    for row in rows:
        cells: list[Cell] = [
            _money(row.pnl_marked_quote),
            _signed(row.return_marked),
            percent(row.max_drawdown),
            f"{row.n_trades:,}",
            f"{row.n_won:,}",
            _money(row.pnl_closed_quote),
            _signed(row.return_closed),
            _signed(row.return_buy_and_hold),
        ]
        if width >= _WIDE:
            cells.append(f"{row.fees_quote:,.2f}")
        table.add_row(row.name, *cells)
    return table


def _end(found: Report) -> Text:
    seconds = found.about.seconds
    text = Text(style="dim")
    text.append(
        f"{found.about.bars:,} bars: loaded in {seconds['load']:.2f} s, "
        f"scanned in {seconds['features']:.2f} s, simulated in {seconds['simulate']:.2f} s"
    )
    if seconds["compile"] > 0.0:
        text.append(f"\nCompiled in {seconds['compile']:.1f} s before that, once on this machine")
    if found.trades:
        first = found.trades[0]
        text.append(f"\nWhy? crypto-tracker explain {first.symbol} --at {first.decision_time:%Y-%m-%dT%H:%M}")
    return text


def _beside(out: Console, left: Table, right: Table) -> RenderableType:
    """Two tables side by side where the terminal has room for both, else one below the other."""
    widths = [Measurement.get(out, out.options, table).maximum for table in (left, right)]
    grid = Table.grid(padding=(0, 0))
    if sum(widths) + _BETWEEN <= out.width:
        grid.add_column(width=widths[0] + _BETWEEN)
        grid.add_column()
        grid.add_row(left, right)
    else:
        grid.add_row(left)
        grid.add_row("")
        grid.add_row(right)
    return grid


def _cells(group: GroupFigures) -> list[Cell]:
    return [
        f"{group.n_trades:,}",
        percent(group.win_rate),
        _money(group.pnl_quote),
        _signed(group.return_net),
        _plain(group.profit_factor),
        f"{group.fees_quote:,.2f}",
        f"{group.slippage_quote:,.2f}",
    ]


def _table(title: str, gap: int, *, header: bool = True) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        show_header=header,
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
    )


def _numbers(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _hours(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} h"


def _days(value: float) -> str:
    return f"{value:,.1f} d"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100.0 * low:.0f} to {100.0 * high:.0f} %"


def _money(value: float | None) -> Text:
    if value is None:
        return Text("-")
    return Text(f"{value:+,.2f}" if value else "0.00", style=_colour(value))


def _signed(value: float | None) -> Text:
    return Text("-") if value is None else Text(f"{100.0 * value:+,.2f} %", style=_colour(value))


def _colour(value: float) -> str:
    return "green" if value > 0 else "red" if value < 0 else ""
