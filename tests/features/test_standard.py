"""The 29 standard features: their names, every value against slow loops, and the same bits for any span."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.features.definitions import FeatureDefinition, FeatureSet
from crypto_tracker.features.standard import STANDARD, STANDARD_FEATURES, compute_standard
from tests.features.drawn import BTC, ETH, SOL, random_walk, same_bits, utc
from tests.features.slow_standard import MINUTES, WARMUP, slow_standard

# As the specification lists them.
NAMES = (
    """
return_5m, return_15m, return_1h, return_4h, return_24h, volume_ratio_20, volume_ratio_96,
dollar_volume_24h, rsi_14, macd, macd_signal, macd_hist, bb_width, bb_position, sma_20_distance,
sma_50_distance, sma_200_distance, ema_20_distance, ema_50_distance, ema_200_distance,
support_distance, resistance_distance, roc_10, stoch_k, stoch_d, atr_14, volatility_24h, volatility_7d,
btc_correlation_7d
""".replace("\n", " ")
    .replace(" ", "")
    .split(",")
)

SYMBOLS = (BTC, ETH, SOL)
START, END = utc(2025, 3, 30, 20), utc(2025, 4, 2, 7)  # three days that cross a month's border


def market(timeframe, start_ms=START, end_ms=END, *, seed=3, missing=0.03, symbols=SYMBOLS):
    """Raw panels that reach back to the anchor, and the reference's own."""
    begin = STANDARD.history_start_ms(timeframe, start_ms)
    panels = {
        read: random_walk(read, first, end_ms, symbols, seed=seed + number, missing=missing, step=0.002)
        for number, (read, first) in enumerate(begin.items())
    }
    reference = {
        timeframe: random_walk(
            timeframe, begin[timeframe], end_ms, (BTC,), seed=seed + 10, missing=missing / 3
        )
    }
    return panels, reference


@pytest.fixture(scope="module", params=[Timeframe.M5, Timeframe.M15, Timeframe.H1], ids=str)
def case(request):
    timeframe = request.param
    panels, reference = market(timeframe)
    return timeframe, panels, reference, compute_standard(panels, reference, timeframe, START, END)


# ------------------------------------------------------------------------ what the set is


def test_the_set_has_the_29_members_of_the_specification_by_name_and_in_order():
    assert [definition.name for definition in STANDARD_FEATURES] == NAMES
    assert len(set(NAMES)) == 29
    assert STANDARD.names == tuple(NAMES)


def test_the_warm_up_of_the_set_is_the_longest_of_its_members():
    for timeframe, bars in WARMUP.items():
        assert STANDARD.warmup(timeframe) == {timeframe: bars, Timeframe.M1: MINUTES}
        assert STANDARD.reference_warmup(timeframe) == {timeframe: bars}


def test_bars_are_read_from_the_start_of_the_month_less_the_warm_up():
    assert STANDARD.history_start_ms(Timeframe.M15, utc(2025, 3, 30, 20)) == {
        Timeframe.M15: utc(2025, 3, 1) - 1_200 * 15 * MINUTE_MS,
        Timeframe.M1: utc(2025, 3, 1) - 1_445 * MINUTE_MS,
    }


def test_the_version_changes_with_names_parameters_and_formulas_and_with_nothing_else():
    first = STANDARD_FEATURES[0]

    def version(**changed):
        fields = {
            "name": first.name,
            "measure": first.measure,
            "parameters": first.parameters,
            "inputs": first.inputs,
            "warmup_minutes": first.warmup_minutes,
        }
        return FeatureSet((FeatureDefinition(**(fields | changed)),)).version

    assert version() == FeatureSet((first,)).version
    assert len(version()) == 16
    changed = {
        version(),
        version(name="other"),
        version(parameters={"minutes": 6, "age_max_minutes": 5}),
        version(inputs=("close@1m", "volume")),
        version(warmup_minutes=99),
        version(revision=2),
    }
    assert len(changed) == 6
    assert STANDARD.version == FeatureSet(STANDARD_FEATURES).version


def test_the_version_of_the_standard_set_is_known():
    # Stored models name it. If this fails, models trained before must refuse the new set: that is its purpose.
    assert STANDARD.version == "11601a68d6a2b926"


def test_parameters_cannot_be_changed_afterwards():
    with pytest.raises(TypeError):
        STANDARD_FEATURES[0].parameters["minutes"] = 7


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(UsageError, match="return_5m stands in it twice"):
        FeatureSet((STANDARD_FEATURES[0], STANDARD_FEATURES[0]))


# -------------------------------------------------------------- values against slow loops


# Distances and returns are quotients less 1, so their error is that of 1, not of their own size: 1e-12 absolute.
# Bands and MACD subtract prices near 100 from each other: 1e-10.
ROUGH = {"bb_width", "bb_position", "macd", "macd_signal", "macd_hist"}


def test_every_value_is_that_of_slow_loops(case):
    timeframe, panels, reference, found = case
    border = utc(2025, 4, 1)
    opens = panels[timeframe].between(START, END).open_time_ms
    # The loops over a whole month of 5m bars take 20 s, so of 5m only the days of April are judged.
    blocks = (
        [(utc(2025, 4, 1), END)] if timeframe is Timeframe.M5 else [(utc(2025, 3, 1), border), (border, END)]
    )
    for number in (0, 2) if timeframe is Timeframe.H1 else (0,):
        for month_ms, end_ms in blocks:
            rows = (opens >= month_ms) & (opens < end_ms)
            slowly = slow_standard(panels, reference, timeframe, number, month_ms, end_ms, since_ms=START)
            for name in NAMES:
                expected = slowly[name]
                assert np.isfinite(expected).mean() > 0.8, f"{name} is hardly ever there to be compared"
                tolerance = 1e-10 if name in ROUGH else 1e-12
                np.testing.assert_allclose(
                    found[name][rows, number], expected, rtol=tolerance, atol=tolerance, err_msg=name
                )


def test_a_bar_of_unknown_price_has_no_features_of_its_own(case):
    timeframe, panels, _, found = case
    span = panels[timeframe].between(START, END)
    unknown = ~span.covered & np.isnan(span.close)
    assert unknown.any()
    for name in NAMES:
        if not name.startswith("return_"):  # those look at minutes
            assert np.isnan(found[name][unknown]).all(), name


def test_scaling_all_prices_by_two_leaves_ratios_to_the_bit_and_doubles_what_is_money(case):
    timeframe, panels, reference, found = case
    in_money = {"macd", "macd_signal", "macd_hist", "atr_14", "dollar_volume_24h"}
    doubled = compute_standard(
        {read: doubled_prices(panel) for read, panel in panels.items()},
        {read: doubled_prices(panel) for read, panel in reference.items()},
        timeframe,
        START,
        END,
    )
    for name in NAMES:
        factor = 2.0 if name in in_money else 1.0
        assert same_bits(doubled[name], found[name] * factor), name


def doubled_prices(panel):
    return Panel(
        timeframe=panel.timeframe,
        symbols=panel.symbols,
        open_time_ms=panel.open_time_ms,
        open=panel.open * 2,
        high=panel.high * 2,
        low=panel.low * 2,
        close=panel.close * 2,
        volume=panel.volume,
        covered=panel.covered,
    )


# --------------------------------------------------------------------- the same bits always


def test_a_value_has_the_same_bits_whatever_span_is_asked_for(case):
    timeframe, panels, reference, whole = case
    closes = panels[timeframe].between(START, END).close_time_ms
    for start, end in (
        (START, END - 5 * HOUR_MS),
        (utc(2025, 3, 31, 5), utc(2025, 3, 31, 9)),
        (utc(2025, 3, 31, 23), utc(2025, 4, 1, 2)),
        (utc(2025, 4, 1), END),
        (utc(2025, 4, 1, 6, 7), utc(2025, 4, 1, 11, 52)),
        (END - timeframe.ms, END),
    ):
        part = compute_standard(panels, reference, timeframe, start, end)
        rows = (closes > start) & (closes <= end)
        assert rows.any()
        for name in NAMES:
            assert same_bits(part[name], whole[name][rows]), (name, start, end)


def test_a_value_has_the_same_bits_whatever_other_symbols_and_names_are_asked_for(case):
    timeframe, panels, reference, whole = case
    alone = {read: panel.select([SOL]) for read, panel in panels.items()}
    for name in NAMES:
        part = compute_standard(alone, reference, timeframe, START, END, names=[name])
        assert list(part) == [name]
        assert same_bits(part[name][:, 0], whole[name][:, 2]), name


def test_a_value_has_the_same_bits_whatever_bars_exist_before_the_anchor(case):
    timeframe, panels, reference, whole = case
    border = utc(2025, 4, 1)
    needed = STANDARD.history_start_ms(timeframe, border)
    cut = {read: panel.between(needed[read], END) for read, panel in panels.items()}
    cut_reference = {timeframe: reference[timeframe].between(needed[timeframe], END)}
    part = compute_standard(cut, cut_reference, timeframe, border, END)
    rows = panels[timeframe].between(START, END).open_time_ms >= border
    for name in NAMES:
        assert same_bits(part[name], whole[name][rows]), name


def test_history_that_ends_before_the_anchor_is_refused_rather_than_computed_from_elsewhere():
    panels, reference = market(Timeframe.H1)
    late = {read: panel.between(utc(2025, 3, 5), END) for read, panel in panels.items()}
    with pytest.raises(
        DataError, match=r"begin at 2025-03-05.*from 2025-01-10T00:00:00\+00:00 on: hand in rows"
    ):
        compute_standard(late, reference, Timeframe.H1, START, END)
    with pytest.raises(DataError, match="bars of the reference begin at 2025-03-05"):
        compute_standard(
            panels,
            {Timeframe.H1: reference[Timeframe.H1].between(utc(2025, 3, 5), END)},
            Timeframe.H1,
            START,
            END,
        )


# -------------------------------------------------------------------------- special cases


def test_without_the_reference_coin_only_its_correlation_is_missing(case):
    timeframe, panels, _, whole = case
    without = compute_standard(panels, {}, timeframe, START, END)
    for name in NAMES:
        if name == "btc_correlation_7d":
            assert np.isnan(without[name]).all()
        else:
            assert same_bits(without[name], whole[name]), name


def test_the_reference_may_lie_on_other_rows_than_the_symbols(case):
    timeframe, panels, reference, whole = case
    longer = reference[timeframe]
    padded = Panel.empty(timeframe, (BTC,), int(longer.open_time_ms[0]) - 5 * DAY_MS, END)
    fields = {}
    for name in ("open", "high", "low", "close", "volume", "covered"):
        values = np.array(getattr(padded, name))
        values[-len(longer) :] = getattr(longer, name)
        fields[name] = values
    wider = Panel(timeframe=timeframe, symbols=(BTC,), open_time_ms=padded.open_time_ms, **fields)
    again = compute_standard(panels, {timeframe: wider}, timeframe, START, END, names=["btc_correlation_7d"])
    assert same_bits(again["btc_correlation_7d"], whole["btc_correlation_7d"])


def test_where_no_minutes_exist_returns_are_taken_on_the_strategys_own_closes():
    panels, reference = market(Timeframe.M15, missing=0.0)
    quarters = panels[Timeframe.M15]
    found = compute_standard({Timeframe.M15: quarters}, reference, Timeframe.M15, START, END)
    span = quarters.between(START, END)
    before = quarters.between(START - HOUR_MS, END - HOUR_MS)
    np.testing.assert_allclose(found["return_1h"], span.close / before.close - 1, rtol=1e-12)
    assert np.isnan(found["return_5m"]).all(), "no close of five minutes ago is known"


def test_a_coin_that_was_listed_yesterday_has_the_features_that_a_day_suffices_for():
    panels, reference = market(Timeframe.M15, missing=0.0)
    listed = utc(2025, 3, 31, 12)
    young = {}
    for read, panel in panels.items():
        fields = {name: np.array(getattr(panel, name)) for name in ("open", "high", "low", "close", "volume")}
        covered = np.array(panel.covered)
        before = panel.open_time_ms < listed
        for values in fields.values():
            values[before, 1] = np.nan
        covered[before, 1] = False
        young[read] = Panel(
            timeframe=read, symbols=panel.symbols, open_time_ms=panel.open_time_ms, covered=covered, **fields
        )
    found = compute_standard(young, reference, Timeframe.M15, START, END)
    span = panels[Timeframe.M15].between(START, END)
    first = {}
    for name in NAMES:
        there = np.isfinite(found[name][:, 1])
        first[name] = (
            (int(span.open_time_ms[there.argmax()]) - listed) // Timeframe.M15.ms if there.any() else None
        )
    assert first["return_5m"] == 0  # the close of the first bar against that of its 10th minute
    assert first["return_15m"] == 1
    assert first["return_24h"] == 96
    assert first["volume_ratio_20"] == 19
    assert first["volume_ratio_96"] == 95
    assert first["dollar_volume_24h"] == 95
    assert first["rsi_14"] == first["atr_14"] == 14
    assert first["macd"] == 25
    assert first["macd_signal"] == first["macd_hist"] == 33
    assert first["bb_width"] == first["bb_position"] == first["sma_20_distance"] == 19
    assert first["support_distance"] == first["resistance_distance"] == 20
    assert first["roc_10"] == 10
    assert first["stoch_k"] == 15
    assert first["stoch_d"] == 17
    assert first["volatility_24h"] == 96
    assert first["volatility_7d"] is first["btc_correlation_7d"] is first["sma_200_distance"] is None


def test_a_span_without_bars_has_empty_features():
    panels, reference = market(Timeframe.H1)
    found = compute_standard(panels, reference, Timeframe.H1, END, END)
    assert {values.shape for values in found.values()} == {(0, 3)}


def test_unknown_names_and_missing_bars_are_refused():
    panels, reference = market(Timeframe.H1)
    with pytest.raises(UsageError, match="rsi_15 is no standard feature: choose from return_5m"):
        compute_standard(panels, reference, Timeframe.H1, START, END, names=["rsi_15"])
    with pytest.raises(DataError, match="need bars of 5m"):
        compute_standard(panels, reference, Timeframe.M5, START, END)
    with pytest.raises(UsageError, match="24 hours hold 1 bars of 1d"):
        STANDARD.warmup(Timeframe.D1)


def test_a_year_is_made_of_its_months():
    start, end = utc(2024, 12, 31), utc(2025, 2, 2)
    panels, reference = market(Timeframe.H1, start, end, missing=0.0, symbols=(ETH,))
    whole = compute_standard(panels, reference, Timeframe.H1, start, end)
    closes = panels[Timeframe.H1].between(start, end).close_time_ms
    months = [
        datetime(2024, 12, 31, tzinfo=UTC),
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(2025, 2, 1, tzinfo=UTC),
    ]
    borders = [*(to_ms(month) for month in months), end]
    for month_start, month_end in itertools.pairwise(borders):
        part = compute_standard(panels, reference, Timeframe.H1, month_start, month_end)
        rows = (closes > month_start) & (closes <= month_end)
        for name in NAMES:
            assert same_bits(part[name], whole[name][rows]), name
