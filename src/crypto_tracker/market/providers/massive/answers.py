"""Answers of Massive's REST interface: bytes in, bars and markets out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.base import MarketInfo, RawBar
from crypto_tracker.market.providers.massive.pairs import symbol_of
from crypto_tracker.net.http import Answer
from crypto_tracker.net.retry import Transient
from crypto_tracker.store.batch import BarBatch

_COLUMNS = ("o", "h", "l", "c", "v", "vw", "n")
_GOOD = frozenset({"OK", "DELAYED"})
_UNKNOWN = float("nan")
# Beyond it a float holds no exact integer any more, and no bar is that far away.
_TIME_MAX_MS = 2**53


class Row(msgspec.Struct, gc=False):
    """One aggregate, as it comes when nothing is wrong with it: every number a number."""

    o: float
    h: float
    l: float  # noqa: E741 - the provider's name
    c: float
    v: float
    t: Annotated[int, msgspec.Meta(ge=-_TIME_MAX_MS, le=_TIME_MAX_MS)]
    vw: float = _UNKNOWN
    n: float = _UNKNOWN
    T: str = ""


class _Page(msgspec.Struct, gc=False):
    status: str = ""
    ticker: str = ""
    resultsCount: int = 0  # noqa: N815 - the provider's name
    results: list[Row] = []  # the key is absent where there is no row
    next_url: str | None = None


class _Ticker(msgspec.Struct, gc=False):
    ticker: str
    active: bool = True
    base_currency_symbol: str | None = None
    currency_symbol: str | None = None


class _TickerPage(msgspec.Struct, gc=False):
    status: str = ""
    results: list[_Ticker] = []
    next_url: str | None = None


_PAGES = msgspec.json.Decoder(_Page)
_TICKER_PAGES = msgspec.json.Decoder(_TickerPage)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarPage:
    """One page of aggregates.

    Attributes
    ----------
    tickers : of which pair each bar is, where each says so, as in the grouped daily answer
    raw : the fields of a bar as they came
    next_path : path and query of the page after it; None at the last
    delayed : whether newer bars than the last may exist that this key is not given yet
    """

    bars: BarBatch
    tickers: tuple[str, ...]
    raw: RawBar
    next_path: str | None
    delayed: bool


def bar_page(answer: Answer, *, ticker: str | None) -> BarPage:
    """Read a page of aggregates; raises Transient where it is none, or one of another ticker.

    A field that is absent, empty, or no number is missing: NaN, or MISSING_TIME_MS. It is never 0, and the
    bar goes on to be judged with the others.
    """
    try:
        page = _PAGES.decode(answer.content)
    except msgspec.MsgspecError:
        return _tolerant_page(answer, ticker)
    _judge(page.status, page.ticker, ticker)
    rows = page.results
    count = len(rows)
    if page.resultsCount and not count:
        raise Transient(f"massive announced {page.resultsCount:,} bars and sent none")
    columns = [
        np.fromiter([row.o for row in rows], np.float64, count),
        np.fromiter([row.h for row in rows], np.float64, count),
        np.fromiter([row.l for row in rows], np.float64, count),
        np.fromiter([row.c for row in rows], np.float64, count),
        np.fromiter([row.v for row in rows], np.float64, count),
        np.fromiter([row.vw for row in rows], np.float64, count),
        np.fromiter([row.n for row in rows], np.float64, count),
    ]
    times = np.fromiter([row.t for row in rows], np.int64, count)
    return BarPage(
        bars=_batch(times, columns),
        tickers=tuple([row.T for row in rows]) if ticker is None else (),
        raw=lambda index: _fields(rows[index]),
        next_path=path_of(page.next_url),
        delayed=page.status == "DELAYED",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """A whole UTC day of one pair; NaN where a figure is not known."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    n_trades: float


def day_bars(page: BarPage) -> dict[Symbol, DayBar]:
    """The days of a page whose bars say of which pair they are: grouped daily bars, a previous close.

    Their times are moments near the end of the day, not its start.
    """
    bars = page.bars
    columns = (bars.open_time_ms // DAY_MS * DAY_MS, *bars.values())
    found = {}
    for ticker, (time_ms, open_, high, low, close, volume, vwap, n_trades) in zip(
        page.tickers, zip(*(column.tolist() for column in columns), strict=True), strict=True
    ):
        symbol = symbol_of(ticker)
        if symbol is not None:
            found[symbol] = DayBar(
                open_time_ms=time_ms,
                open=open_,
                high=high,
                low=low,
                close=close,
                volume=volume,
                vwap=vwap,
                n_trades=n_trades,
            )
    return found


def ticker_page(answer: Answer) -> tuple[list[MarketInfo], str | None]:
    """The markets of a page of reference tickers that have a symbol of ours, and the path of the next."""
    try:
        page = _TICKER_PAGES.decode(answer.content)
    except msgspec.MsgspecError as error:
        raise _unreadable(error) from None
    _judge(page.status, "", None)
    markets = []
    for each in page.results:
        symbol = _symbol_of(each)
        if symbol is not None:
            markets.append(MarketInfo(symbol=symbol, provider_symbol=each.ticker, active=each.active))
    return markets, path_of(page.next_url)


def path_of(next_url: str | None) -> str | None:
    """Path and query of a `next_url`, which names the provider's own host, whoever was asked.

    >>> path_of("https://api.massive.com/v3/reference/tickers?cursor=YWN0aXZl")
    '/v3/reference/tickers?cursor=YWN0aXZl'
    """
    if not next_url:
        return None
    parts = urlsplit(next_url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def joined(pages: Sequence[BarPage]) -> tuple[BarBatch, RawBar]:
    """The bars of several pages as one batch, and their fields as they came."""
    if len(pages) == 1:
        return pages[0].bars, pages[0].raw
    batches = [page.bars for page in pages]
    starts = np.cumsum([0, *(len(batch) for batch in batches)])

    def raw(index: int) -> Mapping[str, Any]:
        which = int(np.searchsorted(starts, index, side="right")) - 1
        return pages[which].raw(index - int(starts[which]))

    def column(of: Callable[[BarBatch], FloatArray | None]) -> FloatArray:
        return np.concatenate([part for batch in batches if (part := of(batch)) is not None])

    return BarBatch(
        open_time_ms=np.concatenate([batch.open_time_ms for batch in batches]),
        open=column(lambda batch: batch.open),
        high=column(lambda batch: batch.high),
        low=column(lambda batch: batch.low),
        close=column(lambda batch: batch.close),
        volume=column(lambda batch: batch.volume),
        vwap=column(lambda batch: batch.vwap),
        n_trades=column(lambda batch: batch.n_trades),
    ), raw


def number(value: object) -> float:
    """A field as a number: NaN where it is absent, empty, or none.

    >>> [number(value) for value in (1, "2.5", "", None, True, "a")]
    [1.0, 2.5, nan, nan, nan, nan]
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return _UNKNOWN
    try:
        return float(value)
    except (ValueError, OverflowError):
        return _UNKNOWN


def _tolerant_page(answer: Answer, ticker: str | None) -> BarPage:
    """Read a page that is no proper one field by field."""
    try:
        page = json.loads(answer.content)  # unlike msgspec it takes NaN and Infinity
    except ValueError as error:
        raise _unreadable(error) from None
    rows = page.get("results") if isinstance(page, dict) else None
    rows = [] if rows is None and isinstance(page, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Transient("massive sent an answer without a list of bars")
    status, told, next_url = page.get("status"), page.get("ticker"), page.get("next_url")
    _judge(status if isinstance(status, str) else "", told if isinstance(told, str) else "", ticker)
    columns = [np.array([number(row.get(key)) for row in rows], dtype=np.float64) for key in _COLUMNS]
    return BarPage(
        bars=_batch(np.array([_time_ms(row.get("t")) for row in rows], dtype=np.int64), columns),
        tickers=tuple(str(row.get("T", "")) for row in rows) if ticker is None else (),
        raw=lambda index: rows[index],
        next_path=path_of(next_url if isinstance(next_url, str) else None),
        delayed=status == "DELAYED",
    )


def _judge(status: str, told: str, asked: str | None) -> None:
    if status not in _GOOD:
        raise Transient(f"massive sent an answer with the status {status[:40]!r}")
    if asked is not None and told != asked:
        raise Transient(f"massive was asked for {asked} and answered with {told[:40]!r}")


def _unreadable(error: Exception) -> Transient:
    return Transient(f"massive sent an answer that cannot be read ({error})")


def _time_ms(value: object) -> int:
    time_ms = number(value)
    return int(time_ms) if time_ms.is_integer() and abs(time_ms) <= _TIME_MAX_MS else MISSING_TIME_MS


def _batch(times: IntArray, columns: Sequence[FloatArray]) -> BarBatch:
    open_, high, low, close, volume, vwap, n_trades = columns
    return BarBatch(
        open_time_ms=times,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        vwap=vwap,
        n_trades=n_trades,
    )


def _fields(row: Row) -> dict[str, Any]:
    fields = msgspec.structs.asdict(row)
    return {key: value for key, value in fields.items() if value == value and value != ""}  # noqa: PLR0124


def _symbol_of(row: _Ticker) -> Symbol | None:
    """The pair as its currencies say it, where they spell the ticker; else as the ticker is read."""
    base, quote = row.base_currency_symbol, row.currency_symbol
    read = symbol_of(row.ticker)
    if base and quote and read is not None and row.ticker == f"X:{base}{quote}" and read.quote != quote:
        return None  # one word with two meanings: asking for the other one would bring this one's bars
    return read
