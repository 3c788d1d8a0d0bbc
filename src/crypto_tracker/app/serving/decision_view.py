"""Setups and near misses of an account as pages show them, with what became of them."""

from collections.abc import Mapping, Sequence

from crypto_tracker.app.decided import Decided, decided
from crypto_tracker.app.screen import words
from crypto_tracker.app.serving.measured import Measured, key_of, measured
from crypto_tracker.app.serving.trade_view import trade_view
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.store.trading_views import TradingViews


def decision_views(
    records: TradingViews, rows: Sequence[SetupRecord], tiers: Mapping[Symbol, str], until_ms: int
) -> list[views.Decision]:
    """Setups and near misses in the order of the rows."""
    found = decided(records, rows)
    # Where the strategy itself said no, its sentence is made of what it measured.
    seen = measured(
        records, [each.setup for each in found if each.sentence is None and each.setup is not None]
    )
    return [_decision(each, tiers, seen, until_ms) for each in found]


def count_views(counts: Mapping[tuple[str, str], int]) -> views.ReasonCounts:
    """How often each answer was given, the most frequent first."""
    listed = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return views.ReasonCounts(
        items=[
            views.ReasonCount.model_validate(
                {
                    "verdict": verdict,
                    "reason": reason,
                    "words": words.stopped(Reason[reason.upper()]),
                    "count": count,
                }
            )
            for (verdict, reason), count in listed
        ]
    )


def _decision(each: Decided, tiers: Mapping[Symbol, str], seen: Measured, until_ms: int) -> views.Decision:
    setup = each.setup
    sentence = each.sentence
    if sentence is None:  # the strategy itself said no
        sentence = words.almost(each.reason, {} if setup is None else seen.get(key_of(setup), {}))
    return views.Decision.model_validate(
        {
            "time_ms": each.time_ms,
            "symbol": str(each.symbol),
            "strategy": each.strategy,
            "verdict": each.verdict.value,
            "reason": each.reason.code,
            "sentence": sentence,
            "readiness": each.readiness,
            "confidence": each.confidence,
            "rank": None if setup is None else setup.rank,
            "fallback": setup is not None and setup.fallback,
            "measured": None if setup is None else setup.measured,
            "limit": None if setup is None else setup.limit,
            "configuration_version": each.version,
            "order": _ending(each, tiers, until_ms),
        }
    )


def _ending(each: Decided, tiers: Mapping[Symbol, str], until_ms: int) -> views.OrderEnding | None:
    ended = each.ending
    if ended is None:
        return None
    trade = ended.trade
    return views.OrderEnding(
        trade_group_id=ended.trade_group_id,
        status=ended.status,
        reason=None if ended.reason is Reason.ACCEPTED else ended.reason.code,
        trade=None
        if trade is None
        else trade_view(trade, tier=tiers[each.symbol], version=each.version, until_ms=until_ms),
    )
