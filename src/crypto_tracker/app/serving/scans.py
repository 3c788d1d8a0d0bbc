"""The scans of one strategy and symbol as columns: what each said, in words."""

import math
from collections.abc import Mapping, Sequence

from crypto_tracker.app.endings import portfolio_sentence
from crypto_tracker.app.screen.words import almost, lacks
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scope import Scanned, Scope
from crypto_tracker.app.serving.strategy_view import facts_of, strategy_of, timeframe_of
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.source import SCANS_MAX
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.strategies.decisions import ScanColumn, decode_columns, verdict

_KNOWN_MOST = 3_000  # scans of one symbol and strategy
_KNOWN_KEPT = 24

_WORDS = {
    Reason.ACCEPTED: "every gate was passed",
    Reason.NO_BAR: "nobody traded in this bar",
    Reason.NOT_READY: "bars of the warm-up, or volumes, are missing",
}


class _Known(Recent[dict[int, ScanColumn]]):
    """The scans that were looked at lately, of each symbol and strategy by their time."""

    def __init__(self) -> None:
        super().__init__(_KNOWN_KEPT)


def scans(
    scope: Scope,
    scanned: Scanned,
    symbol: Symbol,
    strategy: str,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> views.Scans:
    """The last `limit` scans that closed in [start_ms, end_ms) and by the account's present, oldest first."""
    if not 1 <= limit <= SCANS_MAX:
        raise UsageError(f"limit is {limit}: ask for 1 to {SCANS_MAX} scans")
    facts_of(scope, symbol)
    timeframe = timeframe_of(scope, strategy_of(scope, strategy))
    times = closes(scope, timeframe, start_ms, end_ms)[-limit:]
    found = read_columns(scope, scanned, symbol, strategy, times)
    answers: Mapping[int, SetupRecord] = {}
    if found:
        first_ms, last_ms = found[0].time_ms, found[-1].time_ms
        rows = scanned.setups_of(symbol, (strategy,), first_ms, last_ms + 1, len(found))
        answers = {row.time_ms: row for row in rows}
    names = list(dict.fromkeys(name for scan in found for name in scan.measurements))
    judged = [judge(scope, scan, answers.get(scan.time_ms)) for scan in found]
    return views.Scans(
        symbol=str(symbol),
        strategy=strategy,
        timeframe=str(timeframe),
        time_ms=[scan.time_ms for scan in found],
        setup=[scan.reason == Reason.ACCEPTED for scan in found],
        verdict=[said.value for said, _, _ in judged],
        reason=[reason.code for _, reason, _ in judged],
        lacks=[lacking(Reason(scan.reason), scan.measurements) for scan in found],
        sentence=[sentence for _, _, sentence in judged],
        readiness=[scan.readiness for scan in found],
        confidence=[scan.confidence for scan in found],
        measurements={name: [scan.measurements.get(name, math.nan) for scan in found] for name in names},
        note=None if found else "no scan was recorded in this span",
    )


def closes(scope: Scope, timeframe: Timeframe, start_ms: int | None, end_ms: int | None) -> range:
    """The closes of the book in [start_ms, end_ms) at which a strategy of a timeframe scans."""
    first_ms = max(scope.start_ms, 0 if start_ms is None else start_ms)
    stop_ms = scope.until_ms + 1 if end_ms is None else min(end_ms, scope.until_ms + 1)
    return range(timeframe.floor(first_ms + timeframe.ms - 1), stop_ms, timeframe.ms)


def read_columns(
    scope: Scope, scanned: Scanned, symbol: Symbol, strategy: str, times_ms: Sequence[int]
) -> list[ScanColumn]:
    """The recorded scans of one symbol at these closes, in order; those without a record are left out.

    A scan never changes, so those that were looked at lately are not read again.
    """
    kept, key = scope.memory.of(_Known), (symbol, strategy)
    known = kept.made(key, dict)
    there = {time_ms: known[time_ms] for time_ms in times_ms if time_ms in known}
    lacking = [time_ms for time_ms in times_ms if time_ms not in there]
    if lacking:
        blocks = scanned.encoded_blocks(strategy, lacking)
        columns = decode_columns((block for _, block in blocks), symbol)
        fresh = {column.time_ms: column for column in columns if column is not None}
        there |= fresh
        if len(known) + len(fresh) > _KNOWN_MOST:
            kept.put(key, dict(fresh))
        else:
            known.update(fresh)
    return [there[time_ms] for time_ms in times_ms if time_ms in there]


def judge(scope: Scope, scan: ScanColumn, answer: SetupRecord | None) -> tuple[Verdict, Reason, str]:
    """The verdict of a scan, its reason, and both in words: the portfolio's where it was asked."""
    if answer is not None and answer.verdict is not Verdict.NEAR_MISS:
        return (
            answer.verdict,
            answer.reason,
            portfolio_sentence(answer.reason, answer.measured, answer.limit),
        )
    reason = Reason(scan.reason)
    said = verdict(reason, scan.readiness, scope.near_miss_readiness)
    return said, reason, scan_sentence(reason, scan.measurements)


def lacking(reason: Reason, measurements: Mapping[str, float]) -> str | None:
    """What a scan lacked of a setup, in one or two words; None of a setup, whatever became of it."""
    return None if reason is Reason.ACCEPTED else lacks(reason, measurements)


def scan_sentence(reason: Reason, measurements: Mapping[str, float]) -> str:
    """What the strategy itself said, in a few words."""
    return _WORDS.get(reason) or almost(reason, measurements)
