"""Bars in quarantine: released once they break no rule any more, or dropped with a reason, never deleted."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.core.validate import BarRule
from crypto_tracker.store import tables
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.market_database import reading
from crypto_tracker.store.quarantine import drop, quarantined, release, suspect_minutes
from tests.store.shelf import BTC, ETH, NAN, NOW, at, closes, drawn, run_of_minutes, store

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


def test_a_bar_that_came_too_early_is_released_once_its_minute_has_passed(tmp_path: Path):
    number = held_early(tmp_path)
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


def test_what_came_later_is_not_overruled_by_what_was_doubted(tmp_path: Path):
    number = held_early(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("2025-06-01 00:00 100 105 99 104 9"))
        [outcome] = release(opened, tmp_path, [number], LATER_MS)
        assert not outcome.done
        assert "the store has another value of this bar by now" in outcome.why
        assert closes(opened, "2025-06-01 00:00", "2025-06-01 00:01") == [104.0]


def test_a_bar_that_the_store_has_by_now_with_the_same_values_is_released_and_adds_nothing(tmp_path: Path):
    number = held_early(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        opened.write("file", BTC, Timeframe.M1, early_bar())
        [outcome] = release(opened, tmp_path, [number], LATER_MS)
        assert outcome.done
        assert len(opened.reader.rows(BTC, Timeframe.M1, at("2025-06-01 00:00"), LATER_MS)) == 1


def test_a_kill_between_the_bar_and_the_note_is_made_good_by_releasing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    number = held_early(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with store(tmp_path, now=LATER) as opened:
        with monkeypatch.context() as patched:
            patched.setattr("crypto_tracker.store.quarantine.writing", killed)
            with pytest.raises(KeyboardInterrupt):
                release(opened, tmp_path, [number], LATER_MS)
        assert [bar.status for bar in quarantined(tmp_path)] == ["held"]
        assert [outcome.done for outcome in release(opened, tmp_path, [number], LATER_MS)] == [True]
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
def test_the_values_are_those_of_the_source_however_it_spells_them(tmp_path: Path, fields: dict[str, object]):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, early_bar(), raw=lambda _: fields)
    [bar] = quarantined(tmp_path)
    assert bar.raw == fields
    with store(tmp_path, now=LATER) as opened:
        assert release(opened, tmp_path, [bar.quarantine_id], LATER_MS)[0].done
        rows = opened.reader.rows(BTC, Timeframe.M1, at("2025-06-01 00:00"), LATER_MS)
    assert rows.values[:5, 0].tolist() == [100.0, 102.0, 99.0, 101.0, 5.0]
    np.testing.assert_array_equal(rows.values[5:, 0], [100.5, 7.0] if "vw" in fields else [NAN, NAN])


def test_fields_that_make_no_bar_are_not_guessed(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, early_bar(), raw=lambda _: {"message": "1748736000,100,102"})
    [bar] = quarantined(tmp_path)
    with store(tmp_path, now=LATER) as opened:
        [outcome] = release(opened, tmp_path, [bar.quarantine_id], LATER_MS)
    assert (outcome.done, outcome.why) == (False, "it still breaks a rule: missing_field")


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
