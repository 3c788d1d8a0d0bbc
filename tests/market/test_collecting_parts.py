"""The small parts of the collector: its buffer, its turns, its wishes and its gate."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.config.market_data import TimeframePlan
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.collecting.buffer import Buffer, Lateness
from crypto_tracker.market.collecting.health import Health
from crypto_tracker.market.collecting.schedule import Increments, Turns, Wishes
from crypto_tracker.market.providers.base import StreamedBars
from crypto_tracker.net.gate import Gate, Urgency
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.collectors import Standing
from tests.market.collected import batch

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
MINUTE = 60_000
NOON = 1_748_865_600_000


def bars(symbol: Symbol, *rows: tuple[int, float], raw=None) -> StreamedBars:
    """Bars of one price each."""
    made = batch([open_ms for open_ms, _ in rows], [(price, price, price, price, 1.0) for _, price in rows])
    return StreamedBars(symbol=symbol, bars=made, raw=raw)


def buffer(capacity: int = 100) -> Buffer:
    return Buffer(capacity=capacity, skew_ms=5_000, settle_ms=2_000)


def test_what_is_said_twice_is_kept_once_and_a_correction_behind_what_it_corrects():
    held = buffer()
    now = NOON + MINUTE + 100
    assert held.add(bars(BTC, (NOON, 10.0)), now).bars == 1
    assert held.add(bars(BTC, (NOON, 10.0)), now).duplicates == 1
    corrected = held.add(bars(BTC, (NOON, 11.0)), now)
    assert (corrected.bars, corrected.corrections) == (1, 1)
    taken = held.take(now)
    assert taken.minutes[BTC].close.tolist() == [10.0, 11.0]
    assert taken.first == {NOON: 1}
    assert len(held) == 0
    assert held.add(bars(BTC, (NOON, 11.0)), now).duplicates == 1  # also after it was written


def test_a_bar_that_comes_a_little_early_waits_for_its_close():
    held = buffer()
    early = NOON + MINUTE - 4_000
    held.add(bars(BTC, (NOON, 10.0)), early)
    assert held.take(early).minutes == {}
    assert held.ready_ms() == NOON + MINUTE
    assert held.due_ms() == NOON + MINUTE + 2_000
    assert held.take(NOON + MINUTE).minutes[BTC].open_time_ms.tolist() == [NOON]


def test_a_bar_that_comes_far_too_early_goes_to_the_store_at_once_which_judges_it():
    held = buffer()
    early = NOON + MINUTE - 5_001
    assert held.add(bars(BTC, (NOON, 10.0)), early).unusable == (NOON,)
    assert held.take(early).minutes[BTC].open_time_ms.tolist() == [NOON]


def test_a_broken_bar_keeps_the_fields_that_it_came_with():
    held = buffer()
    now = NOON + MINUTE
    held.add(bars(BTC, (NOON, 10.0)), now)
    broken = bars(BTC, (NOON + MINUTE, float("nan")), raw=lambda _: {"o": "", "s": NOON})
    assert held.add(broken, now + MINUTE).unusable == (NOON + MINUTE,)
    taken = held.take(now + MINUTE)
    assert taken.raw[BTC](1) == {"o": "", "s": NOON}
    assert taken.raw[BTC](0)["close"] == 10.0


def test_the_volume_may_be_unknown_and_unknown_twice_is_the_same():
    held = buffer()
    one = batch([NOON], [(1.0, 1.0, 1.0, 1.0, float("nan"))])
    assert held.add(StreamedBars(symbol=BTC, bars=one), NOON + MINUTE).bars == 1
    assert held.add(StreamedBars(symbol=BTC, bars=one), NOON + MINUTE).duplicates == 1


COMING = st.lists(
    st.tuples(
        st.sampled_from([BTC, ETH]),
        st.integers(min_value=0, max_value=4),  # minute
        st.sampled_from([1.0, 2.0, float("nan")]),  # price
        st.integers(min_value=-90_000, max_value=200_000),  # when it comes, from the minute's close
        st.booleans(),  # whether all is taken then
    ),
    max_size=30,
)


@given(COMING)
def test_of_all_that_comes_nothing_is_lost_and_nothing_taken_before_its_time(coming):
    """What is taken is, by symbol and minute, what came, less what said the same as the one before it."""
    held = buffer()
    expected: dict[tuple[Symbol, int], list[float]] = {}
    taken: dict[tuple[Symbol, int], list[float]] = {}
    sound: dict[tuple[Symbol, int], float] = {}  # what was said last in time and whole
    now = NOON
    for symbol, minute, price, after, takes in coming:
        open_ms = NOON + minute * MINUTE
        now = max(now, open_ms + MINUTE + after)
        held.add(bars(symbol, (open_ms, price)), now)
        said = expected.setdefault((symbol, open_ms), [])
        usable = price == price and open_ms + MINUTE <= now + 5_000  # noqa: PLR0124
        if not usable or sound.get((symbol, open_ms)) != price:
            said.append(price)
        if usable:
            sound[symbol, open_ms] = price
        if takes:
            _collect(taken, held, now)
        assert held.peak >= len(held)
    _collect(taken, held, now + DAY_MS)
    assert len(held) == 0
    assert sorted(_counted(expected)) == sorted(_counted(taken))


def _collect(taken, held: Buffer, now: int) -> None:
    for symbol, made in held.take(now).minutes.items():
        for open_ms, price in zip(made.open_time_ms.tolist(), made.close.tolist(), strict=True):
            assert open_ms + MINUTE <= now or price != price or open_ms + MINUTE > now + 5_000  # noqa: PLR0124
            taken.setdefault((symbol, open_ms), []).append(price)


def _counted(rows) -> list[tuple[str, int, int]]:
    return [(str(symbol), open_ms, len(prices)) for (symbol, open_ms), prices in rows.items() if prices]


def test_turns_come_after_the_grid_and_late_ones_are_one():
    turns = Turns(5 * MINUTE, 2_000)
    assert turns.is_due(NOON)
    turns.take(NOON)
    assert turns.next_ms(NOON) == NOON + 2_000
    assert not turns.is_due(NOON + 1_999)
    assert turns.is_due(NOON + 17 * MINUTE)
    turns.take(NOON + 17 * MINUTE)
    assert turns.next_ms(NOON + 17 * MINUTE) == NOON + 20 * MINUTE + 2_000


def test_increments_look_after_the_last_day_and_at_least_a_hundred_bars():
    plan = TimeframePlan(backfill_days=1, update_minutes=60.0, overlap_bars=2, hot_days=1)
    increments = Increments({Timeframe.M1: plan, Timeframe.H1: plan}, 2_000)
    assert increments.take_due(NOON) == [Timeframe.M1, Timeframe.H1]
    assert increments.take_due(NOON + 1_000) == []
    assert increments.take_due(NOON + 2_000) == [Timeframe.M1, Timeframe.H1]
    # at 12:00:01 the bar that closed at 12:00 has not settled
    assert increments.span(Timeframe.M1, NOON + 1_000) == (NOON - MINUTE - DAY_MS, NOON - MINUTE)
    hour = 60 * MINUTE
    assert increments.span(Timeframe.H1, NOON + 2_000) == (NOON - 100 * hour, NOON)


def test_wishes_stay_open_until_all_is_fetched_and_the_stream_looks_after_the_rest():
    wishes = Wishes()
    wishes.all_since(NOON, NOON + 5_000)
    wishes.all_since(NOON + MINUTE, NOON + MINUTE)
    assert wishes.take_since(NOON + 4_999) is None
    assert wishes.take_since(NOON + 5_000) == NOON
    assert wishes.comes_again
    wishes.fetched(NOON + 30_000, streaming=True)
    assert wishes.take_since(NOON + MINUTE) == NOON + 30_000
    wishes.fetched(NOON + MINUTE, streaming=False)
    assert wishes.since_ms == NOON + MINUTE  # nobody brings what follows
    wishes.all_since(NOON + 5 * MINUTE, NOON + 5 * MINUTE)
    assert wishes.take_since(NOON + 5 * MINUTE) == NOON + MINUTE
    wishes.fetched(NOON + 5 * MINUTE, streaming=True)
    assert wishes.since_ms is None
    assert wishes.next_ms() is None


@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_wished_for_while_a_job_runs_is_still_wished_for_when_it_ends(streaming: bool):
    wishes = Wishes()
    wishes.all_since(NOON, NOON)
    assert wishes.take_since(NOON) == NOON
    wishes.all_since(NOON - 600 * MINUTE, NOON + 2 * MINUTE)  # minutes that were not answered
    wishes.all_since(NOON + MINUTE, NOON + MINUTE)  # and the stream was lost
    wishes.fetched(NOON + 30_000, streaming=streaming)
    assert wishes.take_since(NOON + MINUTE) == NOON - 600 * MINUTE
    assert wishes.comes_again


def test_a_job_that_failed_leaves_what_it_was_to_fetch_and_what_was_wished_for_meanwhile():
    wishes = Wishes()
    wishes.all_since(NOON, NOON)
    since_ms = wishes.take_since(NOON)
    assert since_ms == NOON
    wishes.all_since(NOON - MINUTE, NOON + MINUTE)
    wishes.all_since(since_ms, NOON + 5_000)
    assert wishes.take_since(NOON + 5_000) == NOON - MINUTE


def test_a_hole_is_wished_for_once_and_dropped_with_its_symbol():
    wishes = Wishes()
    wishes.hole(BTC, NOON, NOON + 2_000)
    wishes.hole(BTC, NOON, NOON + 9_000)
    wishes.hole(ETH, NOON, NOON + 9_000)
    assert wishes.next_ms() == NOON + 2_000
    assert wishes.take_holes(NOON + 2_000) == [(BTC, NOON)]
    wishes.drop([ETH])
    assert wishes.take_holes(NOON + DAY_MS) == []


def test_the_gate_lets_the_most_urgent_through_first_and_forgets_who_gave_up():
    async def main() -> list[str]:
        gate, order = Gate(1), []
        inside = asyncio.Event()

        async def ask(name: str, urgency: Urgency) -> None:
            async with gate.turn(urgency):
                order.append(name)
                await inside.wait()

        tasks = {}
        for name, urgency in [
            ("first", Urgency.SOMETIME),
            ("years", Urgency.SOMETIME),
            ("gave up", Urgency.NOW),
            ("schedule", Urgency.SOON),
            ("needed", Urgency.NOW),
        ]:
            tasks[name] = asyncio.create_task(ask(name, urgency))
            await asyncio.sleep(0)
        tasks["gave up"].cancel()
        await asyncio.sleep(0)
        inside.set()
        await asyncio.wait(tasks.values())
        return order

    assert asyncio.run(main()) == ["first", "needed", "schedule", "years"]


def test_lateness_is_that_of_bars_of_the_last_hour():
    lateness = Lateness(60 * MINUTE)
    assert lateness.quantiles(NOON, 0.5, 0.99) == [None, None]
    lateness.note(NOON - 61 * MINUTE, 90_000, 1_000)
    lateness.note(NOON, 2_100, 98)
    lateness.note(NOON, 7_000, 2)
    assert lateness.quantiles(NOON, 0.5, 0.98, 0.99) == [2.1, 2.1, 7.0]


def test_a_state_is_told_when_it_is_news_and_trouble_goes_before_all_else():
    told: list[tuple[Standing, str]] = []
    health = Health(
        provider="kraken",
        has_stream=True,
        changed=lambda state, detail: told.append((state, detail)),
        noted=lambda _: None,
    )
    health.tell()
    health.trouble("stream", "the line is down")
    health.trouble("stream", "the line is down")
    health.catching_up = False
    health.sound("stream")
    health.symbols_live = 2
    health.tell()
    assert told == [
        (Standing.CATCHING_UP, "fetching what trading needs"),
        (Standing.TROUBLE, "the line is down"),
        (Standing.STARTING, "the stream is connecting"),
        (Standing.LIVE, ""),
    ]


def test_a_trouble_with_other_numbers_is_no_news_until_all_was_well():
    told: list[str] = []
    health = Health(
        provider="kraken",
        has_stream=False,
        changed=lambda _, detail: told.append(detail),
        noted=lambda _: None,
    )
    health.catching_up = False
    for _ in range(2):
        for seconds in (48, 33, 10):
            health.trouble("stream", f"left alone for another {seconds} s")
            health.trouble("stream", "all attempts failed")
        health.sound("stream")
    assert told == ["left alone for another 48 s", "all attempts failed", ""] * 2
    health.trouble("stream", "left alone for another 7 s")
    health.trouble("stream", "left alone for another 3 s")
    assert health.told == (Standing.TROUBLE, "left alone for another 3 s")


def test_what_comes_often_is_counted_always_and_said_once_an_hour():
    said: list[str] = []
    health = Health(provider="kraken", has_stream=True, changed=lambda *_: None, noted=said.append)
    for second in range(7_200):
        health.mention("symbol", f"at {second}", NOON + second * 1_000)
    assert said == ["at 0", "at 3600"]
    assert health.figures(NOON)["troubles"] == {"symbol": 7_200}


def test_a_batch_of_no_bars_changes_nothing():
    held = buffer()
    none = BarBatch(
        open_time_ms=np.empty(0, dtype=np.int64),
        **{name: np.empty(0) for name in ("open", "high", "low", "close", "volume")},
    )
    assert held.add(StreamedBars(symbol=BTC, bars=none), NOON).bars == 0
    assert held.due_ms() is None
