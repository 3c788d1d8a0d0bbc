"""`null-test`: on markets that nobody can beat, no strategy and no fill may make money from nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
    JsonOption,
    Session,
    StrategyOption,
    command,
    emit_json,
    session_of,
)
from crypto_tracker.core.errors import CheckFailed, SimulationError, UsageError
from crypto_tracker.core.timeframes import DAY_MS, to_ms

if TYPE_CHECKING:
    from rich.text import Text

    from crypto_tracker.config.tree import Configuration
    from crypto_tracker.market.providers.martingale import Jumps, MartingaleMarket
    from crypto_tracker.research.null_test import (
        Ground,
        MarketRun,
        NullTest,
        OrderFigures,
        StrategyFigures,
    )
    from crypto_tracker.strategies.base import StrategyEntry

# The first of a month, so that scans begin with an anchored block.
START_MS = to_ms(datetime(2025, 3, 1, tzinfo=UTC))
LEAD_DAYS = 52  # bars before it: 300 of 4 h are 50 days
DEFAULT_DAYS = 122
DEFAULT_MARKETS = 200
WIDTH_MAX = 100  # of sentences
_VARIABLES = "CRYPTO_TRACKER"  # only these variables travel to other processes


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = ("null-test --markets 200 --seed 1", "null-test --strategy DCA --jumps between --json")
    command(app, "null-test", examples=examples)(null_test)


def null_test(
    context: typer.Context,
    markets: Annotated[
        int,
        typer.Option(
            "--markets",
            min=1,
            help="Seeded markets, at least 8; more make the intervals narrower. 200 take about 280 s of CPU "
            "time, half of that on two cores that are free.",
        ),
    ] = DEFAULT_MARKETS,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed is other markets.")] = 1,
    days: Annotated[
        int,
        typer.Option("--days", min=1, max=1000, help="Days of each market in which setups are sought."),
    ] = DEFAULT_DAYS,
    jumps: Annotated[
        str,
        typer.Option(
            "--jumps",
            metavar="KIND",
            help="What trades while a price jumps: every level (traded), or none (between bars, inside one).",
        ),
    ] = "traded",
    strategy: StrategyOption = None,
    timeframe: BaseOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Processes; otherwise research.workers, and one for each core where it is 0.",
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Prove that strategies and fills make no money where nobody can: before costs, on average, nothing.

    Every market is a martingale: whatever is known, the price is expected to stay where it is. Every setup of
    every strategy, your own included, is traded alone there, once with the pessimistic and once with the
    optimistic order within a bar. The gain before costs must lie on both sides of 0, within intervals that
    hold together (Bonferroni), with whole markets drawn again (cluster bootstrap). Ends with exit code 3 when
    a strategy makes money, since it then looks into the future or fills too well, or when even the kindest
    order loses.
    """
    from crypto_tracker.market.providers.martingale import Jumps
    from crypto_tracker.research.null_test import MARKETS_MIN

    session = session_of(context)
    kinds = [str(kind) for kind in Jumps]
    if jumps not in kinds:
        raise UsageError(f"--jumps {jumps!r} is not one of {', '.join(kinds)}")
    if markets < MARKETS_MIN:
        raise UsageError(
            f"fewer than {MARKETS_MIN} markets prove nothing of any strategy: ask for "
            f"--markets {MARKETS_MIN} or more, not {markets}"
        )
    world = World(
        home=session.home,
        config_path=session.config_path,
        assignments=tuple(session.assignments),
        environment=tuple(
            sorted(
                (name, value) for name, value in session.environment.items() if name.startswith(_VARIABLES)
            )
        ),
        only=tuple(strategy) if strategy else None,
        seed=seed,
        days=days,
        jumps=Jumps(jumps),
        timeframe=timeframe,
    )
    began = perf_counter()
    result = _result(session, world, markets, workers)
    seconds = perf_counter() - began
    if json_output:
        emit_json(_document(result, world, seconds))
    else:
        show(session, result, world, seconds)
    if result.findings:
        raise CheckFailed("; ".join(result.findings))
    if len(result.unjudged) == len(result.strategies):
        raise SimulationError(
            f"no strategy traded in {MARKETS_MIN} markets, so nothing was proven: ask for more --markets or "
            "--days"
        )


@dataclass(frozen=True, kw_only=True)
class World:
    """What a process needs to make markets and to trade them, as plain values that travel."""

    home: Path
    config_path: Path | None
    assignments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    only: tuple[str, ...] | None
    seed: int
    days: int
    jumps: "Jumps"
    timeframe: str | None

    def __call__(self, number: int) -> "MarketRun":
        """Make and trade the market of a number."""
        from crypto_tracker.research.null_test import run_market

        opened = opened_world(self)
        return run_market(opened.ground, opened.configuration, opened.entries, number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A world as the test takes it."""

    configuration: "Configuration"
    entries: "tuple[StrategyEntry, ...]"
    ground: "Ground"


@cache
def opened_world(world: World) -> Opened:
    """Configuration, strategies and ground of a world, read once in each process."""
    from crypto_tracker.config.entries import configured_strategies
    from crypto_tracker.core.timeframes import Timeframe
    from crypto_tracker.market.providers.martingale import null_coins
    from crypto_tracker.research.null_test import Ground, settle_ms
    from crypto_tracker.store.choice import BASES, choose_reference

    session = Session(
        home=world.home,
        config_path=world.config_path,
        assignments=world.assignments,
        environment=dict(world.environment),
    )
    configuration = session.configuration
    entries = configured_strategies(dict(session.strategies), configuration, world.only)
    trading = configuration.trading
    symbols = tuple(coin.symbol for coin in null_coins(trading.quote))
    base = Timeframe.M1 if world.timeframe is None else Timeframe.parse(world.timeframe)
    if base not in BASES:
        raise UsageError(f"--timeframe {base} can not be the base: choose 1m, 15m or 1h")
    end_ms = START_MS + world.days * DAY_MS
    settled = settle_ms(entries)
    ground = Ground(
        source=partial(_market, world.seed, trading.quote, world.jumps, world.days + settled // DAY_MS),
        symbols=symbols,
        reference_symbol=choose_reference(symbols, symbols, trading.reference),
        start_ms=START_MS,
        end_ms=end_ms,
        bars_end_ms=end_ms + settled,
        base=base,
    )
    return Opened(configuration=configuration, entries=entries, ground=ground)


def _market(seed: int, quote: str, jumps: "Jumps", days: int, number: int) -> "MartingaleMarket":
    from crypto_tracker.market.providers.martingale import MartingaleMarket, MartingaleSettings, null_coins

    return MartingaleMarket(
        MartingaleSettings(
            seed=seed,
            number=number,
            start_ms=START_MS - LEAD_DAYS * DAY_MS,
            days=LEAD_DAYS + days,
            coins=null_coins(quote),
            jumps=jumps,
        )
    )


def _result(session: Session, world: World, markets: int, workers: int | None) -> "NullTest":
    """Trade every market with a progress bar, and judge them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from crypto_tracker.research.executor import opened, worker_count
    from crypto_tracker.research.null_test import judge, run_markets

    names = [entry.strategy.name for entry in opened_world(world).entries]
    settings = session.configuration.research
    wanted = min(workers or worker_count(settings), markets)
    columns = (TextColumn("Markets"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=session.err, transient=True) as progress,
        opened(settings, workers=wanted) as executor,
    ):
        task = progress.add_task("markets", total=markets)
        runs = run_markets(
            world,
            range(markets),
            executor=executor,
            progress=lambda done: progress.update(task, completed=done),
        )
    return judge(runs, names, seed=world.seed)


def show(session: Session, result: "NullTest", world: World, seconds: float) -> None:
    """Print the bracket of every strategy, and what it says."""
    from rich.table import Table
    from rich.text import Text

    trades = sum(each.pessimistic.trades for each in result.strategies if each.pessimistic is not None)
    width = min(session.out.width, WIDTH_MAX)
    coins = len(opened_world(world).ground.symbols)
    session.out.print(
        f"[bold]Null test[/bold]  {result.markets} martingale markets of {coins} coins "
        f"and {world.days} days, seed {world.seed}, jumps {world.jumps}",
        width=width,
    )
    session.out.print(
        Text(
            f"{trades:,} setups traded alone, each under both orders within a bar; % of the planned amount",
            style="dim",
        ),
        width=width,
    )
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("Strategy", no_wrap=True)
    table.add_column("Order", no_wrap=True)
    for name in ("Trades", "Gross", "from", "to", "Costs", "Net"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Says", no_wrap=True)
    for each in result.strategies:
        if each.pessimistic is None or each.optimistic is None:
            table.add_row(each.strategy, "-", "0", "-", "-", "-", "-", "-", Text("nothing", style="yellow"))
            continue
        for figures, wrong, says in (
            (each.pessimistic, each.leak, "<= 0"),
            (each.optimistic, each.too_poor, ">= 0"),
        ):
            table.add_row(
                each.strategy if figures is each.pessimistic else "",
                str(figures.order),
                f"{figures.trades:,}",
                *(
                    f"{100.0 * value:+.3f}"
                    for value in (figures.gross, figures.low, figures.high, -figures.costs, figures.net)
                ),
                _verdict(each, says, wrong=wrong),
            )
    session.out.print(table)
    session.out.print(
        Text(
            f"from, to: whole markets drawn again, at {100.0 * result.confidence:.2f} %, so that all "
            f"intervals hold together at 95 %\nIt took {seconds:.1f} s.",
            style="dim",
        ),
        width=width,
    )
    # Where no strategy can be judged, the command ends with an error that says so.
    if 0 < len(result.unjudged) < len(result.strategies):
        names = " and ".join(filter(None, (", ".join(result.unjudged[:-1]), result.unjudged[-1])))
        session.out.print(
            Text(
                f"! {names} traded in too few markets to be judged: ask for more --markets or --days",
                style="yellow",
            ),
            width=width,
        )


def _verdict(each: "StrategyFigures", says: str, *, wrong: bool) -> "Text":
    from rich.text import Text

    if not each.judged:
        return Text("too few", style="yellow")
    return Text("NO", style="bold red") if wrong else Text(says, style="green")


def _document(result: "NullTest", world: World, seconds: float) -> dict[str, Any]:
    return {
        "markets": result.markets,
        "seed": world.seed,
        "days": world.days,
        "jumps": str(world.jumps),
        "base": str(opened_world(world).ground.base),
        "symbols": [str(symbol) for symbol in opened_world(world).ground.symbols],
        "confidence": result.confidence,
        "expired": result.expired,
        "seconds": round(seconds, 3),
        "ok": not result.findings,
        "findings": result.findings,
        "strategies": [
            {
                "strategy": each.strategy,
                "markets": each.markets,
                "judged": each.judged,
                "leak": each.leak,
                "too_poor": each.too_poor,
                "pessimistic": _order_document(each.pessimistic),
                "optimistic": _order_document(each.optimistic),
            }
            for each in result.strategies
        ],
    }


def _order_document(figures: "OrderFigures | None") -> dict[str, Any] | None:
    if figures is None:
        return None
    return {
        "trades": figures.trades,
        "gross": figures.gross,
        "gross_low": figures.low,
        "gross_high": figures.high,
        "fees": figures.fees,
        "slippage": figures.slippage,
        "net": figures.net,
        "ambiguous_share": figures.ambiguous_share,
    }
