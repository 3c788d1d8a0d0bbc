"""The proof that a computation does not look ahead, and that its declared warm-up suffices.

Nothing here knows features or strategies: the caller hands in a function from bars to named arrays. Three
questions are put to it.

- `look_ahead`: is the value at t from bars known by t the value at t from longer history, bit for bit? Asked
  by cutting the bars at many moments, and by disturbing all bars that close after a moment.
- `depend_on_span`: does an anchored block give the same bits whatever span is asked for?
- `need_more_history`: do values computed with the declared warm-up agree with values from twice as much?

Each answers with what it found: nothing, or the first failing value of each array, with both numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms
from crypto_tracker.features.blocks import closing_by


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """Closed bars of some symbols and of the reference coin, by timeframe, as a computation may read them."""

    panels: Mapping[Timeframe, Panel]
    reference: Mapping[Timeframe, Panel]

    def known_by(self, time_ms: int) -> "History":
        """Only the bars that have closed at `time_ms`."""
        return self._map(lambda panel: closing_by(panel, int(np.iinfo(np.int64).min), time_ms))

    def disturbed_after(self, time_ms: int, seed: int) -> "History":
        """The same bars up to `time_ms`, and quite other ones after it: other prices, volumes and gaps.

        Prices jump to three times their level where `seed` is even and to a third where it is odd, so that
        two neighbouring seeds move every maximum and every minimum.
        """
        rng = np.random.default_rng(seed)
        jump = 1.0 / 3.0 if seed % 2 else 3.0
        return self._map(lambda panel: _disturbed(panel, time_ms, jump, rng))

    def reaching_back(
        self,
        warmup: Mapping[Timeframe, int],
        reference_warmup: Mapping[Timeframe, int],
        *,
        anchor_ms: int,
        end_ms: int,
    ) -> "History":
        """The declared timeframes, from `warmup` bars before `anchor_ms` to the last close by `end_ms`."""

        def cut(panels: Mapping[Timeframe, Panel], bars: Mapping[Timeframe, int]) -> dict[Timeframe, Panel]:
            return {
                timeframe: closing_by(
                    panels[timeframe], timeframe.floor(anchor_ms) - count * timeframe.ms, end_ms
                )
                for timeframe, count in bars.items()
                if timeframe in panels
            }

        return History(panels=cut(self.panels, warmup), reference=cut(self.reference, reference_warmup))

    def _map(self, change: Callable[[Panel], Panel]) -> "History":
        return History(
            panels={timeframe: change(panel) for timeframe, panel in self.panels.items()},
            reference={timeframe: change(panel) for timeframe, panel in self.reference.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outputs:
    """What a computation yields: named arrays (bars, symbols) of any type, and the close time of each row."""

    close_time_ms: IntArray
    symbols: tuple[Symbol, ...]
    values: Mapping[str, RecordArray]

    def __post_init__(self) -> None:
        shape = (len(self.close_time_ms), len(self.symbols))
        for name, values in self.values.items():
            if values.shape != shape:
                raise DataError(f"{name} has shape {values.shape}, expected {shape} (bars, symbols)")


Computation = Callable[[History], Outputs]
SpanComputation = Callable[[History, int, int], Outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One value that should have been the same twice, and was not.

    Attributes
    ----------
    question : `cut`, `disturbed`, `span` or `warmup`
    output : name of the array
    time_ms : close time of the bar whose value differs
    moment_ms : where the bars were cut or disturbed, or where the span or the warmed-up stretch begins
    less : the value from less history (cut, disturbed, shorter span, declared warm-up)
    more : the value from the whole, or from twice the warm-up; NaN also where a row is missing
    """

    question: str
    output: str
    symbol: Symbol
    time_ms: int
    moment_ms: int
    less: float
    more: float

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        how = {
            "cut": "is {less!r} from bars known by {moment}, but {more!r} once later bars are known",
            "disturbed": "turns from {more!r} into {less!r} when bars after {moment} are changed",
            "span": "is {less!r} when the span begins at {moment}, but {more!r} in a longer span",
            "warmup": "is {less!r} with the declared warm-up before {moment}, but {more!r} with twice that",
        }[self.question]
        told = how.format(less=self.less, more=self.more, moment=_at(self.moment_ms))
        return f"{self.output} of {self.symbol} at {_at(self.time_ms)} {told}"


def cut_moments(bars: Panel, *, random: int, consecutive: int, seed: int) -> list[int]:
    """Moments at which to cut: a run of neighbouring bars, random bars, gaps, and minutes between bars.

    Parameters
    ----------
    bars : the bars whose values are checked
    random : how many bars, bars that some symbol lacks, and minutes are drawn, of each
    consecutive : length of the run of closes in which each cut is exactly one bar after the last
    """
    closes = bars.close_time_ms
    if not len(closes):
        raise DataError("there is no bar to cut at: give a longer time range")
    rng = np.random.default_rng(seed)
    begin = int(rng.integers(0, max(1, len(closes) - consecutive + 1)))
    run = closes[begin : begin + consecutive]
    gaps = closes[~bars.present.all(axis=1)]
    drawn = [rng.choice(kind, size=min(random, len(kind)), replace=False) for kind in (closes, gaps)]
    span_minutes = (int(closes[-1]) - int(closes[0])) // MINUTE_MS
    minutes = closes[0] + MINUTE_MS * rng.integers(0, max(1, span_minutes), size=random)
    return sorted({int(moment) for moment in (*run, *drawn[0], *drawn[1], *minutes)})


def look_ahead(
    compute: SpanComputation,
    history: History,
    *,
    start_ms: int,
    end_ms: int,
    cuts_ms: Iterable[int],
    disturbances_ms: Iterable[int],
    seed: int,
) -> list[Finding]:
    """Whether a value depends on bars that close after it; the first failing value of each array.

    Every row up to the cut is compared, not only the last: a pivot that is marked at its own bar once later
    bars have confirmed it shows there. Floats are compared bit for bit, NaN equal to NaN.

    Parameters
    ----------
    compute : (history, start_ms, end_ms) to the values at the bars whose close lies in (start_ms, end_ms]
    cuts_ms : at each, the computation from the bars closed by then is compared with that from all bars
    disturbances_ms : at each, all bars that close later are replaced by others
    """
    whole = compute(history, start_ms, end_ms)
    found: dict[str, Finding] = {}
    for moment in cuts_ms:
        less = compute(history.known_by(moment), start_ms, min(moment, end_ms))
        _collect(found, "cut", moment, less, whole, start_ms, moment)
    for number, moment in enumerate(disturbances_ms):
        less = compute(history.disturbed_after(moment, seed + number), start_ms, end_ms)
        _collect(found, "disturbed", moment, less, whole, start_ms, moment)
    return list(found.values())


def depend_on_span(
    compute: SpanComputation,
    history: History,
    *,
    start_ms: int,
    end_ms: int,
    spans_ms: Sequence[tuple[int, int]],
) -> list[Finding]:
    """Whether values change, in any bit, with the span that was asked for; the first of each array.

    Each span of `spans_ms` lies in [start_ms, end_ms] and is compared with the whole of it.
    """
    whole = compute(history, start_ms, end_ms)
    found: dict[str, Finding] = {}
    for span_start_ms, span_end_ms in spans_ms:
        part = compute(history, span_start_ms, span_end_ms)
        _collect(found, "span", span_start_ms, part, whole, span_start_ms, span_end_ms)
    return list(found.values())


def need_more_history(
    compute: Computation,
    history: History,
    *,
    warmup: Mapping[Timeframe, int],
    reference_warmup: Mapping[Timeframe, int],
    anchors_ms: Sequence[int],
    stretch_ms: int,
    tolerance: float,
) -> list[Finding]:
    """Whether values change when twice the declared warm-up is read; the first failing value of each array.

    After each anchor, the bars that close within `stretch_ms` are computed from the declared warm-up before
    the anchor and from twice as much. Two floats agree when they differ by at most `tolerance` x the greatest
    of their magnitudes and the median magnitude of the array; both or none must be NaN. Arrays of another
    type (flags, codes) may differ in a share of `tolerance` of their values, since a threshold may lie in
    between.

    Only symbols without a missing bar in the longer stretch are compared: where bars are missing, fewer than
    declared exist. Raises DataError when that leaves nothing to compare.
    """
    twice = {timeframe: 2 * bars for timeframe, bars in warmup.items()}
    reference_twice = {timeframe: 2 * bars for timeframe, bars in reference_warmup.items()}
    pairs: list[tuple[int, Outputs, Outputs, BoolArray]] = []
    for anchor in anchors_ms:
        end_ms = anchor + stretch_ms
        long = history.reaching_back(twice, reference_twice, anchor_ms=anchor, end_ms=end_ms)
        whole_columns = _complete_columns(long, twice, reference_twice, anchor, end_ms)
        if not whole_columns.any():
            continue
        short = history.reaching_back(warmup, reference_warmup, anchor_ms=anchor, end_ms=end_ms)
        pairs.append(
            (
                anchor,
                _within(compute(short), anchor, end_ms),
                _within(compute(long), anchor, end_ms),
                whole_columns,
            )
        )
    if not pairs:
        raise DataError(
            "no symbol has bars without a gap over twice the declared warm-up, so nothing can be compared: "
            "give a longer time range or other pairs"
        )
    found: list[Finding] = []
    for name in pairs[0][1].values:
        finding = _first_disagreement(name, pairs, tolerance)
        if finding is not None:
            found.append(finding)
    return found


def _at(time_ms: int) -> str:
    return from_ms(time_ms).strftime("%Y-%m-%d %H:%M")


def _disturbed(panel: Panel, time_ms: int, jump: float, rng: np.random.Generator) -> Panel:
    first = int(np.searchsorted(panel.close_time_ms, time_ms, side="right"))
    shape = (len(panel) - first, len(panel.symbols))
    # A jump, then its own walk: levels, extremes, means and deviations all change.
    factor = jump * np.exp(np.cumsum(rng.normal(0.0, 0.02, shape), axis=0))
    missing = rng.random(shape) < 0.05
    louder = rng.lognormal(1.0, 1.0, shape)

    def other(values: FloatArray, scale: FloatArray) -> FloatArray:
        out = np.array(values, order="F")
        out[first:] = np.where(missing, np.nan, out[first:] * scale)
        return out

    covered = np.array(panel.covered, order="F")
    covered[first:] &= ~(missing & (rng.random(shape) < 0.5))
    return Panel(
        timeframe=panel.timeframe,
        symbols=panel.symbols,
        open_time_ms=panel.open_time_ms,
        open=other(panel.open, factor),
        high=other(panel.high, factor),
        low=other(panel.low, factor),
        close=other(panel.close, factor),
        volume=other(panel.volume, louder),
        covered=covered,
    )


def _collect(
    found: dict[str, Finding],
    question: str,
    moment_ms: int,
    less: Outputs,
    more: Outputs,
    after_ms: int,
    by_ms: int,
) -> None:
    less = _within(less, after_ms, by_ms)
    more = _within(more, after_ms, by_ms)
    for name in more.values:
        if name in found:
            continue
        times, left, right = _paired(less, more, name)
        row, column = _first(_differs(left, right))
        if row >= 0:
            found[name] = Finding(
                question=question,
                output=name,
                symbol=more.symbols[column],
                time_ms=int(times[row]),
                moment_ms=moment_ms,
                less=float(left[row, column]),
                more=float(right[row, column]),
            )


def _within(outputs: Outputs, after_ms: int, by_ms: int) -> Outputs:
    start, stop = np.searchsorted(outputs.close_time_ms, [after_ms, by_ms], side="right")
    return Outputs(
        close_time_ms=outputs.close_time_ms[start:stop],
        symbols=outputs.symbols,
        values={name: values[start:stop] for name, values in outputs.values.items()},
    )


def _paired(less: Outputs, more: Outputs, name: str) -> tuple[IntArray, RecordArray, RecordArray]:
    """Both arrays over the rows of either; a row or array that one of them lacks is NaN there."""
    if name not in less.values:
        raise DataError(f"{name} is computed from all bars, but not from bars that end earlier")
    left, right = less.values[name], more.values[name]
    if np.array_equal(less.close_time_ms, more.close_time_ms):
        return more.close_time_ms, left, right
    times = np.union1d(less.close_time_ms, more.close_time_ms)
    spread = []
    for outputs, values in ((less, left), (more, right)):
        out = np.full((len(times), len(more.symbols)), np.nan)
        out[np.searchsorted(times, outputs.close_time_ms)] = values
        spread.append(out)
    return times, spread[0], spread[1]


def _differs(left: RecordArray, right: RecordArray) -> BoolArray:
    """Where two arrays differ in any bit; NaN equals NaN."""
    if left.dtype != right.dtype:
        left, right = left.astype(np.float64), right.astype(np.float64)
    if left.dtype != np.float64:
        return np.asarray(left != right, dtype=np.bool_)
    same_bits = np.ascontiguousarray(left).view(np.int64) == np.ascontiguousarray(right).view(np.int64)
    return np.asarray(~(same_bits | (np.isnan(left) & np.isnan(right))), dtype=np.bool_)


def _first(marked: BoolArray) -> tuple[int, int]:
    """Row and column of the first mark, earliest row first; (-1, -1) where there is none."""
    if not marked.any():
        return -1, -1
    row = int(np.argmax(marked.any(axis=1)))
    return row, int(np.argmax(marked[row]))


def _complete_columns(
    history: History,
    warmup: Mapping[Timeframe, int],
    reference_warmup: Mapping[Timeframe, int],
    anchor_ms: int,
    end_ms: int,
) -> BoolArray:
    """Which symbols have every bar of the stretch on every timeframe, and the reference too."""

    def complete(panel: Panel, bars: int) -> BoolArray:
        timeframe = panel.timeframe
        expected = (timeframe.floor(end_ms) - timeframe.floor(anchor_ms)) // timeframe.ms + bars
        if len(panel) < expected:
            return np.zeros(len(panel.symbols), dtype=np.bool_)
        return np.asarray(panel.carried().present.all(axis=0), dtype=np.bool_)

    columns = [complete(panel, warmup[timeframe]) for timeframe, panel in history.panels.items()]
    out = np.logical_and.reduce(columns)
    for timeframe, panel in history.reference.items():
        out = out & complete(panel, reference_warmup[timeframe]).all()
    return np.asarray(out, dtype=np.bool_)


def _first_disagreement(
    name: str, pairs: Sequence[tuple[int, Outputs, Outputs, BoolArray]], tolerance: float
) -> Finding | None:
    """The first value of one array that needs more history than was declared."""
    compared = [
        (anchor, short.values[name][:, columns], long.values[name][:, columns])
        for anchor, short, long, columns in pairs
    ]
    marks: list[BoolArray]
    if compared[0][1].dtype == np.float64:
        magnitudes = np.abs(np.concatenate([long.ravel() for _, _, long in compared]))
        numbers = magnitudes[np.isfinite(magnitudes)]
        typical = float(np.median(numbers)) if len(numbers) else 0.0
        marks = [_disagrees(short, long, typical, tolerance) for _, short, long in compared]
    else:
        marks = [np.asarray(short != long, dtype=np.bool_) for _, short, long in compared]
        if sum(int(mark.sum()) for mark in marks) <= tolerance * sum(mark.size for mark in marks):
            return None
    for (anchor, short, long), (_, outputs, _, columns), mark in zip(compared, pairs, marks, strict=True):
        row, column = _first(mark)
        if row >= 0:
            return Finding(
                question="warmup",
                output=name,
                symbol=outputs.symbols[int(np.flatnonzero(columns)[column])],
                time_ms=int(outputs.close_time_ms[row]),
                moment_ms=anchor,
                less=float(short[row, column]),
                more=float(long[row, column]),
            )
    return None


def _disagrees(short: FloatArray, long: FloatArray, typical: float, tolerance: float) -> BoolArray:
    apart = np.abs(short - long)
    allowed = tolerance * np.maximum(np.maximum(np.abs(short), np.abs(long)), typical)
    one_is_missing = np.isnan(short) != np.isnan(long)
    # Infinities that are equal leave NaN in `apart`: equal values always agree.
    return np.asarray(one_is_missing | ((short != long) & (apart > allowed)), dtype=np.bool_)
