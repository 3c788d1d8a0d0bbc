"""The proof finds what looks ahead, and nothing where nothing does."""

import numpy as np
import pytest

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.features import indicators
from crypto_tracker.features.align import align, known_rows
from crypto_tracker.features.blocks import anchored_panels, closing_by, closing_within, month_blocks
from crypto_tracker.features.definitions import FeatureDefinition
from crypto_tracker.features.lookahead import (
    Finding,
    History,
    Outputs,
    cut_moments,
    depend_on_span,
    look_ahead,
    need_more_history,
)
from crypto_tracker.features.standard import STANDARD, STANDARD_FEATURES, compute_standard, feature_bars
from tests.features.drawn import BTC, ETH, SOL, random_walk, utc

START, END = utc(2025, 3, 30), utc(2025, 4, 3)
M15, H1 = Timeframe.M15, Timeframe.H1


@pytest.fixture(scope="module")
def history():
    quarters = random_walk(M15, utc(2025, 2, 10), END, (ETH, SOL), seed=4, missing=0.02)
    hours = resample(quarters, H1)
    reference = random_walk(M15, utc(2025, 2, 10), END, (BTC,), seed=5)
    return History(panels={M15: quarters, H1: hours}, reference={M15: reference})


def anchored(measure):
    """A computation over anchored blocks, as a strategy is scanned."""
    warmup = {M15: 300, H1: 100}

    def compute(history, start_ms, end_ms):
        rows = closing_within(history.panels[M15], start_ms, end_ms)
        parts = []
        for block_start, block_end in month_blocks(int(rows.open_time_ms[0]), int(rows.close_time_ms[-1])):
            cut = anchored_panels(history.panels, warmup, block_start, block_end)
            values = np.asarray(measure(cut))
            opens = cut[M15].open_time_ms
            parts.append(values[opens >= block_start])
        return Outputs(
            close_time_ms=rows.close_time_ms, symbols=rows.symbols, values={"value": np.concatenate(parts)}
        )

    return compute


def whole_column(measure):
    """A computation over all bars that it is given, without an anchor, as a careless script does it."""

    def compute(history, start_ms, end_ms):
        rows = closing_within(history.panels[M15], start_ms, end_ms)
        first = int(np.searchsorted(history.panels[M15].open_time_ms, rows.open_time_ms[0]))
        values = np.asarray(measure(history.panels))[first : first + len(rows)]
        return Outputs(close_time_ms=rows.close_time_ms, symbols=rows.symbols, values={"value": values})

    return compute


def prove(compute, history, *, random=6, consecutive=12, disturbed=2):
    rows = closing_within(history.panels[M15], START, END)
    return look_ahead(
        compute,
        history,
        start_ms=START,
        end_ms=END,
        cuts_ms=cut_moments(rows, random=random, consecutive=consecutive, seed=1),
        disturbances_ms=cut_moments(rows, random=disturbed, consecutive=0, seed=2),
        seed=3,
    )


# ---------------------------------------------------------------------- the honest


def mean_distance(panels):
    close = panels[M15].close
    return indicators.change(close, indicators.rolling_mean(close, window=20))


def hourly_trend(panels):
    hours = panels[H1]
    trend = indicators.ema(hours.close, window=20) - indicators.ema(hours.close, window=50)
    return align(trend, hours.close_time_ms, panels[M15].close_time_ms)


def confirmed_pivot(panels):
    """1 where the bar two bars earlier was the highest of five: known once both later bars have closed."""
    high = panels[M15].high
    middle = indicators.previous(high, bars=2)
    return (middle == indicators.rolling_max(high, window=5)).astype(float)


@pytest.mark.parametrize("measure", [mean_distance, hourly_trend, confirmed_pivot])
@pytest.mark.parametrize("run", [anchored, whole_column])
def test_an_honest_computation_is_found_to_be_honest(history, measure, run):
    assert prove(run(measure), history) == []


# -------------------------------------------------------------------- the cheats


def seen_one_bar_early(panels):
    return np.vstack([mean_distance(panels)[1:], np.full((1, 2), np.nan)])


def unconfirmed_pivot(panels):
    """A pivot marked at its own bar, though the two bars after it decide whether it is one."""
    high = panels[M15].high
    out = np.zeros(high.shape)
    for row in range(2, len(high) - 2):
        out[row] = high[row] >= np.nanmax(high[row - 2 : row + 3], axis=0)
    return out


def whole_column_mean(panels):
    close = panels[M15].close
    return close - np.nanmean(close, axis=0)


def whole_column_z_score(panels):
    close = panels[M15].close
    return (close - np.nanmean(close, axis=0)) / np.nanstd(close, axis=0)


def whole_column_maximum(panels):
    close = panels[M15].close
    return close / np.nanmax(close, axis=0)


def joined_on_open_time(panels):
    hours, quarters = panels[H1], panels[M15]
    rows = known_rows(hours.open_time_ms, quarters.open_time_ms)
    return np.where(rows[:, None] >= 0, hours.close[rows], np.nan)


def filled_backwards(panels):
    close = panels[M15].close.copy()
    for row in range(len(close) - 2, -1, -1):
        close[row] = np.where(np.isnan(close[row]), close[row + 1], close[row])
    return close


def centred_mean(panels):
    close = panels[M15].close
    return (close[:-2] + close[1:-1] + close[2:])[np.clip(np.arange(len(close)) - 1, 0, len(close) - 3)] / 3


def whole_column_minimum(panels):
    close = panels[M15].close
    return close / np.nanmin(close, axis=0)


EXTREMES = [whole_column_maximum, whole_column_minimum]
CHEATS = [
    seen_one_bar_early,
    unconfirmed_pivot,
    whole_column_mean,
    whole_column_z_score,
    *EXTREMES,
    joined_on_open_time,
    filled_backwards,
    centred_mean,
]


# A maximum or minimum of all bars that was reached early is the same from a prefix: only a disturbance moves it.
@pytest.mark.parametrize("cheat", [cheat for cheat in CHEATS if cheat not in EXTREMES])
@pytest.mark.parametrize("run", [anchored, whole_column])
def test_a_cheat_is_caught_by_cutting(history, cheat, run):
    found = prove(run(cheat), history, disturbed=0)
    assert [finding.output for finding in found] == ["value"]
    assert found[0].question == "cut"
    assert START < found[0].time_ms <= END


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_is_caught_by_disturbing_what_comes_later(history, cheat):
    found = prove(whole_column(cheat), history, random=0, consecutive=0, disturbed=3)
    assert [finding.question for finding in found] == ["disturbed"]


def test_a_cheat_of_one_bar_is_caught_at_the_bar_before_the_cut_with_both_values(history):
    quarters = history.panels[M15]
    moment = utc(2025, 3, 31, 12)
    row = int(np.searchsorted(quarters.close_time_ms, moment))
    found = look_ahead(
        whole_column(lambda panels: np.vstack([panels[M15].close[1:], np.full((1, 2), np.nan)])),
        history,
        start_ms=START,
        end_ms=END,
        cuts_ms=[moment],
        disturbances_ms=[],
        seed=0,
    )
    assert found == [
        Finding(
            question="cut",
            output="value",
            symbol=ETH,
            time_ms=moment,
            moment_ms=moment,
            less=pytest.approx(float("nan"), nan_ok=True),
            more=float(quarters.close[row + 1, 0]),
        )
    ]
    assert (
        "value of ETH/USD at 2025-03-31 12:00 is nan from bars known by 2025-03-31 12:00, but"
        in found[0].sentence
    )


def test_one_cheating_value_among_honest_ones_is_named_alone(history):
    def compute(history, start_ms, end_ms):
        honest = whole_column(mean_distance)(history, start_ms, end_ms)
        cheating = whole_column(whole_column_mean)(history, start_ms, end_ms)
        flags = honest.values["value"] > 0
        return Outputs(
            close_time_ms=honest.close_time_ms,
            symbols=honest.symbols,
            values={"honest": honest.values["value"], "flag": flags, "cheating": cheating.values["value"]},
        )

    assert [finding.output for finding in prove(compute, history)] == ["cheating"]


def test_a_difference_in_the_last_bit_is_a_difference(history):
    def compute(history, start_ms, end_ms):
        out = whole_column(lambda panels: panels[M15].close.copy())(history, start_ms, end_ms)
        length = len(history.panels[M15])
        values = np.nextafter(out.values["value"], np.inf) if length % 2 else out.values["value"]
        return Outputs(close_time_ms=out.close_time_ms, symbols=out.symbols, values={"value": values})

    assert len(prove(compute, history)) == 1


def test_flags_and_codes_are_compared_too(history):
    def compute(history, start_ms, end_ms):
        out = whole_column(seen_one_bar_early)(history, start_ms, end_ms)
        return Outputs(
            close_time_ms=out.close_time_ms,
            symbols=out.symbols,
            values={
                "above": out.values["value"] > 0,
                "code": (out.values["value"] > 0).astype(np.int8),
                "none": np.zeros(out.values["value"].shape, dtype=np.int64),
            },
        )

    assert {finding.output for finding in prove(compute, history)} == {"above", "code"}


# ------------------------------------------------------------------ cuts and disturbances


def test_cuts_are_a_run_of_single_bars_and_random_bars_gaps_and_minutes_between(history):
    rows = closing_within(history.panels[M15], START, END)
    cuts = np.array(cut_moments(rows, random=5, consecutive=10, seed=1))
    on_bars = cuts[cuts % M15.ms == 0]
    assert len(cuts) > len(on_bars) >= 15
    assert (np.diff(on_bars) == M15.ms).sum() >= 9
    gaps = rows.close_time_ms[~rows.present.all(axis=1)]
    assert np.isin(cuts, gaps).sum() >= 5
    assert cuts.min() > START
    assert cuts.max() <= END
    assert cut_moments(rows, random=5, consecutive=10, seed=1) == cuts.tolist()
    with pytest.raises(DataError, match="no bar to cut at"):
        cut_moments(rows.rows(0, 0), random=1, consecutive=1, seed=1)


def test_a_disturbance_changes_every_bar_that_closes_later_and_none_before(history):
    moment = utc(2025, 3, 31, 12, 10)  # within a bar of both timeframes
    disturbed = history.disturbed_after(moment, seed=1)
    for timeframe, panel in history.panels.items():
        other = disturbed.panels[timeframe]
        later = panel.close_time_ms > moment
        for name in ("open", "high", "low", "close", "volume"):
            before, after = getattr(panel, name), getattr(other, name)
            np.testing.assert_array_equal(before[~later], after[~later])
            assert not np.any(before[later] == after[later])
        assert (~other.covered[later]).sum() > (~panel.covered[later]).sum()
        assert other.high[later & other.present.all(axis=1)].min() > 0


def test_only_closed_bars_are_known(history):
    known = history.known_by(utc(2025, 3, 31, 12, 10))
    assert known.panels[M15].close_time_ms[-1] == utc(2025, 3, 31, 12)
    assert known.panels[H1].close_time_ms[-1] == utc(2025, 3, 31, 12)
    assert known.reference[M15].close_time_ms[-1] == utc(2025, 3, 31, 12)


# --------------------------------------------------------------------------- spans


SPANS = [(START, END - DAY_MS), (START + 5 * HOUR_MS, END), (utc(2025, 3, 31, 22), utc(2025, 4, 1, 3))]


def recursive_mean(panels):
    return indicators.ema(panels[M15].close, window=200)


def test_an_anchored_block_gives_the_same_bits_for_any_span(history):
    compute = anchored(recursive_mean)
    assert depend_on_span(compute, history, start_ms=START, end_ms=END, spans_ms=SPANS) == []


def test_a_recursion_that_begins_where_the_span_begins_is_caught(history):
    def compute(history, start_ms, end_ms):
        rows = closing_within(history.panels[M15], start_ms, end_ms)
        warm = closing_by(history.panels[M15], int(rows.open_time_ms[0]) - 2_000 * M15.ms, end_ms)
        values = indicators.ema(warm.close, window=200)[-len(rows) :]
        return Outputs(close_time_ms=rows.close_time_ms, symbols=rows.symbols, values={"value": values})

    found = depend_on_span(compute, history, start_ms=START, end_ms=END, spans_ms=SPANS)
    assert [finding.question for finding in found] == ["span"]
    assert found[0].less == pytest.approx(found[0].more, rel=1e-6), "only the last bits differ"


# ------------------------------------------------------------------------- warm-up


@pytest.fixture(scope="module")
def long_history():
    """Without gaps, and long enough for twice the warm-up of every standard feature on 15m and 1h."""
    quarters = random_walk(M15, utc(2025, 1, 1), END, (ETH, SOL), seed=4)
    minutes = random_walk(Timeframe.M1, utc(2025, 3, 25), END, (ETH, SOL), seed=6)
    reference = random_walk(M15, utc(2025, 1, 1), END, (BTC,), seed=5)
    return History(panels={Timeframe.M1: minutes, M15: quarters}, reference={M15: reference})


def mean_of_200(history):
    panel = history.panels[M15]
    return Outputs(
        close_time_ms=panel.close_time_ms,
        symbols=panel.symbols,
        values={"value": indicators.change(panel.close, indicators.ema(panel.close, window=200))},
    )


ANCHORS = [utc(2025, 3, 30), utc(2025, 4, 1)]


def need_more(compute, history, warmup, reference_warmup=None, *, tolerance=1e-3):
    return need_more_history(
        compute,
        history,
        warmup=warmup,
        reference_warmup=reference_warmup or {},
        anchors_ms=ANCHORS,
        stretch_ms=6 * HOUR_MS,
        tolerance=tolerance,
    )


def test_200_bars_are_too_few_for_an_exponential_mean_of_200_and_1200_suffice(long_history):
    found = need_more(mean_of_200, long_history, {M15: 200})
    assert [finding.question for finding in found] == ["warmup"]
    assert found[0].moment_ms == ANCHORS[0]
    assert "with the declared warm-up before 2025-03-30 00:00" in found[0].sentence
    assert need_more(mean_of_200, long_history, {M15: 1_200}) == []


def test_a_warm_up_that_leaves_a_window_unfilled_is_found(long_history):
    found = need_more(mean_of_200, long_history, {M15: 150})
    assert np.isnan(found[0].less)
    assert np.isfinite(found[0].more)


def test_flags_may_differ_in_a_share_as_small_as_the_tolerance(long_history):
    def flags(share):
        def compute(history):
            panel = history.panels[M15]
            out = np.zeros((len(panel), 2), dtype=np.bool_)
            if len(panel) < 1_000:  # the shorter history says otherwise now and then
                out[:: round(1 / share)] = True
            return Outputs(close_time_ms=panel.close_time_ms, symbols=panel.symbols, values={"flag": out})

        return compute

    assert need_more(flags(0.05), long_history, {M15: 600}, tolerance=0.01)
    assert not need_more(flags(0.05), long_history, {M15: 600}, tolerance=0.2)


def test_a_symbol_with_a_missing_bar_is_not_judged_by_it(long_history):
    quarters = long_history.panels[M15]
    close = np.array(quarters.close)
    covered = np.array(quarters.covered)
    hole = int(np.searchsorted(quarters.open_time_ms, utc(2025, 3, 29)))
    close[hole, 0], covered[hole, 0] = np.nan, False

    def window_of_300(history):
        panel = history.panels[M15]
        values = indicators.rolling_mean(panel.close, window=300)
        return Outputs(close_time_ms=panel.close_time_ms, symbols=panel.symbols, values={"value": values})

    holed = Panel(
        timeframe=M15,
        symbols=quarters.symbols,
        open_time_ms=quarters.open_time_ms,
        open=quarters.open,
        high=quarters.high,
        low=quarters.low,
        close=close,
        volume=quarters.volume,
        covered=covered,
    )
    one_whole = History(panels={M15: holed}, reference={})
    assert need_more(window_of_300, one_whole, {M15: 300}) == []
    only_holed = History(panels={M15: holed.select([ETH])}, reference={})
    with pytest.raises(DataError, match="no symbol has bars without a gap"):
        need_more(window_of_300, only_holed, {M15: 300})


# ------------------------------------------------------------- the standard features


def standard(history, start_ms, end_ms):
    rows = closing_within(history.panels[M15], start_ms, end_ms)
    return Outputs(
        close_time_ms=rows.close_time_ms,
        symbols=rows.symbols,
        values=compute_standard(history.panels, history.reference, M15, start_ms, end_ms),
    )


def test_no_standard_feature_looks_ahead_or_depends_on_the_span(long_history):
    minutes = Panel.empty(Timeframe.M1, (ETH, SOL), utc(2025, 2, 1), END)
    known = long_history.panels[Timeframe.M1]
    fields = {}
    for name in ("open", "high", "low", "close", "volume", "covered"):
        values = np.array(getattr(minutes, name))
        values[-len(known) :] = getattr(known, name)
        fields[name] = values
    padded = Panel(timeframe=Timeframe.M1, symbols=(ETH, SOL), open_time_ms=minutes.open_time_ms, **fields)
    history = History(
        panels={Timeframe.M1: padded, M15: long_history.panels[M15]}, reference=long_history.reference
    )
    assert prove(standard, history, random=3, consecutive=4) == []
    assert depend_on_span(standard, history, start_ms=START, end_ms=END, spans_ms=SPANS) == []


@pytest.mark.parametrize("definition", STANDARD_FEATURES, ids=lambda definition: definition.name)
def test_the_declared_warm_up_of_each_feature_suffices(long_history, definition):
    assert need_more(value_of(definition), long_history, *warmups(definition)) == []


TOO_LITTLE = {"ema_200_distance": 300, "rsi_14": 30, "atr_14": 30, "macd_signal": 40, "sma_200_distance": 190}


@pytest.mark.parametrize("name", TOO_LITTLE)
def test_a_feature_that_declares_too_little_is_found(long_history, name):
    definition = next(each for each in STANDARD.definitions if each.name == name)
    assert need_more(value_of(definition), long_history, {M15: TOO_LITTLE[name]})


def warmups(definition: FeatureDefinition):
    own = definition.warmup(M15)
    return own, {M15: own[M15]} if definition.reads_reference else {}


def value_of(definition):
    def compute(history):
        bars = feature_bars(history.panels, history.reference, M15)
        return Outputs(
            close_time_ms=bars.panel.close_time_ms,
            symbols=bars.panel.symbols,
            values={definition.name: definition.value(bars)},
        )

    return compute
