"""What one run, account or configuration did, in the one form in which sides are compared and judged.

A side is cut to whole trading days, so that two that cover different spans can be held against each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import DataError, SimulationError
from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.simulation.driver import trading_days

Setup = tuple[Symbol, str, int]
"""One setup, the same on every side: symbol, strategy, and the close at which was decided (UTC ms)."""

_EPOCH = date(1970, 1, 1).toordinal()
_DRAWN_AT_ONCE = 4_000_000  # numbers of a bootstrap that are held at a time


class Source(StrEnum):
    """Where the evidence is from."""

    RUN = "run"
    BUNDLE = "bundle"
    ACCOUNT = "account"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the portfolio said to a setup, and how sure the strategy was of it.

    `reason` is ACCEPTED where the setup came to a trade; else why it did not.
    """

    reason: Reason
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Days:
    """Marked equity by trading day; arrays (days,).

    Attributes
    ----------
    day : number of each day, as `date.toordinal`
    start : equity before the first of them
    equity, high, low : at the end of the day, highest and lowest at its closes
    drawdown : deepest fall within the day from its highest point, the end of the day before included
    exact : whether `high` and `low` are known; else they are those of the ends of days
    """

    day: IntArray
    start: float
    equity: FloatArray
    high: FloatArray
    low: FloatArray
    drawdown: FloatArray
    exact: bool

    def __len__(self) -> int:
        return len(self.day)

    @property
    def before(self) -> FloatArray:
        """The equity at the end of the day before each."""
        return np.concatenate([[self.start], self.equity[:-1]])

    @property
    def pnl(self) -> FloatArray:
        """What each day gained, in quote currency."""
        return self.equity - self.before

    @property
    def returns(self) -> FloatArray:
        """What each day gained, as a fraction of the equity at its beginning."""
        return np.asarray(self.equity / self.before - 1.0)

    def max_drawdown(self) -> float:
        """Deepest fall of the equity from its highest point so far, the start included."""
        if not len(self):
            return 0.0
        return float(self.shapes.max_drawdown(np.arange(len(self))[None, :])[0])

    @property
    def shapes(self) -> "DayShapes":
        """The days without the order in which they came."""
        before = self.before
        return DayShapes(
            end=self.equity / before, high=self.high / before, low=self.low / before, drawdown=self.drawdown
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayShapes:
    """Days as factors of the equity before them, which can be put together in any order; arrays (days,)."""

    end: FloatArray
    high: FloatArray
    low: FloatArray
    drawdown: FloatArray

    def max_drawdown(self, order: IntArray) -> FloatArray:
        """The deepest fall of each path through days; `order` is (paths, days of a path), the days' rows."""
        equity = np.ones(len(order))
        peak = np.ones(len(order))
        deepest = np.zeros(len(order))
        for step in range(order.shape[1]):
            rows = order[:, step]
            below_earlier_peak = 1.0 - equity * self.low[rows] / peak
            deepest = np.maximum(deepest, np.maximum(below_earlier_peak, self.drawdown[rows]))
            peak = np.maximum(peak, equity * self.high[rows])
            equity = equity * self.end[rows]
        return deepest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Everything that one side has to show.

    Attributes
    ----------
    name : how people call it, such as `run 12`
    start_ms, end_ms : the span [start, end) that it covers
    capital_quote : equity at its start
    configuration : the values that change trades, as the configuration version counts them
    data_hash : digest of the bars that it read; None where that was not recorded
    trades : decided and closed in the span, in the order in which they closed
    open_trades : held at its end, marked at their last closes
    running : decided in the span and closed after it, so that their P&L at its end is not known
    carried : positions held at its start that were opened before
    answers : what became of each setup; None where setups were not recorded
    days : marked equity; None where it is not known
    known_drawdown : deepest fall of the marked equity, where the days do not tell it exactly
    notes : what a reader should know
    """

    name: str
    source: Source
    start_ms: int
    end_ms: int
    base: str
    symbols: tuple[Symbol, ...]
    strategies: tuple[str, ...]
    synthetic: bool
    timezone: str
    capital_quote: float
    configuration: Mapping[str, Any]
    configuration_version: str
    code_version: str
    data_hash: str | None
    trades: tuple[Trade, ...]
    open_trades: tuple[Trade, ...]
    running: tuple[Trade, ...]
    carried: int
    answers: Mapping[Setup, Answer] | None
    days: Days | None
    known_drawdown: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def max_drawdown(self) -> float | None:
        """Deepest fall of the marked equity, a fraction; None where it is not known."""
        if self.known_drawdown is not None:
            return self.known_drawdown
        return None if self.days is None else self.days.max_drawdown()


def setup_of(trade: Trade) -> Setup:
    """The setup that a trade was made on."""
    return trade.symbol, trade.strategy, to_ms(trade.decision_time)


def with_result(trades: tuple[Trade, ...]) -> list[Trade]:
    """The trades that were won or lost: all but those whose data was lost."""
    return [trade for trade in trades if trade.exit_reason is not ExitReason.DATA_LOST]


def carried_note(evidence: Evidence) -> tuple[str, ...]:
    """What to say of positions that a cut has carried in; nothing where there are none."""
    if not evidence.carried:
        return ()
    what = (
        "1 position, which counts"
        if evidence.carried == 1
        else f"{evidence.carried:,} positions, which count"
    )
    return (f"{evidence.name} held {what} in the marked equity and in no trade, when the span began",)


def day_numbers(time_ms: IntArray, timezone: str) -> IntArray:
    """The trading day of each moment, as `date.toordinal`."""
    days = trading_days(time_ms, timezone)
    return days + _EPOCH if timezone == "UTC" else days


def day_start_ms(day: int, timezone: str) -> int:
    """The moment at which a trading day begins."""
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    return to_ms(datetime.combine(date.fromordinal(day), time(0), tzinfo=zone).astimezone(UTC))


def days_of(open_time_ms: IntArray, equity: FloatArray, start: float, timezone: str) -> Days:
    """The days of a curve: equity at the close of each bar, which opened at `open_time_ms`."""
    numbers = day_numbers(open_time_ms, timezone)
    ends = np.append(np.flatnonzero(np.diff(numbers)), len(numbers) - 1) if len(numbers) else numbers
    firsts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(numbers) else numbers
    closing = equity[ends]
    before = np.concatenate([[start], closing[:-1]]) if len(ends) else closing
    falls = np.empty(len(ends))
    for place, (first, last) in enumerate(zip(firsts.tolist(), ends.tolist(), strict=True)):
        walked = np.concatenate([[before[place]], equity[first : last + 1]])
        falls[place] = float(np.max(1.0 - walked / np.maximum.accumulate(walked)))
    return Days(
        day=numbers[ends],
        start=start,
        equity=closing,
        high=np.maximum.reduceat(equity, firsts) if len(ends) else closing,
        low=np.minimum.reduceat(equity, firsts) if len(ends) else closing,
        drawdown=falls,
        exact=True,
    )


def whole_days(evidence: Evidence) -> tuple[int, int]:
    """The first whole trading day that the evidence covers, and the day after the last one."""
    bounds = np.array([evidence.start_ms, evidence.end_ms])
    first, last = (int(day) for day in day_numbers(bounds, evidence.timezone))
    if day_start_ms(first, evidence.timezone) < evidence.start_ms:
        first += 1
    return first, last


def days_inside(evidence: Evidence, start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
    """The whole trading days of the evidence inside [start_ms, end_ms), as `whole_days` has them.

    Raises DataError where there is none.
    """
    first, stop = whole_days(evidence)
    zone = evidence.timezone
    if start_ms is not None:
        day = int(day_numbers(np.array([start_ms]), zone)[0])
        first = max(first, day + (day_start_ms(day, zone) < start_ms))
    if end_ms is not None:
        stop = min(stop, int(day_numbers(np.array([end_ms]), zone)[0]))
    if first >= stop:
        raise DataError(
            f"{evidence.name} ({_span(evidence.start_ms, evidence.end_ms)}) has no whole trading day "
            f"({zone}) in the span: choose another --timerange"
        )
    return first, stop


def cut(evidence: Evidence, first: int, stop: int, *, decided_after_start: bool = False) -> Evidence:
    """The evidence of the whole trading days [first, stop), all of which it covers.

    Trades belong to the moment at which they were decided: one that was decided before the cut is carried in
    and counts in the marked equity alone, one that closes after it is still running. With
    `decided_after_start` the very first moment is left out: a side that begins there decides nothing then.
    """
    zone = evidence.timezone
    start_ms, end_ms = day_start_ms(first, zone), day_start_ms(stop, zone)
    if start_ms < evidence.start_ms or end_ms > evidence.end_ms or start_ms >= end_ms:
        raise DataError(
            f"{evidence.name} covers {_span(evidence.start_ms, evidence.end_ms)} and can not be cut to "
            f"{_span(start_ms, end_ms)}: choose whole days ({zone}) inside"
        )
    if (start_ms, end_ms) == (evidence.start_ms, evidence.end_ms) and not decided_after_start:
        return evidence
    if evidence.carried:
        raise SimulationError(f"{evidence.name} was cut before, and what it carried can not be told any more")

    def inside(decided_ms: int) -> bool:
        return start_ms + decided_after_start <= decided_ms < end_ms

    everything = (*evidence.trades, *evidence.open_trades, *evidence.running)
    mine = [trade for trade in everything if inside(to_ms(trade.decision_time))]
    to_the_end = end_ms == evidence.end_ms
    still = [trade for trade in mine if not _closed_before(trade, end_ms)]
    return replace(
        evidence,
        start_ms=start_ms,
        end_ms=end_ms,
        capital_quote=_equity_at(evidence, first),
        trades=tuple(trade for trade in mine if _closed_before(trade, end_ms)),
        open_trades=tuple(trade for trade in still if to_the_end and trade in evidence.open_trades),
        running=tuple(trade for trade in still if not to_the_end or trade not in evidence.open_trades),
        carried=sum(
            to_ms(trade.decision_time) < start_ms and not _closed_before(trade, start_ms)
            for trade in everything
        ),
        answers=(
            None
            if evidence.answers is None
            else {key: answer for key, answer in evidence.answers.items() if inside(key[2])}
        ),
        days=None if evidence.days is None else _cut_days(evidence.days, first, stop),
        known_drawdown=None,
    )


def bootstrap_of_sums(
    parts: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    draws: int,
    seed: int,
    confidence: float,
) -> tuple[float, float]:
    """Percentile interval of a figure that is made of sums over days, where whole days are drawn.

    `parts` is (days, sums), what each day adds to each sum; `statistic` makes the figures of (draws, sums).
    Draws in which the figure does not exist (NaN) are left out; the ends are among the values drawn, and may
    be infinite. Source: as `statistics.bootstrap_by_group`.
    """
    generator = np.random.default_rng(seed)
    found = []
    step = max(1, _DRAWN_AT_ONCE // len(parts))
    shares = np.full(len(parts), 1.0 / len(parts))
    for first in range(0, draws, step):
        counts = generator.multinomial(len(parts), shares, size=min(step, draws - first))
        found.append(statistic(counts @ parts))
    values = np.concatenate(found)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0], method="inverted_cdf")
    return float(low), float(high)


def _cut_days(days: Days, first: int, stop: int) -> Days:
    keep = (days.day >= first) & (days.day < stop)
    earlier = days.equity[days.day < first]
    return replace(
        days,
        day=days.day[keep],
        start=float(earlier[-1]) if len(earlier) else days.start,
        equity=days.equity[keep],
        high=days.high[keep],
        low=days.low[keep],
        drawdown=days.drawdown[keep],
    )


def _equity_at(evidence: Evidence, first: int) -> float:
    """The equity before a day: marked where it is known, else the capital with all that had closed."""
    if evidence.days is not None:
        return _cut_days(evidence.days, first, first + 1).start
    start_ms = day_start_ms(first, evidence.timezone)
    before = (trade for trade in evidence.trades if _closed_before(trade, start_ms))
    return evidence.capital_quote + float(sum(trade.pnl_quote for trade in before))


def _closed_before(trade: Trade, time_ms: int) -> bool:
    return trade.exit_time is not None and to_ms(trade.exit_time) < time_ms


def _span(start_ms: int, end_ms: int) -> str:
    moments = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=each) for each in (start_ms, end_ms))
    return " to ".join(f"{moment:%Y-%m-%d %H:%M}" for moment in moments) + " UTC"
