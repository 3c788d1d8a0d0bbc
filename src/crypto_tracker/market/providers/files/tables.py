"""Files as tables: every row that the file has, with named columns, and the line that each row stands in."""

import gzip
import io
import json
import zlib
from dataclasses import dataclass
from enum import Enum

import polars as pl

from crypto_tracker.core.errors import DataError


class Layout(Enum):
    """The forms in which people keep bars."""

    FREQTRADE = "freqtrade"
    BINANCE = "binance"
    KRAKEN = "kraken"
    PLAIN = "plain"


class NotBarsError(DataError):
    """A readable file that holds something else than bars."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file.

    `first_line` is the line of the first row: 2 under a header. Of JSON and of binary files the rows are
    counted, from 1.
    """

    frame: pl.DataFrame
    layout: Layout
    first_line: int


_BINANCE_COLUMNS = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
_KRAKEN_COLUMNS = ("time", "open", "high", "low", "close", "volume", "trades")
_FREQTRADE_COLUMNS = ("date", "open", "high", "low", "close", "volume")
_POSITIONAL = {
    Layout.BINANCE: _BINANCE_COLUMNS,
    Layout.KRAKEN: _KRAKEN_COLUMNS,
    Layout.FREQTRADE: _FREQTRADE_COLUMNS,
}
_BY_WIDTH = {len(_BINANCE_COLUMNS): Layout.BINANCE, len(_KRAKEN_COLUMNS): Layout.KRAKEN}
_SEPARATORS = (",", ";", "\t", "|")


def read_table(name: str, content: bytes, *, layout: Layout | None, style: str | None) -> Table:
    """Read a file by the ending of its name.

    Parameters
    ----------
    layout : what the person said; None to find out
    style : the layout that uses names of this form, None where the name says nothing

    Raises
    ------
    NotBarsError
        Where the file can be read and holds no table of bars.
    DataError
        Where it cannot be read: it is damaged, or not what its name says.
    """
    if not content:
        raise DataError("the file is empty")
    lower = name.lower()
    if lower.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"the file is no intact gzip: {error}") from error
        lower = lower.removesuffix(".gz")
    if lower.endswith(".csv"):
        return _csv(content, layout)
    if lower.endswith(".json"):
        return _json(content, layout, style)
    try:
        if lower.endswith(".parquet"):
            frame = pl.read_parquet(io.BytesIO(content))
        else:
            frame = pl.read_ipc(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"the file is damaged or not what its name says: {reason}") from error
    guess = Layout.FREQTRADE if style == "freqtrade" and "date" in frame.columns else Layout.PLAIN
    return Table(frame, layout or guess, first_line=1)


def _csv(content: bytes, layout: Layout | None) -> Table:
    content = content.removeprefix(b"\xef\xbb\xbf")
    head = content[:65536]
    if b"\0" in head:
        raise DataError("line 1: the file holds binary data, not text")
    first = head.splitlines()[0].decode("utf-8", errors="replace")
    separator = max(_SEPARATORS, key=first.count)
    cells = [cell.strip().strip('"') for cell in first.split(separator)]
    headed = not _is_number(cells[0])
    if len(cells) < 5:
        raise NotBarsError(f"line 1: {len(cells)} columns are too few for bars: {first[:60]!r}")
    found = layout or (_layout_of_header(cells) if headed else _BY_WIDTH.get(len(cells)))
    if found is None:
        raise NotBarsError(
            f"line 1: {len(cells)} columns without names are no known layout "
            "(Binance klines have 12, Kraken OHLCVT 7): put a header above them, or give --layout"
        )
    try:
        frame = pl.read_csv(
            io.BytesIO(content),
            has_header=False,
            infer_schema=False,
            skip_rows=1 if headed else 0,
            separator=separator,
            truncate_ragged_lines=True,
            new_columns=None,
            schema={f"c{index}": pl.String for index in range(len(cells))},
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"the file cannot be read as a table of text: {reason}") from error
    positional = _POSITIONAL.get(found)
    if positional is not None:
        if len(cells) < len(positional) and found is not Layout.FREQTRADE:
            raise NotBarsError(
                f"line 1: {found.value} files have {len(positional)} columns, this has {len(cells)}"
            )
        frame = frame.select(frame.columns[: len(positional)])
        frame.columns = list(positional[: frame.width])
    else:
        frame.columns = _unique([cell.lower() for cell in cells])
    return Table(frame, found, first_line=2 if headed else 1)


def _json(content: bytes, layout: Layout | None, style: str | None) -> Table:
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the file is no intact JSON: {error}") from error
    looks_right = isinstance(rows, list) and all(
        isinstance(row, list) and len(row) >= 6 for row in rows[:100]
    )
    if not (looks_right and rows) or (layout is None and style != "freqtrade"):
        raise NotBarsError(
            "JSON is read in freqtrade's form only: [[time, open, high, low, close, volume], ...]"
        )
    columns = {}
    for index, column in enumerate(_FREQTRADE_COLUMNS):
        cells = [row[index] if isinstance(row, list) and len(row) > index else None for row in rows]
        # As text, so that whatever stands there reaches the quarantine as it is.
        columns[column] = pl.Series(
            column, [None if cell is None else str(cell) for cell in cells], pl.String
        )
    return Table(pl.DataFrame(columns), layout or Layout.FREQTRADE, first_line=1)


def _layout_of_header(cells: list[str]) -> Layout:
    names = [cell.lower() for cell in cells]
    is_binance = len(names) == len(_BINANCE_COLUMNS) and names[0] == "open_time" and names[6] == "close_time"
    return Layout.BINANCE if is_binance else Layout.PLAIN


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unique(names: list[str]) -> list[str]:
    """The names with a number behind those that stand twice."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result
