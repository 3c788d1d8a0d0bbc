"""How far stored bars can be trusted: a score of each symbol, and how far two providers lie apart.

The score is the product of four parts in [0, 1], so that none hides another: it is never above the worst.

- freshness: 1 up to `fresh_minutes` of age of the newest known minute, falling evenly to 0 at `stale_minutes`
- completeness: the share of the window of `window_days` up to now that is known; the window of a symbol
  begins with its first known minute, and what its provider lacks is not known
- soundness: 1 without held bars in quarantine and unconfirmed suspects, falling evenly to 0 where they are
  `quarantined_share` of the minutes of the window; a held bar no longer counts once its minute is known, as a
  sound bar came or nobody traded
- agreement: 1 where all closes of another provider are within `disagreement`, falling evenly to 0 where
  `disagreement_share` of the compared minutes are not; with several others the worst counts, without any none
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sqlalchemy import Connection, Select, exists, func, select

from crypto_tracker.config.market_data import Quality
from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.store import intervals, tables
from crypto_tracker.store.quality import Disagreement, QualityRow, disagreements_in, shares_beyond
from crypto_tracker.store.reader import BarReader

_Key = tuple[str, Symbol]

_ROUNDING = 1e-6  # what is said of a share is never better than it is, but for the last bits


def measure(
    reader: BarReader,
    provider: str,
    symbols: Sequence[Symbol],
    settings: Quality,
    now_ms: int,
    *,
    history: str | None = None,
) -> list[QualityRow]:
    """The score of each symbol of a provider at this moment, in the order given; bars are not read.

    Parameters
    ----------
    history : whose bars stand in where the provider has none: what it knows counts as known
    """

    def read(connection: Connection) -> list[QualityRow]:
        evidence = _evidence(connection, symbols, now_ms - settings.window_days * DAY_MS)
        return [
            _row(evidence, [provider, *([history] if history else [])], symbol, settings, now_ms)
            for symbol in symbols
        ]

    return reader.consistently(read)


def freshness(age_minutes: float, settings: Quality) -> float:
    """1 while the newest known minute closed at most `fresh_minutes` ago, 0 from `stale_minutes` on."""
    if age_minutes <= settings.fresh_minutes:
        return 1.0
    if age_minutes >= settings.stale_minutes:
        return 0.0
    return (settings.stale_minutes - age_minutes) / (settings.stale_minutes - settings.fresh_minutes)


def falling(share: float, share_max: float) -> float:
    """1 at a share of nothing, falling evenly to 0 at `share_max` and beyond.

    >>> falling(0.005, 0.02)
    0.75
    """
    return max(1.0 - share / share_max, 0.0)


def score(parts: Iterable[float | None]) -> float:
    """The product of the parts that there are: never above the worst of them.

    >>> score([1.0, 0.5, 0.5, None])
    0.25
    """
    return math.prod(part for part in parts if part is not None)


def why_doubtful(row: QualityRow, settings: Quality) -> str:
    """Which parts of a score are low, since when, and what helps; "" where it lets a symbol be opened."""
    if row.score >= settings.score_min:
        return ""
    parts = [
        (row.freshness, _not_fresh),
        (row.completeness, _not_complete),
        (row.soundness, _not_sound),
        (row.agreement, _not_agreed),
    ]
    found = [(part, words) for part, words in parts if part is not None and part < 1.0]
    # Where one part alone is too low, the others are not what it takes; else all of them together are.
    worst = [each for each in found if each[0] < settings.score_min] or found
    worst.sort(key=lambda each: each[0])
    return "; ".join(words(part, row.measured_at_ms, settings) for part, words in worst)


def _not_fresh(part: float, measured_at_ms: int, settings: Quality) -> str:
    age_minutes = settings.stale_minutes - part * (settings.stale_minutes - settings.fresh_minutes)
    newest = _moment(measured_at_ms - round(age_minutes * MINUTE_MS))
    return f"no minute known since {newest}: see that `collect` runs and its provider answers"


def _not_complete(part: float, measured_at_ms: int, settings: Quality) -> str:
    share = math.ceil(100.0 * (1.0 - part) - _ROUNDING)
    return (
        f"{share} % of its minutes since {_begin(measured_at_ms, settings)} unknown: `heal-gaps` fetches "
        f"what there is, the rest counts for {_window(settings)} at most"
    )


def _not_sound(part: float, measured_at_ms: int, settings: Quality) -> str:
    share = math.ceil(1_000.0 * (1.0 - part) * settings.quarantined_share - _ROUNDING) / 10.0
    more = "at least " if part == 0.0 else ""
    return (
        f"{more}{share:g} % of its minutes since {_begin(measured_at_ms, settings)} in quarantine or "
        "suspect: `quarantine list` shows them, `heal-gaps` fetches sound bars in their place"
    )


def _not_agreed(part: float, measured_at_ms: int, settings: Quality) -> str:
    return (
        f"closes since {_begin(measured_at_ms, settings)} too far from another provider's (agreement "
        f"{math.floor(100.0 * part + _ROUNDING) / 100.0:.2f}): `list-data --compare` shows how far"
    )


def _begin(measured_at_ms: int, settings: Quality) -> str:
    return _moment(measured_at_ms - settings.window_days * DAY_MS)


def _window(settings: Quality) -> str:
    return "a day" if settings.window_days == 1 else f"{settings.window_days} days"


def _moment(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M} UTC"


def compare(
    reader: BarReader, symbol: Symbol, first: str, second: str, day_ms: int, settings: Quality
) -> Disagreement | None:
    """How far the closes of two providers lie apart on the UTC day that begins at `day_ms`.

    Compared are minutes of which both have a bar, each provider by its own bars alone; the distance is a
    fraction of the middle of the two closes, so it does not matter who comes first. None where no minute
    can be compared.
    """
    found = compare_days(reader, symbol, first, second, day_ms, day_ms + DAY_MS, settings)
    return found[0] if found else None


def compare_days(
    reader: BarReader,
    symbol: Symbol,
    first: str,
    second: str,
    start_ms: int,
    end_ms: int,
    settings: Quality,
) -> list[Disagreement]:
    """As `compare`, for every UTC day of [start_ms, end_ms) on which minutes can be compared."""
    one, other = sorted((first, second))
    start_ms = Timeframe.D1.floor(start_ms)
    panels = [
        reader.panel([symbol], Timeframe.M1, start_ms, end_ms, provider=provider) for provider in (one, other)
    ]
    both = panels[0].present[:, 0] & panels[1].present[:, 0]
    days = panels[0].open_time_ms[both] // DAY_MS * DAY_MS
    apart = _distance(*(panel.close[both, 0] for panel in panels))
    return [
        Disagreement(
            symbol=symbol,
            first=one,
            second=other,
            day_ms=day_ms,
            compared=len(of_day),
            beyond=int((of_day > settings.disagreement).sum()),
            median=float(np.median(of_day)),
            p99=float(np.quantile(of_day, 0.99)),
            largest=float(of_day.max()),
        )
        for day_ms in intervals.distinct(days).tolist()
        for of_day in [apart[days == day_ms]]
    ]


def compare_all(
    reader: BarReader, symbols: Sequence[Symbol], settings: Quality, now_ms: int
) -> list[Disagreement]:
    """`compare_days` of every two providers of a symbol, of the last `window_days` that both know.

    Whole UTC days are compared, so that just after midnight the day before counts too.
    """
    covered = reader.consistently(lambda connection: _minutes_known(connection, symbols))
    found = []
    for symbol in symbols:
        theirs = {provider: known for (provider, name), known in covered.items() if name == symbol}
        for first, second in combinations(sorted(theirs), 2):
            alone = intervals.subtract(theirs[first], theirs[second])
            both = intervals.clip(intervals.subtract(theirs[first], alone), 0, Timeframe.M1.floor(now_ms))
            if not len(both):
                continue
            end_ms = int(both[-1, 1])
            start_ms = Timeframe.D1.floor(end_ms - settings.window_days * DAY_MS)
            found += compare_days(reader, symbol, first, second, start_ms, end_ms, settings)
    return found


def _distance(one: FloatArray, other: FloatArray) -> FloatArray:
    """How far closes lie apart, as a fraction of the middle between them."""
    return np.abs(one - other) / ((one + other) / 2.0)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the store knows of some symbols, of all their providers."""

    window_start_ms: int
    known: Mapping[_Key, IntArray]
    doubtful: Mapping[_Key, int]
    beyond: Mapping[tuple[str, str, Symbol], float]


def _evidence(connection: Connection, symbols: Sequence[Symbol], since_ms: int) -> _Evidence:
    held = tables.quarantine
    # A bar without a time, or of a time to come, tells of the moment at which it came.
    moment = func.min(func.coalesce(held.c.open_time_ms, held.c.recorded_at_ms), held.c.recorded_at_ms)
    suspect, covered = tables.suspects, tables.coverage
    repaired = exists().where(
        covered.c.symbol_id == held.c.symbol_id,
        covered.c.timeframe == held.c.timeframe,
        covered.c.start_ms <= held.c.open_time_ms,
        covered.c.end_ms > held.c.open_time_ms,
    )
    quarantined = _counts(
        connection,
        select(held.c.symbol_id, held.c.timeframe, moment)
        .where(held.c.status == "held", moment >= since_ms, ~repaired)
        .distinct(),
    )
    unconfirmed = _counts(
        connection,
        select(suspect.c.symbol_id, suspect.c.timeframe, suspect.c.open_time_ms)
        .where(suspect.c.status == "unconfirmed", suspect.c.open_time_ms >= since_ms)
        .distinct(),
    )
    return _Evidence(
        window_start_ms=since_ms,
        known=_minutes_known(connection, symbols),
        doubtful={
            key: quarantined.get(key, 0) + unconfirmed.get(key, 0) for key in {*quarantined, *unconfirmed}
        },
        beyond=shares_beyond(
            disagreements_in(connection, since_ms=Timeframe.D1.floor(since_ms), symbols=symbols)
        ),
    )


def _row(
    evidence: _Evidence, providers: Sequence[str], symbol: Symbol, settings: Quality, now_ms: int
) -> QualityRow:
    keys = [(provider, symbol) for provider in providers]
    end_ms = Timeframe.M1.floor(now_ms)
    known = intervals.clip(
        intervals.union(*(evidence.known.get(key, intervals.EMPTY) for key in keys)), 0, end_ms
    )
    first_ms, last_ms = (int(known[0, 0]), int(known[-1, 1])) if len(known) else (end_ms, 0)
    start_ms = Timeframe.M1.floor(max(evidence.window_start_ms, first_ms))
    length_ms = max(end_ms - start_ms, MINUTE_MS)
    fresh = freshness((now_ms - last_ms) / MINUTE_MS, settings)
    complete = intervals.length(intervals.clip(known, start_ms, end_ms)) / length_ms
    doubtful = sum(evidence.doubtful.get(key, 0) for key in keys)
    sound = falling(doubtful * MINUTE_MS / length_ms, settings.quarantined_share)
    apart = [
        share
        for (first, second, name), share in evidence.beyond.items()
        if name == symbol and providers[0] in {first, second}
    ]
    agreement = falling(max(apart), settings.disagreement_share) if apart else None
    return QualityRow(
        provider=providers[0],
        symbol=symbol,
        measured_at_ms=now_ms,
        score=score([fresh, complete, sound, agreement]),
        freshness=fresh,
        completeness=complete,
        soundness=sound,
        agreement=agreement,
    )


def _minutes_known(connection: Connection, symbols: Sequence[Symbol]) -> dict[_Key, IntArray]:
    """Per provider and symbol the minutes that are known, as intervals; no entry where none are."""
    covered, names = tables.coverage, tables.symbols
    query = (
        select(names.c.provider, names.c.symbol, covered.c.start_ms, covered.c.end_ms)
        .join(names, names.c.symbol_id == covered.c.symbol_id)
        .where(covered.c.timeframe == Timeframe.M1.value, names.c.symbol.in_([str(each) for each in symbols]))
    )
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for provider, symbol, start_ms, end_ms in connection.execute(query):
        pairs.setdefault((provider, symbol), []).append((start_ms, end_ms))
    return {
        (provider, Symbol.parse(symbol)): intervals.as_intervals(found)
        for (provider, symbol), found in pairs.items()
    }


def _counts(connection: Connection, bars: Select[tuple[int, str, int]]) -> dict[_Key, int]:
    """How many of these bars each symbol of a provider has."""
    found, names = bars.subquery(), tables.symbols
    query = (
        select(names.c.provider, names.c.symbol, func.count())
        .join(found, found.c.symbol_id == names.c.symbol_id)
        .group_by(names.c.provider, names.c.symbol)
    )
    return {(row[0], Symbol.parse(row[1])): row[2] for row in connection.execute(query)}
