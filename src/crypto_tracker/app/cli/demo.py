"""`demo`: a synthetic market, traded on paper while you look on."""

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

    from crypto_tracker.app.demo.run import Outcome
    from crypto_tracker.app.demo.world import World
    from crypto_tracker.market.providers.synthetic import SyntheticMarket
    from crypto_tracker.simulation.backtest import Simulator

DEFAULT_SEED = 3
DEFAULT_DAYS = 10
DEFAULT_SPEED = 2.0  # simulated hours per second
_WORDS = 7  # room for the name of a process in front of what it says


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "demo")(demo)


def demo(
    context: typer.Context,
    *,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Another seed is another market.")
    ] = DEFAULT_SEED,
    days: Annotated[int, typer.Option("--days", min=1, max=60, help="Simulated days.")] = DEFAULT_DAYS,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed", metavar="HOURS", help=f"Simulated hours per second on the page ({DEFAULT_SPEED:g})."
        ),
    ] = None,
    page: Annotated[
        bool,
        typer.Option("--page/--no-page", help="Show it on a page, or play it at once and print the result."),
    ] = True,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65_535, help="Of the page; else web.port, or a free one."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page where there is a display.")
    ] = True,
    keep: Annotated[
        bool,
        typer.Option(
            "--record/--no-record",
            help="Keep bars, decisions and trades in a home of their own, HOME/demo.",
        ),
    ] = True,
    record_scans: Annotated[
        bool,
        typer.Option(
            "--record-scans/--no-record-scans",
            help="Without a page: keep every scan and its near misses, or only setups.",
        ),
    ] = True,
    json_output: JsonOption = False,
) -> None:
    """Watch the strategies trade a SYNTHETIC market: no keys, no network, nothing to set up.

    A market is made from a seed: 20 coins that carry real names and made-up
    prices, with a crash on the way. Three strategies trade it on paper through
    the same engine as everything else, and say why they buy or do not. You
    look on, and may take part, on a page at http://127.0.0.1:8080, which needs
    no token on this machine and stays until Ctrl-C. With --no-page, or --json,
    the market is played at once and the result is printed. Nothing in it is
    about real money. All of it lies in a home folder of its own, on which
    every other command works.
    """
    from contextlib import ExitStack

    with_page = page and not json_output
    if speed is not None and not speed > 0:
        raise UsageError(f"--speed {speed:g} would never end: give simulated hours per second, such as 5")
    if speed is not None and not with_page:
        raise UsageError("--speed is the pace of the page: without one the market is played at once")
    with ExitStack() as closing:
        session, made = _move_in(session_of(context), seed, days, keep=keep, closing=closing)
        if with_page:
            from crypto_tracker.app.demo.page import free_port, take_stage

            take_stage(session.home, closing)
            wanted = port or session.configuration.web.port
            given = free_port(wanted, insist=port is not None)
            if given != wanted:
                session.err.print(f"Note: port {wanted} is taken: the page has another", style="yellow")
            _show(session, made, days, speed or DEFAULT_SPEED, given, browser=browser)
            return
        interrupted = _play(
            session, made, days, keep=keep, keep_blocks=keep and record_scans, json_output=json_output
        )
    if interrupted:
        raise SystemExit(int(ExitCode.INTERRUPTED))


def _show(
    session: Session, made: "SyntheticMarket", days: int, speed: float, port: int, *, browser: bool
) -> None:
    """Serve the page and trade the market before the eyes of who looks, until Ctrl-C."""
    import asyncio

    from crypto_tracker.app.cli.up import shared_arguments
    from crypto_tracker.app.demo.page import Stage, show
    from crypto_tracker.app.demo.summary import DISCLAIMER, SYNTHETIC
    from crypto_tracker.app.demo.world import settle
    from crypto_tracker.app.supervising import Patience, ServiceEnded

    def tell(name: str, line: str) -> None:
        session.err.print(f"{name:<{_WORDS}}{line}", markup=False, soft_wrap=True)

    with session.err.status("starting") as status:
        settle(
            session.configuration, made=made, home=session.home, days=days, clock=session, tell=status.update
        )
    stage = Stage(
        home=session.home,
        arguments=shared_arguments(session),
        days=days,
        speed=speed * 3_600.0,
        port=port,
    )

    def opened(address: str) -> None:
        session.out.print(
            f"\n  {SYNTHETIC}: {DISCLAIMER}\n  Look on, and take part:  {address}\n  Ctrl-C ends it.\n",
            markup=False,
            highlight=False,
        )
        sys.stdout.flush()

    try:
        asyncio.run(
            show(stage, session.environment, tell, opened=opened, browse=browser, patience=Patience())
        )
    except ServiceEnded as error:
        tell("demo", str(error))
        raise SystemExit(error.code) from None


def _play(
    session: Session,
    made: "SyntheticMarket",
    days: int,
    *,
    keep: bool,
    keep_blocks: bool,
    json_output: bool,
) -> bool:
    """Play the market at once and print the result; whether somebody stopped it."""
    from time import perf_counter

    from crypto_tracker.config.versions import version

    seconds: dict[str, float] = {}
    began = perf_counter()
    world, simulator = _prepare(session, made, days, keep_blocks=keep_blocks)
    seconds["prepare"] = perf_counter() - began
    shown = perf_counter()
    outcome = _run(session, world, simulator)
    seconds["simulate"] = perf_counter() - shown
    run_id = None
    if keep:
        from crypto_tracker.app.demo.record import record

        with session.err.status("recording"):
            run_id = record(outcome, session.configuration, home=session.home, recorded_at=session.now())
    seconds["total"] = perf_counter() - began
    _tell(session, outcome, run_id, version(session.configuration), seconds, json_output=json_output)
    return outcome.interrupted


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
) -> "tuple[World, Simulator]":
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
    return world, Simulator(world.scenario)


def _run(session: Session, world: "World", simulator: "Simulator") -> "Outcome":
    from crypto_tracker.app.demo.run import leap, outcome
    from crypto_tracker.app.screen.terminal import interruption

    with interruption() as wish:
        leap(
            simulator,
            rows_per_step=6 * 60,
            show=_DayLines(session, world.days, len(world.scans)),
            stop_wanted=lambda: wish.wanted,
        )
        if simulator.row == 0:  # stopped before the first step: there is no result to show
            raise KeyboardInterrupt
        return outcome(world, simulator)


class _DayLines:
    """Writes one plain line for each simulated day."""

    def __init__(self, session: Session, days: int, strategies: int) -> None:
        self._session = session
        self._days = days
        self._day = -1
        self._strategies = strategies

    def __call__(self, simulator: "Simulator") -> None:
        """Write a line when a day is over."""
        from crypto_tracker.app.screen.text import money, percent
        from crypto_tracker.core.decisions import Regime
        from crypto_tracker.core.timeframes import DAY_MS, from_ms
        from crypto_tracker.simulation.kernel import QUOTE

        panel, last = simulator.scenario.panel, simulator.row - 1
        time_ms = int(panel.close_time_ms[last])
        day = (time_ms - int(panel.open_time_ms[0])) // DAY_MS
        if day == self._day:
            return
        self._day = day
        if day == 0:
            self._session.err.print(f"SYNTHETIC market opens, {self._strategies} strategies watch it")
            return
        result = simulator.result()
        equity = float(result.equity_e8[-1]) / QUOTE
        gained = equity / simulator.scenario.rules.capital_quote - 1.0
        self._session.err.print(
            f"SYNTHETIC day {day:>2} of {self._days}  {from_ms(time_ms):%Y-%m-%d}  "
            f"equity {money(equity)} ({percent(gained)})  {len(simulator.positions())} open, "
            f"{len(result.trades)} closed  {Regime(int(simulator.market.regime[last])).name}",
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
