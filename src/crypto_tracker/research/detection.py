"""What strategies find in a gathered market, month by month."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.research.market import Market
from crypto_tracker.store.runs import SetupRow
from crypto_tracker.strategies.base import SETUP_DTYPE, Detection, StrategyEntry
from crypto_tracker.strategies.decisions import encode_block, near_misses, scan_block
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan, setup_events

Block = tuple[int, str, bytes]
Note = Callable[[str], None]


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
    progress: Note | None = None,
) -> Detected:
    """Scan the whole span with every strategy."""
    parts: list[RecordArray] = []
    detected = Detected(setups=np.zeros(0, dtype=SETUP_DTYPE), scans={})
    for index, entry in enumerate(entries):
        strategy = entry.strategy
        if progress is not None:
            progress(strategy.name)
        view = market.views[scan_timeframe(strategy, market.base)]
        counts: Counter[int] = Counter()
        detections = (
            _noted(detection, detected, counts, near_miss_readiness, version if keep_blocks else None)
            for _, detection in scan(strategy, view, entry.parameters, market.start_ms, market.end_ms)
        )
        parts.append(setup_events(detections, index))
        detected.scans[strategy.name] = {Reason(code).code: number for code, number in counts.most_common()}
    setups = np.concatenate([detected.setups, *parts])
    detected.setups = setups[np.lexsort((setups["strategy"], setups["symbol"], setups["time_ms"]))]
    return detected


def _noted(
    detection: Detection, detected: Detected, counts: Counter[int], near_miss: float, version: str | None
) -> Detection:
    """The same detection, its reasons counted, its near misses noted; with a version, its scans too."""
    codes, numbers = np.unique(detection.reason, return_counts=True)
    counts.update(dict(zip(codes.tolist(), numbers.tolist(), strict=True)))
    detected.n_near += int(near_misses(detection, near_miss).sum())
    if version is not None:
        detected.near.extend(_near_rows(detection, near_miss))
        for row in range(len(detection.panel)):
            block = scan_block(detection, row, version)
            detected.blocks.append((block.time_ms, block.strategy, encode_block(block)))
    return detection


def _near_rows(detection: Detection, readiness: float) -> list[SetupRow]:
    rows, columns = np.nonzero(near_misses(detection, readiness))
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
