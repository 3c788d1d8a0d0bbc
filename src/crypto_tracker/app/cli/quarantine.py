"""`quarantine`: bars that broke a rule, listed, released or dropped."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    command,
    emit_json,
    has_bars,
    parse_pairs,
    session_of,
)
from crypto_tracker.core.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.store.quarantine import QuarantinedBar, Settlement, SuspectMinute

_SHOWN = 100
_FIRST_LINE = "List bars that broke a rule, release them, or drop them with a reason."

IdsArgument = Annotated[
    list[int], typer.Argument(metavar="ID", help="The bars, as `quarantine list` numbers them.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module, below one word."""
    below = typer.Typer(
        help=f"{_FIRST_LINE}\n\nNone is ever deleted: what is settled stays in the table with its reason.",
        short_help=_FIRST_LINE,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    command(below, "list", examples=("quarantine list", "quarantine list --all -p BTC/USDT"))(list_quarantine)
    command(below, "release", examples=("quarantine release 12 13",))(release)
    command(below, "drop", examples=('quarantine drop 12 --reason "wrong print"',))(drop)
    app.add_typer(below, name="quarantine")


def list_quarantine(
    context: typer.Context,
    pairs: PairsOption = None,
    settled: Annotated[
        bool, typer.Option("--all", help="Also those that were released, dropped or healed, and why.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Show the bars that broke a rule and are held, and minutes that are in doubt.

    A bar in quarantine is in no table of bars, and its minute is not known. heal-gaps, and the collector once
    a day, ask for it again; a sound bar that comes settles the one that is held as healed. A suspect minute,
    whose close jumped, needs nobody: it counts as missing until the next bars confirm it.
    """
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.store.quarantine import quarantined, suspect_minutes

    session = session_of(context)
    symbols = [Symbol.parse(name) for name in parse_pairs(pairs)]
    if not has_bars(session):
        if json_output:
            emit_json({"bars": [], "suspects": []})
        return
    bars = quarantined(session.home, symbols=symbols, settled=settled)
    suspects = suspect_minutes(session.home, symbols=symbols)
    if json_output:
        emit_json(
            {
                "bars": [_bar_document(bar) for bar in bars],
                "suspects": [_suspect_document(minute) for minute in suspects],
            }
        )
        return
    if bars:
        _print_bars(session, bars, settled=settled)
    if suspects:
        _print_suspects(session, suspects)
    session.err.print(_counted(bars, suspects), soft_wrap=True)


def release(
    context: typer.Context,
    ids: IdsArgument,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help="Why a bar that came too early was whole all the same; it is kept.",
        ),
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Judge bars by the rules of today, and let those that break none into the store.

    A bar that was refused by a rule that has changed since enters with exactly the values that its source
    had. One that still breaks a rule stays held, and so does one of which the store has another value by now;
    the command then ends with exit code 1. One that came before its time was over (in_future) may lack a part
    of it: heal-gaps fetches the whole, or --reason says why it was whole, such as a clock that was slow here.
    """
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.bars import BarStore
    from crypto_tracker.store.quarantine import named, release

    session = session_of(context)
    named(session.home, ids)  # a wrong id is told before the store is opened to write
    with BarStore.open(session.home, market_data=session.configuration.market_data, clock=session) as store:
        outcomes = release(store, session.home, ids, to_ms(session.now()), reason=reason)
    _tell(session, outcomes, "released", json_output=json_output)


def drop(
    context: typer.Context,
    ids: IdsArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the bar.")],
    no_trade: Annotated[
        bool,
        typer.Option("--no-trade", help="Nobody traded then: the minute counts as known."),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Settle bars as wrong, with a reason.

    The bars stay in the table with what is said here. Their minutes stay unknown, and are not asked for again
    but by heal-gaps --again; --no-trade says that nobody traded in them, and they count as known.
    """
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.bars import BarStore
    from crypto_tracker.store.quarantine import drop, named

    session = session_of(context)
    named(session.home, ids)
    with BarStore.open(session.home, market_data=session.configuration.market_data, clock=session) as store:
        outcomes = drop(store, session.home, ids, to_ms(session.now()), reason=reason, no_trade=no_trade)
    _tell(session, outcomes, "dropped", json_output=json_output)


def _tell(session: Session, outcomes: "Sequence[Settlement]", done: str, *, json_output: bool) -> None:
    """What became of each bar; raises DataError where one stays as it is."""
    refused = sum(not outcome.done for outcome in outcomes)
    if json_output:
        emit_json(
            [
                {"id": outcome.bar.quarantine_id, "done": outcome.done, "why": outcome.why}
                for outcome in outcomes
            ]
        )
    else:
        for outcome in outcomes:
            bar = outcome.bar
            what = done if outcome.done else "stays"
            session.out.print(
                f"{bar.quarantine_id}  {bar.symbol} {bar.provider} {bar.timeframe} {_time(bar)}: "
                f"{what}: {outcome.why}",
                style=None if outcome.done else "yellow",
                markup=False,
                soft_wrap=True,
            )
    if refused:
        raise DataError(f"{refused} of {len(outcomes)} could not be {done}: see the reasons above")


def _print_bars(session: Session, bars: "Sequence[QuarantinedBar]", *, settled: bool) -> None:
    from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest

    def drawn(gap: int, *, source: bool) -> "Table":
        table = plain_table(gap)
        table.add_column("id", justify="right", no_wrap=True)
        for name in ("symbol", "provider", "tf", "time", "rule"):
            table.add_column(name, no_wrap=True)
        if source:
            table.add_column("from", no_wrap=True)
        if settled:
            table.add_column("settled", overflow="fold")
        for bar in bars[-_SHOWN:]:
            table.add_row(
                str(bar.quarantine_id),
                str(bar.symbol),
                bar.provider,
                str(bar.timeframe),
                _time(bar),
                bar.rule,
                *([_source(bar)] if source else []),
                *([f"{bar.status}: {bar.settlement}" if bar.settlement else ""] if settled else []),
            )
        return table

    shapes = ((2, True), (1, True), (2, False), (1, False))
    print_table(session.out, roomiest(session, (drawn(gap, source=source) for gap, source in shapes)))
    if len(bars) > _SHOWN:
        session.out.print(f"and {len(bars) - _SHOWN:,} that came before; --json has all", markup=False)


def _print_suspects(session: Session, suspects: "Sequence[SuspectMinute]") -> None:
    from crypto_tracker.core.timeframes import from_ms

    for minute in suspects[-_SHOWN:]:
        session.out.print(
            f"suspect: {minute.symbol} {minute.provider} 1m {from_ms(minute.open_time_ms):%Y-%m-%d %H:%M}, "
            "not confirmed",
            markup=False,
            soft_wrap=True,
        )
    if len(suspects) > _SHOWN:
        session.out.print(f"and {len(suspects) - _SHOWN:,} before them; --json has all", markup=False)


def _counted(bars: "Sequence[QuarantinedBar]", suspects: "Sequence[SuspectMinute]") -> str:
    held = sum(bar.status == "held" for bar in bars)
    text = f"{held:,} bar{' is' if held == 1 else 's are'} held"
    if len(bars) > held:
        text += f", {len(bars) - held:,} settled"
    return f"{text}; {len(suspects):,} minute{' is' if len(suspects) == 1 else 's are'} suspect."


def _time(bar: "QuarantinedBar") -> str:
    """The open time, to the millisecond where it is not a whole minute."""
    from crypto_tracker.core.timeframes import MINUTE_MS, from_ms

    if bar.open_time_ms is None:
        return "no time"
    seconds = f":{bar.open_time_ms % MINUTE_MS / 1000:06.3f}" if bar.open_time_ms % MINUTE_MS else ""
    return f"{from_ms(bar.open_time_ms):%Y-%m-%d %H:%M}{seconds}"


def _source(bar: "QuarantinedBar") -> str:
    """Where a bar came from, without the folders before it."""
    name = PurePath(bar.source).name
    return name if bar.line is None else f"{name}:{bar.line}"


def _bar_document(bar: "QuarantinedBar") -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    return {
        "id": bar.quarantine_id,
        "symbol": str(bar.symbol),
        "provider": bar.provider,
        "timeframe": str(bar.timeframe),
        "open_time": None if bar.open_time_ms is None else from_ms(bar.open_time_ms),
        "rule": bar.rule,
        "fields": bar.raw,
        "source": bar.source,
        "line": bar.line,
        "judged": bar.judged,
        "recorded_at": from_ms(bar.recorded_at_ms),
        "status": bar.status,
        "settled_at": None if bar.settled_at_ms is None else from_ms(bar.settled_at_ms),
        "settlement": bar.settlement,
    }


def _suspect_document(minute: "SuspectMinute") -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    return {
        "symbol": str(minute.symbol),
        "provider": minute.provider,
        "timeframe": "1m",
        "open_time": from_ms(minute.open_time_ms),
        "revision": minute.revision,
    }
