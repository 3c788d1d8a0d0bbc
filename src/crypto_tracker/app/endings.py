"""What became of a setup, in words: the portfolio's answer, and how its order and its trade ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.store.trading_records import OrderRecord, SetupRecord
from crypto_tracker.store.trading_views import TradingViews

_PORTFOLIO_SENTENCES = {
    Reason.ACCEPTED: "an order was placed",
    Reason.UNSUPPORTED_SIDE: "the setup asks for a short position; this portfolio only buys",
    Reason.PAUSED: "a person had paused all entries",
    Reason.BLOCKED: "a person had blocked the symbol",
    Reason.STRATEGY_OFF: "the strategy was switched off by configuration or by a person",
    Reason.VOLATILITY_HIGH: (
        "the strategy was switched off: the market's volatility, now {measured:.2f} %, was too high"
    ),
    Reason.REGIME_PANIC: "the market was in PANIC, which opens nothing",
    Reason.DAY_LOSS: "the day had lost {measured:.2f} %; at {limit:g} % nothing is opened until the day ends",
    Reason.DRAWDOWN: (
        "equity was {measured:.2f} % below its peak; at {limit:g} % nothing is opened until a person resumes"
    ),
    Reason.LOSING_STREAK: "the strategy had lost too often in a row and rests until {limit}",
    Reason.COOLDOWN: "the symbol was stopped out too often in a row and cools down until {limit}",
    Reason.DATA_STALE: "the symbol had no new bar for {measured:.0f} minutes; {limit:.0f} is too long",
    Reason.DATA_DOUBTFUL: "the quality of the symbol's bars was too low to open anything on them",
    Reason.NOT_IN_UNIVERSE: "the symbol did not belong to the universe of that day",
    Reason.SYMBOL_LIMIT: "the symbol already had a position or a pending order",
    Reason.SAME_EPISODE: "the rule has been true ever since the last entry; a scan must be false in between",
    Reason.CONFIDENCE_LOW: "the confidence was {measured:.3f}; {limit:.3f} is needed",
    Reason.TRAILING_TOO_TIGHT: (
        "the trailing distance of {measured:.2f} % is below the median bar range of {limit:.2f} %"
    ),
    Reason.OUTRANKED: (
        "another strategy's setup in the same symbol had the confidence {limit:.3f}, this one {measured:.3f}"
    ),
    Reason.NO_EDGE: (
        "a bet with the confidence {measured:.3f} does not pay: target, stop and costs break even at "
        "{limit:.3f}"
    ),
    Reason.SIZE_TOO_SMALL: "one buy would have been {measured:.2f}; the smallest order is {limit:.2f}",
    Reason.STRATEGY_LIMIT: "the strategy held {measured:.0f} positions, as many as it may ({limit:.0f})",
    Reason.PORTFOLIO_LIMIT: "the portfolio held {measured:.0f} positions, as many as it may ({limit:.0f})",
    Reason.STRATEGY_EXPOSURE: (
        "with it the strategy would have had {measured:,.2f} at work; {limit:,.2f} is the most"
    ),
    Reason.CONCENTRATION: "it would have put {measured:,.2f} into one symbol; {limit:,.2f} is the most",
    Reason.SHARE_USED: "with it the strategy would have used {measured:,.2f} of its share of {limit:,.2f}",
    Reason.NO_CASH: "it would have left {measured:,.2f} free; the reserve is {limit:,.2f}",
    Reason.CORRELATION: (
        "its hourly returns went with those of what is held by {measured:.3f} on average; {limit:g} is the "
        "most"
    ),
    Reason.SLIPPAGE_TOO_HIGH: (
        "the order was given, but the next open was too far above the decision's close"
    ),
    Reason.EXPIRED: "the order was given, but no bar filled it in time",
    Reason.CANCELLED: "the order was given and cancelled before anything was filled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of a setup that was given an order.

    `status` is that of its market entry; `reason` is ACCEPTED unless it ended without a fill; `trade` is the
    closed trade, None before.
    """

    trade_group_id: str
    status: str
    reason: Reason
    trade: Trade | None
    sentence: str


def ending(views: TradingViews, setup: SetupRecord) -> Ending | None:
    """What became of one setup; None where no order was given."""
    return endings(views, [setup]).get(_group(setup))


def endings(views: TradingViews, setups: Sequence[SetupRecord]) -> dict[str, Ending]:
    """What became of the setups that were given an order, by trade group."""
    groups = [_group(setup) for setup in setups if setup.verdict is Verdict.TAKE]
    orders, trades = views.orders(groups), views.closed_trades(groups)
    held = {position.trade.trade_group_id for position in views.positions()} if orders else set()
    return {
        group: _ending(group, found[0], trades.get(group), held=group in held)
        for group, found in orders.items()
    }


def group_of(setup: SetupRecord) -> str | None:
    """The trade group of a setup that was given an order, None for any other."""
    return _group(setup) if setup.verdict is Verdict.TAKE else None


def _group(setup: SetupRecord) -> str:
    return trade_group_id(setup.symbol, setup.strategy, from_ms(setup.time_ms))


def _ending(group: str, entry: OrderRecord, trade: Trade | None, *, held: bool) -> Ending:
    reason = Reason.ACCEPTED
    if trade is not None:
        sentence = f"an order was placed and filled; {trade_ending(trade)}"
    elif held:
        sentence = "an order was placed and filled; the position is held"
    elif entry.ended_ms is None:
        sentence = "an order was placed, and waits to be filled"
    else:
        reason = entry.reason or Reason.CANCELLED
        sentence = portfolio_sentence(reason, None, None)
    return Ending(trade_group_id=group, status=entry.status, reason=reason, trade=trade, sentence=sentence)


def trade_ending(trade: Trade) -> str:
    """How a closed trade ended, and what it made."""
    made = f"{trade.pnl_quote:+,.2f} ({100 * trade.return_net:+.2f} %)"
    return f"the trade ended by {trade.exit_reason.code.replace('_', ' ')} with {made}"


def portfolio_sentence(reason: Reason, measured: float | None, limit: float | None) -> str:
    """The portfolio's reason in words and numbers (amounts, counts, fractions, or times in milliseconds)."""
    shown: dict[str, float | str] = {
        "measured": float("nan") if measured is None else measured,
        "limit": float("nan") if limit is None else limit,
    }
    if reason is Reason.DATA_STALE:
        if measured is None:
            return "the symbol had no bar in the span yet"
        shown = {name: float(value) / MINUTE_MS for name, value in shown.items()}
    elif reason in {Reason.VOLATILITY_HIGH, Reason.DAY_LOSS, Reason.DRAWDOWN, Reason.TRAILING_TOO_TIGHT}:
        shown = {name: 100.0 * float(value) for name, value in shown.items()}
    elif reason in {Reason.LOSING_STREAK, Reason.COOLDOWN} and limit is not None:
        shown["limit"] = f"{from_ms(int(limit)):%Y-%m-%d %H:%M} UTC"
    return _PORTFOLIO_SENTENCES[reason].format(**shown)
