"""The decisions of a trading account as rows for people: verdict, reason in words, and how an order ended."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.app.endings import Ending, endings, group_of, portfolio_sentence
from crypto_tracker.core.arrays import BoolArray
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.store.trading_views import TradingViews, Where
from crypto_tracker.strategies.decisions import ScanBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One scan and what came of it.

    `setup` is the row of a setup or near miss, None for an ordinary scan; `ending` says how an order ended;
    `sentence` are the portfolio's words, None where the strategy itself said no.
    """

    time_ms: int
    symbol: Symbol
    strategy: str
    verdict: Verdict
    reason: Reason
    readiness: float
    confidence: float
    version: str
    setup: SetupRecord | None
    ending: Ending | None
    sentence: str | None
    measurements: dict[str, float] | None  # where they were asked for


def setups_decided(views: TradingViews, where: Where, *, limit: int | None) -> list[Decided]:
    """The last `limit` setups and near misses, in order of time."""
    rows = views.setups(where, limit=limit, newest_first=True)
    rows.sort(key=lambda row: (row.time_ms, str(row.symbol), row.strategy))
    return decided(views, rows)


def scans_decided(views: TradingViews, where: Where, *, limit: int | None) -> list[Decided]:
    """The last `limit` scans of any verdict, in order of time, from the compact blocks."""
    found: list[Decided] = []
    for block in views.blocks(where, newest_first=True):
        at_close = Where(strategies=(block.strategy,), start_ms=block.time_ms, end_ms=block.time_ms + 1)
        noted = {row.symbol: row for row in decided(views, views.setups(at_close))}
        scans = [_scan(block, column, noted) for column in np.flatnonzero(_wanted(block, where)).tolist()]
        found += [scan for scan in scans if _passes(scan, where)]
        if limit is not None and len(found) >= limit:
            break
    found.sort(key=lambda row: (row.time_ms, str(row.symbol), row.strategy))
    return found if limit is None else found[max(len(found) - limit, 0) :]


def decided(views: TradingViews, rows: Sequence[SetupRecord]) -> list[Decided]:
    """Setups and near misses with what became of them, in the order of the rows."""
    ended = endings(views, rows)
    return [_of_setup(row, ended.get(group_of(row) or "")) for row in rows]


def _of_setup(row: SetupRecord, ended: Ending | None) -> Decided:
    sentence = None
    if ended is not None:
        sentence = ended.sentence
    elif row.verdict is not Verdict.NEAR_MISS:
        sentence = portfolio_sentence(row.reason, row.measured, row.limit)
    return Decided(
        time_ms=row.time_ms,
        symbol=row.symbol,
        strategy=row.strategy,
        verdict=row.verdict,
        reason=row.reason,
        readiness=row.readiness,
        confidence=row.confidence,
        version=row.version,
        setup=row,
        ending=ended,
        sentence=sentence,
        measurements=None,
    )


def _scan(block: ScanBlock, column: int, noted: dict[Symbol, Decided]) -> Decided:
    measurements = {name: float(values[column]) for name, values in block.measurements.items()}
    known = noted.get(block.symbols[column])
    return Decided(
        time_ms=block.time_ms,
        symbol=block.symbols[column],
        strategy=block.strategy,
        verdict=Verdict.SKIP if known is None else known.verdict,
        reason=Reason(int(block.reason[column])) if known is None else known.reason,
        readiness=float(block.readiness[column]),
        confidence=float(block.confidence[column]),
        version=block.version,
        setup=None if known is None else known.setup,
        ending=None if known is None else known.ending,
        sentence=None if known is None else known.sentence,
        measurements=measurements,
    )


def _wanted(block: ScanBlock, where: Where) -> BoolArray:
    """The columns of the symbols that are wanted."""
    if not where.symbols:
        return np.ones(len(block.symbols), dtype=np.bool_)
    return np.array([symbol in where.symbols for symbol in block.symbols], dtype=np.bool_)


def _passes(scan: Decided, where: Where) -> bool:
    reasons, verdicts = where.reasons, where.verdicts
    return (not reasons or scan.reason.code in reasons) and (not verdicts or scan.verdict in verdicts)
