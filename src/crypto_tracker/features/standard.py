"""The 29 standard features, computed for whole panels in anchored blocks.

Formulas, units, windows and sources of every one stand in docs/features.md. All are computed from closed bars
only, on the strategy's timeframe; the five returns are taken on 1m closes at the close time of the bar.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms
from crypto_tracker.features import indicators
from crypto_tracker.features.align import last_known
from crypto_tracker.features.blocks import anchor_ms, anchored_panels, closing_within, month_blocks
from crypto_tracker.features.definitions import FeatureBars, FeatureDefinition, FeatureSet, bars_per_day

_Parameters = Mapping[str, int]

# Warm-ups of recursive means: the weight of where they began has fallen below 1e-6. EMA200 stops at 5e-5, as
# 1e-6 would ask for two months of hours; what is weighed is a few per cent of the price: about 1e-6 is left.
_WILDER_14 = 250
_MACD_12_26_9 = 250
_EMA = {20: 200, 50: 450, 200: 1_200}


def _return(bars: FeatureBars, p: _Parameters) -> FloatArray:
    close, known_ms, at_ms = bars.minutes.close, bars.minutes.close_time_ms, bars.panel.close_time_ms
    age_max_ms = p["age_max_minutes"] * MINUTE_MS
    now = last_known(close, known_ms, at_ms, age_max_ms=age_max_ms)
    then = last_known(close, known_ms, at_ms - p["minutes"] * MINUTE_MS, age_max_ms=age_max_ms)
    return indicators.change(now, then)


def _volume_ratio(bars: FeatureBars, p: _Parameters) -> FloatArray:
    volume = bars.panel.volume
    return indicators.ratio(volume, indicators.rolling_mean(volume, window=p["bars"]))


def _dollar_volume(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return indicators.rolling_sum(bars.panel.close * bars.panel.volume, window=bars.bars_in(p["hours"]))


def _rsi(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return indicators.rsi(bars.panel.close, window=p["bars"])


def _macd_of(bars: FeatureBars, p: _Parameters) -> indicators.Macd:
    return indicators.macd(bars.panel.close, fast=p["fast"], slow=p["slow"], signal=p["signal"])


def _macd(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return _macd_of(bars, p).line


def _macd_signal(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return _macd_of(bars, p).signal


def _macd_hist(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return _macd_of(bars, p).histogram


def _bollinger_of(bars: FeatureBars, p: _Parameters) -> indicators.Bollinger:
    return indicators.bollinger(bars.panel.close, window=p["bars"], deviations=p["deviations"])


def _bb_width(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return _bollinger_of(bars, p).width


def _bb_position(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return _bollinger_of(bars, p).position


def _sma_distance(bars: FeatureBars, p: _Parameters) -> FloatArray:
    close = bars.panel.close
    return indicators.change(close, indicators.rolling_mean(close, window=p["bars"]))


def _ema_distance(bars: FeatureBars, p: _Parameters) -> FloatArray:
    close = bars.panel.close
    return indicators.change(close, indicators.ema(close, window=p["bars"]))


def _support_distance(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return indicators.change(bars.panel.close, indicators.support(bars.panel.low, window=p["bars"]))


def _resistance_distance(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return indicators.change(bars.panel.close, indicators.resistance(bars.panel.high, window=p["bars"]))


def _roc(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return indicators.roc(bars.panel.close, window=p["bars"])


def _stochastic_of(bars: FeatureBars, p: _Parameters) -> indicators.Stochastic:
    panel = bars.panel
    return indicators.stochastic(
        panel.high, panel.low, panel.close, window=p["bars"], smooth_k=p["smooth_k"], smooth_d=p["smooth_d"]
    )


def _stoch_k(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return _stochastic_of(bars, p).k


def _stoch_d(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return _stochastic_of(bars, p).d


def _atr(bars: FeatureBars, p: _Parameters) -> FloatArray:
    panel = bars.panel
    return indicators.atr(panel.high, panel.low, panel.close, window=p["bars"])


def _volatility(bars: FeatureBars, p: _Parameters) -> FloatArray:
    return indicators.realised_volatility(
        bars.panel.close,
        window=bars.bars_in(p["hours"]),
        bars_per_day=bars_per_day(bars.panel.timeframe),
    )


def _reference_correlation(bars: FeatureBars, p: _Parameters) -> FloatArray:
    close = bars.panel.close
    reference = np.broadcast_to(bars.reference_close, close.shape)
    return indicators.correlation(close, reference, window=bars.bars_in(p["hours"]))


def _returns() -> tuple[FeatureDefinition, ...]:
    spans = {"5m": 5, "15m": 15, "1h": 60, "4h": 240, "24h": 1_440}
    return tuple(
        FeatureDefinition(
            name=f"return_{name}",
            measure=_return,
            parameters={"minutes": minutes, "age_max_minutes": 5},
            inputs=("close@1m",),
            warmup_minutes=minutes + 5,
        )
        for name, minutes in spans.items()
    )


def _volume_ratios() -> tuple[FeatureDefinition, ...]:
    return tuple(
        FeatureDefinition(
            name=f"volume_ratio_{bars}",
            measure=_volume_ratio,
            parameters={"bars": bars},
            inputs=("volume",),
            warmup_bars=bars,
        )
        for bars in (20, 96)
    )


def _macds() -> tuple[FeatureDefinition, ...]:
    return tuple(
        FeatureDefinition(
            name=name,
            measure=measure,
            parameters={"fast": 12, "slow": 26, "signal": 9},
            inputs=("close",),
            warmup_bars=_MACD_12_26_9,
        )
        for name, measure in (("macd", _macd), ("macd_signal", _macd_signal), ("macd_hist", _macd_hist))
    )


def _bands() -> tuple[FeatureDefinition, ...]:
    return tuple(
        FeatureDefinition(
            name=name,
            measure=measure,
            parameters={"bars": 20, "deviations": 2},
            inputs=("close",),
            warmup_bars=20,
        )
        for name, measure in (("bb_width", _bb_width), ("bb_position", _bb_position))
    )


def _mean_distances() -> tuple[FeatureDefinition, ...]:
    plain = tuple(
        FeatureDefinition(
            name=f"sma_{bars}_distance",
            measure=_sma_distance,
            parameters={"bars": bars},
            inputs=("close",),
            warmup_bars=bars,
        )
        for bars in (20, 50, 200)
    )
    exponential = tuple(
        FeatureDefinition(
            name=f"ema_{bars}_distance",
            measure=_ema_distance,
            parameters={"bars": bars},
            inputs=("close",),
            warmup_bars=warmup,
        )
        for bars, warmup in _EMA.items()
    )
    return plain + exponential


def _stochastics() -> tuple[FeatureDefinition, ...]:
    return tuple(
        FeatureDefinition(
            name=name,
            measure=measure,
            parameters={"bars": 14, "smooth_k": 3, "smooth_d": 3},
            inputs=("high", "low", "close"),
            warmup_bars=14 + 2 + 2,
        )
        for name, measure in (("stoch_k", _stoch_k), ("stoch_d", _stoch_d))
    )


STANDARD_FEATURES: tuple[FeatureDefinition, ...] = (
    *_returns(),
    *_volume_ratios(),
    FeatureDefinition(
        name="dollar_volume_24h",
        measure=_dollar_volume,
        parameters={"hours": 24},
        inputs=("close", "volume"),
        warmup_hours=24,
    ),
    FeatureDefinition(
        name="rsi_14", measure=_rsi, parameters={"bars": 14}, inputs=("close",), warmup_bars=_WILDER_14
    ),
    *_macds(),
    *_bands(),
    *_mean_distances(),
    FeatureDefinition(
        name="support_distance",
        measure=_support_distance,
        parameters={"bars": 20},
        inputs=("close", "low"),
        warmup_bars=21,
    ),
    FeatureDefinition(
        name="resistance_distance",
        measure=_resistance_distance,
        parameters={"bars": 20},
        inputs=("close", "high"),
        warmup_bars=21,
    ),
    FeatureDefinition(
        name="roc_10", measure=_roc, parameters={"bars": 10}, inputs=("close",), warmup_bars=11
    ),
    *_stochastics(),
    FeatureDefinition(
        name="atr_14",
        measure=_atr,
        parameters={"bars": 14},
        inputs=("high", "low", "close"),
        warmup_bars=_WILDER_14,
    ),
    FeatureDefinition(
        name="volatility_24h",
        measure=_volatility,
        parameters={"hours": 24},
        inputs=("close",),
        warmup_hours=24,
    ),
    FeatureDefinition(
        name="volatility_7d",
        measure=_volatility,
        parameters={"hours": 7 * 24},
        inputs=("close",),
        warmup_hours=7 * 24,
    ),
    FeatureDefinition(
        name="btc_correlation_7d",
        measure=_reference_correlation,
        parameters={"hours": 7 * 24},
        inputs=("close", "reference.close"),
        warmup_hours=7 * 24,
    ),
)

STANDARD = FeatureSet(STANDARD_FEATURES)


def compute_standard(
    panels: Mapping[Timeframe, Panel],
    reference: Mapping[Timeframe, Panel],
    timeframe: Timeframe,
    start_ms: int,
    end_ms: int,
    *,
    names: Sequence[str] = STANDARD.names,
) -> dict[str, FloatArray]:
    """The standard features at every bar of `timeframe` whose close time lies in (start_ms, end_ms].

    Each calendar month is computed from its own anchor, so a value has the same bits whatever span, symbols
    or names are asked for. The rows are those of `blocks.closing_within(panels[timeframe], start_ms,
    end_ms)`.

    Parameters
    ----------
    panels : raw bars (not carried) of the strategy's timeframe and, for returns, of 1m, the same symbols in
    each;
        they reach back to `STANDARD.history_start_ms(timeframe, start_ms)`, with empty rows where nothing is
        known. Where the market holds no 1m bars at all, returns are taken on the closes of `timeframe`.
    reference : one-column panels of the reference coin; without one of `timeframe` its correlation is NaN

    Returns
    -------
    One array (bars, symbols) for each name; NaN where the bar or a needed one is missing or the formula has
    no value.

    Raises
    ------
    UsageError
        For a name that is no standard feature.
    DataError
        When panels are missing or begin after the anchor, since the bits would then depend on the span.
    """
    unknown = [name for name in names if name not in STANDARD.names]
    if unknown:
        known = ", ".join(STANDARD.names)
        raise UsageError(f"{', '.join(unknown)} is no standard feature: choose from {known}")
    if timeframe not in panels:
        raise DataError(f"standard features on {timeframe} need bars of {timeframe}, and there are none")
    wanted = [definition for definition in STANDARD.definitions if definition.name in names]
    span = closing_within(panels[timeframe], start_ms, end_ms)
    out = {
        definition.name: np.full((len(span), len(span.symbols)), np.nan, order="F") for definition in wanted
    }
    if not len(span):
        return out
    first_ms = int(span.open_time_ms[0])
    for block_start_ms, block_end_ms in month_blocks(first_ms, int(span.close_time_ms[-1])):
        bars = _block_bars(panels, reference, timeframe, block_start_ms, block_end_ms)
        skipped = int(np.searchsorted(bars.panel.open_time_ms, block_start_ms))
        row = (block_start_ms - first_ms) // timeframe.ms
        rows = slice(row, row + len(bars.panel) - skipped)
        for definition in wanted:
            out[definition.name][rows] = definition.value(bars)[skipped:]
    return out


def feature_bars(
    panels: Mapping[Timeframe, Panel], reference: Mapping[Timeframe, Panel], timeframe: Timeframe
) -> FeatureBars:
    """What the formulas read, from panels that are already cut to one block."""
    panel = panels[timeframe].carried()
    minutes = panels[Timeframe.M1].carried() if Timeframe.M1 in panels else panel
    closes = np.full((len(panel), 1), np.nan)
    other = reference.get(timeframe)
    if other is not None and len(other) and len(panel):
        # Both lie on the same grid: the row of the reference is found by its distance from the first.
        rows = (panel.open_time_ms - other.open_time_ms[0]) // timeframe.ms
        inside = (rows >= 0) & (rows < len(other))
        closes[inside] = other.carried().close[rows[inside]]
    return FeatureBars(panel=panel, minutes=minutes, reference_close=closes)


def _block_bars(
    panels: Mapping[Timeframe, Panel],
    reference: Mapping[Timeframe, Panel],
    timeframe: Timeframe,
    block_start_ms: int,
    block_end_ms: int,
) -> FeatureBars:
    warmup = STANDARD.warmup(timeframe)
    reference_warmup = STANDARD.reference_warmup(timeframe)
    for of, given, needed in (
        ("the symbols", panels, warmup),
        ("the reference", reference, reference_warmup),
    ):
        for read, count in needed.items():
            if read in given:
                _check_reaches_back(of, given[read], anchor_ms(read, count, block_start_ms))
    return feature_bars(
        anchored_panels(panels, warmup, block_start_ms, block_end_ms),
        anchored_panels(reference, reference_warmup, block_start_ms, block_end_ms),
        timeframe,
    )


def _check_reaches_back(of: str, panel: Panel, needed_ms: int) -> None:
    if not len(panel) or panel.open_time_ms[0] > needed_ms:
        begin = from_ms(int(panel.open_time_ms[0])).isoformat() if len(panel) else "nowhere"
        raise DataError(
            f"the {panel.timeframe} bars of {of} begin at {begin}, but features of this month are computed "
            f"from {from_ms(needed_ms).isoformat()} on: hand in rows from there, empty where nothing is known"
        )
