"""Times in files come as numbers in four units, as text, and as real times."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.files.times import milliseconds

NOON = to_ms(datetime(2025, 3, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize("factor", [0.001, 1, 1_000, 1_000_000])
@pytest.mark.parametrize("form", ["integer", "text", "float"])
def test_a_number_is_a_time_in_the_unit_that_makes_it_plausible(factor, form):
    number = int(NOON * factor)
    column = {
        "integer": pl.Series([number, None]),
        "text": pl.Series([f" {number} ", "noon"]),
        "float": pl.Series([float(number), float("nan")]),
    }[form]
    assert milliseconds(column).tolist() == [NOON, MISSING_TIME_MS]


def test_each_number_is_judged_by_itself():
    column = pl.Series([NOON // 1_000, NOON, NOON * 1_000])
    assert milliseconds(column).tolist() == [NOON, NOON, NOON]


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-01T12:00:00Z",
        "2025-03-01 12:00:00",
        "2025-03-01T12:00",
        "2025-03-01 12:00:00.000",
        "2025-03-01 12:00:00+00:00",
        "2025-03-01T14:00:00+02:00",
        "2025-03-01 12:00:00 UTC",
    ],
)
def test_text_is_an_iso_time_in_utc_unless_it_names_a_zone(text):
    assert milliseconds(pl.Series([text])).tolist() == [NOON]


def test_forms_of_text_may_be_mixed():
    column = pl.Series(["2025-03-01", "2025-03-01T12:00Z", "noon", "", None, str(NOON)])
    midnight = NOON - 12 * 3_600_000
    missing = MISSING_TIME_MS
    assert milliseconds(column).tolist() == [midnight, NOON, missing, missing, missing, NOON]


def test_real_times_count_in_utc_whatever_zone_they_are_shown_in():
    moment = datetime(2025, 3, 1, 12, tzinfo=UTC)
    for unit in ("ms", "us", "ns"):
        column = pl.Series([moment]).cast(pl.Datetime(unit, "UTC"))
        assert milliseconds(column).tolist() == [NOON]
        assert milliseconds(column.dt.convert_time_zone("Asia/Tokyo")).tolist() == [NOON]
        assert milliseconds(column.dt.replace_time_zone(None)).tolist() == [NOON]
    assert milliseconds(pl.Series([date(2025, 3, 1)])).tolist() == [NOON - 12 * 3_600_000]


def test_a_fraction_of_a_millisecond_never_passes_for_a_time_on_the_grid():
    assert milliseconds(pl.Series([NOON * 1_000 + 1])).tolist() == [NOON + 1]


def test_counters_and_zeros_are_no_times():
    assert milliseconds(pl.Series([0, 1, 2, -5])).tolist() == [MISSING_TIME_MS] * 4
    assert milliseconds(pl.Series([1e300, float("inf")])).tolist() == [MISSING_TIME_MS] * 2


def test_a_column_that_cannot_hold_times_holds_none():
    assert milliseconds(pl.Series([True, False])).tolist() == [MISSING_TIME_MS] * 2
