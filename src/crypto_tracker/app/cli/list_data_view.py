"""How `list-data` shows what is stored: tables for people, documents for programs."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from rich.table import Table

from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.cli.tables import fits, plain_table, print_table, room, roomiest
from crypto_tracker.app.stored_data import NEVER_FETCHED, StoredData, StoredSeries
from crypto_tracker.config.market_data import Quality
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.market.quality import why_doubtful
from crypto_tracker.store.holes import Hole, Known
from crypto_tracker.store.quality import Disagreement, QualityRow
from crypto_tracker.store.series import SeriesInfo

_HOLES_SHOWN = 10  # of one series
_NAMED = 3  # symbols that share a reason


class _Shape(NamedTuple):
    """How much of each series a line tells."""

    gap: int
    moment: str = "%Y-%m-%d %H:%M"
    left_out: tuple[str, ...] = ()


_WHOLE = (_Shape(2), _Shape(1))
# Hours are worth more than what can be concluded from span and completeness.
_SHAPES = (
    *_WHOLE,
    _Shape(1, left_out=("rows",)),
    _Shape(1, left_out=("rows", "gaps")),
    _Shape(1, "%Y-%m-%d"),
)


def print_series(session: Session, data: StoredData) -> None:
    """One line for each series; what only few of them have stands below where there is no room."""
    doubtful = [each.info for each in data.series if any(n for n, _ in _doubts(each.info))]
    chosen = roomiest(session, [_series(data, shape, doubts=bool(doubtful)) for shape in _WHOLE])
    if doubtful and fits(session.out, chosen, room(session)):
        print_table(session.out, chosen)
        return
    print_table(session.out, roomiest(session, [_series(data, shape, doubts=False) for shape in _SHAPES]))
    for info in doubtful:
        words = ", ".join(f"{n:,} {what}" for n, what in _doubts(info) if n)
        name = f"{info.symbol} {info.provider} {info.timeframe}"
        session.out.print(f"{name}: {words}", style="yellow", markup=False)


def print_quality(session: Session, data: StoredData, settings: Quality) -> None:
    """The parts of every score, what was compared, and pairs of providers that nobody compared yet."""
    scored = [each for each in data.series if each.quality is not None]
    if scored:
        tables = (_scores(scored, gap, settings) for gap in (2, 1))
        print_table(session.out, roomiest(session, tables))
    for each in scored:
        # Nobody keeps the others up to date, and nothing helps them.
        if each.quality is not None and each.backfill is not None:
            why = why_doubtful(each.quality, settings)
            if why:
                name = f"{each.info.symbol} {each.info.provider}"
                session.out.print(f"{name} opens nothing: {why}", style="yellow", markup=False)
    latest = {(each.symbol, each.first, each.second): each for each in data.disagreements}
    if latest:
        session.out.print()
        newest = list(latest.values())
        shapes = ((2, True), (1, True), (1, False))
        tables = (
            _disagreements(data.disagreements, newest, settings, gap, whole=whole) for gap, whole in shapes
        )
        print_table(session.out, roomiest(session, tables))
    missing = [pair for pair in _pairs(scored) if pair not in latest]
    if missing:
        symbol, first, second = missing[0]
        session.err.print(
            f"{len(missing)} pair{'' if len(missing) == 1 else 's'} of providers never compared, such as "
            f"{first} and {second} of {symbol}: list-data --compare does",
            soft_wrap=True,
        )


def print_gaps(session: Session, data: StoredData, *, one_by_one: bool) -> None:
    """Of what nothing is known, by provider and reason.

    Below each reason stands a line for each timeframe with the symbols that share it; or `one_by_one` every
    stretch, of each series the longest where they are many.
    """
    reasons: dict[tuple[str, str], list[tuple[StoredSeries, Hole]]] = {}
    for each in data.series:
        for hole in each.known.holes:
            reasons.setdefault((each.info.provider, _why(each.info.provider, hole)), []).append((each, hole))
    if not reasons:
        session.out.print("nothing is missing", markup=False)
        return
    width = room(session)
    for (provider, why), found in sorted(reasons.items()):
        lines = textwrap.wrap(f"{provider}, {why}", width, subsequent_indent="    ", break_on_hyphens=False)
        lines += _holes(found) if one_by_one else _shared(found, width)
        for line in lines:
            session.out.print(line, markup=False, soft_wrap=True)
    if not one_by_one:
        session.err.print("Every stretch by itself: with --pairs, or --json.", soft_wrap=True)


def _shared(found: Sequence[tuple[StoredSeries, Hole]], width: int) -> Iterator[str]:
    """One line for each timeframe: from the earliest to the latest that is missing, and of whom."""
    for timeframe in Timeframe:
        holes = [(each, hole) for each, hole in found if each.info.timeframe is timeframe]
        if not holes:
            continue
        bars = sum(hole.end_ms - hole.start_ms for _, hole in holes) // timeframe.ms
        first, last = min(hole.start_ms for _, hole in holes), max(hole.end_ms for _, hole in holes)
        line = (
            f"  {timeframe!s:<3}  {_moment(first)} to {_moment(last)}  {bars:>10,} "
            f"{'bar ' if bars == 1 else 'bars'}  "
        )
        symbols = list(dict.fromkeys(str(each.info.symbol) for each, _ in holes))
        named = ", ".join(symbols)
        fitting = len(symbols) <= _NAMED and len(line) + len(named) <= width
        yield line + (named if fitting or len(symbols) == 1 else f"{len(symbols)} symbols")


def _holes(found: Sequence[tuple[StoredSeries, Hole]]) -> Iterator[str]:
    """One line for each stretch, and how many of a series are not shown."""
    width = max(len(str(each.info.symbol)) for each, _ in found)
    of_series: dict[tuple[str, Timeframe], list[Hole]] = {}
    for each, hole in found:
        of_series.setdefault((str(each.info.symbol), each.info.timeframe), []).append(hole)
    for (symbol, timeframe), holes in of_series.items():
        longest = sorted(holes, key=lambda hole: hole.start_ms - hole.end_ms)[:_HOLES_SHOWN]
        name = f"  {symbol:<{width}}  {timeframe!s:<3}"
        for hole in sorted(longest, key=lambda hole: hole.start_ms):
            length = age(hole.end_ms - hole.start_ms)
            yield f"{name}  {_moment(hole.start_ms)} to {_moment(hole.end_ms)}  {length:>9}"
        if len(holes) > _HOLES_SHOWN:
            yield f"{name}  and {len(holes) - _HOLES_SHOWN:,} shorter ones: --json has all"


def _moment(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M}"


def print_inactive(session: Session, data: StoredData) -> None:
    """Symbols that are not traded, and why."""
    for each in data.inactive:
        session.out.print(
            f"inactive: {each.symbol} {each.provider}: {each.reason}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def documents(data: StoredData) -> list[dict[str, Any]]:
    """Everything that is known of each series; inactive symbols without bars have a document too."""
    stored = {(each.info.provider, each.info.symbol) for each in data.series}
    bare = [
        {
            "symbol": str(each.symbol),
            "provider": each.provider,
            "timeframe": None,
            "rows": 0,
            "inactive": each.reason,
        }
        for each in data.inactive
        if (each.provider, each.symbol) not in stored
    ]
    return [*(_document(each, data.disagreements) for each in data.series), *bare]


def age(length_ms: int) -> str:
    """A length of time in the unit that it is best told in.

    >>> age(90_000), age(300_000), age(5 * 3_600_000), age(41 * 86_400_000)
    ('90 s', '5 min', '5.0 h', '41.0 d')
    """
    if length_ms < 2 * MINUTE_MS:
        return f"{length_ms // 1_000} s"
    if length_ms < 2 * HOUR_MS:
        return f"{length_ms // MINUTE_MS} min"
    if length_ms < 2 * DAY_MS:
        return f"{length_ms / HOUR_MS:.1f} h"
    return f"{length_ms / DAY_MS:,.1f} d"


def _doubts(info: SeriesInfo) -> tuple[tuple[int, str], ...]:
    return (info.suspect, "suspect"), (info.quarantined, "quarantined")


def _series(data: StoredData, shape: _Shape, *, doubts: bool) -> Table:
    """One line for each series, with columns for doubts or without."""
    table = plain_table(shape.gap)
    table.add_column("symbol", overflow="fold")
    for name in ("provider", "tf", "start", "end"):
        table.add_column(name, no_wrap=True)
    named = [
        *(name for name in ("rows", "gaps", "complete") if name not in shape.left_out),
        *(["quality"] if data.is_scored else []),
        *(["suspect", "quarantined"] if doubts else []),
    ]
    for name in named:
        table.add_column(name, justify="right", no_wrap=True)
    for each in data.series:
        info, quality = each.info, each.quality
        words = {
            "rows": f"{info.rows:,}",
            "gaps": str(info.gaps),
            "complete": _floored(info.completeness),
            "quality": "" if quality is None else _part(quality.score),
            **{what: f"{n:,}" if n else "" for n, what in _doubts(info)},
        }
        table.add_row(
            str(info.symbol),
            info.provider,
            str(info.timeframe),
            format(from_ms(info.start_ms), shape.moment),
            format(from_ms(info.end_ms), shape.moment),
            *(words[name] for name in named),
        )
    return table


def _scores(scored: Sequence[StoredSeries], gap: int, settings: Quality) -> Table:
    table = plain_table(gap)
    table.add_column("symbol", overflow="fold")
    table.add_column("provider", no_wrap=True)
    for name in ("newest", "backfill", "fresh", "complete", "sound", "agree", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in scored:
        quality = each.quality
        if quality is None:
            continue
        table.add_row(
            str(each.info.symbol),
            each.info.provider,
            f"{age(each.age_ms)} ago",
            "-" if each.backfill is None else _floored(each.backfill.share),
            *(
                _part(part)
                for part in (
                    quality.freshness,
                    quality.completeness,
                    quality.soundness,
                    quality.agreement,
                    quality.score,
                )
            ),
            style="yellow" if quality.score < settings.score_min else None,
        )
    return table


def _disagreements(
    found: Sequence[Disagreement],
    newest: Sequence[Disagreement],
    settings: Quality,
    gap: int,
    *,
    whole: bool,
) -> Table:
    """One line for each symbol and pair of providers: all days together, and the newest day."""
    table = plain_table(gap)
    table.add_column("symbol", overflow="fold")
    table.add_column("providers", no_wrap=True)
    named = ["minutes", f"beyond {100 * settings.disagreement:g} %", "last day", "p99", "largest"]
    if whole:
        named = ["days", *named[:3], "median", *named[3:]]
    for name in named:
        table.add_column(name, justify="right", no_wrap=True)
    for each in newest:
        key = each.symbol, each.first, each.second
        days = [day for day in found if (day.symbol, day.first, day.second) == key]
        compared = sum(day.compared for day in days)
        table.add_row(
            str(each.symbol),
            f"{each.first}, {each.second}",
            *([str(len(days))] if whole else []),
            f"{compared:,}",
            f"{100 * sum(day.beyond for day in days) / compared:.2f} %",
            f"{from_ms(each.day_ms):%Y-%m-%d}",
            *([f"{100 * each.median:.3f} %"] if whole else []),
            f"{100 * each.p99:.3f} %",
            f"{100 * each.largest:.3f} %",
        )
    return table


def _pairs(scored: Sequence[StoredSeries]) -> Iterator[tuple[Any, str, str]]:
    """Every symbol with every two providers that have minutes of it."""
    for symbol in sorted({each.info.symbol for each in scored}):
        theirs = sorted({each.info.provider for each in scored if each.info.symbol == symbol})
        for first, second in combinations(theirs, 2):
            yield symbol, first, second


def _why(provider: str, hole: Hole) -> str:
    can_be_asked = provider not in NEVER_FETCHED
    if hole.is_held:
        why = "held: a bar broke a rule (`quarantine list` shows it)"
        return why + (", and `heal-gaps` asks for it again" if can_be_asked else "")
    if hole.reason is None:
        return "unknown: `heal-gaps` asks for it" if can_be_asked else "unknown"
    return f"lacking: {hole.reason}"


def _part(value: float | None) -> str:
    """A score or a part of one, rounded down: only what is whole is 1.00."""
    return "-" if value is None else f"{math.floor(100.0 * value + 1e-9) / 100.0:.2f}"


def _floored(share: float) -> str:
    """A share in per cent, rounded down: only what is whole is 100.00 %.

    >>> _floored(0.999999), _floored(1.0)
    ('99.99 %', '100.00 %')
    """
    return f"{math.floor(10_000.0 * share + 1e-9) / 100.0:.2f} %"


def _document(each: StoredSeries, found: Sequence[Disagreement]) -> dict[str, Any]:
    info = each.info
    compared = [
        _disagreement_document(day, info.provider)
        for day in found
        if info.timeframe is Timeframe.M1
        and day.symbol == info.symbol
        and info.provider in {day.first, day.second}
    ]
    return {
        "symbol": str(info.symbol),
        "provider": info.provider,
        "timeframe": str(info.timeframe),
        "start": from_ms(info.start_ms),
        "end": from_ms(info.end_ms),
        "rows": info.rows,
        "gaps": info.gaps,
        "completeness": info.completeness,
        "suspect": info.suspect,
        "quarantined": info.quarantined,
        "newest_age_seconds": each.age_ms / 1_000,
        "inactive": each.inactive,
        "backfill": None if each.backfill is None else _known_document(each.backfill),
        "quality": None if each.quality is None else _quality_document(each.quality),
        "disagreements": compared,
        "holes": [_hole_document(hole) for hole in each.known.holes],
    }


def _known_document(known: Known) -> dict[str, Any]:
    span_ms = max(known.end_ms - known.start_ms, 1)
    return {
        "start": from_ms(known.start_ms),
        "end": from_ms(known.end_ms),
        "known": known.share,
        "lacking": known.lacking_ms / span_ms,
    }


def _hole_document(hole: Hole) -> dict[str, Any]:
    return {
        "start": from_ms(hole.start_ms),
        "end": from_ms(hole.end_ms),
        "state": "held" if hole.is_held else "unknown" if hole.reason is None else "lacking",
        "reason": hole.reason,
    }


def _quality_document(row: QualityRow) -> dict[str, Any]:
    return {
        "score": row.score,
        "freshness": row.freshness,
        "completeness": row.completeness,
        "soundness": row.soundness,
        "agreement": row.agreement,
    }


def _disagreement_document(day: Disagreement, provider: str) -> dict[str, Any]:
    return {
        "with": day.second if day.first == provider else day.first,
        "day": f"{from_ms(day.day_ms):%Y-%m-%d}",
        "compared": day.compared,
        "beyond": day.beyond,
        "median": day.median,
        "p99": day.p99,
        "largest": day.largest,
    }
