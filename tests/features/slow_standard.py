"""The 29 standard features once more, slowly: anchor, carried closes and formulas from docs/features.md."""

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.features import slow

# Bars before the month from which everything is computed, worked out by hand: 7 days and the close before them
# on 5m; 1,200 bars for the EMA of 200 on 15m and 1h; 24 hours and 5 minutes of minutes.
WARMUP = {Timeframe.M5: 2_017, Timeframe.M15: 1_200, Timeframe.H1: 1_200}
MINUTES = 1_445


def carried(panel: Panel, number: int) -> dict[str, list]:
    """One symbol's bars, the last close carried through minutes without a trade, with volume 0."""
    out = {name: [] for name in ("open", "high", "low", "close", "volume")}
    last = None
    for row in range(len(panel)):
        bar = {name: float(getattr(panel, name)[row, number]) for name in out}
        if bar["close"] == bar["close"]:
            last = bar["close"]
        elif panel.covered[row, number] and last is not None:
            bar = {"open": last, "high": last, "low": last, "close": last, "volume": 0.0}
        else:
            bar = dict.fromkeys(bar)
            last = None
        for name, value in bar.items():
            out[name].append(value)
    return out


def slow_standard(panels, reference, timeframe, number, month_ms, end_ms, *, since_ms):
    """All 29 features of one symbol and month, by docs/features.md, at the bars that open from `since_ms` on."""
    first_ms = month_ms - WARMUP[timeframe] * timeframe.ms
    panel = panels[timeframe].between(first_ms, end_ms)
    bars = carried(panel, number)
    close, high, low, volume = bars["close"], bars["high"], bars["low"], bars["volume"]
    other = carried(reference[timeframe].between(first_ms, end_ms), 0)["close"]
    day = 24 * HOUR_MS // timeframe.ms

    minutes = panels[Timeframe.M1].between(month_ms - MINUTES * MINUTE_MS, end_ms)
    minute_close = dict(zip(minutes.close_time_ms.tolist(), carried(minutes, number)["close"], strict=True))

    def known(time_ms):
        for age in range(6):
            value = minute_close.get(time_ms - age * MINUTE_MS)
            if value is not None:
                return value
        return None

    def returns(span):
        out = []
        for time_ms in panel.close_time_ms.tolist():
            now, then = known(time_ms), known(time_ms - span * MINUTE_MS)
            out.append(None if now is None or then is None else now / then - 1)
        return out

    def ratio_to_mean(n):
        return [slow.divided(v, m) for v, m in zip(volume, slow.mean(volume, n), strict=True)]

    line, signal, histogram = slow.macd(close, 12, 26, 9)
    width, position = slow.bands(close, 20, 2)
    k, d = slow.stochastic(high, low, close, 14, 3, 3)
    traded = [None if c is None or v is None else c * v for c, v in zip(close, volume, strict=True)]
    values = {
        "return_5m": returns(5),
        "return_15m": returns(15),
        "return_1h": returns(60),
        "return_4h": returns(240),
        "return_24h": returns(1440),
        "volume_ratio_20": ratio_to_mean(20),
        "volume_ratio_96": ratio_to_mean(96),
        "dollar_volume_24h": slow.total(traded, day),
        "rsi_14": slow.rsi(close, 14),
        "macd": line,
        "macd_signal": signal,
        "macd_hist": histogram,
        "bb_width": width,
        "bb_position": position,
        "sma_20_distance": slow.distance(close, slow.mean(close, 20)),
        "sma_50_distance": slow.distance(close, slow.mean(close, 50)),
        "sma_200_distance": slow.distance(close, slow.mean(close, 200)),
        "ema_20_distance": slow.distance(close, slow.exponential(close, 20)),
        "ema_50_distance": slow.distance(close, slow.exponential(close, 50)),
        "ema_200_distance": slow.distance(close, slow.exponential(close, 200)),
        "support_distance": slow.distance(close, slow.earlier(slow.lowest(low, 20), 1)),
        "resistance_distance": slow.distance(close, slow.earlier(slow.highest(high, 20), 1)),
        "roc_10": slow.distance(close, slow.earlier(close, 10)),
        "stoch_k": k,
        "stoch_d": d,
        "atr_14": slow.atr(high, low, close, 14),
        "volatility_24h": slow.volatility(close, day, day),
        "volatility_7d": slow.volatility(close, 7 * day, day),
        "btc_correlation_7d": slow.correlation(close, other, 7 * day),
    }
    wanted = panel.open_time_ms >= max(month_ms, since_ms)
    return {
        name: np.array([np.nan if value is None else value for value in column])[wanted]
        for name, column in values.items()
    }
