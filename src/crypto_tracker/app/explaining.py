"""Why a symbol was bought or not at one moment: the gates of every strategy, and the portfolio's answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crypto_tracker.app.endings import ending, portfolio_sentence
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.research.market import Market
from crypto_tracker.store.choice import BASES
from crypto_tracker.store.runs import RunStore
from crypto_tracker.store.series import SeriesInfo
from crypto_tracker.store.trading_views import TradingViews, Where
from crypto_tracker.strategies.base import Explanation, StrategyEntry
from crypto_tracker.strategies.decisions import verdict
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One scan of one strategy, and the bases on which that strategy scans the same bars."""

    symbol: Symbol
    strategy: str
    time_ms: int
    bases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioAnswer:
    """What a recorded run, or a trading account, did with the scan."""

    run_id: int | None
    account: str | None
    verdict: str
    reason: str
    sentence: str
    rank: int | None

    @property
    def source(self) -> str:
        """Whose answer it is."""
        return f"run {self.run_id}" if self.account is None else f"account {self.account}"


Answers = Callable[[Scan], PortfolioAnswer | None]
"""Somewhere to look for the portfolio's answer; None where it has none."""


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
    answers: Sequence[Answers],
) -> list[StrategyExplanation]:
    """Every strategy's last scan of `symbol` in the market's span, its gates in the order of their tests.

    The portfolio's answer is the first that one of `answers` has.
    """
    column = market.instruments.symbols.index(symbol)
    told = []
    for entry in entries:
        strategy = entry.strategy
        timeframe = scan_timeframe(strategy, market.base)
        bases = tuple(str(base) for base in BASES if scan_timeframe(strategy, base) is timeframe)
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
                    portfolio=_first_answer(
                        answers,
                        Scan(symbol=symbol, strategy=strategy.name, time_ms=time_ms, bases=bases),
                    ),
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


def answers_of_runs(runs: RunStore, version: str) -> Answers:
    """The newest recorded run under this configuration that saw the scan, of the same bars, as a setup."""

    def answer(scan: Scan) -> PortfolioAnswer | None:
        run = runs.latest_covering(scan.symbol, scan.strategy, scan.time_ms, version, scan.bases)
        if run is None:
            return None
        row = runs.setup(run.run_id, scan.symbol, scan.strategy, scan.time_ms)
        if row is None or row.verdict == Verdict.NEAR_MISS:
            return None
        reason = Reason[row.reason.upper()]
        return PortfolioAnswer(
            run_id=run.run_id,
            account=None,
            verdict=row.verdict,
            reason=row.reason,
            sentence=portfolio_sentence(reason, row.measured, row.limit_value),
            rank=row.rank,
        )

    return answer


def answers_of_account(name: str, views: TradingViews, version: str) -> Answers:
    """What a trading account did with the scan, where it stepped that minute under this configuration."""
    account = views.account()

    def answer(scan: Scan) -> PortfolioAnswer | None:
        if str(Timeframe.M1) not in scan.bases or views.version_at(scan.time_ms - MINUTE_MS) != version:
            return None
        if scan.symbol not in account.symbols or scan.strategy not in account.strategies:
            return None
        where = Where(
            symbols=(scan.symbol,),
            strategies=(scan.strategy,),
            verdicts=(Verdict.TAKE, Verdict.SKIP),
            start_ms=scan.time_ms,
            end_ms=scan.time_ms + 1,
        )
        for row in views.setups(where):
            ended = ending(views, row)
            return PortfolioAnswer(
                run_id=None,
                account=name,
                verdict=row.verdict,
                reason=(row.reason if ended is None else ended.reason).code,
                sentence=ended.sentence
                if ended is not None
                else portfolio_sentence(row.reason, row.measured, row.limit),
                rank=row.rank,
            )
        return None

    return answer


def _first_answer(answers: Sequence[Answers], scan: Scan) -> PortfolioAnswer | None:
    return next((found for found in (ask(scan) for ask in answers) if found is not None), None)
