"""`backtest`: the strategies over stored bars, through the simulator."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
    ExitCode,
    JsonOption,
    PairsOption,
    Session,
    StrategyOption,
    TimerangeOption,
    command,
    emit_json,
    json_text,
    parse_pairs,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from crypto_tracker.core.bars import Panel
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.research.backtest import Backtest
    from crypto_tracker.research.bundle_contents import Document
    from crypto_tracker.simulation.report import Report
    from crypto_tracker.store.choice import Choice
    from crypto_tracker.store.reader import BarReader

PERIODS = ("day", "week", "month")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "backtest --timerange 20250801-20250901 -p BTC/USDT,ETH/USDT",
        "backtest --strategy SWING -i 1h --breakdown week month",
        "backtest -p BTC/USDT --set limits.min_confidence=0.6 --json",
        "backtest --timerange 20250801-20250901 --export august.json",
        "backtest --rerun august.json",
        "backtest --timerange 20250801-20250901 --html august.html",
        "backtest --timerange 20250801-20250901 --stress",
    )
    # What is left over may be further periods: --breakdown day week month.
    command(app, "backtest", examples=examples, context_settings={"allow_extra_args": True})(backtest)


def backtest(
    context: typer.Context,
    *,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    timeframe: BaseOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
    ] = None,
    breakdown: Annotated[
        list[str] | None,
        typer.Option(
            "--breakdown",
            metavar="PERIOD",
            help="Also by day, week or month; several: day week month.",
        ),
    ] = None,
    in_months: Annotated[
        bool,
        typer.Option(
            "--in-months",
            help="Read and simulate one month after the other: the same result in a fraction of the memory.",
        ),
    ] = False,
    record_scans: Annotated[
        bool,
        typer.Option(
            "--record-scans", help="Keep every scan of the run and its near misses, not only its setups."
        ),
    ] = False,
    close_at_end: Annotated[
        bool, typer.Option("--close-at-end", help="Close what is still open at the last close of the span.")
    ] = False,
    stress: Annotated[
        bool,
        typer.Option(
            "--stress",
            help="Repeat the run under other orders within a bar, doubled costs, later entries, a quarter of "
            "the volume and missing bars, and say how much of it survives.",
        ),
    ] = False,
    stress_seed: Annotated[
        int, typer.Option("--stress-seed", min=0, help="Of the bars that --stress takes away.")
    ] = 1,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write the bundle: choice, digest of the bars, configuration, figures, every trade.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write the result as a page with charts, which needs no network."
        ),
    ] = None,
    chart: Annotated[
        str | None,
        typer.Option(
            "--chart",
            metavar="SYMBOL",
            help="Whose candles the page shows first; otherwise those of the symbol that traded most.",
        ),
    ] = None,
    rerun: Annotated[
        Path | None,
        typer.Option(
            "--rerun",
            metavar="FILE",
            help="Run a bundle again, from it alone, and say whether the result is identical; "
            "exit code 3 if not.",
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Trade stored bars with every strategy, after fees and slippage, and show what came of it.

    Without --pairs every symbol of the universe (or else of the store) takes part; where the universe of
    each day was recorded, each on the days only on which it belonged (docs/universe.md). The base is 1m
    where the store has it, else 15m or 1h, and the result says so. Setups, fills and trades are
    recorded in HOME/runs.db, where `explain` finds them. docs/figures.md says what each figure means.
    """
    session = session_of(context)
    periods = _periods(breakdown, context.args)
    if rerun is not None:
        asked = {
            "--timerange": timerange,
            "--pairs": pairs,
            "--strategy": strategy,
            "--timeframe": timeframe,
            "--provider": provider,
            "--breakdown": breakdown,
            "--record-scans": record_scans,
            "--close-at-end": close_at_end,
            "--stress": stress,
            "--export": export,
            "--html": html,
            "--chart": chart,
            "--set": session.assignments,
            "--config": session.config_path,
        }
        others = [name for name, value in asked.items() if value]
        _run_again(session, rerun, others, in_months=in_months, json_output=json_output)
        return
    from crypto_tracker.app import backtesting
    from crypto_tracker.app.cli.backtest_files import refuse_unwritable, write_whole
    from crypto_tracker.app.cli.backtest_progress import progress_bar, told_of_compiling
    from crypto_tracker.app.cli.stress_view import show_stress, stress_document, stressed
    from crypto_tracker.research.bundle import Options
    from crypto_tracker.research.bundle_contents import sealed
    from crypto_tracker.store.choice import choose
    from crypto_tracker.store.reader import BarReader
    from crypto_tracker.store.universes import universes

    span = parse_timerange(timerange)
    for path, option in ((export, "--export"), (html, "--html")):
        if path is not None:
            refuse_unwritable(path, option)
    if stress and in_months:
        raise UsageError("--stress repeats the run over all its bars, which --in-months does not keep")
    if chart is not None and html is None:
        raise UsageError("--chart chooses the candles of a page: add --html FILE")
    configuration = session.configuration
    options = Options(strategies=tuple(strategy or ()), close_at_end=close_at_end)
    with BarReader.open(session.home) as reader, progress_bar(session.err) as progress:
        choice = choose(
            reader.series(),
            configuration,
            pairs=parse_pairs(pairs),
            timeframe=timeframe,
            provider=provider,
            start_ms=span.start_ms,
            end_ms=span.end_ms,
            universes=universes(session.home),
        )
        charted = None if chart is None else _charted(chart, choice)
        run, found = backtesting.measured_run(
            session.home,
            reader,
            configuration,
            session.strategies,
            choice,
            options,
            keep_blocks=record_scans,
            progress=progress,
            in_months=in_months,
            compiles=told_of_compiling(session.err),
        )
        home, now = session.make_home(), session.now()
        found = backtesting.remembered(home, configuration, session.assignments, run, found, now=now)
        found = backtesting.recorded(home, configuration, run, found, now=now, progress=progress)
        drawn = None
        if html is not None:
            drawn = _bars_of_months(reader, choice, found, charted) if in_months else run.scenario.panel
        pressed = stressed(configuration, run, seed=stress_seed, progress=progress) if stress else None
    if export is not None:
        written = _as_read(backtesting.bundled(configuration, choice, options, run, found))
        write_whole(export, json_text(sealed(written)))
    if html is not None and drawn is not None:
        write_whole(html, _page(run, found, drawn, charted))
    if json_output:
        from crypto_tracker.app.backtest_document import document

        more = {} if pressed is None else {"stress": stress_document(pressed)}
        emit_json({**document(found), **more})
    else:
        from crypto_tracker.app.cli.backtest_view import show

        show(session.out, found, periods)
        if pressed is not None:
            show_stress(session.out, pressed)


def _as_read(document: "Document") -> "Document":
    """A document as whoever reads its file sees it."""
    read: Document = json.loads(json_text(document))
    return read


def _charted(name: str, choice: "Choice") -> "Symbol":
    """The symbol of --chart; raises UsageError where it is none of those that are traded."""
    from crypto_tracker.core.symbols import Symbol

    symbol = Symbol.parse(name)
    if symbol not in choice.symbols:
        named = ", ".join(map(str, choice.symbols[:5]))
        raise UsageError(
            f"--chart {symbol}: the run does not trade it; it trades {named}"
            + (f" and {len(choice.symbols) - 5} more" if len(choice.symbols) > 5 else "")
        )
    return symbol


def _page(run: "Backtest", found: "Report", panel: "Panel", chosen: "Symbol | None") -> str:
    from crypto_tracker.desk.reports.backtest_page import page
    from crypto_tracker.simulation.bands import bands

    quote = " + ".join(sorted({symbol.quote for symbol in panel.symbols}))
    return page(found, bands(run.scenario, run.result), panel, quote=quote, chosen=chosen)


def _bars_of_months(
    reader: "BarReader", choice: "Choice", found: "Report", chosen: "Symbol | None"
) -> "Panel":
    """The bars that a page draws, where the run kept none: of the chosen symbol and of those traded most."""
    from crypto_tracker.desk.reports.backtest_page import OTHER_SYMBOLS
    from crypto_tracker.store.sources import StoredBars

    counts = {group.name: group.n_trades + group.n_open for group in found.figures.by_symbol}
    most = sorted(
        choice.symbols, key=lambda symbol: (symbol != chosen, -counts.get(str(symbol), 0), str(symbol))
    )
    return StoredBars(reader, choice.provider_of, choice.history).panel(
        most[: 1 + OTHER_SYMBOLS], choice.base, choice.start_ms, choice.end_ms
    )


def _periods(asked: list[str] | None, more: list[str]) -> tuple[str, ...]:
    """The periods of --breakdown and what follows them, each once, the shortest first."""
    if more and not asked:
        raise UsageError(f"backtest takes no argument, but {' '.join(more)} was given: see backtest --help")
    told = [*(asked or ()), *more]
    names = {name for text in told for name in text.replace(",", " ").split()}
    unknown = names - set(PERIODS)
    if unknown or (told and not names):
        raise UsageError(f"--breakdown {' '.join(told)}: choose of {', '.join(PERIODS)}")
    return tuple(period for period in PERIODS if period in names)


def _run_again(
    session: Session, path: Path, others: list[str], *, in_months: bool, json_output: bool
) -> None:
    from crypto_tracker.app import backtesting
    from crypto_tracker.app.cli.backtest_progress import progress_bar, told_of_compiling
    from crypto_tracker.research.bundle import differences, read_bundle
    from crypto_tracker.store.reader import BarReader

    if others:
        raise UsageError(
            f"--rerun takes everything from the bundle, so {', '.join(others)} cannot stand beside it"
        )
    bundle = read_bundle(path)
    bundle.refuse_other_run()
    configuration = bundle.configuration(session.strategies)
    with BarReader.open(session.home) as reader, progress_bar(session.err) as progress:
        run, found = backtesting.measured_run(
            session.home,
            reader,
            configuration,
            session.strategies,
            bundle.choice,
            bundle.options,
            keep_blocks=False,
            progress=progress,
            in_months=in_months,
            compiles=told_of_compiling(session.err),
        )
    after = backtesting.bundled(configuration, bundle.choice, bundle.options, run, found)
    after = _as_read(after)
    differing = differences(bundle.document, after)
    if bundle.changed:
        differing.insert(0, f"the file has been changed since it was written: {', '.join(bundle.changed)}")
    code = bundle.document["code"]
    other_code = None
    if code != after["code"]:
        other_code = (
            f"the code was {code['version']} ({code['digest']}), "
            f"it is {after['code']['version']} ({after['code']['digest']})"
        )
    if json_output:
        emit_json({"identical": not differing, "differences": differing, "other_code": other_code})
    else:
        _tell(session, path, after, differing, other_code)
    if differing:
        raise SystemExit(int(ExitCode.FOUND))


def _tell(
    session: Session, path: Path, after: "Document", differing: list[str], other_code: str | None
) -> None:
    from rich.text import Text

    counts = {kind: f"{part['count']:,}" for kind, part in after["records"].items()}
    if differing:
        session.out.print(Text(f"{path} does not come out again:", style="red"))
        for sentence in differing:
            session.out.print(Text(f"- {sentence}"))
    else:
        session.out.print(
            Text(
                f"Identical: {counts['trades']} closed and {counts['open_trades']} open trades, "
                f"{counts['fills']} fills, {counts['decisions']} decisions, {counts['closes']} closes, "
                "and every figure."
            )
        )
    if other_code is not None:
        session.out.print(Text(f"{other_code}.".capitalize(), style="dim"))
