"""`backtest`: the strategies over stored bars, through the simulator."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    StrategyOption,
    TimeframeOption,
    TimerangeOption,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)

if TYPE_CHECKING:
    from crypto_tracker.app.backtesting import Backtest
    from crypto_tracker.app.markets import Choice


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "backtest")(backtest)


def backtest(
    context: typer.Context,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    timeframe: TimeframeOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
    ] = None,
    record_scans: Annotated[
        bool,
        typer.Option(
            "--record-scans", help="Keep every scan of the run and its near misses, not only its setups."
        ),
    ] = False,
    close_at_end: Annotated[
        bool, typer.Option("--close-at-end", help="Close what is still open at the last close of the span.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Trade stored bars with every strategy, after fees and slippage, and show what came of it.

    Without --pairs every symbol of the configured universe (or else of the store) takes part. The base is 1m
    where the store has it, else 15m or 1h, and the result says so. Setups, fills and trades are
    recorded in HOME/runs.db, where `explain` finds them.
    """
    from crypto_tracker.app.backtesting import configured_strategies, run_backtest
    from crypto_tracker.app.markets import StoredBars, choose
    from crypto_tracker.config.versions import version
    from crypto_tracker.store.reader import BarReader

    session = session_of(context)
    span = parse_timerange(timerange)
    configuration = session.configuration
    entries = configured_strategies(dict(session.strategies), configuration, strategy)
    with BarReader.open(session.home) as reader:
        choice = choose(
            reader.series(),
            configuration,
            pairs=parse_pairs(pairs),
            timeframe=timeframe,
            provider=provider,
            start_ms=span.start_ms,
            end_ms=span.end_ms,
        )
        with session.err.status("reading bars") as status:
            run = run_backtest(
                StoredBars(reader, choice.provider_of),
                configuration,
                entries,
                choice,
                version=version(configuration),
                keep_blocks=record_scans,
                close_at_end=close_at_end,
                progress=status.update,
            )
            status.update("recording")
            run_id = _record(session, choice, run)
    if json_output:
        emit_json(_document(run, choice, version(configuration), run_id))
    else:
        _show(session, run, choice, version(configuration), run_id)


def _record(session: Session, choice: "Choice", run: "Backtest") -> int:
    from crypto_tracker import __version__
    from crypto_tracker.app.backtesting import setup_rows
    from crypto_tracker.config.versions import canonical, version
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.simulation import ledger
    from crypto_tracker.store.runs import Run, RunStore

    store = RunStore.open(session.make_home())
    try:
        return store.record(
            Run(
                kind="backtest",
                synthetic="synthetic" in choice.provider_of.values(),
                base=str(choice.base),
                start_ms=run.market.start_ms,
                end_ms=run.market.end_ms,
                symbols=run.market.panel.symbols,
                strategies=run.scenario.strategies,
                configuration_version=version(session.configuration),
                configuration=canonical(session.configuration),
                code_version=__version__,
            ),
            state="finished",
            recorded_at_ms=to_ms(session.now()),
            setups=[*setup_rows(run.scenario, run.result), *run.detected.near],
            fills=ledger.fills(run.scenario, run.result),
            trades=[
                *ledger.trades(run.scenario, run.result.trades),
                *ledger.trades(run.scenario, run.result.open_trades),
            ],
            blocks=run.detected.blocks,
        )
    finally:
        store.close()


def _warnings(run: "Backtest", choice: "Choice") -> list[str]:
    from crypto_tracker.app.markets import no_reference

    notes = list(choice.notes)
    if run.market.reference is None and choice.reference_symbol is not None:
        notes.append(no_reference(choice.reference_symbol.base, choice.base))
    share = run.figures.ambiguous_share
    limit = run.scenario.rules.fills.ambiguous_warning
    if share is not None and share > limit:
        notes.append(
            f"{share:.1%} of the exits could have been another one in the same bar (more than {limit:.0%}): "
            "compare with --set fills.intrabar=optimistic"
        )
    if "synthetic" in choice.provider_of.values():
        notes.append("SYNTHETIC bars: this result says nothing about any real market")
    return notes


def _document(run: "Backtest", choice: "Choice", version: str, run_id: int) -> dict[str, Any]:
    from dataclasses import asdict

    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.simulation import ledger

    document = asdict(run.figures)
    document.update(
        {
            "run_id": run_id,
            "configuration_version": version,
            "base": str(choice.base),
            "start": from_ms(run.market.start_ms),
            "end": from_ms(run.market.end_ms),
            "symbols": [str(symbol) for symbol in run.market.panel.symbols],
            "providers": {str(symbol): name for symbol, name in choice.provider_of.items()},
            "reference": None if choice.reference_symbol is None else str(choice.reference_symbol),
            "strategies": list(run.scenario.strategies),
            "intrabar": str(run.scenario.rules.fills.intrabar),
            "bars": int(run.market.panel.present.sum()),
            "notes": _warnings(run, choice),
            "scans": run.detected.scans,
            "near_misses": run.detected.n_near,
            "seconds": {name: round(value, 4) for name, value in run.seconds.items()},
            "trades": [_trade(trade) for trade in ledger.trades(run.scenario, run.result.trades)],
            "open_trades": [_trade(trade) for trade in ledger.trades(run.scenario, run.result.open_trades)],
        }
    )
    return document


def _trade(trade: Any) -> dict[str, Any]:
    return {
        "trade_group_id": trade.trade_group_id,
        "symbol": str(trade.symbol),
        "strategy": trade.strategy,
        "decision_time": trade.decision_time,
        "entry_time": trade.entry_time,
        "exit_time": trade.exit_time,
        "entry_price": float(trade.entry_price),
        "exit_price": None if trade.exit_price is None else float(trade.exit_price),
        "quantity": float(trade.quantity),
        "invested_quote": float(trade.invested_quote),
        "exit_reason": trade.exit_reason.code,
        "entry_fills": trade.entry_fills,
        "fee_quote": float(trade.fee_quote),
        "slippage_quote": float(trade.slippage_quote),
        "pnl_quote": float(trade.pnl_quote),
        "return_net": trade.return_net,
        "ambiguous": trade.ambiguous,
        "fallback": trade.fallback,
    }


def _show(session: Session, run: "Backtest", choice: "Choice", version: str, run_id: int) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from crypto_tracker.core.timeframes import from_ms

    out, figures = session.out, run.figures
    symbols = run.market.panel.symbols
    listed = ", ".join(str(symbol) for symbol in symbols[:6]) + (
        f" and {len(symbols) - 6} more" if len(symbols) > 6 else ""
    )
    out.print(
        f"[bold]Backtest {run_id}[/bold]  {from_ms(run.market.start_ms):%Y-%m-%d %H:%M} to "
        f"{from_ms(run.market.end_ms):%Y-%m-%d %H:%M} UTC, {choice.base} bars, configuration {version}"
    )
    out.print(Text(listed, style="dim"))
    for note in _warnings(run, choice):
        out.print(Text(f"! {note}", style="yellow"))

    summary = Table(box=box.SIMPLE, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(2):
        summary.add_column(style="dim")
        summary.add_column(justify="right")
    left = [
        ("Equity at start", f"{figures.equity_start:,.2f}"),
        ("Equity at end, marked", f"{figures.equity_final:,.2f}"),
        ("Return, marked", _signed(figures.return_net)),
        ("Return, closed trades", _signed(figures.return_closed)),
        ("Market change (mean)", _signed(figures.market_change)),
        ("Maximum drawdown", _percent(figures.max_drawdown)),
        ("Sharpe (daily, 365)", _plain(figures.sharpe)),
    ]
    right = [
        ("Closed trades", f"{figures.n_trades:,}"),
        ("Left open", f"{figures.n_open:,}"),
        ("Win rate", _percent(figures.win_rate)),
        ("Profit factor", _plain(figures.profit_factor)),
        ("Fees", f"{figures.fees_quote:,.2f}"),
        ("Slippage (in the prices)", f"{figures.slippage_quote:,.2f}"),
        ("Ambiguous exits", _percent(figures.ambiguous_share)),
    ]
    for (name, value), (name2, value2) in zip(left, right, strict=True):
        summary.add_row(name, value, name2, value2)
    out.print(summary)

    groups = Table(box=box.SIMPLE_HEAD, title="Closed trades", title_justify="left", title_style="bold")
    groups.add_column("")
    for name in ("Trades", "Win rate", "P&L", "P&L / invested", "Profit factor", "Fees", "Slippage"):
        groups.add_column(name, justify="right")
    sections = [
        figures.by_strategy,
        figures.by_exit_reason,
        sorted(figures.by_symbol, key=lambda g: g.pnl_quote),
    ]
    for section, shown in zip(sections, (99, 99, 8), strict=True):
        rows = section if len(section) <= shown else [*section[: shown // 2], *section[-shown // 2 :]]
        for group in rows:
            groups.add_row(
                group.name,
                f"{group.n_trades:,}",
                _percent(group.win_rate),
                _money(group.pnl_quote),
                _signed(group.return_net),
                _plain(group.profit_factor),
                f"{group.fees_quote:,.2f}",
                f"{group.slippage_quote:,.2f}",
            )
        groups.add_section()
    if figures.n_trades:
        out.print(groups)

    scans = Table(box=box.SIMPLE_HEAD, title="What the scans said", title_justify="left", title_style="bold")
    scans.add_column("Strategy")
    scans.add_column("Scans", justify="right")
    scans.add_column("Setups", justify="right")
    scans.add_column("Stopped most often by")
    for name, counts in run.detected.scans.items():
        stopped = [f"{reason} {count:,}" for reason, count in counts.items() if reason != "accepted"]
        scans.add_row(
            name, f"{sum(counts.values()):,}", f"{counts.get('accepted', 0):,}", ", ".join(stopped[:3])
        )
    out.print(scans)
    if figures.rejected:
        refused = ", ".join(f"{reason} {count:,}" for reason, count in figures.rejected.items())
        out.print(
            f"[bold]Setups without a trade[/bold] ({sum(figures.rejected.values()):,} of {figures.setups:,})"
        )
        out.print(Text(refused))
        out.print()
    seconds = run.seconds
    bars = int(run.market.panel.present.sum())
    out.print(
        Text(
            f"{bars:,} bars: loaded in {seconds['load']:.2f} s, scanned in {seconds['features']:.2f} s, "
            f"simulated in {seconds['simulate']:.2f} s",
            style="dim",
        )
    )
    if figures.n_trades:
        first = run.result.trades[0]
        symbol, moment = run.market.panel.symbols[first["symbol"]], from_ms(first["decision_ms"])
        out.print(Text(f"Why? crypto-tracker explain {symbol} --at {moment:%Y-%m-%dT%H:%M}", style="dim"))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _signed(value: float | None) -> str:
    if value is None:
        return "-"
    colour = "green" if value > 0 else "red" if value < 0 else "default"
    return f"[{colour}]{value:+.2%}[/{colour}]"


def _money(value: float) -> str:
    colour = "green" if value > 0 else "red" if value < 0 else "default"
    return f"[{colour}]{value:+,.2f}[/{colour}]"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
