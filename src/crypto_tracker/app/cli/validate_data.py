"""`validate-data` and `roll-over`: whether what is stored of bars is sound, and where it lies."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    TimeframeOption,
    command,
    emit_json,
    has_bars,
    parse_pairs,
    session_of,
)
from crypto_tracker.core.errors import CheckFailed

if TYPE_CHECKING:
    from crypto_tracker.store.bars import MovedMonth
    from crypto_tracker.store.repair import ForgottenMonth, Repaired
    from crypto_tracker.store.verify import Finding, Verdict


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(
        app,
        "validate-data",
        examples=(
            "validate-data",
            "validate-data --pairs BTC/USD --provider kraken --json",
            "validate-data --repair",
        ),
    )(validate_data)
    command(app, "roll-over", examples=("roll-over",))(roll_over)


def validate_data(
    context: typer.Context,
    pairs: PairsOption = None,
    timeframe: TimeframeOption = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="NAME", help="Only bars of this provider, such as kraken."),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Move files aside that are damaged or not named, and forget their months."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Judge everything that is stored of bars again: rows, coverage, doubts, and every file.

    Each row is held to the rules that new bars must meet, each file to its size, its SHA-256 and its rows in
    the manifest, and the notes of what is suspect to what the closes come to. Every finding is one line:
    where, what, and what to do; any ends with exit code 3. Bars may be written meanwhile.

    With --repair a file that is damaged, or that nothing names, is moved to HOME/bars-damaged. Months that
    were in such a file, or in one that is missing, count as unknown again, so that they can be fetched or
    imported anew; what is suspect is concluded anew. Then all is judged once more. Nothing is deleted, and
    without --repair nothing is changed.
    """
    from crypto_tracker.store.repair import repair as repair_findings

    session = session_of(context)
    names = parse_pairs(pairs)
    if not has_bars(session):
        if json_output:
            emit_json({"series": 0, "files": 0, "rows": 0, "findings": []})
        return

    def judged() -> "Verdict":
        return _judged(session, names, timeframe, provider)

    verdict = judged()
    repaired: Repaired | None = None
    found = verdict.findings
    if repair and any(finding.is_repairable for finding in found):
        repaired = repair_findings(session.home, found, market_data=session.configuration.market_data)
        verdict = judged()
    left = verdict.findings
    if json_output:
        done = {"repaired": None if repaired is None else _repaired_document(repaired)} if repair else {}
        emit_json(
            {
                "series": verdict.series,
                "files": verdict.files,
                "rows": verdict.rows,
                "findings": [_document(finding) for finding in left],
            }
            | done
        )
    else:
        lines = [] if repaired is None else _repaired_lines(repaired, found)
        for line in (*lines, *(finding.line for finding in left)):
            session.out.print(line, markup=False, soft_wrap=True)
        session.out.print(
            f"{verdict.rows:,} rows of {_counted(verdict.series, 'series', 'series')}, "
            f"{_counted(verdict.files, 'file', 'files')}: "
            + (f"{_counted(len(left), 'finding', 'findings')}" if left else "nothing is wrong")
        )
    if left:
        raise CheckFailed(
            f"what is stored under {session.home} is not sound: "
            f"{_counted(len(left), 'finding', 'findings')}, the first: {left[0].line}"
        )


def _judged(
    session: Session, names: tuple[str, ...], timeframe: str | None, provider: str | None
) -> "Verdict":
    """The verdict, with a progress bar on standard error while it is being found."""
    from crypto_tracker.app.cli.backtest_progress import progress_bar
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe, to_ms
    from crypto_tracker.store.verify import verify

    with progress_bar(session.err) as tell:

        def watch(done: int, count: int, what: str) -> None:
            tell(what, done / count)

        return verify(
            session.home,
            market_data=session.configuration.market_data,
            now_ms=to_ms(session.now()),
            symbols=[Symbol.parse(name) for name in names] or None,
            timeframe=None if timeframe is None else Timeframe.parse(timeframe),
            provider=_provider(provider),
            watcher=watch,
        )


def _repaired_lines(repaired: "Repaired", found: "tuple[Finding, ...]") -> list[str]:
    """What was done: first what had been found, then where things are now, and what brings a month back."""
    lines = [f"found: {finding.line.rpartition('; ')[0]}" for finding in found if finding.is_repairable]
    lines += [f"moved aside: {path} is now {to}" for path, to in repaired.moved]
    lines += [
        f"forgotten: {month.symbol} {month.provider} {month.timeframe}, {_month(month)}: {_bring(month)}"
        for month in repaired.forgotten
    ]
    if repaired.judged:
        lines.append(f"judged anew: {_counted(repaired.judged, 'series', 'series')}")
    return lines


def _bring(month: "ForgottenMonth") -> str:
    """The command that brings a month again."""
    from crypto_tracker.app.stored_data import NEVER_FETCHED
    from crypto_tracker.core.timeframes import from_ms

    if month.provider in NEVER_FETCHED:
        return "import its files again with `import-data`"
    span = f"{from_ms(month.month_ms):%Y%m%d}-{from_ms(month.end_ms):%Y%m%d}"
    return (
        f"`heal-gaps --provider {month.provider} -p {month.symbol} -i {month.timeframe} --timerange {span}` "
        "fetches it, or import its files again"
    )


def _month(month: "ForgottenMonth") -> str:
    from crypto_tracker.core.timeframes import from_ms

    return f"{from_ms(month.month_ms):%Y-%m}"


def _repaired_document(repaired: "Repaired") -> dict[str, Any]:
    return {
        "moved": [{"file": path, "to": str(to)} for path, to in repaired.moved],
        "forgotten": [
            {
                "symbol": str(month.symbol),
                "provider": month.provider,
                "timeframe": str(month.timeframe),
                "month": _month(month),
            }
            for month in repaired.forgotten
        ],
        "judged_anew": repaired.judged,
    }


def roll_over(context: typer.Context, json_output: JsonOption = False) -> None:
    """Move old months of bars from the database to Parquet files.

    A month moves once it ended `hot_days` of its timeframe ago (market_data.timeframes in the configuration;
    0 keeps a timeframe in the database for ever). No bar is deleted: its row leaves the database in the
    transaction that names the file. Others may write bars meanwhile; interrupt it whenever you like.
    """
    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.store.bars import BarStore

    session = session_of(context)
    if not has_bars(session):
        if json_output:
            emit_json({"files": 0, "rows": 0, "moved": []})
        return
    moved: list[MovedMonth] = []

    def watch(month: "MovedMonth") -> None:
        moved.append(month)
        if not json_output:
            session.out.print(
                f"{from_ms(month.month_ms):%Y-%m}  {month.symbol!s:<12} {month.provider:<10} "
                f"{month.timeframe!s:>3}  {month.rows:>9,} rows",
                markup=False,
                soft_wrap=True,
            )

    market_data = session.configuration.market_data
    with BarStore.open(session.home, market_data=market_data, clock=session) as store:
        result = store.roll_over(watch)
    if json_output:
        emit_json(
            {
                "files": result.files,
                "rows": result.rows,
                "moved": [
                    {
                        "month": f"{from_ms(month.month_ms):%Y-%m}",
                        "symbol": str(month.symbol),
                        "provider": month.provider,
                        "timeframe": str(month.timeframe),
                        "rows": month.rows,
                    }
                    for month in moved
                ],
            }
        )
    elif moved:
        session.out.print(f"{result.rows:,} rows moved to {_counted(result.files, 'file', 'files')}")
    else:
        session.out.print("no month is old enough to move")


def _provider(name: str | None) -> str | None:
    """The name under which bars are stored: Massive was once called Polygon."""
    return "massive" if name == "polygon" else name


def _document(finding: "Finding") -> dict[str, Any]:
    return {
        "symbol": finding.symbol,
        "provider": finding.provider,
        "timeframe": finding.timeframe,
        "where": finding.where,
        "what": finding.what,
        "help": finding.help,
        "repairable": finding.is_repairable,
    }


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
