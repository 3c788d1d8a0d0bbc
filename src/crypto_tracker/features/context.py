"""Context around a symbol: the slow regime of the reference coin, and the calendar."""

import numpy as np

from crypto_tracker.core.arrays import CodeArray, FloatArray, IntArray
from crypto_tracker.core.decisions import SlowRegime
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.features import indicators

_WEEK_HOURS = 7 * 24
_HOURS_FROM_MONDAY = 3 * 24  # 1970-01-01 was a Thursday
_CRASH_RETURN_DAYS = 7
_CRASH_HIGH_DAYS = 30


def slow_regime(
    close: FloatArray,
    high: FloatArray,
    *,
    crash_return_7d: float,
    crash_below_high_30d: float,
    crash_bars: int,
    trend_bars: int,
    sma_fast: int,
    sma_slow: int,
) -> CodeArray:
    """Slow regime of the reference coin at the close of each daily bar: `SlowRegime` codes, int8 (bars,).

    The first rule that holds decides:

    - fewer than `crash_bars` daily bars: UNKNOWN;
    - CRASH when close <= close 7 bars ago x (1 + crash_return_7d), or close <= highest high of the last 30
      bars, today's included, x (1 - crash_below_high_30d);
    - fewer than `trend_bars` daily bars: UNKNOWN;
    - BULL when close > SMA(sma_fast) > SMA(sma_slow); BEAR when close < SMA(sma_fast) < SMA(sma_slow);
    - else NEUTRAL.

    Bars are counted, and averages run, over the days that are present. On a missing day (NaN) the code of the
    day before goes on, since what is not seen changes nothing. Source: the specification, section 8.

    Parameters
    ----------
    close, high : daily bars of the reference coin, (bars,), quote currency, NaN where a day is missing
    crash_return_7d : fraction, negative
    crash_below_high_30d : fraction, positive
    crash_bars, trend_bars : daily bars needed for CRASH, and for BULL, BEAR and NEUTRAL
    sma_fast, sma_slow : windows in daily bars
    """
    if close.ndim != 1 or close.shape != high.shape:
        raise DataError(f"daily closes {close.shape} and highs {high.shape} must be one value for each day")
    present = ~(np.isnan(close) | np.isnan(high))
    day_close, day_high = close[present][:, None], high[present][:, None]
    count = np.arange(1, len(day_close) + 1)

    week_ago = indicators.previous(day_close, bars=_CRASH_RETURN_DAYS)[:, 0]
    top = indicators.rolling_max(day_high, window=_CRASH_HIGH_DAYS)[:, 0]
    fast = indicators.rolling_mean(day_close, window=sma_fast)[:, 0]
    slow = indicators.rolling_mean(day_close, window=sma_slow)[:, 0]
    last = day_close[:, 0]

    # Comparisons with NaN are false, so a level that is not known yet decides nothing.
    crash = (last <= week_ago * (1.0 + crash_return_7d)) | (last <= top * (1.0 - crash_below_high_30d))
    codes = np.full(len(last), SlowRegime.NEUTRAL, dtype=np.int8)
    codes[(last > fast) & (fast > slow)] = SlowRegime.BULL
    codes[(last < fast) & (fast < slow)] = SlowRegime.BEAR
    codes[count < trend_bars] = SlowRegime.UNKNOWN
    codes[crash & (count >= crash_bars)] = SlowRegime.CRASH

    seen = np.cumsum(present)  # days present up to and including each row
    out = np.full(len(close), SlowRegime.UNKNOWN, dtype=np.int8)
    out[seen > 0] = codes[seen[seen > 0] - 1]
    return out


def hour_of_week(time_ms: IntArray) -> IntArray:
    """Full hours since Monday 00:00 UTC, 0 to 167.

    >>> hour_of_week(np.array([0])).tolist()  # a Thursday at midnight
    [72]
    """
    return (np.asarray(time_ms, dtype=np.int64) // HOUR_MS + _HOURS_FROM_MONDAY) % _WEEK_HOURS
