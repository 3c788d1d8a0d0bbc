"""Looks at the markets that may be wrong, symbols that are behind, and clocks that are set: the pure parts."""

import asyncio

import pytest

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.market.collecting.behind import Behind
from crypto_tracker.market.collecting.health import Health
from crypto_tracker.market.collecting.members import Members, Verdict
from crypto_tracker.market.collecting.schedule import Turns, Wishes
from crypto_tracker.market.collecting.times import SteadyTime, until, until_due
from crypto_tracker.market.providers.base import MarketInfo
from crypto_tracker.store.collectors import Standing
from tests import virtual_time
from tests.market.collected import MINUTE, START, FastTime, settings

BTC, ETH, SOL, XRP, NEW = (Symbol(base, "USD") for base in ("BTC", "ETH", "SOL", "XRP", "NEW"))
FOUR = (BTC, ETH, SOL, XRP)


def listed(*symbols: Symbol, halted: tuple[Symbol, ...] = ()) -> list[MarketInfo]:
    return [
        MarketInfo(symbol=each, provider_symbol=str(each), active=each not in halted)
        for each in (*symbols, *halted)
    ]


def members(*, traded: tuple[Symbol, ...] = (), wanted: tuple[Symbol, ...] = FOUR) -> Members:
    return Members.of("kraken", wanted, traded, {})


def test_what_was_never_traded_is_inactive_after_one_look():
    found = members()
    verdict = found.look(listed(BTC, ETH, SOL), 0)
    assert verdict == Verdict(gone={XRP: "kraken does not have it"}, back=(), trouble="")
    assert found.active == (BTC, ETH, SOL)


def test_what_was_traded_is_inactive_after_two_looks_in_a_row_with_a_minute_between_them():
    found = members(traded=FOUR)
    assert found.look(listed(BTC, ETH, SOL, halted=(XRP,)), 0).gone == {}
    assert (found.doubted, found.active) == ((XRP,), FOUR)
    assert found.look(listed(BTC, ETH, SOL), MINUTE - 1).gone == {}
    verdict = found.look(listed(BTC, ETH, SOL, halted=(XRP,)), MINUTE)
    assert verdict.gone == {XRP: "kraken no longer trades it"}
    assert (found.doubted, found.active) == ((), (BTC, ETH, SOL))
    assert found.look(listed(*FOUR), 2 * MINUTE) == Verdict(gone={}, back=(XRP,), trouble="")


def test_a_look_that_has_it_in_between_begins_the_count_anew():
    found = members(traded=FOUR)
    found.look(listed(BTC, ETH, SOL), 0)
    found.look(listed(*FOUR), MINUTE)
    assert found.look(listed(BTC, ETH, SOL), 2 * MINUTE).gone == {}
    assert found.active == FOUR


@pytest.mark.parametrize("left", [(), (BTC,)])
def test_a_list_that_lacks_more_than_half_of_what_was_traded_is_trouble_and_no_verdict(left):
    found = members(traded=FOUR)
    for look in range(100):
        verdict = found.look(
            listed(*left, halted=tuple(each for each in FOUR if each not in left)), look * MINUTE
        )
        assert verdict.gone == {}
        assert f"the list of markets lacks {4 - len(left)} of 4 symbols that were traded" in verdict.trouble
        assert found.active == FOUR
    assert found.look(listed(*FOUR), 100 * MINUTE) == Verdict(gone={}, back=(), trouble="")


def test_exactly_half_of_them_may_go():
    found = members(traded=FOUR)
    found.look(listed(BTC, ETH), 0)
    assert set(found.look(listed(BTC, ETH), MINUTE).gone) == {SOL, XRP}


def test_where_nothing_at_all_can_be_collected_that_is_trouble():
    found = members()
    assert (
        found.look([], 0).trouble
        == "no symbol can be collected (BTC/USD and 3 more: kraken does not have it)"
    )
    assert found.active == ()
    verdict = found.look(listed(*FOUR), MINUTE)
    assert verdict == Verdict(gone={}, back=FOUR, trouble="")


def test_a_new_symbol_is_judged_by_one_look_also_while_the_list_is_in_doubt():
    found = members(traded=FOUR, wanted=(*FOUR, NEW))
    verdict = found.look(listed(), 0)
    assert verdict.gone == {NEW: "kraken does not have it"}
    assert found.active == FOUR


def test_what_was_inactive_when_it_was_left_stays_so_until_a_look_has_it():
    found = Members.of("kraken", FOUR, FOUR, {XRP: "kraken no longer trades it"})
    assert found.active == (BTC, ETH, SOL)
    assert found.look(listed(BTC, ETH, SOL), 0) == Verdict(gone={}, back=(), trouble="")
    assert found.look(listed(*FOUR), 1).back == (XRP,)


def test_symbols_that_are_behind_are_tried_one_after_the_other_after_waits_that_grow():
    behind = Behind(settings().collector)
    behind.failed(ETH, "gone", 0)
    behind.came(BTC, 0)
    assert behind.due(0) == BTC
    waits = []
    now = 0
    for _ in range(14):
        behind.failed(ETH, "still gone", now)
        behind.done(BTC)
        due = behind.next_ms()
        assert due is not None
        waits.append((due - now) / 1_000)
        now = due
        assert behind.due(now - 1) is None
        assert behind.due(now) == ETH
    for doubled, wait in enumerate(waits, start=1):
        whole = min(2.0**doubled, 900.0)
        assert whole / 2 - 0.001 <= wait <= whole
    behind.failed(ETH, "gone", now)
    behind.hurry(now)
    assert behind.due(now) == ETH
    behind.keep([BTC])
    assert (len(behind), behind.next_ms()) == (0, None)


def test_who_is_behind_is_named_while_the_collector_is_live():
    told: list[tuple[Standing, str]] = []
    health = Health(
        provider="kraken",
        has_stream=True,
        changed=lambda state, detail: told.append((state, detail)),
        noted=lambda _: None,
        symbols=9,
        symbols_live=9,
        catching_up=False,
    )
    health.behind = dict.fromkeys((*FOUR, NEW), "kraken answers 502")
    health.tell()
    words = (
        "5 of 9 symbols are behind: BTC/USD (kraken answers 502), ETH/USD (kraken answers 502), "
        "SOL/USD (kraken answers 502), and 2 more"
    )
    assert told == [(Standing.LIVE, words)]
    assert health.figures(0)["behind"]["NEW/USD"] == "kraken answers 502"


class SetTime(FastTime):
    """A clock that somebody sets."""

    set_by = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.set_by


def test_a_clock_that_is_set_moves_moments_and_no_durations():
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        clock = SetTime(loop.time, 60.0)
        steady = SteadyTime(clock)
        began, took = loop.time(), []

        async def lasts(what) -> None:
            await what
            took.append(round(loop.time() - began, 1))

        waits = (
            asyncio.create_task(lasts(until(steady, steady.now_ms() + 12_000))),  # 0.2 s
            asyncio.create_task(lasts(until(clock, START + 30 * MINUTE))),  # 30 s, or when it is set
        )
        await asyncio.sleep(0.1)
        clock.set_by = -30 * MINUTE
        await asyncio.sleep(0.3)
        clock.set_by = 30 * MINUTE
        await asyncio.wait(waits)
        return took

    first, second = virtual_time.run(main())
    assert first == pytest.approx(0.2)
    assert second == pytest.approx(1.0)  # with the next look


def test_what_is_due_next_is_asked_anew_with_every_look():
    """A clock that is set back does not put a turn off: one comes at once, and then as always."""

    async def main() -> list[int]:
        clock = SetTime(asyncio.get_running_loop().time, 600.0)
        turns, taken = Turns(5 * MINUTE, 0), []
        turns.take(clock.now_ms())

        async def take() -> None:
            while True:
                await until_due(clock, turns.next_ms)
                turns.take(clock.now_ms())
                taken.append((clock.now_ms() - START) // (5 * MINUTE))

        taking = asyncio.create_task(take())
        await asyncio.sleep(0.3)
        clock.set_by = -30 * MINUTE
        await asyncio.sleep(1.2)
        taking.cancel()
        await asyncio.wait([taking])
        return taken

    taken = virtual_time.run(main())
    assert taken[0] < 0
    assert taken == sorted(taken)
    assert len(taken) == len(set(taken))


def test_late_turns_are_one_however_far_the_clock_was_set_forward():
    turns = Turns(5 * MINUTE, 0)
    turns.take(START)
    assert turns.is_due(START + 30 * MINUTE)
    turns.take(START + 30 * MINUTE)
    assert not turns.is_due(START + 30 * MINUTE)
    assert turns.next_ms(START + 30 * MINUTE) == START + 35 * MINUTE
    assert turns.is_due(START)
    turns.take(START)
    assert turns.next_ms(START) == START + 5 * MINUTE


def test_wishes_do_not_wait_until_a_clock_that_was_set_back_has_come_so_far_again():
    wishes = Wishes()
    wishes.look(START)
    wishes.hole(BTC, START - MINUTE, START + 2_000)
    wishes.all_since(START, START + MINUTE)
    wishes.look(START + 1_000)
    wishes.look(START + 1_000 - DAY_MS)
    assert wishes.next_ms() == START + 2_000 - DAY_MS
    assert wishes.take_holes(START + 2_000 - DAY_MS) == [(BTC, START - MINUTE)]
    assert wishes.take_since(START + MINUTE - DAY_MS) == START - DAY_MS
