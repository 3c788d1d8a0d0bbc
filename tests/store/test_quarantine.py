"""Bars in quarantine: released once they break no rule any more, or dropped with a reason, never deleted."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.core.validate import BarRule
from crypto_tracker.store import tables
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.held import NO_TRADE, SOUND_BAR
from crypto_tracker.store.market_database import reading, writing
from crypto_tracker.store.quarantine import drop, quarantined, release, suspect_minutes
from tests.store.shelf import BTC, ETH, MINUTE, NAN, NOW, at, closes, drawn, run_of_minutes, store

LATER = NOW + timedelta(minutes=10)
LATER_MS = to_ms(LATER)


def early_bar() -> BarBatch:
    """The minute that has just begun, as a provider whose clock runs ahead sends it."""
    return drawn("2025-06-01 00:00 100 102 99 101 5")


def held_early(home: Path) -> int:
    """The id of a bar that came in the minute that it is of, before that minute was over."""
    with store(home) as opened:
        opened.write("file", BTC, Timeframe.M1, early_bar(), source="stream")
    [bar] = quarantined(home)
    assert bar.rule == "in_future"
    return bar.quarantine_id


def held_by_an_old_rule(home: Path) -> int:
    """The id of a whole bar that a rule of an earlier version refused, and no rule of today does."""
    number = held_early(home)
    noted(home, number, rule="off_grid", recorded_at_ms=at("2025-06-01 00:01"))
    return number


def noted(home: Path, number: int, **values: object) -> None:
    """Let the row of a bar say something else."""
    with writing(home) as connection:
        row = update(tables.quarantine).where(tables.quarantine.c.quarantine_id == number)
        connection.execute(row.values(**values))


@pytest.mark.parametrize("rule", ["in_future", "off_grid"])
def test_a_bar_that_came_before_its_minute_was_over_stays_also_later(tmp_path: Path, rule: str):
    number = held_early(tmp_path)
    noted(tmp_path, number, rule=rule, recorded_at_ms=at("2025-06-01 00:01") - 1)
    with store(tmp_path, now=LATER) as opened:
        [outcome] = release(opened, tmp_path, [number], LATER_MS)
        assert (outcome.done, outcome.why.partition(":")[0]) == (
            False,
            "it came before its 1m was over, and may lack a part of it",
        )
        assert "`heal-gaps` fetches all of it" in outcome.why
        assert closes(opened, "2025-06-01 00:00", "2025-06-01 00:01") == ["unknown"]
        assert [bar.status for bar in quarantined(tmp_path)] == ["held"]
        opened.write("file", BTC, Timeframe.M1, drawn("2025-06-01 00:00 100 105 99 104 9"))
    assert quarantined(tmp_path) == []


def test_a_person_can_say_that_an_early_bar_was_whole_and_why(tmp_path: Path):
    number = held_early(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        [outcome] = release(opened, tmp_path, [number], LATER_MS, reason="our clock was 40 s slow")
        assert (outcome.done, outcome.why) == (True, "our clock was 40 s slow")
        assert closes(opened, "2025-06-01 00:00", "2025-06-01 00:01") == [101.0]
    [bar] = quarantined(tmp_path, settled=True)
    assert (bar.status, bar.settlement) == ("released", "our clock was 40 s slow")


def test_no_reason_releases_a_bar_that_breaks_a_rule(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100 100 99 101 5"))
        [bar] = quarantined(tmp_path)
        [outcome] = release(opened, tmp_path, [bar.quarantine_id], to_ms(NOW), reason="I like it")
    assert (outcome.done, outcome.why) == (False, "it still breaks a rule: high_too_low")


def test_a_bar_that_breaks_no_rule_of_today_is_released(tmp_path: Path):
    number = held_by_an_old_rule(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        [outcome] = release(opened, tmp_path, [number], LATER_MS)
        assert (outcome.done, outcome.why) == (True, "it breaks no rule any more")
        assert closes(opened, "2025-06-01 00:00", "2025-06-01 00:02") == [101.0, "unknown"]
        rows = opened.reader.rows(BTC, Timeframe.M1, at("2025-06-01 00:00"), LATER_MS)
    assert rows.values[:, 0].tolist()[:5] == [100.0, 102.0, 99.0, 101.0, 5.0]
    assert quarantined(tmp_path) == []
    [bar] = quarantined(tmp_path, settled=True)
    assert (bar.status, bar.settled_at_ms, bar.settlement) == (
        "released",
        LATER_MS,
        "it breaks no rule any more",
    )


def test_before_its_minute_has_passed_it_stays(tmp_path: Path):
    number = held_early(tmp_path)
    with store(tmp_path) as opened:
        [outcome] = release(opened, tmp_path, [number], to_ms(NOW))
        assert (outcome.done, outcome.why) == (False, "it still breaks a rule: in_future")
        assert closes(opened, "2025-06-01 00:00", "2025-06-01 00:01") == ["unknown"]
    assert [bar.status for bar in quarantined(tmp_path)] == ["held"]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("12:00 - 102 99 101 5", BarRule.MISSING_FIELD),
        ("12:00 100 inf 99 101 5", BarRule.NOT_FINITE),
        ("12:00 100 102 -1 101 5", BarRule.NOT_POSITIVE),
        ("12:00 100 100 99 101 5", BarRule.HIGH_TOO_LOW),
        ("12:00 100 102 101 101 5", BarRule.LOW_TOO_HIGH),
        ("12:00 100 102 99 101 -5", BarRule.VOLUME_NEGATIVE),
        ("- 100 102 99 101 5", BarRule.MISSING_FIELD),
    ],
)
def test_a_bar_that_is_wrong_in_itself_is_never_released(tmp_path: Path, line: str, rule: BarRule):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn(line))
        [bar] = quarantined(tmp_path)
        [outcome] = release(opened, tmp_path, [bar.quarantine_id], to_ms(NOW))
        assert (outcome.done, outcome.why) == (False, f"it still breaks a rule: {rule.label}")
        assert closes(opened, "12:00", "12:01") == ["unknown"]
    assert bar.rule == rule.label


def test_a_sound_bar_that_comes_settles_the_one_that_is_held(tmp_path: Path):
    number = held_early(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("2025-06-01 00:00 100 105 99 104 9"))
        [outcome] = release(opened, tmp_path, [number], LATER_MS)
        assert (outcome.done, outcome.why) == (False, f"it is healed already: {SOUND_BAR}")
        assert closes(opened, "2025-06-01 00:00", "2025-06-01 00:01") == [104.0]
    assert quarantined(tmp_path) == []
    [bar] = quarantined(tmp_path, settled=True)
    assert (bar.status, bar.settled_at_ms, bar.settlement) == ("healed", LATER_MS, SOUND_BAR)


def test_a_minute_that_counts_as_without_a_trade_later_settles_it_too(tmp_path: Path):
    held_early(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        opened.write(
            "file", BTC, Timeframe.M1, BarBatch.none(), [(at("2025-06-01 00:00"), at("2025-06-01 00:05"))]
        )
    [bar] = quarantined(tmp_path, settled=True)
    assert (bar.status, bar.settlement) == ("healed", NO_TRADE)


def test_a_bar_that_is_not_of_the_grid_is_settled_by_the_bar_that_it_would_be_a_part_of(tmp_path: Path):
    off_grid = drawn("12:00 100 102 99 101 5")
    off_grid.open_time_ms[0] += 30_000
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.H1, off_grid)
        opened.write("file", BTC, Timeframe.M1, off_grid)
        opened.write("file", ETH, Timeframe.M1, off_grid)
        opened.write("file", BTC, Timeframe.M1, drawn("11:59 100\n12:01 100"))
        assert len(quarantined(tmp_path)) == 3
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100"))
    assert [(bar.symbol, bar.timeframe.value) for bar in quarantined(tmp_path)] == [(BTC, "1h"), (ETH, "1m")]


def test_minutes_of_many_symbols_settle_what_is_held_as_well(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, run_of_minutes("11:50", 10))
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100 100 99 101 5"))
        noon = at("12:00"), at("12:01")
        opened.write_minutes("file", {BTC: drawn("12:00 100 102 99 101 5")}, {BTC: [noon], ETH: [noon]})
    [bar] = quarantined(tmp_path, settled=True)
    assert (bar.status, bar.settlement) == ("healed", SOUND_BAR)


def test_a_broken_correction_of_a_sound_bar_is_held_until_a_sound_one_comes_again(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100 102 99 101 5"))
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100 100 99 101 5"))
        assert len(quarantined(tmp_path)) == 1
        assert opened.reader.held_minutes("file", BTC, Timeframe.M1).tolist() == []  # there is a sound one
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100 102 99 101 5"))
    assert quarantined(tmp_path) == []


def test_minutes_whose_bars_are_held_can_be_asked_for_again(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 1 2 3 1 5\n12:01 1 2 3 1 5\n12:05 1 2 3 1 5"))
        lack = at("12:00"), at("12:06"), "its bars break a rule"
        opened.write("file", BTC, Timeframe.M1, drawn("- 1 1 1 1 5"), lacking=[lack])
        noon, five = at("12:00"), at("12:05")
        expected = [[noon, noon + 2 * MINUTE], [five, five + MINUTE]]
        assert opened.reader.held_minutes("file", BTC, Timeframe.M1).tolist() == expected
        first, *_ = quarantined(tmp_path)
        drop(opened, tmp_path, [first.quarantine_id], LATER_MS, reason="wrong print")
        expected[0][0] += MINUTE
        assert opened.reader.held_minutes("file", BTC, Timeframe.M1).tolist() == expected
        assert opened.reader.held_minutes("file", BTC, Timeframe.H1).tolist() == []
        assert opened.reader.held_minutes("file", ETH, Timeframe.M1).tolist() == []


def before_bars_were_healed(home: Path, number: int) -> None:
    """Let a row be as an earlier version left it, whose rules refused a whole bar."""
    noted(
        home, number, status="held", settled_at_ms=None, settlement=None, judged=None, recorded_at_ms=LATER_MS
    )


def test_what_came_later_is_not_overruled_by_what_was_doubted(tmp_path: Path):
    number = held_early(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("2025-06-01 00:00 100 105 99 104 9"))
        before_bars_were_healed(tmp_path, number)
        [outcome] = release(opened, tmp_path, [number], LATER_MS)
        assert not outcome.done
        assert "the store has another value of this bar by now" in outcome.why
        assert closes(opened, "2025-06-01 00:00", "2025-06-01 00:01") == [104.0]


def test_a_bar_that_the_store_has_by_now_with_the_same_values_is_released_and_adds_nothing(tmp_path: Path):
    number = held_early(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        opened.write("file", BTC, Timeframe.M1, early_bar())
        before_bars_were_healed(tmp_path, number)
        [outcome] = release(opened, tmp_path, [number], LATER_MS)
        assert outcome.done
        assert len(opened.reader.rows(BTC, Timeframe.M1, at("2025-06-01 00:00"), LATER_MS)) == 1
    [bar] = quarantined(tmp_path, settled=True)
    assert bar.status == "released"


def test_a_kill_between_the_bar_and_the_note_leaves_nothing_to_be_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    number = held_by_an_old_rule(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with store(tmp_path, now=LATER) as opened:
        with monkeypatch.context() as patched:
            patched.setattr("crypto_tracker.store.quarantine.writing", killed)
            with pytest.raises(KeyboardInterrupt):
                release(opened, tmp_path, [number], LATER_MS)
        assert quarantined(tmp_path) == []
        assert [outcome.done for outcome in release(opened, tmp_path, [number], LATER_MS)] == [False]
        assert len(opened.reader.rows(BTC, Timeframe.M1, at("2025-06-01 00:00"), LATER_MS)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {
            "time": "2025-06-01 00:00",
            "Open": "100",
            "High": "102",
            "Low": " 99",
            "Close": "101",
            "Volume": "5",
        },
        {"o": 100, "h": 102, "l": 99, "c": 101, "v": 5, "vw": 100.5, "n": 7, "t": 1748736000000},
        {"open": "100.0", "high": "102.0", "low": "99.0", "close": "101.0", "volume": "5.0", "vwap": None},
    ],
)
def test_of_an_old_row_the_values_are_those_of_the_source_however_it_spells_them(
    tmp_path: Path, fields: dict[str, object]
):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, early_bar(), raw=lambda _: fields)
    before_bars_were_healed(tmp_path, 1)
    [bar] = quarantined(tmp_path)
    assert bar.raw == fields
    with store(tmp_path, now=LATER) as opened:
        assert release(opened, tmp_path, [bar.quarantine_id], LATER_MS)[0].done
        rows = opened.reader.rows(BTC, Timeframe.M1, at("2025-06-01 00:00"), LATER_MS)
    assert rows.values[:5, 0].tolist() == [100.0, 102.0, 99.0, 101.0, 5.0]
    np.testing.assert_array_equal(rows.values[5:, 0], [100.5, 7.0] if "vw" in fields else [NAN, NAN])


def test_fields_of_an_old_row_that_make_no_bar_are_not_guessed(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, early_bar(), raw=lambda _: {"message": "1748736000,100,102"})
    before_bars_were_healed(tmp_path, 1)
    [bar] = quarantined(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        [outcome] = release(opened, tmp_path, [bar.quarantine_id], LATER_MS)
    assert (outcome.done, outcome.why) == (False, "it still breaks a rule: missing_field")


def test_a_bar_is_released_with_the_values_that_were_judged_whatever_its_source_wrote(tmp_path: Path):
    bars = early_bar()
    bars = replace(bars, close=np.array([100.1 + 0.2]), vwap=np.array([100.7]), n_trades=np.array([7.0]))
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, bars, raw=lambda _: {"row": [1748736000, "100", "102", "99"]})
    noted(tmp_path, 1, recorded_at_ms=LATER_MS)
    [bar] = quarantined(tmp_path)
    assert bar.raw == {"row": [1748736000, "100", "102", "99"]}
    with store(tmp_path, now=LATER) as opened:
        assert release(opened, tmp_path, [bar.quarantine_id], LATER_MS)[0].done
        rows = opened.reader.rows(BTC, Timeframe.M1, at("2025-06-01 00:00"), LATER_MS)
    assert rows.values[:, 0].tolist() == [100.0, 102.0, 99.0, 100.1 + 0.2, 5.0, 100.7, 7.0]


def broken_minute(home: Path) -> int:
    """The id of a broken bar amid ten minutes that are sound otherwise."""
    with store(home) as opened:
        bars = run_of_minutes("2025-03-01 12:00", 10)
        bars.high[4] = bars.low[4] / 2
        opened.write("file", BTC, Timeframe.M1, bars)
    [bar] = quarantined(home)
    return bar.quarantine_id


def test_a_dropped_bar_stays_in_the_table_with_its_reason_and_its_minute_stays_unknown(tmp_path: Path):
    number = broken_minute(tmp_path)
    with store(tmp_path) as opened:
        [outcome] = drop(opened, tmp_path, [number], LATER_MS, reason=" wrong print ")
        assert outcome.done
        assert closes(opened, "12:04", "12:05") == ["unknown"]
        assert opened.reader.lacking("file", BTC, Timeframe.M1) == [
            (at("12:04"), at("12:05"), "its bar was dropped: wrong print")
        ]
        again = drop(opened, tmp_path, [number], LATER_MS, reason="other")
        assert [(each.done, each.why) for each in again] == [(False, "it is dropped already: wrong print")]
        [refused] = release(opened, tmp_path, [number], LATER_MS)
        assert (refused.done, refused.why) == (False, "it is dropped already: wrong print")
    assert quarantined(tmp_path) == []
    [bar] = quarantined(tmp_path, settled=True)
    assert (bar.status, bar.settlement, bar.settled_at_ms) == ("dropped", "wrong print", LATER_MS)
    assert bar.raw["high"] == repr(bar_low(bar.raw) / 2)


def bar_low(raw: object) -> float:
    assert isinstance(raw, dict)
    return float(raw["low"])


def test_a_minute_in_which_nobody_traded_counts_as_covered(tmp_path: Path):
    number = broken_minute(tmp_path)
    with store(tmp_path) as opened:
        [outcome] = drop(opened, tmp_path, [number], LATER_MS, reason="halted", no_trade=True)
        assert (outcome.done, outcome.why) == (True, "halted (nobody traded)")
        assert closes(opened, "12:03", "12:06")[1] == "no trade"
        assert opened.reader.series()[0].completeness == 1.0


def test_a_bar_without_a_time_or_of_a_known_minute_is_dropped_without_a_note(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100"))
        opened.write("file", BTC, Timeframe.M1, drawn("- 100 102 99 101 5\n12:00 1 2 3 4 5"))
        outcomes = drop(opened, tmp_path, [1, 2], to_ms(NOW), reason="noise")
        assert [outcome.done for outcome in outcomes] == [True, True]
        assert opened.reader.lacking("file", BTC, Timeframe.M1) == []


def test_a_bar_without_a_time_or_of_a_time_to_come_has_no_minute_that_could_be_covered(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("- 100 102 99 101 5"))
        opened.write("file", BTC, Timeframe.M1, early_bar())
        ids = [bar.quarantine_id for bar in quarantined(tmp_path)]
        outcomes = drop(opened, tmp_path, ids, to_ms(NOW), reason="noise", no_trade=True)
    assert [outcome.done for outcome in outcomes] == [False, False]
    assert len(quarantined(tmp_path)) == 2


def test_the_same_broken_bar_that_comes_again_stays_settled(tmp_path: Path):
    number = broken_minute(tmp_path)
    with store(tmp_path) as opened:
        drop(opened, tmp_path, [number], LATER_MS, reason="wrong print")
    assert broken_again(tmp_path) == []


def broken_again(home: Path) -> list[int]:
    with store(home) as opened:
        bars = run_of_minutes("2025-03-01 12:00", 10)
        bars.high[4] = bars.low[4] / 2
        opened.write("file", BTC, Timeframe.M1, bars)
    with reading(home) as connection:
        assert len(connection.execute(select(tables.quarantine)).all()) == 1
    return [bar.quarantine_id for bar in quarantined(home)]


def test_wrong_ids_and_missing_reasons_are_refused_before_anything_is_done(tmp_path: Path):
    number = broken_minute(tmp_path)
    with store(tmp_path) as opened:
        with pytest.raises(UsageError, match="no bar in quarantine has the id 77, 78"):
            drop(opened, tmp_path, [number, 77, 78], LATER_MS, reason="wrong print")
        with pytest.raises(UsageError, match="for a reason"):
            drop(opened, tmp_path, [number], LATER_MS, reason="  ")
        with pytest.raises(UsageError, match="by their ids"):
            release(opened, tmp_path, [], LATER_MS)
    assert [bar.quarantine_id for bar in quarantined(tmp_path)] == [number]


def test_only_the_symbols_that_are_asked_for_are_listed(tmp_path: Path):
    broken_minute(tmp_path)
    with store(tmp_path) as opened:
        opened.write("file", ETH, Timeframe.H1, drawn("12:00 100 99 99 101 5"))
    assert [str(bar.symbol) for bar in quarantined(tmp_path)] == ["BTC/USDT", "ETH/USDT"]
    assert [str(bar.timeframe) for bar in quarantined(tmp_path, symbols=[ETH])] == ["1h"]


def test_minutes_in_doubt_are_listed_until_the_next_bars_confirm_them(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100\n12:01 100\n12:02 200"))
        [minute] = suspect_minutes(tmp_path)
        assert (minute.provider, minute.symbol, minute.open_time_ms) == ("file", BTC, at("12:02"))
        assert suspect_minutes(tmp_path, symbols=[ETH]) == []
        opened.write("file", BTC, Timeframe.M1, drawn("12:03 201\n12:04 202"))
        assert suspect_minutes(tmp_path) == []
    assert minute.revision == 0
