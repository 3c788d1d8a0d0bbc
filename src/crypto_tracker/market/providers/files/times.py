"""Open times as sources write them, in milliseconds."""

import numpy as np
import polars as pl

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.validate import MISSING_TIME_MS

# A number is a time in the unit that puts it between 1973 and 5138: such numbers do not overlap.
_MILLISECONDS_FROM = 1e11
_MICROSECONDS_FROM = 1e14
_NANOSECONDS_FROM = 1e17
_NANOSECONDS_UNTIL = 9.2e18
# Before this no coin was traded; a smaller number is no time but a counter or a mistake.
_EARLIEST_SECONDS = 1.2e9

_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_FORMATS_WITH_ZONE = ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z")


def milliseconds(column: pl.Series) -> IntArray:
    """The times of a column, int64 (rows,), MISSING_TIME_MS where there is none or it cannot be read.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by their size, each for itself: Binance
    changed from milliseconds to microseconds in 2025. Text is a number or an ISO time, without a zone in UTC.
    A time that is no whole millisecond is moved to the next one, so that it never passes for one on the grid.
    """
    kind = column.dtype
    if kind == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    if isinstance(column.dtype, pl.Datetime):
        return _of_datetimes(column)
    if kind.is_integer():
        return _of_integers(column.cast(pl.Int64, strict=False))
    if kind.is_float():
        return _of_floats(column.cast(pl.Float64))
    if kind == pl.String:
        return _of_text(column)
    return np.full(len(column), MISSING_TIME_MS, dtype=np.int64)


def _of_datetimes(column: pl.Series) -> IntArray:
    zoned = column.dtype
    if isinstance(zoned, pl.Datetime) and zoned.time_zone not in {None, "UTC"}:
        column = column.dt.convert_time_zone("UTC")
    return _of_integers(column.dt.epoch("us"))


def _of_integers(column: pl.Series) -> IntArray:
    missing = column.is_null().to_numpy()
    number = column.fill_null(0).to_numpy().astype(np.int64)
    size = number.astype(np.float64)
    times = np.select(
        [size < _MILLISECONDS_FROM, size < _MICROSECONDS_FROM, size < _NANOSECONDS_FROM],
        [number * 1_000, number, -(-number // 1_000)],
        -(-number // 1_000_000),
    )
    return np.where(missing | (times < _EARLIEST_SECONDS * 1_000), MISSING_TIME_MS, times)


def _of_floats(column: pl.Series) -> IntArray:
    number: FloatArray = column.fill_null(np.nan).to_numpy()
    usable = np.isfinite(number) & (np.abs(number) < _NANOSECONDS_UNTIL)
    number = np.where(usable, number, 0.0)
    seconds = number < _MILLISECONDS_FROM
    # Whole seconds are exact in float64, and so are whole milliseconds.
    times = _of_integers(pl.Series(np.ceil(np.where(seconds, number * 1_000, number)).astype(np.int64)))
    return np.where(usable, times, MISSING_TIME_MS)


def _of_text(column: pl.Series) -> IntArray:
    text = column.str.strip_chars()
    whole = _of_integers(text.cast(pl.Int64, strict=False))
    if not (whole == MISSING_TIME_MS).any():
        return whole
    decimal = _of_floats(text.cast(pl.Float64, strict=False))
    plain = text.str.replace(r"(Z|\s*UTC|\+00:?00)$", "").str.replace("T", " ", literal=True)
    read = [plain.str.to_datetime(form, time_unit="us", strict=False) for form in _FORMATS]
    read += [
        plain.str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone(None)
        for form in _FORMATS_WITH_ZONE
    ]
    moment = read[0]
    for other in read[1:]:
        moment = moment.fill_null(other) if moment.null_count() else moment
    calendar = _of_integers(moment.dt.epoch("us"))
    numbers = np.where(whole != MISSING_TIME_MS, whole, decimal)
    return np.where(numbers != MISSING_TIME_MS, numbers, calendar)
