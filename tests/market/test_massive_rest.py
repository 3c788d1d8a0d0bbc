"""Massive's history against the local server that speaks its wire format: what must come, and every fault."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from pydantic import SecretStr

from crypto_tracker.core.errors import (
    NotEntitled,
    ProviderRefused,
    ProviderUnavailable,
    UnknownToProvider,
    UsageError,
)
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.base import FetchedBars, History
from crypto_tracker.market.providers.massive.rest import MassiveHistory
from crypto_tracker.store.batch import BarBatch
from tests.market.massive_market import BTC, ETH, OLD, START, TETHER, minutes, settings, small_market
from tests.net.patience import quick
from tests.servers.massive_rest import (
    KEY,
    Fault,
    MassiveServer,
    disconnect,
    drip,
    duplicated,
    edited,
    garbage,
    massive_rest,
    set_field,
    shuffled,
    skewed,
    status,
    too_many,
    truncated,
    without_field,
    wrong_ticker,
)

T = TypeVar("T")
M1, H1, D1 = Timeframe.M1, Timeframe.H1, Timeframe.D1
MARKET = small_market()
LATER = START + 10 * DAY_MS  # long after the last bar
END = START + 3 * DAY_MS


def ask(
    server: MassiveServer,
    work: Callable[[MassiveHistory], Awaitable[T]],
    *,
    now_ms: int = LATER,
    key: str = KEY,
    patience: dict[str, Any] | None = None,
    **changes: Any,
) -> T:
    async def scene() -> T:
        history = MassiveHistory(
            settings(server.url, **changes), quick(**(patience or {})), SecretStr(key), now_ms=lambda: now_ms
        )
        try:
            return await work(history)
        finally:
            await history.close()

    return asyncio.run(scene())


def fetch(
    server: MassiveServer,
    symbol: Symbol = BTC,
    timeframe: Timeframe = M1,
    start_ms: int = START,
    end_ms: int = START + DAY_MS,
    **more: Any,
) -> FetchedBars:
    return ask(server, lambda history: history.fetch(symbol, timeframe, start_ms, end_ms), **more)


def part(bars: BarBatch, start_ms: int, end_ms: int) -> BarBatch:
    rows = (bars.open_time_ms >= start_ms) & (bars.open_time_ms < end_ms)
    return BarBatch(
        open_time_ms=bars.open_time_ms[rows],
        **{
            name: getattr(bars, name)[rows]
            for name in ("open", "high", "low", "close", "volume", "vwap", "n_trades")
        },
    )


def assert_same(got: BarBatch, expected: BarBatch) -> None:
    np.testing.assert_array_equal(got.open_time_ms, expected.open_time_ms)
    np.testing.assert_array_equal(got.values(), expected.values())


# ------------------------------------------------------------------------------------------ what must come


def test_a_history_is_what_the_protocol_asks_for():
    with massive_rest(MARKET) as server:

        async def work(history: History) -> tuple[str, tuple[Timeframe, ...]]:
            return history.name, history.timeframes

        assert ask(server, work) == ("massive", (M1, Timeframe.M15, H1, D1))


def test_a_day_of_minutes_comes_exactly_and_is_covered_with_its_holes():
    with massive_rest(MARKET) as server:
        fetched = fetch(server)
        assert_same(fetched.bars, part(MARKET[BTC], START, START + DAY_MS))
        assert fetched.covered == ((START, START + DAY_MS),)
        assert (fetched.lacking, fetched.requests) == ((), 1)
        (asked,) = server.requests
    assert asked.path == f"/v2/aggs/ticker/X:BTCUSD/range/1/minute/{START}/{START + DAY_MS - 1}"
    assert asked.query == {"adjusted": "true", "sort": "asc", "limit": "50000"}
    assert asked.authorization == f"Bearer {KEY}"


def test_a_long_span_comes_in_pages_and_the_key_goes_with_each():
    market = {BTC: minutes(START, 120_000, seed=5, without=range(10, 110_000, 7))}
    end = START + 120_000 * MINUTE_MS
    with massive_rest(market) as server:
        fetched = fetch(server, end_ms=end, now_ms=end + DAY_MS)
        assert_same(fetched.bars, market[BTC])
        assert fetched.covered == ((START, end),)
        assert fetched.requests == len(server.requests) == 3
        assert {each.authorization for each in server.requests} == {f"Bearer {KEY}"}
        assert [each.limit for each in server.requests] == [50_000] * 3
        # Fields as they came, whichever page they came with.
        for index in (0, 49_999, 50_000, len(fetched.bars) - 1):
            raw = fetched.raw(index)
            assert raw["t"] == fetched.bars.open_time_ms[index]
            assert raw["c"] == fetched.bars.close[index]


@pytest.mark.parametrize(("timeframe", "pages"), [(Timeframe.M15, 3), (H1, 3), (D1, 1)])
def test_coarser_bars_come_whole_although_pages_count_minutes(timeframe, pages):
    market = {BTC: minutes(START, 1440 * 80, seed=6)}
    end = START + 80 * DAY_MS
    with massive_rest(market) as server:
        fetched = fetch(server, timeframe=timeframe, end_ms=end, now_ms=end + DAY_MS)
        assert fetched.requests == len(server.requests) == pages
    count = timeframe.ms // MINUTE_MS
    source = market[BTC]
    np.testing.assert_array_equal(fetched.bars.open_time_ms, np.arange(START, end, timeframe.ms))
    np.testing.assert_array_equal(fetched.bars.open, source.open[::count])
    np.testing.assert_array_equal(fetched.bars.high, source.high.reshape(-1, count).max(axis=1))
    np.testing.assert_array_equal(fetched.bars.low, source.low.reshape(-1, count).min(axis=1))
    np.testing.assert_array_equal(fetched.bars.close, source.close[count - 1 :: count])
    np.testing.assert_allclose(fetched.bars.volume, source.volume.reshape(-1, count).sum(axis=1))


def test_the_bar_that_is_still_open_is_dropped_and_the_newest_silence_is_not_believed():
    now = START + 5 * HOUR_MS + 90_000  # the minute that began a minute ago has closed half a minute ago
    last = START + 5 * HOUR_MS
    with massive_rest({BTC: part(MARKET[BTC], START, last + 2 * MINUTE_MS)}, now_ms=now) as server:
        fetched = fetch(server, end_ms=last + 5 * MINUTE_MS, now_ms=now)
    assert fetched.bars.open_time_ms[-1] == last
    assert fetched.covered == ((START, last + MINUTE_MS),)
    # Without a trade in the newest minute that is not known yet: the bar may only not be published.
    with massive_rest({BTC: part(MARKET[BTC], START, last - MINUTE_MS)}, now_ms=now) as server:
        fetched = fetch(server, end_ms=last + MINUTE_MS, now_ms=now)
    assert fetched.bars.open_time_ms[-1] == last - 2 * MINUTE_MS
    assert fetched.covered == ((START, last),)


def test_a_delayed_answer_is_accepted_and_says_nothing_of_today_after_its_last_bar():
    now = START + DAY_MS + 12 * HOUR_MS
    served = part(MARKET[BTC], START, now - 15 * MINUTE_MS)
    with massive_rest({BTC: served}, now_ms=now, delayed=True) as server:
        fetched = fetch(server, end_ms=now, now_ms=now)
        assert_same(fetched.bars, served)
        assert fetched.covered == ((START, now - 15 * MINUTE_MS),)
        yesterday = fetch(server, symbol=BTC, end_ms=START + DAY_MS, now_ms=now)
        assert yesterday.covered == ((START, START + DAY_MS),)


def test_the_empty_head_of_a_history_is_lacking_and_a_hole_inside_is_covered():
    listed = START + DAY_MS + DAY_MS // 2 + 2 * MINUTE_MS
    with massive_rest(MARKET) as server:
        fetched = fetch(server, ETH, end_ms=END)
    assert_same(fetched.bars, MARKET[ETH])
    assert fetched.covered == ((listed, END),)
    (lacking,) = fetched.lacking
    assert (lacking.start_ms, lacking.end_ms) == (START, listed)
    assert lacking.reason == "massive has no bar of ETH/USD before 2024-01-02"
    assert fetched.requests == len(server.requests) == 3  # the bars, the first day ever, its first minute


def test_a_hole_at_the_head_of_a_span_inside_a_history_is_covered():
    with massive_rest(MARKET) as server:
        start = START + 7 * MINUTE_MS
        fetched = fetch(server, start_ms=start, end_ms=START + HOUR_MS)
        assert fetched.bars.open_time_ms[0] == START + 10 * MINUTE_MS
        assert (fetched.covered, fetched.lacking) == (((start, START + HOUR_MS),), ())
        empty = fetch(server, start_ms=start, end_ms=start + 2 * MINUTE_MS)
        assert len(empty.bars) == 0
        assert empty.covered == ((start, start + 2 * MINUTE_MS),)


def test_a_coarser_history_begins_with_the_bar_that_holds_the_first_minute():
    with massive_rest(MARKET) as server:
        fetched = fetch(server, ETH, H1, end_ms=END)
        day = fetch(server, ETH, D1, end_ms=END)
    assert fetched.covered == ((START + DAY_MS + DAY_MS // 2, END),)
    assert day.covered == ((START + DAY_MS, END),)
    assert (day.lacking[0].start_ms, day.lacking[0].end_ms) == (START, START + DAY_MS)


def test_a_hole_on_the_day_of_the_listing_is_a_hole():
    with massive_rest({ETH: minutes(START, 600, seed=2, without=range(30, 90))}) as server:
        start = START + 40 * MINUTE_MS
        fetched = fetch(server, ETH, start_ms=start, end_ms=START + 2 * HOUR_MS)
    assert (fetched.covered, fetched.lacking) == (((start, START + 2 * HOUR_MS),), ())


def test_a_pair_that_died_is_covered_after_its_death():
    with massive_rest(MARKET, inactive=[OLD]) as server:
        fetched = fetch(server, OLD, start_ms=START + DAY_MS, end_ms=END)
    assert len(fetched.bars) == 0
    assert (fetched.covered, fetched.lacking) == (((START + DAY_MS, END),), ())


def test_what_is_known_to_lie_before_the_first_bar_is_not_asked_for():
    with massive_rest(MARKET) as server:

        async def work(history: MassiveHistory) -> FetchedBars:
            await history.fetch(ETH, M1, START + DAY_MS, END)
            before = len(server.requests)
            fetched = await history.fetch(ETH, M1, START - 31 * DAY_MS, START)
            assert len(server.requests) == before
            return fetched

        fetched = ask(server, work)
    assert (fetched.covered, fetched.requests, len(fetched.bars)) == ((), 0, 0)
    assert (fetched.lacking[0].start_ms, fetched.lacking[0].end_ms) == (START - 31 * DAY_MS, START)


def test_every_part_before_the_first_bar_names_the_same_day_whatever_was_asked_for_first():
    with massive_rest(MARKET) as server:
        early = fetch(server, ETH, start_ms=START - 31 * DAY_MS, end_ms=START)
        late = fetch(server, ETH, end_ms=END)
    assert {each.reason for answer in (early, late) for each in answer.lacking} == {
        "massive has no bar of ETH/USD before 2024-01-02"
    }


def test_a_symbol_without_any_bar_is_unknown():
    with massive_rest(MARKET) as server, pytest.raises(UnknownToProvider) as caught:
        fetch(server, Symbol.parse("NOPE/USD"))
    assert str(caught.value) == (
        "massive has no bar of NOPE/USD since 2010-01-01: `list-markets massive` shows what it has"
    )


def test_a_timeframe_that_is_derived_is_not_fetched():
    with (
        massive_rest(MARKET) as server,
        pytest.raises(UsageError, match="bars of 4h are not fetched from massive"),
    ):
        fetch(server, timeframe=Timeframe.H4)


def test_markets_are_all_pairs_with_a_symbol_active_or_not_over_several_pages(monkeypatch):
    monkeypatch.setattr("crypto_tracker.market.providers.massive.rest._TICKERS", 2)
    strange = {Symbol.parse("BTC/BUSD"): minutes(START, 5, seed=9)}  # in one word that is BTCB in USD
    with massive_rest(MARKET | strange, inactive=[OLD], now_ms=END + HOUR_MS) as server:
        markets = ask(server, lambda history: history.markets(), now_ms=END + HOUR_MS)
        assert sum(each.path == "/v3/reference/tickers" for each in server.requests) == 3
    assert [(str(each.symbol), each.provider_symbol, each.active) for each in markets] == [
        ("BTC/USD", "X:BTCUSD", True),
        ("ETH/USD", "X:ETHUSD", True),
        ("LUNA/USD", "X:LUNAUSD", False),
        ("USDT/USD", "X:USDTUSD", True),
    ]
    yesterday = part(MARKET[BTC], END - DAY_MS, END)
    turnover = float((yesterday.volume * yesterday.vwap).sum())
    assert markets[0].volume_quote == pytest.approx(turnover)
    assert markets[2].volume_quote is None


def test_markets_do_not_need_a_plan_that_gives_volumes():
    with massive_rest(MARKET, faults=[status(403, path="/grouped/")]) as server:
        markets = ask(server, lambda history: history.markets())
    assert {each.volume_quote for each in markets} == {None}


def test_the_grouped_day_holds_every_pair_that_was_traded():
    with massive_rest(MARKET) as server:
        days = ask(server, lambda history: history.grouped_daily(START + DAY_MS))
    assert set(days) == {BTC, ETH, TETHER}
    expected = part(MARKET[BTC], START + DAY_MS, START + 2 * DAY_MS)
    bar = days[BTC]
    assert (bar.open_time_ms, bar.open, bar.close) == (START + DAY_MS, expected.open[0], expected.close[-1])
    assert (bar.high, bar.low) == (expected.high.max(), expected.low.min())
    assert bar.volume == pytest.approx(expected.volume.sum())


def test_a_day_without_any_trade_is_empty():
    with massive_rest(MARKET) as server:
        assert ask(server, lambda history: history.grouped_daily(START - DAY_MS)) == {}


def test_the_previous_close_is_that_of_the_last_whole_day():
    now = START + 2 * DAY_MS + HOUR_MS
    with massive_rest(MARKET, now_ms=now) as server:
        bar = ask(server, lambda history: history.previous_close(BTC), now_ms=now)
        with pytest.raises(UnknownToProvider, match="no previous close of NOPE/USD"):
            ask(server, lambda history: history.previous_close(Symbol.parse("NOPE/USD")))
    assert bar.open_time_ms == START + DAY_MS
    assert bar.close == part(MARKET[BTC], START + DAY_MS, START + 2 * DAY_MS).close[-1]


# ------------------------------------------------------------------------------------------------ plans


def test_a_free_plan_reaches_two_years_back_and_ends_with_yesterday():
    now = START + 800 * DAY_MS + 5 * HOUR_MS
    with massive_rest(MARKET) as server:

        async def work(history: MassiveHistory):
            return history.reach(M1, now), history.reach(H1, now)

        minute, hour = ask(server, work, plan="free")
        paid, _ = ask(server, work)
    assert (minute.oldest_ms, minute.newest_ms) == (START + 70 * DAY_MS, START + 800 * DAY_MS)
    assert minute.why_oldest == (
        "the free plan of massive reaches 730 days back: take a paid plan, or import older bars from files"
    )
    assert minute.why_newest == (
        "the free plan of massive gives a day after its end: take a paid plan, or the bars of today from an exchange"
    )
    assert (minute.page_bars, hour.page_bars) == (50_000, 833)
    assert (paid.oldest_ms, paid.newest_ms, paid.why_oldest) == (None, None, "")


def test_a_free_plan_does_not_take_the_silence_of_yesterday_for_no_trade():
    now = END + HOUR_MS
    with massive_rest({BTC: part(MARKET[BTC], START, END - DAY_MS)}, now_ms=now) as server:
        fetched = fetch(server, end_ms=END, now_ms=now, plan="free", free_requests_per_minute=60_000.0)
    assert fetched.covered == ((START, END - DAY_MS),)


def test_a_free_plan_never_asks_more_than_five_times_in_a_minute():
    from tests import virtual_time

    moments: list[float] = []

    async def work() -> None:
        history = MassiveHistory(
            settings("http://localhost", plan="free"), quick(), SecretStr(KEY), now_ms=lambda: END
        )
        limit = history._client._limit
        for _ in range(12):
            await limit.acquire()
            moments.append(asyncio.get_running_loop().time())
        await history.close()

    virtual_time.run(work())
    assert all(later - earlier >= 60.0 - 1e-6 for earlier, later in zip(moments, moments[5:], strict=False))


def test_a_plan_that_does_not_reach_so_far_says_so_in_the_words_of_the_provider():
    with massive_rest(MARKET, entitled_from_ms=START + DAY_MS) as server:
        with pytest.raises(NotEntitled) as caught:
            fetch(server, end_ms=END)
        assert len(server.requests) == 1
    assert str(caught.value) == (
        "massive does not give this to the plan of the key: ask for less, or change the plan (it says: "
        '"Your plan doesn\'t include this data timeframe. Please upgrade your plan at https://massive.com/pricing")'
    )


def test_where_a_plan_refuses_the_early_years_no_hole_is_taken_for_the_time_before_the_listing():
    with massive_rest(MARKET, entitled_from_ms=START) as server:
        fetched = fetch(server, ETH, end_ms=END)
    assert_same(fetched.bars, MARKET[ETH])
    assert (fetched.covered, fetched.lacking) == (((START, END),), ())
    assert fetched.requests == len(server.requests) == 2  # the bars, and the early years in vain


def test_a_quiet_pair_of_a_plan_that_refuses_the_early_years_lacks_nothing_newest_first():
    """It traded on the first day, was silent for four, traded on, and is silent since."""
    first, second = minutes(START, 600, seed=3), minutes(START + 5 * DAY_MS, 600, seed=4)
    every = np.concatenate([first.open_time_ms, second.open_time_ms])
    market = {ETH: BarBatch.joined([first, second])}
    with massive_rest(market, entitled_from_ms=START) as server:

        async def work(history: MassiveHistory) -> list[FetchedBars]:
            spans = [(day, day + 2) for day in (8, 6, 4, 2, 0)]
            return [
                await history.fetch(ETH, M1, START + first * DAY_MS, START + end * DAY_MS)
                for first, end in spans
            ]

        fetched = ask(server, work, now_ms=START + 12 * DAY_MS)
    assert [each.lacking for each in fetched] == [()] * 5
    assert [each.covered for each in fetched] == [
        ((START + day * DAY_MS, START + (day + 2) * DAY_MS),) for day in (8, 6, 4, 2, 0)
    ]
    brought = np.sort(np.concatenate([each.bars.open_time_ms for each in fetched]))
    np.testing.assert_array_equal(brought, every)


def test_what_a_quiet_pair_trades_later_is_covered_although_it_had_been_silent_before():
    """The first look finds nothing at all; the pair wakes up before the second one."""
    late = minutes(START + 2 * DAY_MS + HOUR_MS, 60, seed=5)
    market = {ETH: BarBatch.joined([minutes(START - 400 * DAY_MS, 10, seed=6), late])}
    with massive_rest(market, entitled_from_ms=START, now_ms=START + 2 * DAY_MS) as server:

        async def work(history: MassiveHistory) -> list[FetchedBars]:
            silent = await history.fetch(ETH, M1, START, START + DAY_MS)
            server.now_ms = None  # it trades
            return [silent, await history.fetch(ETH, M1, START + 2 * DAY_MS, END)]

        silent, awake = ask(server, work)
    assert (silent.covered, silent.lacking) == (((START, START + DAY_MS),), ())
    assert (awake.covered, awake.lacking) == (((START + 2 * DAY_MS, END),), ())
    assert_same(awake.bars, late)


def test_a_wrong_key_is_refused_at_once_and_the_sentence_says_where_it_is():
    with massive_rest(MARKET) as server:
        with pytest.raises(ProviderRefused) as caught:
            fetch(server, key="wrong")
        assert len(server.requests) == 1
    assert str(caught.value) == (
        "massive does not accept the key in MASSIVE_API_KEY (or POLYGON_API_KEY): put the right one there "
        '(it says: "Unknown API Key")'
    )


# ------------------------------------------------------------------------------------------------ faults

PASSING = [
    status(500),
    status(502),
    status(503, retry_after="0"),
    too_many("0"),
    too_many(),
    truncated(),
    disconnect(),
    garbage(b""),
    garbage(b"[]"),
    garbage(b"null"),
    garbage(b'{"status":"OK","results":7}'),
    garbage(b'{"status":"OK","results":[7]}'),
    garbage(b'{"status":"ERROR","error":"internal"}'),
    garbage(b"\xff\xfe\x00"),
    wrong_ticker("X:ETHUSD"),
    drip(0.05),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.name)
def test_after_a_fault_that_passes_the_answer_is_that_of_an_undisturbed_day(fault: Fault):
    with massive_rest(MARKET, faults=[fault]) as server:
        fetched = fetch(server, patience={"timeout_seconds": 0.4} if fault.drip_seconds else None)
        assert len(server.requests) >= 2 or fault.drip_seconds
    assert_same(fetched.bars, part(MARKET[BTC], START, START + DAY_MS))
    assert fetched.covered == ((START, START + DAY_MS),)


@pytest.mark.parametrize(
    ("fault", "clause"),
    [
        (status(500), "massive answered with status 500"),
        (too_many("0"), "massive was asked too often and wants to be left alone for 0 s"),
        (truncated(), "massive sent an answer that cannot be read"),
        (disconnect(), "the connection to massive failed: peer closed connection without sending complete"),
        (wrong_ticker("X:ETHUSD"), "massive was asked for X:BTCUSD and answered with 'X:ETHUSD'"),
        (garbage(b'{"status":"ERROR"}'), "massive sent an answer with the status 'ERROR'"),
        (
            garbage(b'{"status":"OK","ticker":"X:BTCUSD","resultsCount":9}'),
            "massive announced 9 bars and sent none",
        ),
        (garbage(b'{"status":"OK"}'), "massive was asked for X:BTCUSD and answered with ''"),
        (garbage(b'{"status":"OK","results":"x"}'), "massive sent an answer without a list of bars"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_fault_that_does_not_pass_ends_in_one_sentence(fault, clause):
    with massive_rest(MARKET, faults=[fault] * 9) as server:
        with pytest.raises(ProviderUnavailable) as caught:
            fetch(server, patience={"attempts": 3})
        assert len(server.requests) == 3
    assert str(caught.value).startswith(clause)
    assert "all 3 attempts failed, try again later" in str(caught.value)


def test_nobody_at_the_other_end_is_said():
    with massive_rest(MARKET) as server:
        pass
    with pytest.raises(
        ProviderUnavailable, match=r"massive cannot be reached at 127.0.0.1:\d+: connection refused"
    ):
        fetch(server)


def test_a_page_in_the_middle_that_fails_does_not_begin_the_span_anew():
    market = {BTC: minutes(START, 120_000, seed=5)}
    end = START + 120_000 * MINUTE_MS
    with massive_rest(market, faults=[Fault("passes"), truncated(), disconnect()]) as server:
        fetched = fetch(server, end_ms=end, now_ms=end + DAY_MS)
        assert [each.limit for each in server.requests] == [50_000, 50_000, 50_000] + [10_000] * 7
        assert fetched.requests == 10
    assert_same(fetched.bars, market[BTC])


def test_pages_that_are_too_large_for_the_server_are_asked_for_in_smaller_parts():
    market = {BTC: minutes(START, 30_000, seed=5)}
    end = START + 30_000 * MINUTE_MS
    with massive_rest(market, rows_max=5_000) as server:

        async def work(history: MassiveHistory) -> tuple[FetchedBars, FetchedBars]:
            first = await history.fetch(BTC, M1, START, end)
            return first, await history.fetch(BTC, M1, START, START + DAY_MS)

        first, second = ask(server, work, now_ms=end + DAY_MS)
        limits = [each.limit for each in server.requests]
    assert_same(first.bars, market[BTC])
    assert first.covered == ((START, end),)
    assert limits[:4] == [50_000, 50_000, 10_000, 2_000]
    assert limits[4:18] == [2_000] * 14
    # The next span begins small, and dares a larger page only after one that went well.
    assert limits[18:] == [2_000]
    assert_same(second.bars, part(market[BTC], START, START + DAY_MS))


def test_pages_grow_again_after_a_bad_hour():
    with massive_rest(MARKET, faults=[status(502), status(502)]) as server:

        async def work(history: MassiveHistory) -> None:
            for _ in range(3):
                await history.fetch(BTC, M1, START, START + DAY_MS)

        ask(server, work)
        assert [each.limit for each in server.requests] == [50_000, 50_000, 10_000, 10_000, 50_000]


@pytest.mark.parametrize("value", [float("nan"), "", None, "n/a", [], True], ids=repr)
@pytest.mark.parametrize("name", ["o", "c", "v", "vw", "n"])
def test_a_field_that_is_no_number_is_missing_and_never_0(name, value):
    column = {"o": "open", "c": "close", "v": "volume", "vw": "vwap", "n": "n_trades"}[name]
    with massive_rest(MARKET, faults=[set_field(5, name, value)]) as server:
        fetched = fetch(server)
        assert len(server.requests) == 1
    expected = part(MARKET[BTC], START, START + DAY_MS)
    getattr(expected, column)[5] = np.nan
    assert_same(fetched.bars, expected)
    raw = fetched.raw(5)[name]
    assert repr(raw) == repr(value)


@pytest.mark.parametrize("name", ["o", "v", "n", "vw"])
def test_a_field_that_is_absent_is_missing(name):
    column = {"o": "open", "v": "volume", "vw": "vwap", "n": "n_trades"}[name]
    with massive_rest(MARKET, faults=[without_field(5, name)]) as server:
        fetched = fetch(server)
    expected = part(MARKET[BTC], START, START + DAY_MS)
    getattr(expected, column)[5] = np.nan
    assert_same(fetched.bars, expected)
    assert name not in fetched.raw(5)


def test_a_number_in_quotation_marks_is_that_number():
    with massive_rest(MARKET, faults=[set_field(5, "c", "101.25")]) as server:
        fetched = fetch(server)
    assert fetched.bars.close[5] == 101.25
    assert fetched.raw(5)["c"] == "101.25"


@pytest.mark.parametrize(
    "value", [None, "", "yesterday", 1e30, 2**70, 1704067200000.5, float("inf")], ids=repr
)
def test_a_time_that_is_none_is_missing_and_the_bar_stays_to_be_judged(value):
    with massive_rest(MARKET, faults=[set_field(5, "t", value)]) as server:
        fetched = fetch(server)
    assert fetched.bars.open_time_ms[5] == MISSING_TIME_MS
    assert len(fetched.bars) == len(part(MARKET[BTC], START, START + DAY_MS))
    # The minute that it may belong to is not taken for one without trades.
    assert fetched.covered == ((START, START + 5 * MINUTE_MS), (START + 6 * MINUTE_MS, START + DAY_MS))


def test_an_absurd_price_passes_through_to_be_judged():
    with massive_rest(MARKET, faults=[set_field(5, "c", 1e12)]) as server:
        fetched = fetch(server)
    assert fetched.bars.close[5] == 1e12
    assert fetched.raw(5)["c"] == 1e12


def test_infinity_is_not_missing():
    with massive_rest(MARKET, faults=[set_field(5, "c", float("inf"))]) as server:
        assert fetch(server).bars.close[5] == np.inf


def test_duplicates_and_disorder_pass_through_for_the_store_to_merge():
    expected = part(MARKET[BTC], START, START + DAY_MS)
    with massive_rest(MARKET, faults=[duplicated(3)]) as server:
        doubled = fetch(server)
    assert len(doubled.bars) == len(expected) + 1
    assert doubled.bars.open_time_ms[3] == doubled.bars.open_time_ms[4]
    with massive_rest(MARKET, faults=[shuffled(1)]) as server:
        mixed = fetch(server)
    assert (np.diff(mixed.bars.open_time_ms) < 0).any()
    order = np.argsort(mixed.bars.open_time_ms)
    np.testing.assert_array_equal(mixed.bars.values()[:, order], expected.values())
    for index in (0, 700):
        assert mixed.raw(index)["t"] == mixed.bars.open_time_ms[index]
    assert doubled.covered == mixed.covered == ((START, START + DAY_MS),)


def test_a_skewed_clock_leaves_times_off_the_grid_in_the_future_or_around_the_span():
    with massive_rest(MARKET, faults=[skewed(5, 1)]) as server:
        off_grid = fetch(server)
    assert off_grid.bars.open_time_ms[5] == START + 5 * MINUTE_MS + 1
    around_it = ((START, START + 5 * MINUTE_MS), (START + 6 * MINUTE_MS, START + DAY_MS))
    assert off_grid.covered == around_it
    with massive_rest(MARKET, faults=[skewed(5, 30 * DAY_MS)]) as server:
        future = fetch(server)
    assert future.bars.open_time_ms[5] == START + 30 * DAY_MS + 5 * MINUTE_MS  # for quarantine: in_future
    assert future.covered == around_it
    with massive_rest(MARKET, faults=[skewed(5, -DAY_MS)]) as server:
        around = fetch(server)
    assert len(around.bars) == len(part(MARKET[BTC], START, START + DAY_MS)) - 1
    assert around.covered == around_it
    assert around.raw(5)["t"] == around.bars.open_time_ms[5] == START + 6 * MINUTE_MS


def test_a_wrong_time_among_bars_in_disorder_leaves_every_hole_unknown():
    def edit(body: dict[str, Any]) -> None:
        body["results"][5]["t"] = None
        body["results"].reverse()

    with massive_rest(MARKET, faults=[edited(edit)]) as server:
        fetched = fetch(server)
    holes = [(5, 6), (7, 10), (1000, 1001)]  # one bar without a time, and minutes without trades
    bounds = [0, *(minute for hole in holes for minute in hole), 1440]
    expected = [tuple(START + MINUTE_MS * minute for minute in bounds[at : at + 2]) for at in range(0, 8, 2)]
    assert list(fetched.covered) == expected


def test_pages_that_lead_nowhere_end():
    def again(body: dict[str, Any]) -> None:
        body["next_url"] = (
            f"https://api.massive.com/v2/aggs/ticker/X:BTCUSD/range/1/minute/{START}/{END}?limit=50000"
        )

    with (
        massive_rest(MARKET, faults=[edited(again)] * 9) as server,
        pytest.raises(ProviderUnavailable) as caught,
    ):
        fetch(server, patience={"attempts": 3})
    assert "brings nothing new, and no end" in str(caught.value)


def test_a_list_of_pairs_that_leads_in_a_circle_ends():
    def again(body: dict[str, Any]) -> None:
        body["next_url"] = "https://api.massive.com/v3/reference/tickers?cursor=bGltaXQ9NQ=="

    with massive_rest(MARKET, faults=[edited(again)] * 9) as server:
        with pytest.raises(ProviderUnavailable, match="the list of pairs of massive has no end"):
            ask(server, lambda history: history.markets())
        assert len(server.requests) == 2


def test_a_limit_that_the_server_enforces_is_waited_for():
    with massive_rest(MARKET, per_minute=3, minute_seconds=3.0) as server:

        async def work(history: MassiveHistory) -> int:
            for _ in range(5):
                await history.fetch(BTC, M1, START, START + HOUR_MS)
            return sum(each.status == 429 for each in server.requests)

        assert ask(server, work, patience={"wait_max_seconds": 5.0}) >= 1


def test_a_rate_within_the_limit_is_never_refused():
    with massive_rest(MARKET, per_minute=10, minute_seconds=0.5) as server:

        async def work(history: MassiveHistory) -> None:
            for _ in range(12):
                await history.fetch(BTC, M1, START, START + HOUR_MS)

        ask(server, work, plan="free", free_requests_per_minute=60 * 15.0)
        assert {each.status for each in server.requests} == {200}


@pytest.mark.parametrize(
    "fault",
    [
        status(401, f"Unknown API Key {KEY}"),
        status(403, f"no plan for {KEY}"),
        status(500, KEY),
        too_many(),
        disconnect(),
    ],
    ids=lambda fault: fault.name,
)
def test_the_key_is_in_no_text_whatever_happens(fault, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def work(history: MassiveHistory) -> None:
        shown.extend([repr(history), repr(vars(history)), repr(vars(history._client))])
        await history.fetch(BTC, M1, START, END)

    with massive_rest(MARKET, faults=[fault] * 9) as server, pytest.raises(Exception) as caught:
        ask(server, work, patience={"attempts": 2})
    printed = capfd.readouterr()
    shown += [str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))]
    assert len(shown) == 6
    for text in (*shown, caplog.text, printed.out, printed.err):
        assert KEY not in text
