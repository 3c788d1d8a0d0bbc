"""The log of an account as pages show it: the newest lines first, what repeats told once."""

from collections.abc import Sequence

from crypto_tracker.app.screen.account_log import LOG_LINES, Seen, account_log
from crypto_tracker.app.screen.snapshot import DecisionFacts, Kind
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.store.trading_views import TradingViews

_KINDS = {
    Kind.TAKEN: "buy",
    Kind.REFUSED: "skip",
    Kind.NEAR_MISS: "near",
    Kind.MARKET: "market",
    Kind.PERSON: "told",
    Kind.HALT: "halt",
}


def log_lines(
    records: TradingViews, closed: Sequence[Trade], *, next_setup: int, cursor_ms: int, seen: Seen
) -> list[views.LogLine]:
    """All lines that are kept; `closed` are the newest trades. A bounded number of rows, whatever its age."""
    facts = account_log(records.connection, records, next_setup=next_setup, cursor_ms=cursor_ms, seen=seen)
    lines = [*map(_line, facts), *map(sold_line, closed)]
    lines.sort(key=lambda line: -line.time_ms)
    return lines[: 2 * LOG_LINES]


def _line(facts: DecisionFacts) -> views.LogLine:
    return views.LogLine.model_validate(
        {
            "time_ms": facts.time_ms,
            "kind": _KINDS[facts.kind],
            "symbol": None if facts.symbol is None else str(facts.symbol),
            "who": facts.coin,
            "strategy": facts.strategy or None,
            "words": facts.words,
        }
    )


def sold_line(trade: Trade) -> views.LogLine:
    """A trade that closed, at the time that lists of trades name: the open of the bar that sold it."""
    exit_ms = to_ms(trade.exit_time or trade.entry_time)
    reason = trade.exit_reason.code.replace("_", " ")
    return views.LogLine(
        time_ms=exit_ms,
        kind="close",
        symbol=str(trade.symbol),
        who=trade.symbol.base,
        strategy=trade.strategy,
        words=f"sold by {reason}: {float(trade.pnl_quote):+,.2f} ({100 * trade.return_net:+.2f} %)",
    )
