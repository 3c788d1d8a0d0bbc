"""`backtest`: the strategies over stored bars, through the simulator."""

from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
    JsonOption,
    PairsOption,
    Session,
    StrategyOption,
    TimerangeOption,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)

if TYPE_CHECKING:
    from crypto_tracker.research.backtest import Backtest
    from crypto_tracker.store.choice import Choice


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "backtest --timerange 20250801-20250901 -p BTC/USDT,ETH/USDT",
        "backtest --timerange 20240101- --strategy SWING -i 1h",
        "backtest -p BTC/USDT --set limits.min_confidence=0.6 --json",
    )
    command(app, "backtest", examples=examples)(backtest)


def backtest(
    context: typer.Context,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    timeframe: BaseOption = None,
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
    from crypto_tracker.app.cli.backtest_view import show
    from crypto_tracker.config.entries import configured_strategies
    from crypto_tracker.config.versions import version
    from crypto_tracker.research.backtest import run_backtest
    from crypto_tracker.store.choice import choose
    from crypto_tracker.store.reader import BarReader
    from crypto_tracker.store.sources import StoredBars

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
                stopwatch=perf_counter,
            )
            status.update("recording")
            run_id = _record(session, choice, run)
    if json_output:
        emit_json(_document(run, choice, version(configuration), run_id))
    else:
        show(session, run, choice, _warnings(run, choice), version(configuration), run_id)


def _record(session: Session, choice: "Choice", run: "Backtest") -> int:
    from crypto_tracker import __version__
    from crypto_tracker.config.versions import canonical, version
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.research.backtest import setup_rows
    from crypto_tracker.simulation import ledger
    from crypto_tracker.store.runs import Run, RunStore

    result, names = run.result, (run.scenario.panel.symbols, run.scenario.strategies)
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
            fills=ledger.fills(result.fills, [result.trades, result.open_trades], *names),
            trades=[*ledger.trades(result.trades, *names), *ledger.trades(result.open_trades, *names)],
            blocks=run.detected.blocks,
        )
    finally:
        store.close()


def _warnings(run: "Backtest", choice: "Choice") -> list[str]:
    from crypto_tracker.research.market import unknown_trend
    from crypto_tracker.store.choice import no_reference

    notes = list(choice.notes)
    if run.market.reference is None and choice.reference_symbol is not None:
        notes.append(no_reference(choice.reference_symbol.base, choice.base))
    trend = unknown_trend(run.market)
    if trend is not None:
        notes.append(trend)
    shares = run.scenario.rules.limits.shares
    notes += [
        f"{name} has no share of the capital, so it opens nothing: give it one under [limits.shares]"
        for name in run.scenario.strategies
        if not shares.get(name)
    ]
    share = run.figures.ambiguous_share
    limit = run.scenario.rules.fills.ambiguous_warning
    if share is not None and share > limit:
        notes.append(
            f"{100.0 * share:.1f} % of the exits could have been another one in the same bar "
            f"(more than {100.0 * limit:g} %): "
            "compare with --set fills.intrabar=optimistic"
        )
    if "synthetic" in choice.provider_of.values():
        notes.append("SYNTHETIC bars: this result says nothing about any real market")
    return notes


def _document(run: "Backtest", choice: "Choice", version: str, run_id: int) -> dict[str, Any]:
    from dataclasses import asdict

    from crypto_tracker.app.documents import trade_document
    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.simulation import ledger

    names = (run.scenario.panel.symbols, run.scenario.strategies)
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
            "trades": [trade_document(trade) for trade in ledger.trades(run.result.trades, *names)],
            "open_trades": [trade_document(trade) for trade in ledger.trades(run.result.open_trades, *names)],
        }
    )
    return document
