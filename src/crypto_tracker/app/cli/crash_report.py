"""`crash-report`: every crash in the stored bars, traded with all protections and without each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
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
from crypto_tracker.core.errors import DataError, SimulationError, UsageError
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, from_ms, to_ms

if TYPE_CHECKING:
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.research.crashes import Crash, CrashRun, ProtectedRun, Verdict
    from crypto_tracker.store.membership import Membership
    from crypto_tracker.store.reader import BarReader
    from crypto_tracker.store.series import SeriesInfo
    from crypto_tracker.store.sources import BarSource
    from crypto_tracker.strategies.base import StrategyEntry

# When the scheduled crash of every synthetic market begins: mid-month, long after the market's genesis.
SYNTHETIC_CRASH_MS = to_ms(datetime(2025, 3, 11, 14, 0, tzinfo=UTC))
SYNTHETIC_COINS = ("BTC", "ETH", "SOL", "KAS", "PEPE", "WIF")
STORED, SYNTHETIC = "stored", "synthetic"
_STEPS = 13  # runs of one crash, for the progress bar


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "crash-report -p BTC/USDT,ETH/USDT --timerange 20250101-",
        "crash-report --depth 0.10 --synthetic 5 --details",
    )
    command(app, "crash-report", examples=examples)(crash_report)


def crash_report(
    context: typer.Context,
    *,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    timeframe: BaseOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
    ] = None,
    depth: Annotated[
        float,
        typer.Option("--depth", min=0.001, max=0.99, help="Falls of at least this within 24 h are crashes."),
    ] = 0.05,
    days: Annotated[
        float, typer.Option("--days", min=0.0, max=60.0, help="Days before the peak and after the trough.")
    ] = 3.0,
    synthetic: Annotated[
        int, typer.Option("--synthetic", min=0, help="Synthetic flash crashes beside those of the store.")
    ] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first synthetic market.")] = 1,
    details: Annotated[
        bool, typer.Option("--details", help="Also show every run of every crash, not only their sums.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """State what every protection did in every crash: stops, drawdown, refused entries, result.

    A crash is a fall of the reference coin's close by at least --depth within 24 h; it is searched for in the
    finest bars that are stored. Around each the configuration is traded, flat at the start, with all
    protections and then with each of them switched off. Nothing is tuned by it: what comes out stands there,
    also where a protection made it worse.
    """
    from crypto_tracker.config.entries import configured_strategies

    session = session_of(context)
    span = parse_timerange(timerange)
    entries = configured_strategies(dict(session.strategies), session.configuration, strategy)
    ask = Ask(
        pairs=parse_pairs(pairs),
        timeframe=None if timeframe is None else Timeframe.parse(timeframe),
        provider=provider or session.configuration.market_data.provider,
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        depth=depth,
        days=days,
    )
    told: list[Told] = []
    notes: list[str] = []
    if (session.home / "market.db").exists():
        told += _stored(session, entries, ask, notes)
    elif not synthetic:
        raise DataError(
            f"there are no bars in {session.home}: bring some with import-data, or ask for --synthetic"
        )
    told += _synthetic(session, entries, ask, range(seed, seed + synthetic))
    if json_output:
        emit_json(_document(told, ask, notes))
    else:
        from crypto_tracker.app.cli.crash_view import show

        show(session, told, notes, depth=depth, days=days, details=details)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What was asked for."""

    pairs: tuple[str, ...]
    timeframe: Timeframe | None
    provider: str
    start_ms: int | None
    end_ms: int | None
    depth: float
    days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One crash, where it is from, and what its runs gave."""

    source: str  # STORED or SYNTHETIC
    where: str  # the reference, or the seed of the market
    base: Timeframe
    symbols: "tuple[Symbol, ...]"
    notes: tuple[str, ...]
    run: "CrashRun"


def _stored(session: Session, entries: "Sequence[StrategyEntry]", ask: Ask, notes: list[str]) -> "list[Told]":
    """Every crash of the store's reference coin."""
    from crypto_tracker.research.crashes import window_of
    from crypto_tracker.store.choice import choose
    from crypto_tracker.store.reader import BarReader
    from crypto_tracker.store.sources import StoredBars
    from crypto_tracker.store.universes import universes

    told: list[Told] = []
    with BarReader.open(session.home) as reader:
        series, recorded = reader.series(), universes(session.home)
        info = _reference(series, session.configuration.trading.reference, ask)
        crashes = list(_crashes(reader, info, ask))
        if not crashes:
            notes.append(
                f"{info.symbol} has no fall of {100.0 * ask.depth:g} % within 24 h on {info.timeframe}"
            )
        with _Bar(session, "Stored crashes", len(crashes) * _STEPS) as step:
            for crash in crashes:
                start_ms, end_ms = window_of(crash, days_before=ask.days, days_after=ask.days)
                pairs = _there(series, ask, info.timeframe, start_ms, end_ms)
                if ask.pairs and not pairs:
                    notes.append(
                        f"the crash of {from_ms(crash.trough_ms):%Y-%m-%d %H:%M} is left out: "
                        f"none of --pairs has {info.timeframe} bars around it"
                    )
                    continue
                choice = choose(
                    series,
                    session.configuration,
                    pairs=pairs,
                    timeframe=str(info.timeframe),
                    provider=ask.provider or None,
                    start_ms=start_ms,
                    end_ms=end_ms,
                    universes=recorded,
                )
                told.append(
                    _traded(
                        session,
                        entries,
                        StoredBars(reader, choice.provider_of, choice.history),
                        crash,
                        step,
                        source=STORED,
                        where=str(info.symbol),
                        symbols=choice.symbols,
                        reference=choice.reference_symbol,
                        base=choice.base,
                        span=(choice.start_ms, choice.end_ms),
                        notes=choice.notes,
                        universe=choice.universe,
                    )
                )
    return told


def _synthetic(session: Session, entries: "Sequence[StrategyEntry]", ask: Ask, seeds: range) -> "list[Told]":
    """A scheduled flash crash in each of some made-up markets."""
    if not seeds:
        return []
    from crypto_tracker.app.grounds import SyntheticBars
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.market.providers.synthetic import SyntheticMarket
    from crypto_tracker.market.providers.synthetic_settings import (
        SyntheticSettings,
        default_coins,
        flash_crash,
    )
    from crypto_tracker.research.crashes import find_crashes, window_of

    trading = session.configuration.trading
    reference = Symbol(trading.reference, trading.quote)
    coins = tuple(coin for coin in default_coins(trading.quote) if coin.symbol.base in SYNTHETIC_COINS)
    if reference not in {coin.symbol for coin in coins}:
        raise UsageError(f"the synthetic market has no {reference}: ask for --synthetic 0")
    told = []
    with _Bar(session, "Synthetic crashes", len(seeds) * _STEPS) as step:
        for seed in seeds:
            scheduled = flash_crash(SYNTHETIC_CRASH_MS)
            market = SyntheticMarket(SyntheticSettings(seed=seed, coins=coins, crashes=(scheduled,)))
            source = SyntheticBars(market)
            around = source.panel(
                [reference], Timeframe.M1, scheduled.start_ms - DAY_MS, scheduled.end_ms + DAY_MS
            )
            found = [
                crash
                for crash in find_crashes(around)
                if scheduled.start_ms <= crash.trough_ms <= scheduled.end_ms
            ]
            if not found:
                raise SimulationError(f"the scheduled crash of the synthetic market {seed} was not found")
            crash = max(found, key=lambda each: each.depth)
            told.append(
                _traded(
                    session,
                    entries,
                    source,
                    crash,
                    step,
                    source=SYNTHETIC,
                    where=f"seed {seed}",
                    symbols=market.symbols,
                    reference=reference,
                    base=Timeframe.M1,
                    span=window_of(crash, days_before=ask.days, days_after=ask.days),
                    notes=(),
                )
            )
    return told


def _traded(
    session: Session,
    entries: "Sequence[StrategyEntry]",
    bars: "BarSource",
    crash: "Crash",
    step: "_Bar",
    *,
    source: str,
    where: str,
    symbols: "tuple[Symbol, ...]",
    reference: "Symbol | None",
    base: Timeframe,
    span: tuple[int, int],
    notes: tuple[str, ...],
    universe: "Membership | None" = None,
) -> Told:
    from crypto_tracker.research.crashes import run_crash
    from crypto_tracker.research.market import gather

    step(f"{from_ms(crash.trough_ms):%Y-%m-%d}")
    market = gather(
        bars,
        session.configuration,
        entries,
        symbols,
        reference_symbol=reference,
        base=base,
        start_ms=span[0],
        end_ms=span[1],
    )
    market = replace(market, universe=universe)
    run = run_crash(market, entries, session.configuration, crash, progress=lambda _: step(None))
    return Told(source=source, where=where, base=base, symbols=symbols, notes=notes, run=run)


def _reference(series: "Sequence[SeriesInfo]", coin: str, ask: Ask) -> "SeriesInfo":
    """The bars in which crashes are sought: the reference coin's finest, spot first, then the longest."""
    from crypto_tracker.store.choice import BASES

    if ask.timeframe is not None and ask.timeframe not in BASES:
        raise UsageError(f"--timeframe {ask.timeframe} can not be the base: choose 1m, 15m or 1h")
    found = [
        info
        for info in series
        if info.symbol.base == coin
        and info.timeframe in BASES
        and ask.timeframe in {None, info.timeframe}
        and (not ask.provider or info.provider == ask.provider)
    ]
    if not found:
        wanted = "1m, 15m or 1h" if ask.timeframe is None else str(ask.timeframe)
        raise DataError(
            f"the reference coin {coin} has no {wanted} bars: see list-data, and bring some with import-data"
        )
    return min(found, key=lambda info: (info.timeframe.ms, info.symbol.is_perpetual, -info.rows))


def _crashes(reader: "BarReader", info: "SeriesInfo", ask: Ask) -> "Iterator[Crash]":
    """The crashes of a series, sought in each stretch that is known."""
    from crypto_tracker.core.timeframes import HOUR_MS
    from crypto_tracker.research.crashes import QUIET_HOURS, find_crashes

    stretches: list[list[int]] = []
    for start, end in info.known:
        if stretches and start - stretches[-1][1] <= QUIET_HOURS * HOUR_MS:
            stretches[-1][1] = end
        else:
            stretches.append([start, end])
    for start, end in stretches:
        first = start if ask.start_ms is None else max(start, ask.start_ms)
        last = end if ask.end_ms is None else min(end, ask.end_ms)
        if first < last:
            panel = reader.panel([info.symbol], info.timeframe, first, last, provider=info.provider)
            yield from find_crashes(panel, depth_min=ask.depth)


def _there(
    series: "Sequence[SeriesInfo]", ask: Ask, base: Timeframe, start_ms: int, end_ms: int
) -> tuple[str, ...]:
    """Those of --pairs that have bars of the base around a crash: coins come and go over the years."""
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.store.reader import SOURCES

    stored = {
        info.symbol
        for info in series
        if info.timeframe in SOURCES[base]
        and any(first < end_ms and last > start_ms for first, last in info.known)
    }
    return tuple(name for name in ask.pairs if Symbol.parse(name) in stored)


class _Bar:
    """A progress bar with the time that is left, told step by step."""

    def __init__(self, session: Session, title: str, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(title),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[name]}"),
        )
        self._progress = Progress(*columns, console=session.err, transient=True)
        self._task = self._progress.add_task(title, total=total, name="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, name: str | None) -> None:
        """Name what comes next, or note that a step is done."""
        if name is None:
            self._progress.update(self._task, advance=1)
        else:
            self._progress.update(self._task, name=name)


def _document(told: "list[Told]", ask: Ask, notes: list[str]) -> dict[str, Any]:
    from crypto_tracker.research.crashes import safeguards, verdicts

    return {
        "depth_min": ask.depth,
        "days": ask.days,
        "notes": notes,
        "crashes": [_told_document(each) for each in told],
        "protections": {
            source: [
                _verdict_document(verdict)
                for verdict in verdicts([each.run for each in told if each.source == source])
            ]
            for source in (STORED, SYNTHETIC)
        },
        "words": {safeguard.name: safeguard.words for safeguard in safeguards()},
    }


def _told_document(told: Told) -> dict[str, Any]:
    crash = told.run.crash
    return {
        "source": told.source,
        "where": told.where,
        "base": str(told.base),
        "symbols": [str(symbol) for symbol in told.symbols],
        "notes": list(told.notes),
        "class": str(crash.kind),
        "peak": from_ms(crash.peak_ms),
        "trough": from_ms(crash.trough_ms),
        "peak_price": crash.peak_price,
        "trough_price": crash.trough_price,
        "depth": crash.depth,
        "hours": crash.hours,
        "fastest_4h": crash.fastest,
        "regained_24h": crash.regained,
        "v_recovery": crash.v_recovery,
        "start": from_ms(told.run.start_ms),
        "end": from_ms(told.run.end_ms),
        "runs": [_run_document(told.run, run) for run in told.run.runs],
    }


def _run_document(crash: "CrashRun", run: "ProtectedRun") -> dict[str, Any]:
    return {**asdict(run), "gain_of_protection": crash.gain_of(run)}


def _verdict_document(verdict: "Verdict") -> dict[str, Any]:
    return asdict(verdict)
