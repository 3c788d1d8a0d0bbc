"""`parity`: proves that what an account has recorded comes out again of what it saw and was told."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    Session,
    TimerangeOption,
    command,
    emit_json,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import CheckFailed

if TYPE_CHECKING:
    from crypto_tracker.app.accounts import AccountPlace
    from crypto_tracker.core.orders import Trade
    from crypto_tracker.trading.parity import Cost, Outcome
    from crypto_tracker.trading.parity_report import Difference, Proof

_LISTED = 200  # differences and trades of a kind in a document
_SHOWN = 20  # differences in text
_TRADES_SHOWN = 5  # trades of a kind in text


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = ("parity", "parity --account paper --timerange 20250801-20250802 --json")
    command(app, "parity", examples=examples)(parity)


def parity(
    context: typer.Context,
    account: Annotated[
        str | None,
        typer.Option(
            "--account", metavar="NAME", help="Otherwise the one that runs, or that was started last."
        ),
    ] = None,
    timerange: TimerangeOption = None,
    complete: Annotated[
        bool,
        typer.Option(
            "--complete/--no-complete",
            help="Also run over the bars that the store has now: what late and missing bars cost.",
        ),
    ] = True,
    json_output: JsonOption = False,
) -> None:
    """Prove an account: its records must come out again of the bars it saw and the commands it got.

    What the journal and the store have is scanned and stepped on the path of a backtest, and held against
    every scan, setup, fill, trade and minute on record. Each difference is listed with its cause; any ends
    with exit code 3. The account may be traded meanwhile. A --timerange is widened to whole UTC days.
    """
    from crypto_tracker.app.accounts import read_account

    session = session_of(context)
    place = read_account(session.home, account)
    outcome = _checked(session, place, timerange, complete=complete)
    document = _document(place, outcome)
    _record(session, place, outcome, document)
    if json_output:
        emit_json(document)
    else:
        _print(session, place, outcome)
    proof = outcome.proof
    if proof.count:
        first = proof.differences[0]
        raise CheckFailed(
            f"the records of the account {place.name} are not what they come to: "
            f"{_counted(proof.count, 'difference')}, the first: {first.cause}"
        )


def _checked(session: Session, place: "AccountPlace", timerange: str | None, *, complete: bool) -> "Outcome":
    from crypto_tracker import __version__
    from crypto_tracker.app.trading import history_of
    from crypto_tracker.core.errors import StoreError
    from crypto_tracker.store.books import BookStore, StoredBooks
    from crypto_tracker.store.feed import MinuteFeed
    from crypto_tracker.store.trading_journal import TradingJournal
    from crypto_tracker.trading.parity import check

    span = parse_timerange(timerange)
    with TradingJournal.open(place.folder) as journal, session.err.status("reading the journal") as status:
        kept = journal.account()
        if kept is None:
            raise StoreError(
                f"the account {place.name} was not opened to its end: start it again with "
                "`crypto-tracker trade`"
            )
        watched = {symbol: kept.providers[symbol] for symbol in kept.watched}
        history = history_of(journal, session.strategies)
        with MinuteFeed.open(session.home, watched, history=history) as feed:
            return check(
                journal,
                feed,
                session.strategies,
                start_ms=span.start_ms,
                end_ms=span.end_ms,
                code_version=__version__,
                complete=complete,
                tell=status.update,
                books=StoredBooks(BookStore(session.home), watched),
            )


def _record(session: Session, place: "AccountPlace", outcome: "Outcome", document: dict[str, Any]) -> None:
    """Keep what was found where people and the trader's alarms look."""
    import json

    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.control import PATIENT_MS, Check, ControlStore

    proof = outcome.proof
    with ControlStore.open(place.folder, busy_timeout_ms=PATIENT_MS) as control:
        control.add_check(
            Check(
                kind="parity",
                start_ms=proof.start_ms,
                end_ms=proof.end_ms,
                differences=proof.count,
                document=json.dumps(document, ensure_ascii=False, separators=(",", ":")),
                created_at_ms=to_ms(session.now()),
            )
        )


# ------------------------------------------------------------------------------- documents


def _document(place: "AccountPlace", outcome: "Outcome") -> dict[str, Any]:
    from crypto_tracker import __version__
    from crypto_tracker.trading.parity_report import proof_document

    return {
        "account": place.name,
        "code_version": __version__,
        **proof_document(outcome.proof, listed=_LISTED),
        "complete_history": None if outcome.cost is None else _cost_document(outcome.cost),
    }


def _cost_document(cost: "Cost") -> dict[str, Any]:
    sides = ("as_seen", "complete")
    return {
        "cost_quote": float(cost.cost_quote),
        "trades": dict(zip(sides, cost.trades, strict=True)),
        "pnl_quote": dict(zip(sides, map(float, cost.pnl_quote), strict=True)),
        "equity_quote": dict(zip(sides, map(float, cost.equity_quote), strict=True)),
        "minutes": {
            "late": cost.bars.late,
            "revised": cost.bars.revised,
            "missing": cost.bars.missing,
        },
        "only_as_seen": [_trade_document(trade) for trade in cost.only_seen[:_LISTED]],
        "only_complete": [_trade_document(trade) for trade in cost.only_complete[:_LISTED]],
        "other_result": [
            dict(zip(sides, map(_trade_document, pair), strict=True)) for pair in cost.other_result[:_LISTED]
        ],
    }


def _trade_document(trade: "Trade") -> dict[str, Any]:
    from datetime import datetime

    from crypto_tracker.app.cli.common import iso_utc
    from crypto_tracker.app.documents import trade_document

    return {
        name: iso_utc(value) if isinstance(value, datetime) else value
        for name, value in trade_document(trade).items()
    }


# ------------------------------------------------------------------------------- text


def _print(session: Session, place: "AccountPlace", outcome: "Outcome") -> None:
    from rich.text import Text

    from crypto_tracker.core.timeframes import from_ms

    out, proof = session.out, outcome.proof
    span = f"{from_ms(proof.start_ms):%Y-%m-%d %H:%M} to {from_ms(proof.end_ms):%Y-%m-%d %H:%M} UTC"
    out.print(Text(f"Parity of the account {place.name}, {span}", style="bold"), soft_wrap=True)
    out.print(Text(f"Compared {_compared(proof)}.", style="dim"))
    if not proof.count:
        out.print(Text("No difference: every record comes out again.", style="green"))
    else:
        roots = len(proof.roots)
        rest = "" if roots == proof.count else f", {_counted(roots, 'of them is', 'of them are')} a root"
        out.print(Text(f"{_counted(proof.count, 'difference')}{rest}.", style="bold red"))
        out.print()
        for difference in _chosen(proof.differences):
            _print_difference(session, difference)
        if proof.count > _SHOWN:
            out.print(Text(f"... and {proof.count - _SHOWN:,} more, see --json", style="dim"))
    if outcome.cost is not None:
        out.print()
        _print_cost(session, outcome.cost)


def _chosen(differences: "Sequence[Difference]") -> "list[Difference]":
    """The differences that are shown, in order of time: roots before what follows from them."""
    roots = [each for each in differences if each.root][:_SHOWN]
    others = [each for each in differences if not each.root][: _SHOWN - len(roots)]
    shown = {id(each) for each in (*roots, *others)}
    return [each for each in differences if id(each) in shown]


def _print_difference(session: Session, difference: "Difference") -> None:
    from rich.padding import Padding
    from rich.text import Text

    from crypto_tracker.core.timeframes import from_ms

    when = f"{from_ms(difference.minute_ms):%Y-%m-%d %H:%M}"
    if difference.end_ms is not None:
        until = from_ms(difference.end_ms)
        when += (
            f" to {until:%H:%M}"
            if until.date() == from_ms(difference.minute_ms).date()
            else (f" to {until:%Y-%m-%d %H:%M}")
        )
    line = Text(f"{when}  ", style="dim")
    line.append(str(difference.kind), style="bold red" if difference.root else "yellow")
    session.out.print(line)
    session.out.print(Padding(Text(difference.says), (0, 0, 0, 2)))
    if difference.cause != difference.says:
        session.out.print(Padding(Text(difference.cause, style="dim"), (0, 0, 0, 2)))


def _print_cost(session: Session, cost: "Cost") -> None:
    from rich.table import Table
    from rich.text import Text

    out = session.out
    out.print(Text("As seen against complete history", style="bold"))
    bars = cost.bars
    out.print(
        Text(
            f"{_counted(bars.late, 'bar')} of 1m came in late, {bars.revised:,} "
            f"{'was' if bars.revised == 1 else 'were'} revised, {bars.missing:,} "
            f"{'is' if bars.missing == 1 else 'are'} still missing.",
            style="dim",
        )
    )
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("")
    for name in ("as seen", "complete"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("Closed trades", *(f"{count:,}" for count in cost.trades))
    table.add_row("Result of closed trades", *(f"{amount:+,.2f}" for amount in cost.pnl_quote))
    table.add_row("Equity at the end", *(f"{amount:,.2f}" for amount in cost.equity_quote))
    out.print(table)
    lost = cost.cost_quote
    if lost:
        out.print(
            Text(f"Bars that were not seen in time {'cost' if lost > 0 else 'saved'} {abs(lost):,.2f}.")
        )
    else:
        out.print(Text("Bars that were not seen in time cost nothing."))
    _print_trades(session, "only as seen", [f"{_trade(each)}" for each in cost.only_seen])
    _print_trades(session, "only with complete bars", [f"{_trade(each)}" for each in cost.only_complete])
    _print_trades(
        session,
        "with another result",
        [f"{_trade(seen)}, complete {other.pnl_quote:+,.2f}" for seen, other in cost.other_result],
    )


def _print_trades(session: Session, what: str, lines: Sequence[str]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    if not lines:
        return
    session.out.print(Text(f"Trades {what}: {len(lines):,}"))
    for line in lines[:_TRADES_SHOWN]:
        session.out.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))
    if len(lines) > _TRADES_SHOWN:
        session.out.print(
            Padding(
                Text(f"... see --json for {len(lines) - _TRADES_SHOWN:,} more", style="dim"), (0, 0, 0, 2)
            )
        )


def _trade(trade: "Trade") -> str:
    return f"{trade.trade_group_id} {trade.exit_reason.code} {trade.pnl_quote:+,.2f}"


def _compared(proof: "Proof") -> str:
    counted = proof.compared
    parts = [
        _counted(counted.minutes, "minute"),
        _counted(counted.scans, "scan"),
        _counted(counted.setups, "setup and near miss", "setups and near misses"),
        _counted(counted.fills, "fill"),
        _counted(counted.trades, "trade"),
        _counted(counted.positions, "open position"),
    ]
    return ", ".join(parts)


def _counted(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
