"""Why a symbol was bought or not at one moment: the gates of every strategy, and the portfolio's answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto_tracker.app.markets import BASES, Market
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, from_ms
from crypto_tracker.store.runs import RunStore
from crypto_tracker.store.series import SeriesInfo
from crypto_tracker.strategies.base import Explanation, StrategyEntry
from crypto_tracker.strategies.decisions import verdict
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan

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
    Reason.LOSING_STREAK: "the strategy had lost too often in a row and rests until {limit}",
    Reason.COOLDOWN: "the symbol was stopped out too often in a row and cools down until {limit}",
    Reason.DATA_STALE: "the symbol had no new bar for {measured:.0f} minutes; {limit:.0f} is too long",
    Reason.SYMBOL_LIMIT: "the symbol already had a position or a pending order",
    Reason.SAME_EPISODE: "the rule has been true ever since the last entry; a scan must be false in between",
    Reason.CONFIDENCE_LOW: "the confidence was {measured:.3f}; {limit:.3f} is needed",
    Reason.TRAILING_TOO_TIGHT: (
        "the trailing distance of {measured:.2f} % is below the median bar range of {limit:.2f} %"
    ),
    Reason.OUTRANKED: (
        "another strategy's setup in the same symbol had the confidence {limit:.3f}, this one {measured:.3f}"
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
    Reason.SLIPPAGE_TOO_HIGH: (
        "the order was given, but the next open was too far above the decision's close"
    ),
    Reason.EXPIRED: "the order was given, but no bar filled it in time",
    Reason.CANCELLED: "the order was given and cancelled before anything was filled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioAnswer:
    """What a recorded run did with the scan."""

    run_id: int
    verdict: str
    reason: str
    sentence: str
    rank: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyExplanation:
    """What one strategy saw in its last scan at or before the moment asked for."""

    strategy: str
    timeframe: str
    scan_time_ms: int
    verdict: Verdict
    reason: Reason
    readiness: float
    confidence: float
    measurements: dict[str, float]
    gates: list[Explanation]
    portfolio: PortfolioAnswer | None


def explain_symbol(
    market: Market,
    entries: Sequence[StrategyEntry],
    symbol: Symbol,
    *,
    near_miss_readiness: float,
    version: str,
    runs: RunStore | None,
) -> list[StrategyExplanation]:
    """Every strategy's last scan of `symbol` in the market's span, its gates in the order of their tests."""
    column = market.instruments.symbols.index(symbol)
    told = []
    for entry in entries:
        strategy = entry.strategy
        timeframe = scan_timeframe(strategy, market.base)
        bases = [str(base) for base in BASES if scan_timeframe(strategy, base) is timeframe]
        view = market.views[timeframe]
        last_close = timeframe.floor(market.end_ms)
        for features, detection in scan(
            strategy, view, entry.parameters, last_close - timeframe.ms, last_close
        ):
            row = len(detection.panel) - 1
            reason = Reason(detection.reason[row, column])
            readiness = float(detection.readiness[row, column])
            time_ms = int(detection.panel.close_time_ms[row])
            told.append(
                StrategyExplanation(
                    strategy=strategy.name,
                    timeframe=str(timeframe),
                    scan_time_ms=time_ms,
                    verdict=verdict(reason, readiness, near_miss_readiness),
                    reason=reason,
                    readiness=readiness,
                    confidence=float(detection.confidence[row, column]),
                    measurements={
                        name: float(values[row, column]) for name, values in detection.measurements.items()
                    },
                    gates=strategy.explain(detection, features, entry.parameters, row, column),
                    portfolio=_answer(runs, symbol, strategy.name, time_ms, version, bases),
                )
            )
    return told


def refuse_where_nothing_is_stored(series: Sequence[SeriesInfo], symbol: Symbol, moment_ms: int) -> None:
    """Raise DataError where no stored span of the symbol holds the moment, saying which spans there are.

    A symbol that is not stored at all passes: whoever chooses what to read refuses it with its own advice.
    """
    own = [info for info in series if info.symbol == symbol and info.timeframe in BASES]
    # Up to an hour after the last bar the last scans can still be explained.
    if not own or any(info.start_ms < moment_ms <= info.end_ms + HOUR_MS for info in own):
        return
    spans = ", ".join(
        f"{info.timeframe} from {_minute(info.start_ms)} to {_minute(info.end_ms)}" for info in own
    )
    raise DataError(
        f"{symbol} has no bars at {_minute(moment_ms)} UTC: choose --at from what is stored, {spans}"
    )


def _minute(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M}"


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
    elif reason in {Reason.VOLATILITY_HIGH, Reason.DAY_LOSS, Reason.TRAILING_TOO_TIGHT}:
        shown = {name: 100.0 * float(value) for name, value in shown.items()}
    elif reason in {Reason.LOSING_STREAK, Reason.COOLDOWN} and limit is not None:
        shown["limit"] = f"{from_ms(int(limit)):%Y-%m-%d %H:%M} UTC"
    return _PORTFOLIO_SENTENCES[reason].format(**shown)


def _answer(
    runs: RunStore | None,
    symbol: Symbol,
    strategy: str,
    time_ms: int,
    version: str,
    bases: Sequence[str],
) -> PortfolioAnswer | None:
    """The newest recorded run under this configuration that saw the scan, of the same bars, as a setup."""
    if runs is None:
        return None
    run = runs.latest_covering(symbol, strategy, time_ms, version, bases)
    if run is None:
        return None
    row = runs.setup(run.run_id, symbol, strategy, time_ms)
    if row is None or row.verdict == Verdict.NEAR_MISS:
        return None
    reason = Reason[row.reason.upper()]
    return PortfolioAnswer(
        run_id=run.run_id,
        verdict=row.verdict,
        reason=row.reason,
        sentence=portfolio_sentence(reason, row.measured, row.limit_value),
        rank=row.rank,
    )
