"""`demo`: a synthetic market, traded on paper while you watch."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    CONFIG_NAME,
    ExitCode,
    JsonOption,
    Session,
    command,
    emit_json,
    session_of,
)
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from crypto_tracker.app.demo.observer import Observer
    from crypto_tracker.app.demo.run import Outcome
    from crypto_tracker.app.demo.world import World
    from crypto_tracker.app.screen.snapshot import Snapshot
    from crypto_tracker.app.screen.terminal import Interruption
    from crypto_tracker.market.providers.synthetic import SyntheticMarket
    from crypto_tracker.simulation.backtest import Simulator

DEFAULT_SEED = 3
DEFAULT_DAYS = 10
SHOW_SECONDS = 40.0  # how long the live view takes unless a speed is asked for
LAST_FRAME_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "demo")(demo)


def demo(
    context: typer.Context,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Another seed is another market.")
    ] = DEFAULT_SEED,
    days: Annotated[int, typer.Option("--days", min=1, max=60, help="Simulated days.")] = DEFAULT_DAYS,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            metavar="HOURS",
            help="Simulated hours per second (else as many as end it in 40 seconds).",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Draw the live view, or only write a line for each day.")
    ] = True,
    keep: Annotated[
        bool,
        typer.Option(
            "--record/--no-record",
            help="Keep bars, setups, fills and trades in a home of their own, HOME/demo.",
        ),
    ] = True,
    record_scans: Annotated[
        bool,
        typer.Option(
            "--record-scans/--no-record-scans",
            help="Keep every scan of the run and its near misses, or only its setups.",
        ),
    ] = True,
    json_output: JsonOption = False,
) -> None:
    """Watch the strategies trade a SYNTHETIC market: no keys, no network, nothing to set up.

    A market is made from a seed: 20 coins that carry real names and made-up
    prices, with a crash on the way. Three strategies trade it on paper through
    the same simulator as everything else, and say why they buy or do not.
    Ctrl-C ends it with the result so far. Nothing in it is about real money.
    Its bars and its run are kept in a home folder of their own, on which every
    other command works.
    """
    from contextlib import ExitStack
    from time import perf_counter

    from crypto_tracker.app.screen.terminal import can_draw
    from crypto_tracker.config.versions import version

    if speed is not None and not speed > 0:
        raise UsageError(f"--speed {speed:g} would never end: give simulated hours per second, such as 5")
    seconds: dict[str, float] = {}
    began = perf_counter()
    with ExitStack() as closing:
        session, made = _move_in(session_of(context), seed, days, keep=keep, closing=closing)
        on_screen = live and not json_output and can_draw(session.out)
        world, simulator, observer = _prepare(session, made, days, keep_blocks=keep and record_scans)
        seconds["prepare"] = perf_counter() - began
        shown = perf_counter()
        outcome = _run(session, world, simulator, observer, on_screen=on_screen, speed=speed)
        seconds["simulate"] = perf_counter() - shown
        run_id = None
        if keep:
            from crypto_tracker.app.demo.record import record

            with session.err.status("recording"):
                run_id = record(outcome, session.configuration, home=session.home, recorded_at=session.now())
        seconds["total"] = perf_counter() - began
        _tell(session, outcome, run_id, version(session.configuration), seconds, json_output=json_output)
    if outcome.interrupted:
        raise SystemExit(int(ExitCode.INTERRUPTED))


def _move_in(
    own: Session, seed: int, days: int, *, keep: bool, closing: "ExitStack"
) -> "tuple[Session, SyntheticMarket]":
    """The session in the demonstration's own home folder, and the market that it is about.

    The folder holds the person's configuration with the coins' price grids, and sees their own strategies.
    """
    from dataclasses import replace
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from crypto_tracker.app.demo.home import configuration_text, folder
    from crypto_tracker.app.demo.world import synthetic_market
    from crypto_tracker.app.plugins import FOLDER

    made = synthetic_market(seed, days, own.configuration.trading.quote)
    if keep:
        home = folder(own.make_home(), seed=seed, days=days)
        home.mkdir(parents=True, exist_ok=True)
    else:
        home = Path(closing.enter_context(TemporaryDirectory(prefix="crypto-tracker-demo-")))
    path = own.config_path or own.home / CONFIG_NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    (home / CONFIG_NAME).write_text(configuration_text(text, made), encoding="utf-8")
    plugins, seen = own.home / FOLDER, home / FOLDER
    if plugins.is_dir() and not seen.exists():
        seen.symlink_to(plugins.absolute(), target_is_directory=True)
    return replace(own, home=home, config_path=None), made


def _prepare(
    session: Session, made: "SyntheticMarket", days: int, *, keep_blocks: bool
) -> "tuple[World, Simulator, Observer]":
    from crypto_tracker.app.demo.observer import Observer
    from crypto_tracker.app.demo.world import build
    from crypto_tracker.config.entries import configured_strategies
    from crypto_tracker.config.versions import version
    from crypto_tracker.simulation.backtest import Simulator

    configuration = session.configuration
    entries = configured_strategies(dict(session.strategies), configuration, None)
    with session.err.status("starting") as status:

        def tell(text: str) -> None:
            status.update(text)
            if not session.err.is_terminal:
                session.err.print(text)

        world = build(
            configuration,
            entries,
            made=made,
            home=session.home,
            days=days,
            clock=session,
            version=version(configuration),
            keep_blocks=keep_blocks,
            tell=tell,
        )
        tell("preparing the simulator (compiled the first time, for about 20 s, and then kept)")
        Simulator(world.scenario).run_until(1)
    near = configuration.decisions.near_miss_readiness
    simulator = Simulator(world.scenario)
    return world, simulator, Observer(world, simulator, near)


def _run(
    session: Session,
    world: "World",
    simulator: "Simulator",
    observer: "Observer",
    *,
    on_screen: bool,
    speed: float | None,
) -> "Outcome":
    from crypto_tracker.app.demo.run import leap, outcome, play
    from crypto_tracker.app.screen.terminal import interruption

    with interruption() as wish:
        if on_screen:
            _show_live(session, simulator, observer, wish, speed or world.days * 24.0 / SHOW_SECONDS)
        elif speed is not None:
            play(
                simulator,
                observer,
                hours_per_second=speed,
                show=_DayLines(session, world.days),
                stop_wanted=lambda: wish.wanted,
            )
        else:
            leap(
                simulator,
                observer,
                rows_per_step=6 * 60,
                show=_DayLines(session, world.days),
                stop_wanted=lambda: wish.wanted,
            )
        if simulator.row == 0:  # stopped before the first step: there is no result to show
            raise KeyboardInterrupt
        return outcome(world, simulator)


def _show_live(
    session: Session, simulator: "Simulator", observer: "Observer", wish: "Interruption", speed: float
) -> None:
    from time import monotonic, sleep

    from rich.live import Live

    from crypto_tracker.app.demo.run import play
    from crypto_tracker.app.screen.view import render

    console = session.out
    with Live(console=console, screen=True, auto_refresh=False, transient=True) as display:

        def show(snapshot: "Snapshot") -> None:
            width, height = console.size
            display.update(render(snapshot, width=width, height=height), refresh=True)

        play(simulator, observer, hours_per_second=speed, show=show, stop_wanted=lambda: wish.wanted)
        until = monotonic() + LAST_FRAME_SECONDS
        while not wish.wanted and monotonic() < until:
            sleep(0.05)


class _DayLines:
    """Writes one plain line for each simulated day."""

    def __init__(self, session: Session, days: int) -> None:
        self._session = session
        self._days = days
        self._day = -1

    def __call__(self, snapshot: "Snapshot") -> None:
        """Write a line when a day is over."""
        from crypto_tracker.app.screen.text import money, percent
        from crypto_tracker.core.timeframes import DAY_MS, from_ms

        day = (snapshot.time_ms - snapshot.start_ms) // DAY_MS
        if day == self._day:
            return
        self._day = day
        if day == 0:
            self._session.err.print(f"SYNTHETIC market opens, {len(snapshot.strategies)} strategies watch it")
            return
        gained = snapshot.equity / snapshot.equity_start - 1.0
        self._session.err.print(
            f"SYNTHETIC day {day:>2} of {self._days}  {from_ms(snapshot.time_ms):%Y-%m-%d}  "
            f"equity {money(snapshot.equity)} ({percent(gained)})  {len(snapshot.positions)} open, "
            f"{snapshot.n_trades} closed  {snapshot.market.regime.name}",
            soft_wrap=True,
        )


def _tell(
    session: Session,
    outcome: "Outcome",
    run_id: int | None,
    version: str,
    seconds: dict[str, float],
    *,
    json_output: bool,
) -> None:
    from crypto_tracker.app.demo.summary import document, summary
    from crypto_tracker.app.screen.terminal import can_draw

    if json_output:
        emit_json(document(outcome, run_id=run_id, version=version, seconds=seconds))
        return
    kept = session.home if run_id is not None else None
    told = summary(outcome, home=kept, width=session.out.width, drawn=can_draw(session.out))
    session.out.print(told, soft_wrap=False)
    sys.stdout.flush()
