"""The result of a backtest as the JSON document that `--json` and the bundle hold."""

from dataclasses import asdict
from typing import Any

from crypto_tracker.app.documents import trade_document
from crypto_tracker.simulation.report import Report

SECONDS_DIGITS = 4


def document(found: Report) -> dict[str, Any]:
    """Everything in a report but the curve that pages draw; the names are those of docs/figures.md."""
    about = asdict(found.about)
    about["seconds"] = {name: round(value, SECONDS_DIGITS) for name, value in about["seconds"].items()}
    return {
        **asdict(found.figures),
        **about,
        "exposure_max": found.exposure_max,
        "time_in_market": found.time_in_market,
        "marked": asdict(found.marked),
        "closed": asdict(found.closed),
        "buy_and_hold": None if found.buy_and_hold is None else asdict(found.buy_and_hold),
        "deflated": None if found.deflated is None else asdict(found.deflated),
        "trades_closed": asdict(found.trades_closed),
        "trades_marked": asdict(found.trades_marked),
        "costs": asdict(found.costs),
        "by_tier": [asdict(group) for group in found.by_tier],
        "by_regime": [asdict(group) for group in found.by_regime],
        "by_slow_regime": [asdict(group) for group in found.by_slow_regime],
        "by_entry_tag": [asdict(group) for group in found.by_entry_tag],
        "market_changes": found.market_changes,
        "rejected_by_strategy": found.rejected_by_strategy,
        "breakdown": {period: [asdict(row) for row in rows] for period, rows in found.breakdown.items()},
        "trades": [trade_document(trade) for trade in found.trades],
        "open_trades": [trade_document(trade) for trade in found.open_trades],
    }
