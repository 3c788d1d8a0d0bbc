"""The log of an account as pages show it: the newest lines first, what repeats told once."""

from collections.abc import Sequence

from crypto_tracker.app.endings import group_of
from crypto_tracker.app.screen.account_log import (
    LOG_LINES,
    Seen,
    account_log,
    decision_lines,
    halt_lines,
    near_lines,
    people_lines,
    regime_lines,
)
from crypto_tracker.app.screen.snapshot import DecisionFacts, Kind
from crypto_tracker.app.serving.follower import RegimeSpan
from crypto_tracker.app.serving.log_pages import Window, floor_of, hour_floor, line_order, window_of
from crypto_tracker.app.serving.setup_columns import SetupColumns
from crypto_tracker.core.decisions import Regime, Verdict
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import MINUTE_MS, to_ms
from crypto_tracker.desk.source import DecisionFilter, LogFilter
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.store.trading_views import TradingViews

SETUPS_OF_A_WINDOW = 1_000
ROWS_OF_A_WINDOW = 200
"""Of trades that closed, of regimes, of people's commands, and of halts."""

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
    lines.sort(key=line_order)
    return lines[: 2 * LOG_LINES]


def log_window(
    records: TradingViews,
    setups: SetupColumns,
    closed: Sequence[Trade],
    regimes: Sequence[RegimeSpan],
    where: LogFilter,
    before_ms: int,
    *,
    seen: Seen,
) -> Window:
    """The lines before a moment, as far back as a bounded number of rows tells; `closed` trades among them.

    Of one symbol only what is of it is told: no regime, no person, no halt.
    """
    wanted = DecisionFilter(symbols=where.symbols, end_ms=before_ms)
    keys = setups.keys(setups.page(wanted, limit=SETUPS_OF_A_WINDOW))[::-1]
    rows = records.setups_keyed(keys)
    decided = [row for row in rows if row.verdict is not Verdict.NEAR_MISS]
    orders = records.orders([group for row in decided if (group := group_of(row)) is not None])
    facts = [
        *decision_lines(decided, orders, seen),
        *near_lines([row for row in rows if row.verdict is Verdict.NEAR_MISS], seen),
    ]
    floors = [
        hour_floor([key[0] for key in keys], SETUPS_OF_A_WINDOW, before_ms),
        floor_of(
            [to_ms(trade.exit_time or trade.entry_time) for trade in closed], ROWS_OF_A_WINDOW, before_ms
        ),
    ]
    if not where.symbols:
        changes = _regime_changes(regimes, before_ms)[-ROWS_OF_A_WINDOW:]
        answers = records.answers(limit=ROWS_OF_A_WINDOW, before_ms=before_ms)
        halts = records.halts(limit=ROWS_OF_A_WINDOW, before_ms=before_ms)
        facts += [*regime_lines(changes), *people_lines(answers), *halt_lines(halts)]
        floors += [
            floor_of([time_ms for time_ms, *_ in each], ROWS_OF_A_WINDOW, before_ms)
            for each in (
                [(time_ms + MINUTE_MS,) for time_ms, _ in changes],
                [(each.time_ms,) for each in answers],
                [(each.time_ms,) for each in halts],
            )
        ]
    return window_of([*map(_line, facts), *map(sold_line, closed)], floors, before_ms)


def _regime_changes(spans: Sequence[RegimeSpan], before_ms: int) -> list[tuple[int, Regime]]:
    """The minutes before a moment whose close was of another regime than the one before."""
    changes = []
    for number, (start_ms, end_ms, regime) in enumerate(spans):
        changes.append((start_ms, Regime(regime)))
        goes_on = number + 1 < len(spans) and spans[number + 1][0] == end_ms
        if not goes_on:
            changes.append((end_ms, Regime.NORMAL))
    return [change for change in changes if change[0] + MINUTE_MS < before_ms]


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
