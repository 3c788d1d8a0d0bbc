"""`validate-data` and `roll-over`: whether what is stored of bars is sound, and where it lies."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    TimeframeOption,
    command,
    emit_json,
    parse_pairs,
    session_of,
)
from crypto_tracker.core.errors import CheckFailed

if TYPE_CHECKING:
    from crypto_tracker.store.bars import MovedMonth
    from crypto_tracker.store.verify import Finding


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(
        app,
        "validate-data",
        examples=("validate-data", "validate-data --pairs BTC/USD --provider kraken --json"),
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
    json_output: JsonOption = False,
) -> None:
    """Judge everything that is stored of bars again: rows, coverage, doubts, and every file.

    Each row is held to the rules that new bars must meet, each file to its size, its SHA-256 and its rows in
    the manifest, and the notes of what is suspect to what the closes come to. Every finding is one line:
    where, what, and what to do; any ends with exit code 3. Bars may be written meanwhile.
    """
    from crypto_tracker.app.cli.backtest_progress import progress_bar
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe, to_ms
    from crypto_tracker.store.verify import verify

    session = session_of(context)
    names = parse_pairs(pairs)
    with progress_bar(session.err) as tell:

        def watch(done: int, count: int, what: str) -> None:
            tell(what, done / count)

        verdict = verify(
            session.home,
            market_data=session.configuration.market_data,
            now_ms=to_ms(session.now()),
            symbols=[Symbol.parse(name) for name in names] or None,
            timeframe=None if timeframe is None else Timeframe.parse(timeframe),
            provider=_provider(provider),
            watcher=watch,
        )
    found = verdict.findings
    if json_output:
        emit_json(
            {
                "series": verdict.series,
                "files": verdict.files,
                "rows": verdict.rows,
                "findings": [_document(finding) for finding in found],
            }
        )
    else:
        for finding in found:
            session.out.print(finding.line, markup=False, soft_wrap=True)
        session.out.print(
            f"{verdict.rows:,} rows of {_counted(verdict.series, 'series', 'series')}, "
            f"{_counted(verdict.files, 'file', 'files')}: "
            + (f"{_counted(len(found), 'finding', 'findings')}" if found else "nothing is wrong")
        )
    if found:
        raise CheckFailed(
            f"what is stored under {session.home} is not sound: "
            f"{_counted(len(found), 'finding', 'findings')}, the first: {found[0].line}"
        )


def roll_over(context: typer.Context, json_output: JsonOption = False) -> None:
    """Move old months of bars from the database to Parquet files.

    A month moves once it ended `hot_days` of its timeframe ago (market_data.timeframes in the configuration;
    0 keeps a timeframe in the database for ever). No bar is deleted: its row leaves the database in the
    transaction that names the file. Others may write bars meanwhile; interrupt it whenever you like.
    """
    from crypto_tracker.core.errors import DataError
    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.store.bars import BarStore
    from crypto_tracker.store.reader import DATABASE_NAME

    session = session_of(context)
    if not (session.home / DATABASE_NAME).is_file():
        raise DataError(f"there are no bars under {session.home}: bring some with import-data or collect")
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
    }


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
