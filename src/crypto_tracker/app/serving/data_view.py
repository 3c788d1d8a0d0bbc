"""What is stored of the symbols of a book, how old it is, and how far it can be trusted."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.trader_part import duration
from crypto_tracker.config.market_data import Quality
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.desk.views.system import DataQuality, DataRow
from crypto_tracker.market.quality import measure, why_doubtful
from crypto_tracker.store.market_database import reading
from crypto_tracker.store.quality import QualityRow, quality_at, read_disagreements, shares_beyond
from crypto_tracker.store.quarantine import held_counts
from crypto_tracker.store.reader import DATABASE_NAME, SOURCES, BarReader

DATA_SECONDS = 30.0
"""What is known of stored bars is looked up at most so often."""

Newest = Mapping[tuple[str, Symbol], Mapping[Timeframe, int]]

# The last stretch of each series, by its key: what lies before it is not read.
_NEWEST = (
    "SELECT symbols.provider, symbols.symbol, spans.value, "
    "(SELECT end_ms FROM coverage WHERE coverage.symbol_id = symbols.symbol_id "
    "AND coverage.timeframe = spans.value ORDER BY start_ms DESC LIMIT 1) "
    "FROM symbols CROSS JOIN json_each(?) AS spans"
)

_FIRST = (
    "SELECT symbols.provider, symbols.symbol, "
    "(SELECT start_ms FROM coverage WHERE coverage.symbol_id = symbols.symbol_id "
    "AND coverage.timeframe = ? ORDER BY start_ms LIMIT 1) FROM symbols"
)


def first_minutes(home: Path) -> Mapping[tuple[str, Symbol], int]:
    """Since when minutes of each symbol are known, by provider and symbol; bars are not read."""
    with reading(home) as connection:
        rows = connection.exec_driver_sql(_FIRST, (str(Timeframe.M1),)).all()
    return {
        (provider, Symbol.parse(symbol)): int(start_ms)
        for provider, symbol, start_ms in rows
        if start_ms is not None
    }


def newest_bars(home: Path) -> Newest:
    """Until when each timeframe of each symbol is known, by provider and symbol; bars are not read.

    A timeframe that is made of finer bars is known as far as those close it.
    """
    with reading(home) as connection:
        stored = _stored(connection)
    return {
        key: {
            timeframe: max(timeframe.floor(ends[source]) for source in SOURCES[timeframe] if source in ends)
            for timeframe in Timeframe
            if any(source in ends for source in SOURCES[timeframe])
        }
        for key, ends in stored.items()
    }


def data_view(scope: Scope, *, paper: bool) -> DataQuality:
    """The symbols of a book, the worst first.

    Paper trading is judged by the clock and by the scores that its gate reads. Any other book has a present
    of its own: what its bars were worth then is measured here, of the records, without reading bars.
    """
    settings = scope.configuration.market_data.quality
    present_ms = scope.now_ms() if paper else scope.until_ms
    watched = _watched(scope)
    if not (scope.home / DATABASE_NAME).is_file():
        rows = [_unknown(symbol, provider) for symbol, provider in watched]
        return DataQuality(until_ms=scope.until_ms, score_min=settings.score_min, items=rows)
    newest, first = newest_bars(scope.home), first_minutes(scope.home)
    scores = _scores(scope, watched, present_ms, paper=paper)
    held: dict[tuple[str, Symbol], int] = {}
    for (provider, symbol, _), count in held_counts(scope.home).items():
        held[provider, symbol] = held.get((provider, symbol), 0) + count
    compared_ms = Timeframe.D1.floor(present_ms - settings.window_days * DAY_MS)
    apart = shares_beyond(read_disagreements(scope.home, since_ms=compared_ms))
    rows = []
    for symbol, provider in watched:
        key = provider, symbol
        ends, score = newest.get(key, {}), scores.get(key)
        minute_ms = ends.get(Timeframe.M1)
        begins = [first[by, symbol] for by in {provider, scope.history} if (by, symbol) in first]
        since_ms = min(begins, default=None)
        beyond = [
            share
            for (first, second, name), share in apart.items()
            if name == symbol and provider in {first, second}
        ]
        rows.append(
            DataRow(
                symbol=str(symbol),
                provider=provider,
                newest_ms={str(each): _known_by(ends.get(each), each, present_ms) for each in Timeframe},
                since_ms=since_ms,
                age_ms=None if minute_ms is None else max(present_ms - minute_ms, 0),
                score=None if score is None else score.score,
                freshness=None if score is None else score.freshness,
                completeness=None if score is None else score.completeness,
                soundness=None if score is None else score.soundness,
                agreement=None if score is None else score.agreement,
                measured_at_ms=None if score is None else score.measured_at_ms,
                quarantined=held.get(key, 0),
                disagreement=max(beyond) if beyond else None,
                doubtful=paper and score is not None and score.score < settings.score_min,
                why=_why(score, settings, present_ms - minute_ms if paper and minute_ms is not None else 0)
                or _late(scope, since_ms),
            )
        )
    rows.sort(key=_worst_first)
    return DataQuality(until_ms=scope.until_ms, score_min=settings.score_min, items=rows)


def _why(score: QualityRow | None, settings: Quality, age_ms: int) -> str | None:
    """What is wrong with a symbol; without a score that still counts, how old its newest minute is."""
    if score is not None:
        return why_doubtful(score, settings) or None
    if age_ms < settings.stale_minutes * MINUTE_MS:
        return None
    return (
        f"no minute for {duration(age_ms)}: see that `crypto-tracker collect` runs and its provider answers"
    )


def _late(scope: Scope, since_ms: int | None) -> str | None:
    """Since when a symbol is known that was not from the beginning of the book, and what share that is."""
    if since_ms is None or not scope.start_ms < since_ms < scope.until_ms:
        return None
    share = int(100 * (scope.until_ms - since_ms) / (scope.until_ms - scope.start_ms))
    return f"known only since {from_ms(since_ms):%Y-%m-%d %H:%M} UTC, {share} % of the time that is shown"


def _known_by(end_ms: int | None, timeframe: Timeframe, present_ms: int) -> int | None:
    """The end of the newest bar that had closed by the present of the book."""
    return None if end_ms is None else min(end_ms, timeframe.floor(present_ms))


def _worst_first(row: DataRow) -> tuple[bool, float, int, str]:
    """Without bars, then by score, then by age."""
    return (
        row.age_ms is not None,
        2.0 if row.score is None else row.score,
        -(row.age_ms or 0),
        row.symbol,
    )


def _watched(scope: Scope) -> list[tuple[Symbol, str]]:
    """Every symbol and whose bars it has, the reference too; those without a provider are left out."""
    symbols = dict.fromkeys((*scope.symbols, *([] if scope.reference is None else [scope.reference])))
    return [(symbol, scope.providers[symbol]) for symbol in symbols if symbol in scope.providers]


def _scores(
    scope: Scope, watched: Sequence[tuple[Symbol, str]], present_ms: int, *, paper: bool
) -> Mapping[tuple[str, Symbol], QualityRow]:
    settings = scope.configuration.market_data.quality
    if paper:
        with reading(scope.home) as connection:
            return quality_at(connection, present_ms, settings.valid_minutes)
    symbols_of: dict[str, list[Symbol]] = {}
    for symbol, provider in watched:
        symbols_of.setdefault(provider, []).append(symbol)
    with BarReader.open(scope.home) as reader:
        return {
            (provider, row.symbol): row
            for provider, symbols in symbols_of.items()
            for row in measure(reader, provider, symbols, settings, present_ms, history=scope.history or None)
        }


def _stored(connection: Connection) -> dict[tuple[str, Symbol], dict[Timeframe, int]]:
    asked = json.dumps([str(timeframe) for timeframe in Timeframe])
    found: dict[tuple[str, Symbol], dict[Timeframe, int]] = {}
    for provider, symbol, timeframe, end_ms in connection.exec_driver_sql(_NEWEST, (asked,)):
        if end_ms is not None:
            ends = found.setdefault((provider, Symbol.parse(symbol)), {})
            ends[Timeframe.parse(timeframe)] = int(end_ms)
    return found


def _unknown(symbol: Symbol, provider: str) -> DataRow:
    return DataRow(
        symbol=str(symbol),
        provider=provider,
        newest_ms={str(timeframe): None for timeframe in Timeframe},
        age_ms=None,
        score=None,
        freshness=None,
        completeness=None,
        soundness=None,
        agreement=None,
        measured_at_ms=None,
        quarantined=0,
        disagreement=None,
        doubtful=False,
        why="there are no bars under this home: `crypto-tracker collect` brings some",
    )
