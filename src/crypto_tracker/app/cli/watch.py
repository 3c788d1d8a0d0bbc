"""`watch`: a trading account as it trades, drawn in the terminal."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import JsonOption, Session, command, emit_json, session_of
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from crypto_tracker.app.screen.account import AccountObserver
    from crypto_tracker.app.screen.snapshot import Snapshot
    from crypto_tracker.app.screen.terminal import Interruption

DEFAULT_SECONDS = 1.0
_LOOK_SECONDS = 0.05  # between two looks at whether Ctrl-C was pressed


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "watch", examples=("watch", "watch --account paper --days 7", "watch --once"))(watch)


def watch(
    context: typer.Context,
    account: Annotated[
        str | None,
        typer.Option(
            "--account", metavar="NAME", help="Otherwise the one that runs, or that was started last."
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", help="Between two pictures.")
    ] = DEFAULT_SECONDS,
    days: Annotated[
        float | None,
        typer.Option("--days", metavar="DAYS", help="Equity of the last days (else from the beginning)."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Watch a trading account: what it holds, decides and trades.

    The picture is made of the account's records alone; to look never
    changes anything, and whether the trader runs makes no difference. Ctrl-C
    ends the picture, not the trader. Without a terminal one picture is printed;
    --json has the facts of one picture.
    """
    from crypto_tracker.app.accounts import read_account
    from crypto_tracker.app.screen.account import AccountObserver
    from crypto_tracker.app.screen.document import document
    from crypto_tracker.app.screen.terminal import can_draw, can_encode
    from crypto_tracker.store.reader import DATABASE_NAME, BarReader

    if not interval > 0:
        raise UsageError(f"--interval {interval:g} is no pause: give seconds, such as 2")
    if days is not None and not days > 0:
        raise UsageError(f"--days {days:g} shows nothing: give a number of days, such as 7")
    session = session_of(context)
    if not json_output and not can_encode(session.out):
        raise UsageError(
            "the picture is drawn with block characters, which this output cannot show: "
            "use a UTF-8 locale (LC_ALL=C.UTF-8), or `crypto-tracker status`"
        )
    place = read_account(session.home, account)
    with ExitStack() as stack:
        reader = None
        if (session.home / DATABASE_NAME).is_file():
            reader = stack.enter_context(BarReader.open(session.home))
        observer = AccountObserver(
            session.home, place.name, strategies=session.strategies, reader=reader, days=days
        )
        if json_output:
            emit_json(document(place.name, _whole_look(session, observer)))
        elif once or not can_draw(session.out):
            _print_once(session, observer)
        else:
            _show_live(session, observer, interval)


def _print_once(session: Session, observer: "AccountObserver") -> None:
    from crypto_tracker.app.screen.view import render

    snapshot = _whole_look(session, observer)
    width, height = session.out.size
    # The line of the prompt that follows would push the first one out of sight.
    session.out.print(render(snapshot, width=width, height=height - 1))


def _whole_look(session: Session, observer: "AccountObserver") -> "Snapshot":
    """A look with every sum, however long it takes to add them up."""
    from crypto_tracker.core.timeframes import to_ms

    snapshot = observer.look(now_ms=to_ms(session.now()))
    while not observer.complete:
        snapshot = observer.look(now_ms=to_ms(session.now()))
    return snapshot


def _show_live(session: Session, observer: "AccountObserver", seconds: float) -> None:
    from rich.live import Live

    from crypto_tracker.app.screen.terminal import interruption
    from crypto_tracker.app.screen.view import render
    from crypto_tracker.core.timeframes import to_ms

    console = session.out
    with interruption() as wish, Live(console=console, screen=True, auto_refresh=False) as display:
        while not wish.wanted:
            snapshot = observer.look(now_ms=to_ms(session.now()))
            width, height = console.size
            display.update(render(snapshot, width=width, height=height), refresh=True)
            _rest(seconds, wish)


def _rest(seconds: float, wish: "Interruption") -> None:
    """Wait until the next picture is due, or until somebody wants to leave."""
    from time import monotonic, sleep

    until = monotonic() + seconds
    while not wish.wanted and monotonic() < until:
        sleep(_LOOK_SECONDS)
