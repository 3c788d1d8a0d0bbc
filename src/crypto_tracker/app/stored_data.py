"""What the store holds and how good it is, for the faces that show it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.quality import compare_all, measure
from crypto_tracker.store.holes import Known, what_is_known
from crypto_tracker.store.instruments import InactiveSymbol, inactive_symbols
from crypto_tracker.store.quality import (
    Disagreement,
    QualityRow,
    read_disagreements,
    read_quality,
    write_disagreements,
)
from crypto_tracker.store.quarantine import held_counts
from crypto_tracker.store.reader import DATABASE_NAME, BarReader
from crypto_tracker.store.series import SeriesInfo

NEVER_FETCHED = frozenset({"file", "recorded", "synthetic"})
"""Under these names lie bars that nobody can be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeries:
    """One series and what is to be said of it.

    Attributes
    ----------
    info : the series; its `quarantined` counts the bars that are still held
    age_ms : how long ago its newest bar closed
    known : what is known from the first bar (or the begin of the backfill) to the last (or to now)
    backfill : what is known of the span that the configuration wants; None where nobody fetches this series
    quality : the score of its symbol, on the line of its minutes; None on others
    inactive : why its symbol is not traded; None while it is
    """

    info: SeriesInfo
    age_ms: int
    known: Known
    backfill: Known | None
    quality: QualityRow | None
    inactive: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredData:
    """All series, symbols that are inactive, what was compared, and whether bars are kept up to date."""

    series: tuple[StoredSeries, ...]
    inactive: tuple[InactiveSymbol, ...]
    disagreements: tuple[Disagreement, ...]
    is_scored: bool  # whether any score was ever kept, or is above 0


def survey(home: Path, market_data: MarketData, now_ms: int, *, compare: bool = False) -> StoredData:
    """What is stored under `home`; from the records, without reading bars.

    Parameters
    ----------
    compare : measure anew how far providers of one symbol lie apart, which reads their minutes, and keep it
    """
    if not (home / DATABASE_NAME).is_file():
        return StoredData(series=(), inactive=(), disagreements=(), is_scored=False)
    with BarReader.open(home) as reader:
        series = reader.series()
        if compare:
            symbols = sorted({info.symbol for info in series})
            write_disagreements(home, compare_all(reader, symbols, market_data.quality, now_ms), now_ms)
        scores = _scores(reader, series, market_data, now_ms)
    held = held_counts(home)
    inactive = inactive_symbols(home)
    reasons = {(each.provider, each.symbol): each.reason for each in inactive}
    wanted = {
        (info.provider, info.symbol, info.timeframe): span
        for info in series
        if (span := _backfill(info, market_data, now_ms)) is not None
    }
    backfills = what_is_known(home, wanted)
    whole = {}
    for info in series:
        name = (info.provider, info.symbol, info.timeframe)
        span = wanted.get(name, (info.start_ms, info.end_ms))
        whole[name] = min(info.start_ms, span[0]), max(info.end_ms, span[1])
    known = what_is_known(home, whole)
    return StoredData(
        series=tuple(
            StoredSeries(
                info=replace(info, quarantined=held.get(name, 0)),
                age_ms=max(now_ms - info.end_ms, 0),
                known=known[name],
                backfill=backfills.get(name),
                quality=scores.get((info.provider, info.symbol)) if info.timeframe is Timeframe.M1 else None,
                inactive=reasons.get((info.provider, info.symbol)),
            )
            for info in series
            for name in [(info.provider, info.symbol, info.timeframe)]
        ),
        inactive=tuple(inactive),
        disagreements=tuple(read_disagreements(home)),
        is_scored=bool(read_quality(home)) or any(row.score > 0.0 for row in scores.values()),
    )


def fetched_providers(market_data: MarketData) -> frozenset[str]:
    """Whose bars the configuration wants to be fetched."""
    named = {market_data.provider, market_data.history, *market_data.collector.providers} - {""}
    return frozenset(map(_stored_name, named))


def _stored_name(name: str) -> str:
    """The name under which the bars of a provider are stored."""
    return "massive" if name.lower() == "polygon" else name.lower()


def _scores(
    reader: BarReader, series: list[SeriesInfo], market_data: MarketData, now_ms: int
) -> Mapping[tuple[str, Symbol], QualityRow]:
    """The score of every symbol of which there are minutes, by provider."""
    of_provider: dict[str, list[Symbol]] = {}
    for info in series:
        if info.timeframe is Timeframe.M1:
            of_provider.setdefault(info.provider, []).append(info.symbol)
    found = {}
    for provider, symbols in of_provider.items():
        history = _stored_name(market_data.history) if provider == _stored_name(market_data.provider) else ""
        rows = measure(reader, provider, symbols, market_data.quality, now_ms, history=history or None)
        found.update({(provider, row.symbol): row for row in rows})
    return found


def _backfill(info: SeriesInfo, market_data: MarketData, now_ms: int) -> tuple[int, int] | None:
    """The span of a series that the configuration wants; None where it wants none of it."""
    plan = market_data.timeframes.get(info.timeframe.value)
    if plan is None or info.provider not in fetched_providers(market_data):
        return None
    floor = info.timeframe.floor
    return floor(now_ms - plan.backfill_days * DAY_MS), floor(now_ms)
