"""Closed bars of one symbol: as many as were asked for, none that closes later, none invented."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.app.serving.candles import candles
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.desk.source import NotThere
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.strategies.registry import builtin
from tests.store.shelf import BTC, ETH, at, drawn, run_of_minutes, store
from tests.trading.worlds import configuration


def scope(home: Path, until: str, **changed: object) -> Scope:
    whole = Scope(
        account="paper",
        bars=HomeBars(home),
        symbols=(BTC,),
        reference=BTC,
        providers={BTC: "kraken"},
        history="",
        strategies=("DCA",),
        installed=builtin(),
        configuration=configuration(),
        version="1",
        quote="USDT",
        start_ms=at("12:00"),
        until_ms=at(until),
        live=True,
        near_miss_readiness=80.0,
        now_ms=lambda: at(until),
    )
    return replace(whole, **changed)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """BTC from 12:00 to 14:00, with a hole of nothing but silence from 12:10 to 12:40."""
    with store(tmp_path) as opened:
        for start, minutes in (("12:00", 10), ("12:40", 80)):
            opened.write(
                "kraken", BTC, Timeframe.M1, run_of_minutes(start, minutes), [(at("12:00"), at("14:00"))]
            )
    return tmp_path


def minutes(*times: str) -> list[int]:
    return [at(time) for time in times]


def test_the_last_closed_bars_are_shown_oldest_first(home: Path):
    shown = candles(scope(home, "13:00"), BTC, Timeframe.M1, 3, None)
    assert shown.time_ms == minutes("12:57", "12:58", "12:59")
    assert shown.close == pytest.approx([100 * (1 + 1e-4 * row) for row in (17, 18, 19)])
    assert shown.high[0] == pytest.approx(shown.close[0] * 1.001)
    assert shown.volume == [18.0, 19.0, 20.0]
    assert (shown.provider, shown.earlier, shown.until_ms) == ("kraken", True, at("13:00"))


def test_a_bar_that_is_not_closed_at_the_accounts_present_is_not_shown(home: Path):
    assert candles(scope(home, "12:59"), BTC, Timeframe.M5, 2, None).time_ms == minutes("12:45", "12:50")
    assert candles(scope(home, "13:00"), BTC, Timeframe.M5, 2, None).time_ms == minutes("12:50", "12:55")


def test_bars_before_a_time_are_those_that_open_before_it(home: Path):
    now = scope(home, "14:00")
    assert candles(now, BTC, Timeframe.M5, 1, at("13:00")).time_ms == minutes("12:55")
    assert candles(now, BTC, Timeframe.M5, 1, at("13:01")).time_ms == minutes("13:00")


def test_missing_bars_are_left_out_and_earlier_ones_found_in_their_place(home: Path):
    shown = candles(scope(home, "12:42"), BTC, Timeframe.M1, 5, None)
    assert shown.time_ms == minutes("12:07", "12:08", "12:09", "12:40", "12:41")
    assert shown.earlier


def test_what_nobody_knows_is_left_out_at_once_and_silence_is_looked_through_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with store(tmp_path) as opened:  # a bar two months ago, then nothing known, then an hour of silence
        late_ms, day_ms = at("12:00"), 24 * HOUR_MS
        early_ms = late_ms - 60 * day_ms
        bars = run_of_minutes("12:00", 2)
        early = replace(bars, open_time_ms=bars.open_time_ms - 60 * day_ms)
        opened.write("kraken", BTC, Timeframe.M1, early, [(early_ms, early_ms + HOUR_MS)])
        opened.write("kraken", BTC, Timeframe.M1, drawn("13:00 92"), [(late_ms, at("14:00"))])
    looks = []
    read = StoredBars.panel

    def counted(bars: StoredBars, *asked: Any) -> Panel:
        looks.append(panel := read(bars, *asked))
        return panel

    monkeypatch.setattr(StoredBars, "panel", counted)
    found = candles(scope(tmp_path, "14:00"), BTC, Timeframe.M1, 2, None)
    assert (found.time_ms, found.earlier) == ([early_ms + MINUTE_MS, at("13:00")], True)
    assert sum(map(len, looks)) < 500
    monkeypatch.setattr("crypto_tracker.app.serving.candles._LOOKED_MAX", 70)
    found = candles(scope(tmp_path, "14:00"), BTC, Timeframe.M1, 3, None)
    assert (found.time_ms, found.earlier) == ([at("13:00")], True)


def test_the_first_bar_that_is_known_has_none_before_it(home: Path):
    shown = candles(scope(home, "12:05"), BTC, Timeframe.M1, 500, None)
    assert shown.time_ms == minutes("12:00", "12:01", "12:02", "12:03", "12:04")
    assert not shown.earlier


def test_before_the_first_bar_there_is_nothing(home: Path):
    shown = candles(scope(home, "12:05"), BTC, Timeframe.M1, 10, at("11:00"))
    assert (shown.time_ms, shown.earlier) == ([], False)
    assert candles(scope(home, "12:05"), BTC, Timeframe.D1, 10, -(10**30)).time_ms == []


def test_coarser_bars_are_made_of_the_minutes(home: Path):
    shown = candles(scope(home, "14:00"), BTC, Timeframe.H1, 2, None)
    assert shown.time_ms == minutes("12:00", "13:00")
    assert shown.volume[1] == pytest.approx(sum(range(21, 81)))


def test_an_unknown_volume_is_null(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:00 1 1 1 1 -"), [(at("12:00"), at("12:01"))])
    assert candles(scope(tmp_path, "12:01"), BTC, Timeframe.M1, 1, None).volume == [None]


def test_limits_and_symbols_that_can_not_be_are_refused(home: Path):
    now = scope(home, "13:00")
    with pytest.raises(UsageError, match="limit is 2001: ask for 1 to 2000 bars"):
        candles(now, BTC, Timeframe.M1, 2_001, None)
    with pytest.raises(NotThere, match="paper does not watch ETH/USDT: it has BTC/USDT"):
        candles(now, ETH, Timeframe.M1, 1, None)
    with pytest.raises(DataError, match="there are no bars of BTC/USDT, or nobody knows whose"):
        candles(replace(now, providers={}), BTC, Timeframe.M1, 1, None)


def test_a_home_without_bars_says_how_they_come(tmp_path: Path):
    with pytest.raises(DataError, match="there are no bars under"):
        candles(scope(tmp_path, "13:00"), BTC, Timeframe.M1, 1, None)


def test_bars_that_came_late_are_seen_as_soon_as_they_are_stored(home: Path, monkeypatch: pytest.MonkeyPatch):
    now = scope(home, "13:00")
    now.bars.reader()  # to open the store changes its files too
    reads = []
    read = StoredBars.panel
    monkeypatch.setattr(StoredBars, "panel", lambda *asked: reads.append(asked) or read(*asked))
    before = candles(now, BTC, Timeframe.M1, 10, None)
    assert before.time_ms[0] == at("12:50")
    assert candles(now, BTC, Timeframe.M1, 10, None) == before
    assert len(reads) == 1, "what nobody wrote to is read once"
    with store(home) as opened:
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:59 90"), [(at("12:59"), at("13:00"))])
    assert candles(now, BTC, Timeframe.M1, 10, None).close[-1] == 90.0


def test_threads_share_one_reader(home: Path):
    now = scope(home, "14:00")
    with ThreadPoolExecutor(8) as pool:
        spans = [at("12:45") + number * MINUTE_MS for number in range(60)]
        found = list(pool.map(lambda before: candles(now, BTC, Timeframe.M1, 3, before), spans))
        assert len({id(reader) for reader in pool.map(lambda _: now.bars.reader(), range(16))}) == 1
    for before_ms, shown in zip(spans, found, strict=True):
        assert shown.time_ms == [before_ms - each * MINUTE_MS for each in (3, 2, 1)]


def test_a_store_that_was_made_anew_is_opened_anew(home: Path):
    now = scope(home, "13:00")
    assert candles(now, BTC, Timeframe.M1, 1, None).close == pytest.approx([100.19 / 100 * 100])
    for path in home.glob("market.db*"):
        path.unlink()
    with store(home) as opened:
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:59 7"), [(at("12:59"), at("13:00"))])
    later = replace(now, now_ms=lambda: at("13:00") + HOUR_MS)
    assert candles(later, BTC, Timeframe.M1, 1, None).close == [7.0]
