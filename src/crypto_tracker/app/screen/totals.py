"""Sums over all records of an account, carried on from look to look so that none reads them all."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection, Float, case, cast, func, select

from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.types import Money

ROWS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the trades below `next_trade` and the minutes before `next_ms` come to.

    `complete` says whether that was everything when it was last looked; until then a face shows no number.
    """

    next_trade: int
    next_ms: int
    wins: int  # trades with P&L > 0
    fees_quote: float
    slippage_quote: float
    peak_quote: float
    complete: bool

    @classmethod
    def of_nothing(cls, *, start_ms: int, capital_quote: float) -> "Totals":
        """Those of an account that has not traded yet."""
        return cls(
            next_trade=0,
            next_ms=start_ms,
            wins=0,
            fees_quote=0.0,
            slippage_quote=0.0,
            peak_quote=capital_quote,
            complete=False,
        )

    def carried_on(self, connection: Connection, *, rows_at_once: int = ROWS_AT_ONCE) -> "Totals":
        """With what was recorded since, of at most `rows_at_once` trades and as many minutes."""
        columns = tables.trades.c
        newer = (
            select(columns.trade_number, columns.pnl_quote, columns.fee_quote, columns.slippage_quote)
            .where(columns.trade_number >= self.next_trade)
            .order_by(columns.trade_number)
            .limit(rows_at_once)
            .subquery()
            .c
        )
        trades = connection.execute(
            select(
                func.count(),
                func.max(newer.trade_number),
                func.sum(case((cast(newer.pnl_quote, Float) > 0.0, 1), else_=0)),
                func.sum(newer.fee_quote, type_=Money),
                func.sum(newer.slippage_quote, type_=Money),
            )
        ).one()
        minutes = tables.minutes.c
        later = (
            select(minutes.time_ms, minutes.equity_quote)
            .where(minutes.time_ms >= self.next_ms)
            .order_by(minutes.time_ms)
            .limit(rows_at_once)
            .subquery()
            .c
        )
        stepped = connection.execute(
            select(func.count(), func.max(later.time_ms), func.max(later.equity_quote))
        ).one()
        carried = replace(self, complete=trades[0] < rows_at_once and stepped[0] < rows_at_once)
        if trades[0]:
            carried = replace(
                carried,
                next_trade=trades[1] + 1,
                wins=self.wins + trades[2],
                fees_quote=self.fees_quote + float(trades[3]),
                slippage_quote=self.slippage_quote + float(trades[4]),
            )
        if stepped[0]:
            carried = replace(
                carried, next_ms=stepped[1] + 1, peak_quote=max(self.peak_quote, float(stepped[2]))
            )
        return carried
