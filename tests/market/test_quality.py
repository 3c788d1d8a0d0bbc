"""How far bars can be trusted: the score, its parts, and two providers held against each other."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.config.market_data import Quality
from crypto_tracker.config.tree import defaults
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, to_ms
from crypto_tracker.market.quality import (
    compare,
    compare_all,
    falling,
    freshness,
    measure,
    score,
    why_doubtful,
)
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.quality import (
    QualityRow,
    quality_at,
    read_disagreements,
    read_quality,
    write_disagreements,
    write_quality,
)
from crypto_tracker.store.quarantine import drop, quarantined
from tests.store.shelf import BTC, ETH, MINUTE, at, drawn, part, run_of_minutes, store

NOW = datetime(2025, 3, 8, tzinfo=UTC)  # a week after the first bar
NOW_MS = to_ms(NOW)
WEEK_MINUTES = 7 * 1440
DEFAULT = tomllib.loads(defaults().text)["market_data"]["quality"]
SHARES = st.floats(0.0, 1.0)


def settings(**changed: float) -> Quality:
    """The defaults (fresh up to 2 minutes, stale from 10 on, 2 % and 10 % take all), but over a week."""
    week = {"window_days": 7} | changed
    return Quality.model_validate(DEFAULT | week)


def whole_week(opened: BarStore, provider: str = "kraken", symbol: Symbol = BTC, factor: float = 1.0) -> None:
    """Every minute of the seven days before NOW."""
    bars = run_of_minutes("2025-03-01 00:00", WEEK_MINUTES, price=100.0 * factor)
    opened.write(provider, symbol, Timeframe.M1, bars)


def measured(
    opened: BarStore, now_ms: int = NOW_MS, provider: str = "kraken", **changed: float
) -> QualityRow:
    [row] = measure(opened.reader, provider, [BTC], settings(**changed), now_ms)
    return row


def parts(row: QualityRow) -> tuple[float, float, float, float | None]:
    return row.freshness, row.completeness, row.soundness, row.agreement


# ---------------------------------------------------------------------------------------------- the formula


@given(st.lists(SHARES, min_size=1, max_size=4), st.data())
def test_the_score_is_in_0_to_1_never_above_its_worst_part_and_monotone_in_each(
    found: list[float], data: st.DataObject
):
    whole = score(found)
    assert 0.0 <= whole <= min(found)
    place = data.draw(st.integers(0, len(found) - 1))
    better = [*found]
    better[place] = data.draw(st.floats(found[place], 1.0))
    assert score(better) >= whole
    assert score([*found, None]) == whole


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_an_older_minute_is_never_fresher(one: float, other: float):
    younger, older = sorted((one, other))
    assert 0.0 <= freshness(older, settings()) <= freshness(younger, settings()) <= 1.0


@given(SHARES, SHARES, st.floats(1e-6, 1.0))
def test_more_doubtful_bars_never_make_a_symbol_sounder(one: float, other: float, share_max: float):
    fewer, more = sorted((one, other))
    assert 0.0 <= falling(more, share_max) <= falling(fewer, share_max) <= 1.0


@pytest.mark.parametrize(
    ("minutes", "expected"), [(0, 1.0), (2, 1.0), (4, 0.75), (6, 0.5), (10, 0.0), (500, 0.0)]
)
def test_freshness_falls_evenly_from_two_minutes_to_ten(minutes: float, expected: float):
    assert freshness(minutes, settings()) == expected


def test_equal_bounds_make_freshness_a_step():
    step = settings(fresh_minutes=5.0, stale_minutes=5.0)
    assert [freshness(minutes, step) for minutes in (5.0, 5.01)] == [1.0, 0.0]


# ------------------------------------------------------------------------------------------------ its parts


def test_a_symbol_that_is_whole_fresh_and_sound_scores_1(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        row = measured(opened)
    assert parts(row) == (1.0, 1.0, 1.0, None)
    assert (row.score, row.measured_at_ms) == (1.0, NOW_MS)


def test_freshness_is_the_age_of_the_newest_known_minute_also_where_nobody_traded(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-07 23:00", 54))
        assert measured(opened).freshness == 0.5  # six minutes old
        opened.write(
            "kraken", BTC, Timeframe.M1, drawn("2025-03-07 23:54 100"), [(at("2025-03-07 23:54"), NOW_MS)]
        )
        assert measured(opened).freshness == 1.0


def test_completeness_is_the_known_share_of_the_last_week(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-02-20 00:00", 10))  # long before
        bars = run_of_minutes("2025-03-01 00:00", WEEK_MINUTES)
        known = np.ones(WEEK_MINUTES, dtype=bool)
        known[5_000 : 5_000 + WEEK_MINUTES // 4] = False
        opened.write("kraken", BTC, Timeframe.M1, part(bars, known))
        assert measured(opened).completeness == 0.75


def test_the_window_of_a_young_symbol_begins_with_its_first_known_minute(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-07 20:00", 120))
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-07 23:00", 60))
        assert measured(opened).completeness == 0.75


def test_what_another_provider_gives_as_history_counts_as_known(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-04 12:00", WEEK_MINUTES // 2))
        opened.write("massive", BTC, Timeframe.M1, run_of_minutes("2025-02-20 00:00", 11 * 1440))
        [alone] = measure(opened.reader, "massive", [BTC], settings(), NOW_MS)
        [joined] = measure(opened.reader, "kraken", [BTC], settings(), NOW_MS, history="massive")
    # Of seven days massive knows the first two, and kraken the last three and a half.
    assert (alone.freshness, alone.completeness) == (0.0, pytest.approx(2 / 7))
    assert (joined.freshness, joined.completeness) == (1.0, pytest.approx(5.5 / 7))
    assert joined.provider == "kraken"


def test_held_bars_and_minutes_in_doubt_take_soundness(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        bars = run_of_minutes("2025-03-01 00:00", WEEK_MINUTES)
        wrong = np.arange(1_000, 1_000 + WEEK_MINUTES // 100)  # 1 % of the window, of the 2 % that take all
        bars.high[wrong] = bars.low[wrong] / 2
        opened.write("kraken", BTC, Timeframe.M1, bars)
        row = measured(opened)
        assert row.soundness == pytest.approx(0.5, abs=0.01)
        assert row.completeness == pytest.approx(0.99, abs=1e-3)
        assert row.score == pytest.approx(0.5 * 0.99, abs=0.01)
        ids = [bar.quarantine_id for bar in quarantined(tmp_path)]
        drop(opened, tmp_path, ids, NOW_MS, reason="wrong prints")
        assert measured(opened).soundness == 1.0


@pytest.mark.parametrize("time", ["-", "2031-01-01 00:00"])
def test_a_bar_without_a_time_or_of_a_time_to_come_counts_while_its_arrival_is_in_the_window(
    tmp_path: Path, time: str
):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        opened.write("kraken", BTC, Timeframe.M1, drawn(f"{time} 100 101 99 100 5"))
        assert measured(opened).soundness == pytest.approx(1.0 - 1 / WEEK_MINUTES / 0.02)
        assert measured(opened, NOW_MS + 8 * DAY_MS).soundness == 1.0


def test_a_wrong_bar_of_years_ago_that_is_imported_today_takes_nothing(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        opened.write("kraken", BTC, Timeframe.M1, drawn("2021-01-01 00:00 100 99 99 101 5"))
        assert len(quarantined(tmp_path)) == 1
        assert measured(opened).soundness == 1.0


def test_an_unconfirmed_jump_takes_soundness_until_it_is_confirmed(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-07 22:00", 117))
        opened.write("kraken", BTC, Timeframe.M1, drawn("2025-03-07 23:57 300"))
        # One of 120 minutes, where 2 % take all soundness.
        assert measured(opened).soundness == pytest.approx(1.0 - 1 / 120 / 0.02)
        opened.write("kraken", BTC, Timeframe.M1, drawn("2025-03-07 23:58 301\n2025-03-07 23:59 302"))
        assert measured(opened).soundness == 1.0


def test_a_minute_in_quarantine_that_has_a_sound_bar_by_now_takes_nothing(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        bars = run_of_minutes("2025-03-01 00:00", WEEK_MINUTES)
        torn = part(bars, np.arange(WEEK_MINUTES - 60, WEEK_MINUTES - 15))
        torn.low[:] = np.nan
        opened.write("kraken", BTC, Timeframe.M1, part(bars, np.arange(WEEK_MINUTES - 60)))
        opened.write("kraken", BTC, Timeframe.M1, torn)
        assert measured(opened).soundness == pytest.approx(1.0 - 45 / WEEK_MINUTES / 0.02)
        opened.write("kraken", BTC, Timeframe.M1, bars)  # asked for again
        assert len(quarantined(tmp_path, settled=True)) == 45  # still there to be looked at
        assert quarantined(tmp_path) == []
        assert parts(measured(opened)) == (1.0, 1.0, 1.0, None)
        opened.write("kraken", BTC, Timeframe.M1, torn)  # also where what is wrong comes after
        assert measured(opened).soundness == 1.0


def test_a_minute_in_quarantine_in_which_nobody_traded_by_a_later_answer_takes_nothing(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        last = at("2025-03-07 23:59")
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-07 22:00", 119))
        wrong = drawn("2025-03-07 23:59 100 99 99 101 5")
        opened.write("kraken", BTC, Timeframe.M1, wrong, [(last, NOW_MS)])
        assert measured(opened).soundness < 1.0
        opened.write("kraken", BTC, Timeframe.M1, drawn("2025-03-07 22:00 100"), [(last, NOW_MS)])
        assert measured(opened).soundness == 1.0


def test_a_bar_of_another_timeframe_is_known_by_the_coverage_of_that_timeframe(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        opened.write("kraken", BTC, Timeframe.M15, drawn("2025-03-07 12:00 100 99 99 101 5"))
        assert measured(opened).soundness < 1.0
        opened.write("kraken", BTC, Timeframe.M15, drawn("2025-03-07 12:00 100"))
        assert measured(opened).soundness == 1.0


@pytest.mark.parametrize("lost_days", [0.5, 1, 2, 5])
def test_an_outage_that_nobody_can_fill_shuts_a_symbol_out_for_a_day_at_most(
    tmp_path: Path, lost_days: float
):
    one_day = settings(window_days=Quality.model_validate(DEFAULT).window_days)
    with store(tmp_path, now=NOW) as opened:
        back = NOW_MS - DAY_MS
        lost_ms = round(lost_days * DAY_MS)
        covered = [(back - lost_ms - DAY_MS, back - lost_ms), (back, NOW_MS)]
        opened.write("kraken", BTC, Timeframe.M1, drawn("2025-02-20 00:00 100"), covered)
        [at_once] = measure(opened.reader, "kraken", [BTC], one_day, back + MINUTE)
        [soon] = measure(opened.reader, "kraken", [BTC], one_day, back + DAY_MS // 2)
        [later] = measure(opened.reader, "kraken", [BTC], one_day, NOW_MS)
    assert at_once.score <= soon.score < 0.8
    assert later.score == 1.0


def test_a_score_that_is_high_enough_needs_no_words():
    assert why_doubtful(_scored(freshness=0.9), settings()) == ""


@pytest.mark.parametrize(
    ("low", "words"),
    [
        (
            {"freshness": 0.5},
            "no minute known since 2025-03-07 23:54 UTC: see that `collect` runs and its provider answers",
        ),
        (
            {"completeness": 0.75},
            (
                "25 % of its minutes since 2025-03-07 00:00 UTC unknown: `heal-gaps` fetches what there is, "
                "the rest counts for a day at most"
            ),
        ),
        (
            {"soundness": 0.5},
            (
                "1 % of its minutes since 2025-03-07 00:00 UTC in quarantine or suspect: `quarantine list` "
                "shows them, `heal-gaps` fetches sound bars in their place"
            ),
        ),
        (
            {"agreement": 0.25},
            (
                "closes since 2025-03-07 00:00 UTC too far from another provider's (agreement 0.25): "
                "`list-data --compare` shows how far"
            ),
        ),
    ],
)
def test_the_words_say_which_part_is_low_since_when_and_what_helps(low: dict[str, float], words: str):
    assert why_doubtful(_scored(**low), settings(window_days=1)) == words


def test_the_worst_part_is_named_first_and_one_that_would_do_alone_not_at_all():
    words = why_doubtful(_scored(freshness=0.9, completeness=0.5, soundness=0.0), settings())
    soundness, completeness = words.split("; ")
    assert soundness.startswith("at least 2 % of its minutes since 2025-03-01 00:00 UTC in quarantine")
    assert completeness.startswith("50 % of its minutes")
    assert completeness.endswith("counts for 7 days at most")


def test_where_only_all_parts_together_are_too_low_all_are_named():
    words = why_doubtful(_scored(freshness=0.9, completeness=0.85), settings())
    assert [each.split()[0] for each in words.split("; ")] == ["15", "no"]


def _scored(**changed: float) -> QualityRow:
    found = {"freshness": 1.0, "completeness": 1.0, "soundness": 1.0, "agreement": 1.0} | changed
    return QualityRow(
        provider="kraken", symbol=BTC, measured_at_ms=NOW_MS, score=score(found.values()), **found
    )


def test_a_symbol_of_which_no_minute_is_known_scores_0(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, Timeframe.H1, drawn("12:00 100"))
        row = measured(opened)
    assert parts(row)[:2] == (0.0, 0.0)
    assert row.score == 0.0


# -------------------------------------------------------------------------------------------- two providers


def two_providers(opened: BarStore) -> None:
    """100 minutes of 1 March; of the second provider 5 lie 2 % higher, and one is missing."""
    bars = run_of_minutes("2025-03-01 00:00", 100)
    opened.write("kraken", BTC, Timeframe.M1, bars)
    other = part(bars, np.arange(100) != 50)
    high = np.isin(other.open_time_ms, bars.open_time_ms[:5])
    for name in ("open", "high", "low", "close"):
        getattr(other, name)[high] *= 1.02
    opened.write("massive", BTC, Timeframe.M1, other)


def test_closes_of_minutes_that_both_have_are_compared(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        two_providers(opened)
        day_ms = at("2025-03-01 00:00")
        found = compare(opened.reader, BTC, "massive", "kraken", day_ms, settings())
        assert found is not None
        assert (found.first, found.second, found.day_ms) == ("kraken", "massive", day_ms)
        assert (found.compared, found.beyond) == (99, 5)
        assert found.median == 0.0
        assert found.largest == pytest.approx(0.02 / 1.01)
        assert found == compare(opened.reader, BTC, "kraken", "massive", day_ms, settings())
        assert compare(opened.reader, BTC, "kraken", "massive", day_ms + DAY_MS, settings()) is None


def test_disagreement_lowers_the_score_of_both(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        whole_week(opened, "massive")
        high = run_of_minutes("2025-03-07 00:00", WEEK_MINUTES // 20, price=200.0)
        opened.write("massive", BTC, Timeframe.M1, high)  # a revision of one minute in twenty
        found = compare_all(opened.reader, [BTC], settings(), NOW_MS)
        assert sum(day.compared for day in found) <= WEEK_MINUTES
        write_disagreements(tmp_path, found, NOW_MS)
        assert read_disagreements(tmp_path) == found
        share = sum(day.beyond for day in found) / sum(day.compared for day in found)
        assert 0.04 < share <= 0.05
        for provider in ("kraken", "massive"):
            row = measured(opened, provider=provider)
            assert row.agreement == pytest.approx(1.0 - share / 0.10)
            assert row.agreement is not None
            assert row.score <= row.agreement
        later = NOW_MS + 30 * DAY_MS
        assert measured(opened, later).agreement is None  # outside the window


def test_days_are_the_last_ones_that_both_providers_know(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        opened.write("massive", BTC, Timeframe.M1, run_of_minutes("2025-03-02 12:00", 1440))
        opened.write("massive", ETH, Timeframe.M1, run_of_minutes("2025-03-02 12:00", 1440))
        found = compare_all(opened.reader, [BTC, ETH], settings(window_days=2), NOW_MS)
    assert [(day.symbol, day.day_ms, day.compared) for day in found] == [
        (BTC, at("2025-03-02 00:00"), 720),
        (BTC, at("2025-03-03 00:00"), 720),
    ]


def test_just_after_midnight_the_whole_day_before_is_compared(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        for provider in ("kraken", "massive"):
            opened.write(provider, BTC, Timeframe.M1, run_of_minutes("2025-03-01 00:00", 1440 + 10))
        found = compare_all(opened.reader, [BTC], settings(window_days=1), at("2025-03-02 00:10"))
    assert [day.compared for day in found] == [1440, 10]


def test_nothing_of_another_provider_is_ever_mixed_into_the_bars_of_the_one_that_trades(tmp_path: Path):
    span = at("2025-03-01 00:00"), at("2025-03-01 02:00")
    with store(tmp_path / "alone", now=NOW) as alone, store(tmp_path / "both", now=NOW) as both:
        for opened in (alone, both):
            opened.write(
                "kraken", BTC, Timeframe.M1, part(run_of_minutes("2025-03-01 00:00", 100), slice(0, 60))
            )
        two = run_of_minutes("2025-03-01 00:00", 120, price=400.0)
        both.write("massive", BTC, Timeframe.M1, two)
        write_disagreements(tmp_path / "both", compare_all(both.reader, [BTC], settings(), NOW_MS), NOW_MS)
        for timeframe in (Timeframe.M1, Timeframe.M5, Timeframe.H1):
            expected = alone.reader.panel([BTC], timeframe, *span, provider="kraken")
            found = both.reader.panel([BTC], timeframe, *span, provider="kraken")
            np.testing.assert_array_equal(found.close, expected.close)
            np.testing.assert_array_equal(found.covered, expected.covered)
        assert np.isnan(found.close[1, 0])  # the hour that only the other provider knows


# ------------------------------------------------------------------------------------------------- the store


def test_scores_are_kept_and_replaced(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        rows = measure(opened.reader, "kraken", [BTC], settings(), NOW_MS)
        write_quality(tmp_path, rows)
        assert read_quality(tmp_path) == {("kraken", BTC): rows[0]}
        later = measure(opened.reader, "kraken", [BTC], settings(), NOW_MS + 6 * MINUTE)
        write_quality(tmp_path, later)
        assert read_quality(tmp_path) == {("kraken", BTC): later[0]}
        assert later[0].freshness == 0.5
        write_quality(tmp_path, [])


def test_a_score_counts_for_the_minutes_near_which_it_was_measured(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        rows = measure(opened.reader, "kraken", [BTC], settings(), NOW_MS)
        write_quality(tmp_path, rows)
        with MinuteFeed.open(tmp_path, {BTC: "kraken", ETH: "kraken"}) as feed:
            for minutes, counts in ((-16, False), (-15, True), (0, True), (15, True), (16, False)):
                at_ms = NOW_MS + minutes * MINUTE
                np.testing.assert_array_equal(feed.scores(at_ms, 15.0), [1.0 if counts else np.nan, np.nan])
                found = opened.reader.consistently(lambda each, at_ms=at_ms: quality_at(each, at_ms, 15.0))
                assert found == ({("kraken", BTC): rows[0]} if counts else {})


def test_a_score_of_a_symbol_that_nobody_stored_is_refused(tmp_path: Path):
    with store(tmp_path, now=NOW) as opened:
        whole_week(opened)
        [row] = measure(opened.reader, "kraken", [ETH], settings(), NOW_MS)
        assert row.score == 0.0
        with pytest.raises(DataError, match="knows no ETH/USDT of kraken"):
            write_quality(tmp_path, [row])
