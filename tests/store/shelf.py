"""What the tests of the store share: a configuration, a clock, and bars drawn as text."""

import math
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import defaults
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.reader import DATABASE_NAME

NAN = float("nan")
BTC = Symbol("BTC", "USDT")
ETH = Symbol("ETH", "USDT")
MINUTE = 60_000
NOW = datetime(2025, 6, 1, tzinfo=UTC)


def market_data(**files: int) -> MarketData:
    """The default configuration of market data, with other rules for files."""
    tree = tomllib.loads(defaults().text)["market_data"]
    tree["files"] |= files
    return MarketData.model_validate(tree)


@cache
def _empty_database() -> Path:
    """A database that has been migrated once for all tests: it takes a moment."""
    folder = tempfile.TemporaryDirectory()
    _KEPT.append(folder)
    with BarStore.open(Path(folder.name), market_data=market_data(), clock=ManualClock(NOW)):
        pass
    return Path(folder.name) / DATABASE_NAME


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@contextmanager
def store(home: Path, *, now: datetime = NOW, wait_ms: int = 30_000, **files: int) -> Iterator[BarStore]:
    """The store under `home`, at a fixed moment. A new one begins with a copy of an empty database."""
    if not (home / DATABASE_NAME).exists():
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(_empty_database(), home / DATABASE_NAME)
    with BarStore.open(
        home, market_data=market_data(**files), clock=ManualClock(now), wait_ms=wait_ms
    ) as opened:
        yield opened


def at(text: str) -> int:
    """Milliseconds of `2025-03-01 12:00`, or of `12:00` on that day."""
    whole = text if " " in text else f"2025-03-01 {text}"
    return to_ms(datetime.strptime(whole, "%Y-%m-%d %H:%M").replace(tzinfo=UTC))


def drawn(text: str) -> BarBatch:
    """Bars from lines of `time open high low close volume`; `-` is a missing field.

    With only a close after the time, all prices are that close and the volume is 1.
    """
    rows = []
    for line in text.strip().splitlines():
        words = line.split()
        time, values = (
            (words[0], words[1:])
            if "-" not in words[0] or words[0] == "-"
            else (" ".join(words[:2]), words[2:])
        )
        numbers = [NAN if word == "-" else float(word) for word in values]
        if len(numbers) == 1:
            numbers = numbers * 4 + [1.0]
        rows.append((MISSING_TIME_MS if time == "-" else at(time), *numbers))
    columns = list(zip(*rows, strict=True))
    return BarBatch(
        open_time_ms=np.array(columns[0], dtype=np.int64),
        **{name: np.array(column) for name, column in zip(BAR_FIELDS, columns[1:], strict=True)},
    )


def drawn_minute(open_time_ms: int, price: float = 100.0) -> BarBatch:
    """One bar whose prices are all the same."""
    value = np.array([price])
    return BarBatch(
        open_time_ms=np.array([open_time_ms], dtype=np.int64),
        open=value,
        high=value,
        low=value,
        close=value,
        volume=np.array([1.0]),
    )


def run_of_minutes(start: str, count: int, *, price: float = 100.0, step: int = MINUTE) -> BarBatch:
    """Bars that rise by one ten-thousandth each, with a volume that counts them."""
    close = price * (1 + 1e-4 * np.arange(count))
    return BarBatch(
        open_time_ms=at(start) + step * np.arange(count, dtype=np.int64),
        open=close,
        high=close * 1.001,
        low=close * 0.999,
        close=close,
        volume=np.arange(1.0, count + 1.0),
    )


def part(bars: BarBatch, rows: np.ndarray | slice) -> BarBatch:
    """Some rows of a batch, in the order given."""
    return BarBatch(
        open_time_ms=bars.open_time_ms[rows], **{name: getattr(bars, name)[rows] for name in BAR_FIELDS}
    )


def closes(
    opened: BarStore, start: str, end: str, symbol: Symbol = BTC, timeframe: Timeframe = Timeframe.M1
) -> list[float | str]:
    """Per bar the close, `no trade` or `unknown`."""
    panel = opened.reader.panel([symbol], timeframe, at(start), at(end))
    words: list[float | str] = []
    for close, covered in zip(panel.close[:, 0].tolist(), panel.covered[:, 0].tolist(), strict=True):
        words.append(("no trade" if covered else "unknown") if math.isnan(close) else close)
    return words


def assert_same_bars(left: Panel, right: Panel) -> None:
    """Both panels hold the same bits."""
    assert left.symbols == right.symbols
    np.testing.assert_array_equal(left.open_time_ms, right.open_time_ms)
    for name in (*BAR_FIELDS, "covered"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
