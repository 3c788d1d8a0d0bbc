"""Bars come in any order and more than once; what is read is what is known, newest first, never the doubtful."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import event

from crypto_tracker.core.errors import DataError, StoreError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.store import tables
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.tiers import Tiers
from tests.store.shelf import BTC, ETH, MINUTE, NAN, at, closes, drawn, part, run_of_minutes, store

M1 = Timeframe.M1


@pytest.fixture
def shop(tmp_path):
    """A store in which every bar stays hot, as the default threshold has it for a few bars."""
    with store(tmp_path) as opened:
        yield opened


def counts(result) -> tuple[int, int, int, int]:
    return result.rows, result.rows_new, result.revisions, result.quarantined


def table_rows(opened, table) -> list[dict]:
    with opened._engine.connect() as connection:
        return [dict(row) for row in connection.execute(table.select()).mappings()]


# ------------------------------------------------------------------------------------- idempotence, revisions


def test_the_same_bars_again_change_nothing(shop):
    bars = run_of_minutes("12:00", 10)
    assert counts(shop.write("file", BTC, M1, bars)) == (10, 10, 0, 0)
    before = closes(shop, "11:58", "12:12")
    assert counts(shop.write("file", BTC, M1, bars)) == (10, 0, 0, 0)
    assert closes(shop, "11:58", "12:12") == before
    assert before[:3] == ["unknown", "unknown", 100.0]


def test_bars_out_of_order_and_overlapping_land_in_place(shop):
    shop.write("file", BTC, M1, drawn("12:03 103\n12:01 101"))
    result = shop.write("file", BTC, M1, drawn("12:02 102\n12:00 100\n12:01 101\n12:02 102"))
    assert counts(result) == (4, 2, 0, 0)
    assert closes(shop, "12:00", "12:04") == [100, 101, 102, 103]


def test_another_value_becomes_a_revision_beside_the_first(shop):
    shop.write("file", BTC, M1, drawn("12:00 100\n12:01 101"))
    assert counts(shop.write("file", BTC, M1, drawn("12:01 101.5"))) == (1, 0, 1, 0)
    assert closes(shop, "12:00", "12:02") == [100, 101.5]
    rows = shop.reader.rows(BTC, M1, at("12:00"), at("12:02"))
    assert rows.revision.tolist() == [0, 0, 1]
    assert rows.values[3].tolist() == [100, 101, 101.5]


def test_a_value_that_was_known_before_the_last_revision_is_no_news(shop):
    for close in ("101", "101.5", "101", "101.5"):
        shop.write("file", BTC, M1, drawn(f"12:01 {close}"))
    assert shop.reader.rows(BTC, M1, at("12:00"), at("12:02")).revision.tolist() == [0, 1]
    assert closes(shop, "12:01", "12:02") == [101.5]


def test_two_values_for_one_minute_in_one_batch_are_a_bar_and_its_revision(shop):
    assert counts(shop.write("file", BTC, M1, drawn("12:01 101\n12:01 102"))) == (2, 1, 1, 0)
    assert closes(shop, "12:01", "12:02") == [102]


def test_what_a_source_does_not_know_contradicts_nothing(shop):
    full = drawn("12:00 100 101 99 100 7")
    blank = drawn("12:00 100 101 99 100 -")
    shop.write("file", BTC, M1, full)
    assert shop.write("file", BTC, M1, blank).revisions == 0
    assert shop.reader.panel([BTC], M1, at("12:00"), at("12:01")).volume[0, 0] == 7


def test_what_a_later_source_knows_more_is_added(shop):
    shop.write("file", BTC, M1, drawn("12:00 100 101 99 100 -"))
    assert math.isnan(shop.reader.panel([BTC], M1, at("12:00"), at("12:01")).volume[0, 0])
    known = BarBatch(
        open_time_ms=np.array([at("12:00")]),
        open=np.array([100.0]),
        high=np.array([101.0]),
        low=np.array([99.0]),
        close=np.array([100.0]),
        volume=np.array([7.0]),
        vwap=np.array([100.2]),
        n_trades=np.array([3.0]),
    )
    assert shop.write("file", BTC, M1, known).revisions == 1
    newest = shop.reader.rows(BTC, M1, at("12:00"), at("12:01")).newest()
    assert newest.values[:, 0].tolist() == [100, 101, 99, 100, 7, 100.2, 3]


def _with_trades(text: str, vwap: float, n_trades: float) -> BarBatch:
    return replace(drawn(text), vwap=np.array([vwap]), n_trades=np.array([n_trades]))


def _all_rows(opened) -> list[tuple]:
    rows = opened.reader.rows(BTC, M1, at("12:00"), at("12:02"))
    return [
        (time_ms, revision, *values[3:])
        for time_ms, revision, values in zip(
            rows.open_time_ms.tolist(), rows.revision.tolist(), rows.values.T.tolist(), strict=True
        )
    ]


def test_a_bar_that_only_knows_its_vwap_and_trades_besides_completes_the_stored_one(shop):
    noon, later = at("12:00"), at("12:01")
    shop.write("file", BTC, M1, drawn("12:00 100\n12:01 101"))
    assert counts(shop.write("file", BTC, M1, _with_trades("12:00 100", 100.2, NAN))) == (1, 0, 0, 0)
    assert counts(shop.write("file", BTC, M1, _with_trades("12:00 100", NAN, 7))) == (1, 0, 0, 0)
    first, second = _all_rows(shop)
    assert first == (noon, 0, 100, 1, 100.2, 7)
    assert second[:4] == (later, 0, 101, 1)
    assert counts(shop.write("file", BTC, M1, _with_trades("12:00 100", 100.3, 7))) == (1, 0, 1, 0)
    assert _all_rows(shop)[:2] == [(noon, 0, 100, 1, 100.2, 7), (noon, 1, 100, 1, 100.3, 7)]


def test_it_completes_the_revision_that_it_equals_and_makes_none_anew(shop):
    shop.write("file", BTC, M1, drawn("12:00 100"))
    shop.write("file", BTC, M1, drawn("12:00 102"))
    assert counts(shop.write("file", BTC, M1, _with_trades("12:00 100", 100.2, 7))) == (1, 0, 0, 0)
    first, second = _all_rows(shop)
    assert first == (at("12:00"), 0, 100, 1, 100.2, 7)
    assert (second[1:4], [math.isnan(value) for value in second[4:]]) == ((1, 102, 1), [True, True])
    assert closes(shop, "12:00", "12:01") == [102]


def test_a_bar_in_a_cold_file_stays_as_it_is_until_its_month_is_written_anew(tmp_path):
    with store(tmp_path, cold_rows_min=100) as opened:
        bars = run_of_minutes("12:00", 200)
        opened.write("file", BTC, M1, bars)
        known = replace(bars, vwap=bars.close, n_trades=np.full(200, 3.0))
        for _ in range(2):
            assert counts(opened.write("file", BTC, M1, known)) == (200, 0, 0, 0)
            assert hot_count(opened) == 0
            assert np.isnan(opened.reader.rows(BTC, M1, at("12:00"), at("15:20")).values[5:]).all()
        more = run_of_minutes("12:00", 400)
        more = replace(more, vwap=more.close, n_trades=np.full(400, 3.0))
        assert counts(opened.write("file", BTC, M1, more)) == (400, 200, 0, 0)
        rows = opened.reader.rows(BTC, M1, at("12:00"), at("18:40"))
        assert (len(rows), rows.revision.max()) == (400, 0)
        np.testing.assert_array_equal(rows.values, more.values())


def test_minutes_that_were_completed_are_still_read_without_their_times(shop):
    bars = run_of_minutes("12:00", 10)
    shop.write("file", BTC, M1, bars)
    shop.write("file", BTC, M1, replace(bars, vwap=bars.close, n_trades=np.full(10, 3.0)))
    with shop._engine.connect() as connection:
        asked: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *parts: asked.append(parts[2]))
        rows = Tiers(connection, shop._cold).hot_bars(1, M1, at("12:00"), at("12:10"))
    np.testing.assert_array_equal(rows.values, bars.values()[:5])
    _, ends, values = asked  # after the begin of the transaction
    assert "min(open_time_ms)" in ends
    assert values.startswith("SELECT open,")


def test_a_vwap_of_zero_is_unknown(shop):
    bars = BarBatch(
        **{name: np.array([100.0]) for name in ("open", "high", "low", "close")},
        open_time_ms=np.array([at("12:00")]),
        volume=np.array([0.0]),
        vwap=np.array([0.0]),
        n_trades=np.array([0.0]),
    )
    shop.write("file", BTC, M1, bars)
    values = shop.reader.rows(BTC, M1, at("12:00"), at("12:01")).values[:, 0]
    assert math.isnan(values[5])
    assert values[6] == 0


def test_providers_of_one_symbol_live_side_by_side(shop):
    shop.write("kraken", BTC, M1, drawn("12:00 100"))
    shop.write("binance", BTC, M1, drawn("12:00 101"))
    span = at("12:00"), at("12:01")
    assert shop.reader.panel([BTC], M1, *span, provider="kraken").close[0, 0] == 100
    assert shop.reader.panel([BTC], M1, *span, provider="binance").close[0, 0] == 101
    assert shop.reader.providers(BTC) == ("binance", "kraken")
    with pytest.raises(UsageError, match="binance, kraken"):
        shop.reader.panel([BTC], M1, *span)


def test_a_symbol_that_the_store_does_not_have_is_named(shop):
    shop.write("file", BTC, M1, drawn("12:00 100"))
    with pytest.raises(DataError, match="ETH/USDT"):
        shop.reader.panel([BTC, ETH], M1, at("12:00"), at("12:01"))
    with pytest.raises(DataError, match="kraken has no bars of BTC/USDT"):
        shop.reader.panel([BTC], M1, at("12:00"), at("12:01"), provider="kraken")


def test_a_provider_is_written_in_lower_case(shop):
    for name in ("Binance", "", "../x"):
        with pytest.raises(UsageError, match="no name of a provider"):
            shop.write(name, BTC, M1, drawn("12:00 100"))


# ------------------------------------------------------------------------------------- coverage and quarantine


def test_a_minute_inside_coverage_without_a_bar_had_no_trade(shop):
    shop.write("file", BTC, M1, drawn("12:01 101\n12:03 103"), [(at("12:00"), at("12:04"))])
    assert closes(shop, "11:59", "12:05") == ["unknown", "no trade", 101, "no trade", 103, "unknown"]


def test_coverage_without_a_bar_is_worth_storing(shop):
    shop.write("file", BTC, M1, drawn("12:00 100"))
    result = shop.write("file", BTC, M1, drawn("12:00 100"), [(at("12:00"), at("12:10"))])
    assert counts(result) == (1, 0, 0, 0)
    assert closes(shop, "12:09", "12:11") == ["no trade", "unknown"]


def test_coverage_counts_in_whole_bars_and_never_reaches_into_the_future(shop):
    half = 30_000
    shop.write("file", BTC, M1, drawn("12:00 100"), [(at("12:01") + half, at("12:03") + half)])
    assert closes(shop, "12:00", "12:04") == [100, "unknown", "no trade", "unknown"]
    shop.write("file", BTC, M1, drawn("12:00 100"), [(at("2025-05-31 23:58"), at("2025-06-01 00:10"))])
    assert closes(shop, "2025-05-31 23:58", "2025-06-01 00:02") == [
        "no trade",
        "no trade",
        "unknown",
        "unknown",
    ]


def test_a_broken_bar_goes_to_quarantine_once_and_its_minute_is_unknown(shop):
    bars = drawn("12:00 100\n12:01 100 90 99 100 1\n12:02 102")
    span = [(at("12:00"), at("12:03"))]
    for _ in range(2):
        result = shop.write("file", BTC, M1, bars, span, source="a.csv")
        assert result.quarantined == 1
    assert closes(shop, "12:00", "12:03") == [100, "unknown", 102]
    (row,) = table_rows(shop, tables.quarantine)
    assert (row["rule"], row["open_time_ms"], row["source"]) == ("high_too_low", at("12:01"), "a.csv")
    assert json.loads(row["raw"])["high"] == "90.0"


def test_a_good_bar_heals_the_minute_of_a_broken_one(shop):
    shop.write(
        "file", BTC, M1, drawn("12:00 100\n12:01 100 90 99 100 1\n12:02 102"), [(at("12:00"), at("12:03"))]
    )
    shop.write("file", BTC, M1, drawn("12:01 101"))
    assert closes(shop, "12:00", "12:03") == [100, 101, 102]


def test_a_bar_off_the_grid_makes_its_minute_unknown(shop):
    bars = drawn("12:00 100\n12:01 101\n12:02 102")
    bars.open_time_ms[1] += 30_000
    assert shop.write("file", BTC, M1, bars, [(at("12:00"), at("12:03"))]).quarantined == 1
    assert closes(shop, "12:00", "12:03") == [100, "unknown", 102]


def test_a_bar_without_a_time_is_kept_in_quarantine(shop):
    assert shop.write("file", BTC, M1, drawn("- 100 100 100 100 1\n12:00 100")).quarantined == 1
    (row,) = table_rows(shop, tables.quarantine)
    assert (row["rule"], row["open_time_ms"]) == ("missing_field", None)


def test_a_bar_that_is_still_forming_is_not_stored(shop):
    bars = drawn("2025-05-31 23:59 100\n2025-06-01 00:00 101")
    assert counts(shop.write("file", BTC, M1, bars)) == (2, 1, 0, 1)


# ------------------------------------------------------------------------------------------------ suspect bars


def suspects(opened) -> dict[int, str]:
    return {
        (row["open_time_ms"] - at("12:00")) // MINUTE: row["status"]
        for row in table_rows(opened, tables.suspects)
    }


def test_a_wrong_print_is_stored_counted_and_read_by_nobody(shop):
    result = shop.write("file", BTC, M1, drawn("12:00 100\n12:01 30\n12:02 101\n12:03 102"))
    assert (result.rows_new, result.suspect) == (4, 1)
    assert closes(shop, "12:00", "12:04") == [100, "no trade", 101, 102]
    assert suspects(shop) == {1: "unconfirmed"}
    assert shop.reader.rows(BTC, M1, at("12:00"), at("12:04")).values[3].tolist() == [100, 30, 101, 102]
    (info,) = shop.reader.series()
    assert (info.rows, info.suspect) == (4, 1)


def test_a_confirmed_jump_is_noted_with_its_time_and_still_not_acted_on(shop):
    shop.write("file", BTC, M1, drawn("12:00 100\n12:01 200\n12:02 201\n12:03 202"))
    (row,) = table_rows(shop, tables.suspects)
    assert (row["status"], row["confirmed_at_ms"]) == ("confirmed", at("12:04"))
    assert closes(shop, "12:00", "12:04") == [100, "no trade", 201, 202]


def test_bars_that_come_one_by_one_are_judged_like_those_that_come_at_once(shop):
    lines = ["12:00 100", "12:01 200", "12:02 201", "12:03 202", "12:04 50", "12:05 203"]
    for line in lines:
        shop.write("file", BTC, M1, drawn(line))
    assert suspects(shop) == {1: "confirmed", 4: "unconfirmed"}


def test_a_bar_that_comes_late_before_another_one_clears_or_doubts_it(shop):
    shop.write("file", BTC, M1, drawn("12:00 100\n12:02 180"), [(at("12:00"), at("12:03"))])
    assert suspects(shop) == {2: "unconfirmed"}
    shop.write("file", BTC, M1, drawn("12:01 140"))
    assert suspects(shop) == {}
    assert closes(shop, "12:00", "12:03") == [100, 140, 180]


def test_a_jump_across_an_outage_is_not_suspect(shop):
    shop.write("file", BTC, M1, drawn("12:00 100\n14:00 300\n14:01 301"))
    assert suspects(shop) == {}


def test_a_correction_that_jumps_is_suspect_and_the_earlier_value_stands(shop):
    shop.write("file", BTC, M1, drawn("12:00 100\n12:01 101\n12:02 102"))
    result = shop.write("file", BTC, M1, drawn("12:01 300"))
    assert (result.revisions, result.suspect) == (1, 1)
    assert closes(shop, "12:00", "12:03") == [100, 101, 102]
    shop.write("file", BTC, M1, drawn("12:01 101.5"))
    assert closes(shop, "12:00", "12:03") == [100, 101.5, 102]


def test_coarser_bars_may_move_as_they_like(shop):
    shop.write("file", BTC, Timeframe.H1, drawn("12:00 100\n13:00 300\n14:00 301"))
    assert closes(shop, "12:00", "15:00", timeframe=Timeframe.H1) == [100, 300, 301]
    assert suspects(shop) == {}


def test_a_suspect_minute_takes_no_part_in_a_coarser_bar(shop):
    bars = "\n".join(f"12:0{minute} {price}" for minute, price in enumerate((100, 101, 30, 102, 103)))
    shop.write("file", BTC, M1, drawn(bars))
    panel = shop.reader.panel([BTC], Timeframe.M5, at("12:00"), at("12:05"))
    assert (panel.low[0, 0], panel.volume[0, 0]) == (100, 4)


# --------------------------------------------------------------------------------------------- derived timeframes


def fetched(timeframe: Timeframe, start: str, count: int, price: float) -> BarBatch:
    return run_of_minutes(start, count, price=price, step=timeframe.ms)


def test_an_hour_is_made_of_minutes_where_they_cover_it_else_it_is_the_fetched_one(shop):
    shop.write("file", BTC, M1, run_of_minutes("12:00", 90))  # 12:00 to 13:30
    shop.write("file", BTC, Timeframe.H1, fetched(Timeframe.H1, "11:00", 4, 500.0))  # 11:00 to 15:00
    panel = shop.reader.panel([BTC], Timeframe.H1, at("10:00"), at("16:00"))
    made = 100 * (1 + 1e-4 * 59)
    np.testing.assert_allclose(
        panel.close[:, 0], [NAN, 500.0, made, 500 * 1.0002, 500 * 1.0003, NAN], rtol=0, atol=1e-9
    )
    assert panel.volume[2, 0] == sum(range(1, 61))
    spans = shop.reader.sources([BTC], Timeframe.H1, at("10:00"), at("16:00"))[BTC]
    assert [(span.start_ms, span.end_ms, span.timeframe) for span in spans] == [
        (at("11:00"), at("12:00"), Timeframe.H1),
        (at("12:00"), at("13:00"), M1),
        (at("13:00"), at("15:00"), Timeframe.H1),
    ]
    assert {span.tiers for span in spans} == {frozenset({"hot"})}


def test_minutes_answer_before_a_fetched_bar_even_where_nobody_traded(shop):
    shop.write("file", BTC, M1, drawn("11:59 100"), [(at("11:00"), at("13:00"))])
    shop.write("file", BTC, Timeframe.H1, drawn("12:00 500"))
    assert closes(shop, "11:00", "13:00", timeframe=Timeframe.H1) == [100, "no trade"]


def test_four_hours_are_never_the_fetched_ones(shop):
    shop.write("file", BTC, Timeframe.H4, drawn("12:00 500"))
    assert closes(shop, "12:00", "16:00", timeframe=Timeframe.H4) == ["unknown"]
    shop.write("file", BTC, Timeframe.H1, fetched(Timeframe.H1, "12:00", 4, 100.0))
    assert closes(shop, "12:00", "16:00", timeframe=Timeframe.H4) == [100 * (1 + 3e-4)]


def test_four_hours_are_made_of_the_finest_that_covers_them(shop):
    shop.write("file", BTC, Timeframe.H1, fetched(Timeframe.H1, "08:00", 12, 100.0))
    shop.write("file", BTC, Timeframe.M15, fetched(Timeframe.M15, "12:00", 16, 200.0))
    shop.write("file", BTC, M1, run_of_minutes("16:00", 240, price=300.0))
    spans = shop.reader.sources([BTC], Timeframe.H4, at("08:00"), at("20:00"))[BTC]
    assert [span.timeframe for span in spans] == [Timeframe.H1, Timeframe.M15, M1]
    found = closes(shop, "08:00", "20:00", timeframe=Timeframe.H4)
    assert found == pytest.approx([100 * 1.0003, 200 * 1.0015, 300 * 1.0239])


def test_five_minutes_are_made_of_minutes_else_fetched(shop):
    shop.write("file", BTC, M1, run_of_minutes("12:00", 5))
    shop.write("file", BTC, Timeframe.M5, fetched(Timeframe.M5, "12:00", 2, 500.0))
    assert closes(shop, "12:00", "12:10", timeframe=Timeframe.M5) == pytest.approx([100.04, 500.05])


def test_a_day_is_made_of_hours_where_nothing_better_is_known(shop):
    shop.write("file", BTC, Timeframe.H1, fetched(Timeframe.H1, "00:00", 24, 100.0))
    assert closes(shop, "00:00", "2025-03-02 00:00", timeframe=Timeframe.D1) == pytest.approx([100.23])
    shop.write("file", BTC, Timeframe.D1, drawn("00:00 77"))
    assert closes(shop, "00:00", "2025-03-02 00:00", timeframe=Timeframe.D1) == [77]


def test_several_symbols_stand_in_the_order_asked_for(shop):
    shop.write("file", BTC, M1, run_of_minutes("12:00", 5))
    shop.write("file", ETH, M1, run_of_minutes("12:02", 5, price=10.0))
    panel = shop.reader.panel([ETH, BTC], M1, at("12:00"), at("12:07"))
    assert panel.symbols == (ETH, BTC)
    assert panel.present.sum(axis=0).tolist() == [5, 5]
    assert panel.close[2].tolist() == [10.0, 100 * 1.0002]


def test_the_ends_of_a_span_are_floored_to_the_grid(shop):
    shop.write("file", BTC, M1, run_of_minutes("12:00", 5))
    panel = shop.reader.panel([BTC], M1, at("12:01") + 59_000, at("12:03") + 59_000)
    assert panel.open_time_ms.tolist() == [at("12:01"), at("12:02")]


# ------------------------------------------------------------------------------------------------- the cold tier


def cold_files(home) -> list[str]:
    return sorted(path.relative_to(home / "bars").as_posix() for path in (home / "bars").rglob("*.parquet"))


def hot_count(opened) -> int:
    return len(table_rows(opened, tables.bars))


def test_a_finished_month_with_many_bars_becomes_a_file_at_once(tmp_path):
    with store(tmp_path, cold_rows_min=100) as opened:
        bars = run_of_minutes("2025-03-31 22:00", 240)  # 120 minutes in March, 120 in April
        opened.write("binance", BTC, M1, bars, [(at("2025-03-31 22:00"), at("2025-04-01 02:00"))])
        assert hot_count(opened) == 0
        assert cold_files(tmp_path) == [
            "binance/1m/BTC_USDT/2025-03.g0.parquet",
            "binance/1m/BTC_USDT/2025-04.g0.parquet",
        ]
        assert closes(opened, "2025-03-31 22:00", "2025-04-01 02:00") == bars.close.tolist()


def test_a_month_that_is_not_over_stays_hot(tmp_path):
    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("2025-05-31 20:00", 200))
        assert hot_count(opened) == 0
    with store(tmp_path / "other", now=at_datetime("2025-05-31 23:59"), cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("2025-05-31 20:00", 200))
        assert (
            hot_count(opened),
            cold_files(tmp_path / "other") if (tmp_path / "other/bars").exists() else [],
        ) == (200, [])


def at_datetime(text: str):
    from crypto_tracker.core.timeframes import from_ms

    return from_ms(at(text))


def test_a_correction_of_a_cold_month_is_an_overlay(tmp_path):
    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        result = opened.write("binance", BTC, M1, drawn("12:01 100.5\n16:00 102"))
        assert (result.rows_new, result.revisions) == (1, 1)
        assert hot_count(opened) == 2
        assert cold_files(tmp_path) == ["binance/1m/BTC_USDT/2025-03.g0.parquet"]
        assert closes(opened, "12:00", "12:03") == [100, 100.5, 100.02]
        assert closes(opened, "16:00", "16:01") == [102]
        (info,) = opened.reader.series()
        assert info.rows == 201
        (span, *_) = opened.reader.sources([BTC], M1, at("12:00"), at("12:10"))[BTC]
        assert span.tiers == {"hot", "cold"}


def test_many_new_bars_make_the_next_generation_of_the_file_and_take_the_overlays_in(tmp_path):
    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        opened.write("binance", BTC, M1, drawn("12:01 100.5"))
        opened.write("binance", BTC, M1, run_of_minutes("2025-03-02 12:00", 200))
        assert hot_count(opened) == 0
        assert cold_files(tmp_path) == ["binance/1m/BTC_USDT/2025-03.g1.parquet"]
        assert closes(opened, "12:00", "12:02") == [100, 100.5]
        assert opened.reader.rows(BTC, M1, at("12:00"), at("12:02")).revision.tolist() == [0, 0, 1]
        (info,) = opened.reader.series()
        assert (info.rows, info.gaps) == (400, 1)


def test_old_months_roll_over_and_young_ones_stay(tmp_path):
    with store(tmp_path, now=at_datetime("2025-03-10 00:00")) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("2025-02-28 23:00", 120))
        opened.write("binance", BTC, Timeframe.D1, run_of_minutes("2025-01-01 00:00", 60, step=DAY_MS))
        before = opened.reader.panel([BTC], M1, at("2025-02-28 00:00"), at("2025-03-02 00:00"))
        assert opened.roll_over().files == 0
    with store(tmp_path, now=at_datetime("2025-03-31 00:00")) as opened:  # 1m stays hot for 30 days
        result = opened.roll_over()
        assert (result.files, result.rows) == (1, 60)
        assert cold_files(tmp_path) == ["binance/1m/BTC_USDT/2025-02.g0.parquet"]
        after = opened.reader.panel([BTC], M1, at("2025-02-28 00:00"), at("2025-03-02 00:00"))
        np.testing.assert_array_equal(before.close, after.close)
        np.testing.assert_array_equal(before.covered, after.covered)
        assert opened.roll_over().files == 0
        # Daily bars stay hot for ever.
        assert hot_count(opened) == 60 + 60


def test_a_reader_of_an_older_month_file_asks_again_when_it_is_replaced(tmp_path, monkeypatch):
    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        with BarReader.open(tmp_path) as reader:
            read, times = reader._cold._frame, []

            def read_after_a_replacement(paths: list[str], columns: list[str]):
                times.extend(paths)
                if len(times) == 1:
                    opened.write("binance", BTC, M1, run_of_minutes("2025-03-02 12:00", 200))
                return read(paths, columns)

            monkeypatch.setattr(reader._cold, "_frame", read_after_a_replacement)
            panel = reader.panel([BTC], M1, at("12:00"), at("2025-03-03 00:00"))
            assert times == [
                "binance/1m/BTC_USDT/2025-03.g0.parquet",
                "binance/1m/BTC_USDT/2025-03.g1.parquet",
            ]
            assert panel.present.sum() == 400


def test_a_missing_file_is_a_clear_error(tmp_path):
    from crypto_tracker.core.errors import StoreError

    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        (tmp_path / "bars/binance/1m/BTC_USDT/2025-03.g0.parquet").unlink()
        with pytest.raises(StoreError, match="missing"):
            opened.reader.panel([BTC], M1, at("12:00"), at("13:00"))


def test_a_damaged_file_is_a_clear_error(tmp_path):
    from crypto_tracker.core.errors import StoreError

    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        (tmp_path / "bars/binance/1m/BTC_USDT/2025-03.g0.parquet").write_bytes(b"PAR1 and no more")
        with pytest.raises(StoreError, match="damaged"):
            opened.reader.panel([BTC], M1, at("12:00"), at("13:00"))


def test_reading_where_nothing_was_ever_stored_says_so(tmp_path):
    with pytest.raises(DataError, match="import-data"), BarReader.open(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------- what there is


def test_the_list_counts_bars_holes_and_what_is_known(tmp_path):
    perpetual = Symbol("BTC", "USDT", "USDT")
    with store(tmp_path, cold_rows_min=100) as opened:
        # 12:00 to 15:20 cold, 15:20 to 16:00 unknown, 16:00 to 16:10 hot with one minute without a trade.
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        opened.write("binance", BTC, M1, drawn("16:00 100\n16:09 101"), [(at("16:00"), at("16:10"))])
        opened.write("bybit", perpetual, Timeframe.H1, drawn("12:00 100"))
        first, second = opened.reader.series()
    assert (first.symbol, first.provider, first.timeframe) == (BTC, "binance", M1)
    assert (first.start_ms, first.end_ms) == (at("12:00"), at("16:10"))
    assert (first.rows, first.gaps) == (202, 1)
    assert first.completeness == pytest.approx(210 / 250)
    assert (second.symbol, second.rows, second.gaps, second.completeness) == (perpetual, 1, 0, 1.0)
    assert second.end_ms - second.start_ms == HOUR_MS


def test_of_many_files_the_damaged_one_is_named(tmp_path):
    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("2025-02-01 12:00", 200))
        opened.write("binance", BTC, M1, run_of_minutes("2025-03-01 12:00", 200))
        good, bad = cold_files(tmp_path)
        (tmp_path / "bars" / bad).write_bytes(b"PAR1 and nothing else")
        with pytest.raises(StoreError, match=r"2025-03\.g0\.parquet is damaged") as error:
            opened.reader.panel([BTC], M1, at("2025-02-01 00:00"), at("2025-03-02 00:00"))
        assert good not in str(error.value)


# ------------------------------------------------------------------------------------- straight into place


def test_full_months_are_read_without_their_times_and_others_with_them(tmp_path, monkeypatch):
    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("2025-02-28 22:00", 240))
        opened.write("binance", ETH, M1, part(run_of_minutes("2025-03-01 12:00", 300), np.r_[0:150, 151:300]))
        reader = opened.reader
        read, columns = reader._cold._frame, []

        def noted(paths: list[str], names: list[str]):
            columns.append((len(paths), "open_time_ms" in names))
            return read(paths, names)

        monkeypatch.setattr(reader._cold, "_frame", noted)
        panel = reader.panel([BTC, ETH], M1, at("2025-02-28 23:00"), at("2025-03-01 15:00"))
        assert columns == [(2, False), (1, True)]
        assert panel.close[:3, 0].tolist() == [100 * (1 + 1e-4 * n) for n in (60, 61, 62)]
        assert (panel.present.sum(axis=0).tolist(), panel.covered.sum(axis=0).tolist()) == (
            [180, 179],
            [180, 179],
        )


def test_a_correction_or_a_doubt_within_a_full_month_counts(tmp_path):
    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        opened.write("binance", BTC, M1, drawn("12:01 100.5\n15:30 180"))
        assert closes(opened, "12:00", "12:03") == [100, 100.5, 100.02]
        # A price that jumped and that nothing confirms is missing.
        jumped = run_of_minutes("12:00", 200)
        for values in (jumped.open, jumped.high, jumped.low):
            values[5] *= 3  # the close is the same array as the open
        assert opened.write("binance", ETH, M1, jumped).suspect == 1
        assert cold_files(tmp_path)[-1] == "binance/1m/ETH_USDT/2025-03.g0.parquet"
        assert closes(opened, "12:05", "12:06", ETH) == ["no trade"]
        assert closes(opened, "12:06", "12:07", ETH) == pytest.approx([100.06])


def test_a_file_of_other_rows_than_the_manifest_says_is_a_clear_error(tmp_path):
    import shutil

    with store(tmp_path, cold_rows_min=100) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 200))
        opened.write("binance", ETH, M1, run_of_minutes("12:00", 300))
        folder = tmp_path / "bars/binance/1m"
        shutil.copy(folder / "ETH_USDT/2025-03.g0.parquet", folder / "BTC_USDT/2025-03.g0.parquet")
        with pytest.raises(StoreError, match="hold 300 rows, and the manifest says 200"):
            opened.reader.panel([BTC], M1, at("12:00"), at("13:00"))


def test_each_symbol_is_read_from_its_own_provider(tmp_path):
    with store(tmp_path) as opened:
        opened.write("binance", BTC, M1, drawn("12:00 100"))
        opened.write("kraken", BTC, M1, drawn("12:00 101"))
        opened.write("kraken", ETH, M1, drawn("12:00 50"))
        whose = {BTC: "binance", ETH: "kraken"}
        panel = opened.reader.panel([ETH, BTC], M1, at("12:00"), at("12:01"), provider=whose)
        assert panel.close.tolist() == [[50, 100]]
        with pytest.raises(DataError, match="the provider binance has no bars of ETH/USDT"):
            opened.reader.panel([ETH], M1, at("12:00"), at("12:01"), provider={ETH: "binance"})


def test_what_there_is_beside_minutes(tmp_path):
    with store(tmp_path) as opened:
        opened.write("binance", BTC, M1, run_of_minutes("12:00", 60))
        span = at("12:00"), at("14:00")
        assert opened.reader.beside_minutes([BTC], Timeframe.M15, *span) is None
        opened.write("binance", BTC, Timeframe.M15, run_of_minutes("12:30", 4, step=15 * MINUTE, price=50.0))
        beside = opened.reader.beside_minutes([BTC], Timeframe.M15, *span)
        assert beside is not None
        assert beside.covered[:, 0].tolist() == [False, False, True, True, True, True, False, False]
        assert opened.reader.beside_minutes([BTC], M1, *span) is None
        assert opened.reader.beside_minutes([BTC], Timeframe.M15, at("14:00"), at("15:00")) is None
