"""Reading a trading account: how it stands, what it holds, what it traded, what it decided and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
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
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from crypto_tracker.app.standing import Reading
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.store.reader import BarReader
    from crypto_tracker.store.trading_views import Where

AccountOption = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Otherwise the one that runs, or that was started last."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", "-n", metavar="COUNT", min=1, help="Only the last so many."),
]
_SHOWN = 20  # rows of text where nobody asks for a number


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "status", examples=("status", "status --account paper --json"))(status)
    command(
        app,
        "show-trades",
        examples=("show-trades -p BTC/USDT --exit-reason stop_loss", "show-trades --timerange 20250801-"),
    )(show_trades)
    command(app, "positions")(positions)
    command(app, "protection")(protection)
    command(
        app,
        "decisions",
        examples=(
            "decisions -p BTC/USDT --verdict NEAR_MISS",
            "decisions --reason cooldown",
            "decisions --all",
        ),
    )(decisions)
    command(app, "accounts")(list_accounts)


def status(context: typer.Context, account: AccountOption = None, json_output: JsonOption = False) -> None:
    """Show how a trading account stands: equity, the day, what is open, and whether it may buy.

    What people see here is the account after its last minute. How far that lies behind the clock is told.
    """
    from crypto_tracker.app.cli.records_documents import status_document
    from crypto_tracker.app.cli.records_view import show_status
    from crypto_tracker.app.standing import status as status_of
    from crypto_tracker.core.timeframes import to_ms

    session = session_of(context)
    now_ms = to_ms(session.now())
    with _reading(session, account) as read:
        found = status_of(read, newest_bar_ms=_newest_bar_ms(session, read), now_ms=now_ms)
        if json_output:
            emit_json(status_document(read, found, now_ms))
        else:
            show_status(session, read, found, now_ms)


def show_trades(
    context: typer.Context,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    exit_reason: Annotated[
        list[str] | None,
        typer.Option("--exit-reason", metavar="REASON", help="Such as stop_loss; may be repeated."),
    ] = None,
    limit: LimitOption = None,
    account: AccountOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show the closed trades of an account in the order in which they closed, and what they came to.

    Text shows the last 20 unless --limit says how many; --json has all, in the form of backtest --json. The
    span is of the exit, the sums are of all trades that the options leave.
    """
    from crypto_tracker.app.cli.records_documents import trades_document
    from crypto_tracker.app.cli.records_view import show_trades as show
    from crypto_tracker.core.orders import ExitReason

    session = session_of(context)
    with _reading(session, account) as read:
        known = tuple(reason.code for reason in ExitReason if reason is not ExitReason.NONE)
        reasons = _of_these("--exit-reason", exit_reason, known)
        where = _where(read, timerange, pairs, strategy, reasons=reasons)
        shown = limit if limit is not None or json_output else _SHOWN
        trades = read.views.trades(where, limit=shown, newest_first=True)[::-1]
        if json_output:
            emit_json(trades_document(read, where, trades))
        else:
            show(session, read, where, trades)


def positions(
    context: typer.Context,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    account: AccountOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show what an account holds: result, stop, target, trailing, ladder, and the time left."""
    from crypto_tracker.app.cli.records_documents import positions_document
    from crypto_tracker.app.cli.records_view import show_positions

    session = session_of(context)
    with _reading(session, account) as read:
        where = _where(read, None, pairs, strategy)
        held = read.views.positions(where)
        orders = read.views.orders([each.trade.trade_group_id for each in held])
        if json_output:
            emit_json(positions_document(read, held, orders))
        else:
            show_positions(session, read, held, orders)


def protection(
    context: typer.Context, account: AccountOption = None, json_output: JsonOption = False
) -> None:
    """Show what keeps an account from buying: pauses, losses, streaks, cooldowns, regime, shares used."""
    from crypto_tracker.app.cli.records_documents import protection_document
    from crypto_tracker.app.cli.records_view import show_protection
    from crypto_tracker.app.standing import breadth
    from crypto_tracker.app.standing import protection as protection_of
    from crypto_tracker.core.timeframes import to_ms

    session = session_of(context)
    with _reading(session, account) as read, _bars(session) as reader:
        found = protection_of(read, reader=reader, now_ms=to_ms(session.now()))
        risen = breadth(read, reader=reader)
        if json_output:
            emit_json(protection_document(read, found, risen))
        else:
            show_protection(session, read, found, risen)


def decisions(
    context: typer.Context,
    *,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option("--verdict", metavar="VERDICT", help="TAKE, SKIP or NEAR_MISS; may be repeated."),
    ] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", metavar="REASON", help="Such as cooldown; may be repeated."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every scan, not only setups and near misses.")
    ] = False,
    limit: LimitOption = None,
    account: AccountOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show what an account decided: setups with the portfolio's answer, and near misses.

    TAKE means that an order was placed, and how it ended is told; SKIP with a portfolio's reason is a setup
    that was refused. Text shows the last 20 unless --limit says how many. `explain` tells one scan gate by
    gate.
    """
    from crypto_tracker.app.cli.records_documents import decisions_document
    from crypto_tracker.app.cli.records_view import show_decisions
    from crypto_tracker.app.decided import scans_decided, setups_decided
    from crypto_tracker.core.decisions import Reason, Verdict

    session = session_of(context)
    if everything and json_output and limit is None and timerange is None:
        raise UsageError("--all with --json is every scan since the start: add --timerange or --limit")
    with _reading(session, account) as read:
        verdicts = _of_these("--verdict", verdict, tuple(each.value for each in Verdict), upper=True)
        reasons = _of_these("--reason", reason, tuple(each.code for each in Reason))
        where = _where(
            read, timerange, pairs, strategy, reasons=reasons, verdicts=tuple(map(Verdict, verdicts))
        )
        shown = limit if limit is not None or json_output else _SHOWN
        found = (scans_decided if everything else setups_decided)(read.views, where, limit=shown)
        counts = read.views.setup_counts(where)
        if json_output:
            emit_json(decisions_document(read, found, counts))
        else:
            show_decisions(session, read, found, counts, everything=everything)


def list_accounts(context: typer.Context, json_output: JsonOption = False) -> None:
    """List the trading accounts of a home, the one that was started last at the end."""
    from crypto_tracker.app.accounts import accounts
    from crypto_tracker.app.cli.records_documents import account_document
    from crypto_tracker.app.cli.records_view import show_accounts
    from crypto_tracker.store.trading_views import TradingViews

    session = session_of(context)
    found = []
    for place in accounts(session.home):
        with TradingViews.open(place.folder) as views:
            found.append(account_document(place, views))
    if not found:
        session.err.print(
            f"Nothing has been traded yet under {session.home}. Start with: crypto-tracker trade",
            soft_wrap=True,
        )
    if json_output:
        emit_json(found)
    elif found:
        show_accounts(session, found)


@contextmanager
def _reading(session: Session, name: str | None) -> "Iterator[Reading]":
    from crypto_tracker.app.accounts import read_account
    from crypto_tracker.app.standing import reading

    with reading(read_account(session.home, name), session.strategies) as read:
        yield read


@contextmanager
def _bars(session: Session) -> "Iterator[BarReader | None]":
    """The stored bars of the home; None where there are none any more."""
    from crypto_tracker.store.reader import DATABASE_NAME, BarReader

    if (session.home / DATABASE_NAME).is_file():
        with BarReader.open(session.home) as reader:
            yield reader
    else:
        yield None


def _newest_bar_ms(session: Session, read: "Reading") -> int | None:
    """The end of the newest stored minute of any watched symbol; None where there is none."""
    from crypto_tracker.store.feed import MinuteFeed
    from crypto_tracker.store.reader import DATABASE_NAME

    if not (session.home / DATABASE_NAME).is_file():
        return None
    account = read.account
    with MinuteFeed.open(
        session.home, {symbol: account.providers[symbol] for symbol in account.watched}
    ) as feed:
        return feed.watermark_ms()


def _where(
    read: "Reading",
    timerange: str | None,
    pairs: str | None,
    strategy: list[str] | None,
    **others: Any,
) -> "Where":
    """The rows that the options leave; names that the account does not trade are refused."""
    from crypto_tracker.store.trading_views import Where

    span = parse_timerange(timerange)
    return Where(
        symbols=_symbols(read, pairs),
        strategies=_of_these("--strategy", strategy, read.account.strategies, upper=True),
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        **others,
    )


def _symbols(read: "Reading", pairs: str | None) -> "tuple[Symbol, ...]":
    from crypto_tracker.core.symbols import Symbol

    wanted = tuple(map(Symbol.parse, parse_pairs(pairs)))
    for symbol in wanted:
        if symbol not in read.account.symbols:
            traded = ", ".join(map(str, read.account.symbols))
            raise UsageError(f"the account {read.place.name} does not trade {symbol}: it trades {traded}")
    return wanted


def _of_these(
    option: str, named: list[str] | None, known: tuple[str, ...], *, upper: bool = False
) -> tuple[str, ...]:
    """The names that were given for an option, each one of the known ones."""
    wanted = tuple(name.upper() if upper else name.lower() for name in named or ())
    for name in wanted:
        if name not in known:
            raise UsageError(f"{option} {name} is none of {', '.join(known)}")
    return wanted
