"""`trade`: paper trading on real time, and replays of history through the same path."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    ExitCode,
    JsonOption,
    PairsOption,
    Session,
    Timerange,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from crypto_tracker.app import trading
    from crypto_tracker.app.accounts import AccountPlace

_LOCK_WAIT_MS = 2_000
_SPEED = re.compile(r"\d+(\.\d+)?")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "trade",
        "trade --replay 20250801..20250901 --speed max",
        "trade --replay 20250822..20250829 --speed 600 -p BTC/USDT,ETH/USDT",
    )
    command(app, "trade", examples=examples)(trade)


def trade(
    context: typer.Context,
    replay: Annotated[
        str | None,
        typer.Option(
            "--replay", metavar="FROM..TO", help="Trade this span of stored history (UTC, end exclusive)."
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", metavar="N|max", help="Of a replay: times real time, or max.")
    ] = "max",
    account: Annotated[
        str | None,
        typer.Option(
            "--account", metavar="NAME", help="Otherwise `paper`, or `replay-FROM-TO` for a replay."
        ),
    ] = None,
    pairs: PairsOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget an earlier replay of this name and begin anew.")
    ] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Of a replay: wait for bars that another process still brings."),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Trade on paper: every minute once, as its bars come in, with real costs.

    Without --replay it trades on real time the bars that a collector brings into the store. It may be stopped
    or killed at any moment: the same command goes on where it stood. Symbols, strategies and configuration
    are those that the account was opened with; `config apply` changes the configuration. Show what it does
    with `watch`, `status`, `show-trades` and `decisions`; `parity` proves it.
    """
    from crypto_tracker.app import trading
    from crypto_tracker.app.accounts import account_place
    from crypto_tracker.app.cli.trade_view import Narrator, summary, summary_document
    from crypto_tracker.app.supervising import end_with_parent
    from crypto_tracker.config.versions import version

    session = session_of(context)
    end_with_parent(session.environment)
    span = _span(replay)
    place = account_place(session.home, account or _default_name(replay, span))
    pace = _speed(speed, replay)
    if follow and replay is None:
        raise UsageError("--follow is for replays: paper trading waits for bars anyway")
    wish = None
    if fresh:
        if replay is None:
            raise UsageError(
                "--fresh forgets all records, so it is for replays: move the account away by hand"
            )
        wish = _wish(session, span, parse_pairs(pairs), provider, follow=follow)
        trading.forget_replay(place.folder)
    with trading.trading_session(
        session.make_home(),
        place.folder,
        session.strategies,
        session.configuration,
        lambda: wish or _wish(session, span, parse_pairs(pairs), provider, follow=follow),
        now=session.now,
        wait_ms=_LOCK_WAIT_MS,
        durable=replay is None,
    ) as running:
        _refuse_another(running, place, replay, span, parse_pairs(pairs))
        narrator = Narrator(session, running, place.name, quiet=json_output)
        narrator.began(version(session.configuration))
        daily = trading.DailyParity(session.home, place.name, running.account)
        daily.begin_at(running.trader.state.cursor_ms)
        try:
            with _signals_ask_to_stop(running), narrator.showing():
                running.run(
                    _clock(session, running, pace),
                    trading.patience_of(running.account, session.configuration),
                    narrator if replay is not None else narrator.with_daily(daily),
                    now=session.now,
                )
        finally:
            daily.close()
        if json_output:
            emit_json(summary_document(running, place.folder, place.name))
        else:
            summary(session, running, place.folder, place.name)
        if running.stop.asked:
            raise SystemExit(int(ExitCode.INTERRUPTED))


@contextmanager
def _signals_ask_to_stop(running: "trading.Session") -> Iterator[None]:
    """End after the minute that is being stepped; who asks twice does not want to wait."""

    def ask(*_: object) -> None:
        if running.stop.asked:
            raise KeyboardInterrupt
        running.stop.ask()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _span(replay: str | None) -> Timerange | None:
    if replay is None:
        return None
    span = parse_timerange(replay.replace("..", "-"), option="--replay", example="20250801..20250901")
    if span.start is None or span.end is None:
        raise UsageError(f"--replay {replay!r} has no end or no beginning: write 20250801..20250901")
    if span.start.second or span.end.second:
        raise UsageError(f"--replay {replay!r} must begin and end on a full minute")
    return span


def _default_name(replay: str | None, span: Timerange | None) -> str:
    if replay is None or span is None:
        return "paper"
    return f"replay-{replay.replace('..', '-')}".lower()


def _speed(text: str, replay: str | None) -> float | None:
    """How many times real time, None for as fast as possible."""
    if text == "max":
        return None
    if replay is None:
        raise UsageError("--speed is for replays: paper trading runs on real time")
    if not _SPEED.fullmatch(text) or float(text) <= 0.0:
        raise UsageError(f"--speed {text!r} is no speed: write max, or how many times real time, such as 60")
    return float(text)


def _clock(session: Session, running: "trading.Session", speed: float | None) -> "trading.Clock":
    from crypto_tracker.app import trading

    if running.account.kind == trading.PAPER:
        return trading.WallClock(session.now)
    if speed is None:
        return trading.FullSpeed()
    return trading.ReplayClock(running.trader.state.cursor_ms, speed)


def _wish(
    session: Session, span: Timerange | None, pairs: tuple[str, ...], provider: str | None, *, follow: bool
) -> "trading.Wish":
    """What an account that is opened now trades, from what the store holds."""
    from crypto_tracker.app import trading
    from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, to_ms
    from crypto_tracker.store.choice import choose
    from crypto_tracker.store.reader import BarReader

    start_ms = None if span is None else span.start_ms
    end_ms = None if span is None else span.end_ms
    with BarReader.open(session.home) as reader:
        choice = choose(
            reader.series(),
            session.configuration,
            pairs=pairs,
            timeframe=str(Timeframe.M1),
            provider=provider,
            start_ms=None if follow else start_ms,
            end_ms=None if follow else end_ms,
        )
    for note in choice.notes:
        session.err.print(f"Note: {note}", style="yellow")
    if span is not None and choice.history:
        own = ", ".join(sorted(set(choice.provider_of.values())))
        session.err.print(
            f"Note: minutes are stepped with the bars of {own} alone; those of {choice.history} "
            "stand in for what strategies look back at",
            style="yellow",
            soft_wrap=True,
        )
    if start_ms is None or end_ms is None:
        now_ms = to_ms(session.now())
        return trading.Wish(
            kind=trading.PAPER, choice=choice, start_ms=now_ms - now_ms % MINUTE_MS, end_ms=None
        )
    if not follow:
        start_ms, end_ms = choice.start_ms, choice.end_ms
    return trading.Wish(kind=trading.REPLAY, choice=choice, start_ms=start_ms, end_ms=end_ms)


def _refuse_another(
    running: "trading.Session",
    place: "AccountPlace",
    replay: str | None,
    span: Timerange | None,
    pairs: tuple[str, ...],
) -> None:
    """Raise UsageError where the account is there already and is another than was asked for."""
    from crypto_tracker.app import trading
    from crypto_tracker.core.timeframes import from_ms

    account = running.account
    if running.opened:
        return
    if (account.kind == trading.REPLAY) != (replay is not None):
        raise UsageError(f"the account {place.name} is one for {account.kind}: choose another --account")
    start_ms, end_ms = (None, None) if span is None else (span.start_ms, span.end_ms)
    if (
        start_ms is not None
        and end_ms is not None
        and account.end_ms is not None
        and not start_ms <= account.start_ms < account.end_ms <= end_ms
    ):
        raise UsageError(
            f"the account {place.name} replays {from_ms(account.start_ms):%Y-%m-%d %H:%M} to "
            f"{from_ms(account.end_ms):%Y-%m-%d %H:%M} UTC: choose another --account, or begin anew "
            "with --fresh"
        )
    if pairs and set(pairs) != set(map(str, account.symbols)):
        raise UsageError(
            f"the account {place.name} trades {', '.join(map(str, account.symbols))}: "
            "choose another --account for other pairs"
        )
