"""What strategies find in a gathered market, month by month."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from crypto_tracker.core.arrays import BoolArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.features.blocks import month_blocks
from crypto_tracker.research.market import Market
from crypto_tracker.store.runs import SetupRow
from crypto_tracker.strategies.base import SETUP_DTYPE, Detection, StrategyEntry
from crypto_tracker.strategies.decisions import encode_block, near_misses, scan_block
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan, setup_events

T = TypeVar("T")
Block = tuple[int, str, bytes]
Progress = Callable[[str, float], None]

THREADS = 2  # months that are measured at a time, each of which needs memory of its own


@dataclass(slots=True, kw_only=True)
class Detected:
    """What the strategies found in a market.

    Attributes
    ----------
    setups : SETUP_DTYPE of all strategies, in the order of the simulator
    scans : for each strategy the number of scans by the strategy's own reason, the most frequent first
    n_near : number of near misses
    near : the near misses, and
    blocks : every scan, compactly; both empty unless scans are to be kept
    """

    setups: RecordArray
    scans: dict[str, dict[str, int]]
    n_near: int = 0
    near: list[SetupRow] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


def detect(
    market: Market,
    entries: Sequence[StrategyEntry],
    *,
    near_miss_readiness: float,
    version: str,
    keep_blocks: bool = False,
    progress: Progress | None = None,
) -> Detected:
    """Scan the whole span with every strategy; `progress` is told the strategy and the share that is done."""
    detection = Scanning(
        entries, near_miss_readiness=near_miss_readiness, version=version if keep_blocks else None
    )
    detection.scan(market, progress)
    return detection.result()


class Scanning:
    """Detection over one market after the other, in order of time, as if they were one."""

    def __init__(
        self, entries: Sequence[StrategyEntry], *, near_miss_readiness: float, version: str | None
    ) -> None:
        """With a version, every scan and every near miss is kept."""
        self._entries = tuple(entries)
        self._near_miss = near_miss_readiness
        self._version = version
        self._was_setup: dict[int, BoolArray] = {}
        self._counts: list[Counter[int]] = [Counter() for _ in entries]
        self._parts: list[RecordArray] = [np.zeros(0, dtype=SETUP_DTYPE)]
        self._n_near = 0
        # Of each strategy, so that they stand in the same order however the span was cut.
        self._near: list[list[SetupRow]] = [[] for _ in entries]
        self._blocks: list[list[Block]] = [[] for _ in entries]

    def scan(self, market: Market, progress: Progress | None = None) -> RecordArray:
        """Scan the span of `market`, which follows those before; its setups in the order of the simulator."""
        jobs = [
            (index, entry, block)
            for index, entry in enumerate(self._entries)
            for block in _months(market, entry)
        ]
        parts: list[RecordArray] = [np.zeros(0, dtype=SETUP_DTYPE)]
        with ThreadPoolExecutor(THREADS, thread_name_prefix="scan") as pool:
            months = _in_order(pool, [partial(self._month, market, entry, block) for _, entry, block in jobs])
            for done, (index, entry, _) in enumerate(jobs):
                if progress is not None:
                    progress(entry.strategy.name, done / len(jobs))
                parts.extend(self._noted(month, index) for month in next(months))
        setups = np.concatenate(parts)
        setups = setups[np.lexsort((setups["strategy"], setups["symbol"], setups["time_ms"]))]
        self._parts.append(setups)
        return setups

    def result(self) -> Detected:
        """What was found so far."""
        return Detected(
            setups=np.concatenate(self._parts),
            scans={
                entry.strategy.name: {Reason(code).code: number for code, number in counts.most_common()}
                for entry, counts in zip(self._entries, self._counts, strict=True)
            },
            n_near=self._n_near,
            near=list(chain.from_iterable(self._near)),
            blocks=list(chain.from_iterable(self._blocks)),
        )

    def _month(self, market: Market, entry: StrategyEntry, block: tuple[int, int]) -> list["_Month"]:
        """The scans of one strategy in one calendar month, or in a part of it."""
        view = market.views[scan_timeframe(entry.strategy, market.base)]
        found = []
        for _, detection in scan(entry.strategy, view, entry.parameters, *block):
            near = near_misses(detection, self._near_miss)
            kept = self._version is not None
            found.append(
                _Month(
                    # What the measurements say is only kept in blocks.
                    detection=replace(detection, measurements={}),
                    counts=np.bincount(detection.reason.ravel(order="K")),
                    n_near=int(np.count_nonzero(near)),
                    near=_near_rows(detection, near) if kept else [],
                    blocks=[] if self._version is None else _blocks(detection, self._version),
                )
            )
        return found

    def _noted(self, month: "_Month", index: int) -> RecordArray:
        """The events of one month, once everything else about it is noted."""
        counts = month.counts
        self._counts[index].update({code: int(counts[code]) for code in np.flatnonzero(counts).tolist()})
        self._n_near += month.n_near
        self._near[index].extend(month.near)
        self._blocks[index].extend(month.blocks)
        was_setup = self._was_setup.get(index)
        if was_setup is None:
            was_setup = self._was_setup[index] = np.zeros(len(month.detection.panel.symbols), dtype=np.bool_)
        return setup_events([month.detection], index, was_setup)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Month:
    """What one strategy found in one month."""

    detection: Detection
    counts: IntArray  # of scans, by reason
    n_near: int
    near: list[SetupRow]
    blocks: list[Block]


def _months(market: Market, entry: StrategyEntry) -> list[tuple[int, int]]:
    """The calendar months of the market's span, on the timeframe that the strategy scans."""
    timeframe = scan_timeframe(entry.strategy, market.base)
    months = month_blocks(timeframe.floor(market.start_ms), timeframe.floor(market.end_ms))
    return [(max(start_ms, market.start_ms), end_ms) for start_ms, end_ms in months]


def _in_order(pool: ThreadPoolExecutor, jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """The results of all jobs in their order; no more are begun than can be done at a time."""
    begun: deque[Future[T]] = deque()
    waiting = iter(jobs)
    for job in islice(waiting, THREADS):
        begun.append(pool.submit(job))
    while begun:
        result = begun.popleft().result()
        for job in islice(waiting, 1):
            begun.append(pool.submit(job))
        yield result


def _blocks(detection: Detection, version: str) -> list[Block]:
    blocks = (scan_block(detection, row, version) for row in range(len(detection.panel)))
    return [(block.time_ms, block.strategy, encode_block(block)) for block in blocks]


def _near_rows(detection: Detection, near: BoolArray) -> list[SetupRow]:
    rows, columns = np.nonzero(near)
    return [
        SetupRow(
            time_ms=int(detection.panel.close_time_ms[row]),
            symbol=detection.panel.symbols[column],
            strategy=detection.strategy,
            verdict=Verdict.NEAR_MISS,
            reason=Reason(detection.reason[row, column]),
            readiness=float(detection.readiness[row, column]),
            confidence=float(detection.confidence[row, column]),
            rank=None,
            fallback=False,
            measured=None,
            limit=None,
        )
        for row, column in zip(rows, columns, strict=True)
    ]
