"""`collect`: keep bars up to date, live; and `collectors`: what those that collect are at."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    ExitCode,
    JsonOption,
    PairsOption,
    Session,
    command,
    emit_json,
    parse_pairs,
    session_of,
)
from crypto_tracker.core.errors import ProviderUnavailable, UnknownToProvider, UsageError

if TYPE_CHECKING:
    import asyncio

    from crypto_tracker.app.cli.collect_view import Narrator
    from crypto_tracker.app.collecting import CaughtUp, Collection

_ONE_REQUEST_SECONDS = 0.5  # a terminal and those who end whole groups of processes may signal twice
_SPEED = re.compile(r"\d+(\.\d+)?")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    examples = (
        "collect",
        "collect --provider kraken -p BTC/USD,ETH/USD",
        "collect --once",
        "collect --provider massive --record today.session",
        "collect --replay today.session --speed 60",
    )
    command(app, "collect", examples=examples)(collect)
    command(app, "collectors", examples=("collectors", "collectors --json"))(collectors)


def collect(
    context: typer.Context,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "--provider",
            metavar="NAME",
            help="Whose bars; may be repeated. Else those of the configuration.",
        ),
    ] = None,
    pairs: PairsOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Fetch what is missing and end, as a timer may start it.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Note everything that the provider says."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="FILE", help="Play a recorded session, as the provider `recorded`."),
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", metavar="N|max", help="Of a replay: times real time, or max.")
    ] = "max",
) -> None:
    """Keep bars up to date: the live stream of a provider, and requests for all that it does not bring.

    First comes what the strategies need, then, in the background, the years of the configuration. It may be
    stopped or killed at any moment: the next start fetches what is missing. One process at a time collects
    from a provider; another one waits, and takes over. `trade` trades on the bars meanwhile, in a process of
    its own; `collectors` shows how it goes.
    """
    import asyncio

    from crypto_tracker.app.cli.collect_view import Narrator
    from crypto_tracker.app.collecting import Collection, wanted_providers, wanted_symbols
    from crypto_tracker.app.supervising import ENDED_FOR_GOOD, end_with_parent, is_supervised

    session = session_of(context)
    end_with_parent(session.environment)
    _refuse_contradictions(provider or [], once=once, record=record, replay=replay, speed=speed)
    collection = Collection(
        home=session.make_home(),
        configuration=session.configuration,
        strategies=session.strategies,
        environment=session.environment,
        providers=() if replay is not None else wanted_providers(session.configuration, provider or []),
        symbols=wanted_symbols(session.configuration, parse_pairs(pairs)),
        now=session.now,
        named=pairs is not None,
    )
    with Narrator(session.err, session.now) as narrator:
        if once:
            _report(session, asyncio.run(_catch_up(collection, narrator, record)))
            return
        try:
            stopped = asyncio.run(_until_stopped(collection, narrator, record, replay, _speed(speed)))
        except asyncio.CancelledError:  # who asked twice did not want to wait
            raise KeyboardInterrupt from None
        except UnknownToProvider as error:
            if not is_supervised(session.environment):
                raise
            session.err.print(str(error), style="red", markup=False, soft_wrap=True)
            raise SystemExit(ENDED_FOR_GOOD) from None
        if stopped:
            raise SystemExit(int(ExitCode.INTERRUPTED))


def collectors(context: typer.Context, json_output: JsonOption = False) -> None:
    """Show the collectors: what each is at, how old its newest minute is, what it has counted.

    State: what it is at; gone where its process has ended without a word, or has said nothing for three
    times market_data.collector.lease_seconds.

    Since: when it came into this state, UTC.

    Live: symbols that the stream brings now, of those that are collected.

    Newest minute: the newest that the store knows of the provider, UTC.

    Age: how long ago that minute closed.

    Stored after: median time from the close of a minute to its being stored, in the last hour.

    Reconnects: how often the stream ended, or could not be opened, since the collector was started; what
    it did not bring is fetched.

    To fetch: requests for missing bars that wait or run now.
    """
    from crypto_tracker.app.cli.collect_view import collectors_document, print_collectors
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.collectors import collectors as read_collectors

    session = session_of(context)
    states = read_collectors(session.home)
    now_ms = to_ms(session.now())
    lease_ms = int(session.configuration.market_data.collector.lease_seconds * 1_000)
    if json_output:
        emit_json(collectors_document(states, now_ms, lease_ms))
    elif not states:
        session.err.print("Nothing was ever collected here: `crypto-tracker collect` does.")
    else:
        print_collectors(session, states, now_ms, lease_ms)


def _refuse_contradictions(
    providers: list[str], *, once: bool, record: Path | None, replay: Path | None, speed: str
) -> None:
    if replay is not None and (once or record is not None or providers):
        raise UsageError("--replay plays what was recorded: leave --once, --record and --provider out")
    if replay is not None and not replay.is_file():
        raise UsageError(f"there is no recording {replay}: `collect --record {replay}` makes one")
    if replay is None and speed != "max":
        raise UsageError("--speed is for replays: a live session runs on real time")


def _speed(text: str) -> float:
    """How many times real time, 0 for as fast as possible."""
    if text == "max":
        return 0.0
    if not _SPEED.fullmatch(text) or float(text) <= 0.0:
        raise UsageError(f"--speed {text!r} is no speed: write max, or how many times real time, such as 60")
    return float(text)


async def _until_stopped(
    collection: "Collection", narrator: "Narrator", record: Path | None, replay: Path | None, speed: float
) -> bool:
    """Collect until a signal asks to stop, or a recording ends; whether a signal did."""
    import asyncio

    from crypto_tracker.app import collecting

    stop = asyncio.Event()
    asked = _stop_on_signals(stop)
    if replay is None:
        await collecting.collect(collection, narrator, stop, record=record)
    else:
        await collecting.replay(collection, narrator, stop, path=replay, speed=speed)
    return asked.is_set()


def _stop_on_signals(stop: "asyncio.Event") -> "asyncio.Event":
    """Set `stop` on the first signal; who sends a second one does not want to wait. Set where one came."""
    import asyncio
    import signal

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked = asyncio.Event()
    first = 0.0

    def ask() -> None:
        nonlocal first
        if not asked.is_set():
            first = loop.time()
        elif task is not None and loop.time() - first > _ONE_REQUEST_SECONDS:
            task.cancel()
        asked.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    return asked


async def _catch_up(collection: "Collection", narrator: "Narrator", record: Path | None) -> "CaughtUp":
    from crypto_tracker.app import collecting

    return await collecting.catch_up(collection, narrator, record=record)


def _report(session: Session, caught_up: "CaughtUp") -> None:
    """Say what came, and fail where something that could have been fetched was not."""
    from crypto_tracker.app.cli.fetching_view import print_missing, total_line

    for summary in caught_up.summaries.values():
        session.err.print(total_line(summary), markup=False, soft_wrap=True)
        print_missing(session, summary)
    for error in caught_up.failures.values():
        raise error
    for name, summary in caught_up.summaries.items():
        if summary.failed:
            raise ProviderUnavailable(
                f"{len(summary.failed)} stretches of {name} could not be fetched "
                f"({summary.failed[0].reason}): try again later"
            )
    if caught_up.absent:
        named = ", ".join(f"{symbol}{meant}" for symbol, meant in caught_up.absent.items())
        raise UnknownToProvider(f"{' and '.join(caught_up.summaries)} does not have {named}: name others")
