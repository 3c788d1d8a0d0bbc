"""The universe of each day: what is recorded, what holds when nothing is, and whom a backtest trades by it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, to_ms
from crypto_tracker.store.choice import Choice, choose, configured, obeying
from crypto_tracker.store.membership import Membership, membership, periods_of
from crypto_tracker.store.selections import SelectedPair, record_selection, selection, selections
from crypto_tracker.store.universes import (
    CONFIGURED,
    SELECTED,
    RecordedUniverse,
    record_universe,
    universes,
)
from tests.research.test_market import series
from tests.research.worlds import configuration
from tests.store.shelf import store

A, B, C, D = (Symbol(coin, "USD") for coin in "ABCD")
BTC, ETH, ADA, SOL = (Symbol(coin, "USD") for coin in ("BTC", "ETH", "ADA", "SOL"))
MARCH_MS = to_ms(datetime(2025, 3, 1, tzinfo=UTC))


def day(number: float) -> int:
    """A moment of March: 3.5 is noon of the third."""
    return MARCH_MS + int((number - 1) * DAY_MS)


def record(
    number: int, *symbols: Symbol, provider: str = "kraken", since: float | None = None
) -> RecordedUniverse:
    return RecordedUniverse(
        day_ms=day(number),
        provider=provider,
        symbols=tuple(sorted(symbols)),
        origin=CONFIGURED,
        selection_id=None,
        since_ms=day(number if since is None else since),
    )


def pair(symbol: Symbol, score: float | None, reason: str | None = None) -> SelectedPair:
    return SelectedPair(
        symbol=symbol,
        volume_quote=2e6,
        volatility=0.05,
        correlation=None,
        listed_days=31,
        score=score,
        risk="medium",
        reason=reason,
    )


# ------------------------------------------------------------------------------------------ what is recorded


def test_a_universe_that_is_recorded_twice_is_recorded_once(tmp_path: Path):
    assert record_universe(tmp_path, day(3), "kraken", [B, A], CONFIGURED)
    assert not record_universe(tmp_path, day(3), "kraken", [A, B], CONFIGURED)
    assert record_universe(tmp_path, day(3), "kucoin", [C], CONFIGURED)
    assert universes(tmp_path) == [record(3, A, B), record(3, C, provider="kucoin")]
    assert universes(tmp_path, "kucoin") == [record(3, C, provider="kucoin")]


def test_another_universe_of_the_same_day_takes_its_place(tmp_path: Path):
    record_universe(tmp_path, day(3), "kraken", [A, B], CONFIGURED)
    assert record_universe(tmp_path, day(3), "kraken", [B, C], CONFIGURED)
    assert universes(tmp_path) == [record(3, B, C)]


def test_what_the_configuration_says_leaves_a_selection_of_the_day_as_it_is(tmp_path: Path):
    made = record_selection(tmp_path, day(3.5), "kraken", {}, [pair(A, 80.0), pair(B, 70.0, "too many")])
    assert not record_universe(tmp_path, day(3), "kraken", [A, B, C], CONFIGURED)
    (kept,) = universes(tmp_path)
    assert (kept.symbols, kept.origin, kept.selection_id) == ((A,), SELECTED, made)
    assert record_universe(tmp_path, day(4), "kraken", [A, B, C], CONFIGURED)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((day(3) + 1, "kraken", [A], CONFIGURED), "is not the start of a UTC day"),
        ((day(3), "kraken", [], CONFIGURED), "has at least one symbol"),
        ((day(3), "kraken", [A], SELECTED), "names its selection"),
        ((day(3), "kraken", [A], CONFIGURED, 1), "one that was configured none"),
    ],
)
def test_what_is_no_universe_of_a_day_is_refused(tmp_path: Path, arguments: tuple, sentence: str):
    with pytest.raises(UsageError, match=sentence):
        record_universe(tmp_path, *arguments)


def test_a_home_without_a_database_has_no_universes(tmp_path: Path):
    with pytest.raises(DataError, match="there are no bars under"):
        universes(tmp_path)
    with store(tmp_path):
        assert universes(tmp_path) == []


def test_a_span_is_told_the_newest_record_from_before_it(tmp_path: Path):
    for number, symbols in ((2, [A]), (4, [A, B]), (6, [B]), (9, [C])):
        record_universe(tmp_path, day(number), "kraken", symbols, CONFIGURED)
    record_universe(tmp_path, day(8), "kucoin", [D], CONFIGURED)
    found = universes(tmp_path, start_ms=day(5), end_ms=day(8) + MINUTE_MS)
    assert found == [record(4, A, B), record(6, B), record(8, D, provider="kucoin")]
    assert universes(tmp_path, "kraken", day(9)) == [record(9, C)]


def test_a_selection_is_kept_with_all_that_it_was_made_from(tmp_path: Path):
    settings = {"count_max": 2, "quote": "USD"}
    pairs = [pair(B, 60.5, "not among the best 1"), pair(A, 80.25), pair(C, None, "no volume")]
    made = record_selection(tmp_path, day(3) + 5, "kraken", settings, pairs)
    kept = selection(tmp_path, made)
    assert kept.pairs == (pairs[1], pairs[0], pairs[2])
    assert (kept.made_at_ms, kept.provider, kept.settings) == (day(3) + 5, "kraken", settings)
    assert [each.selection_id for each in selections(tmp_path, "kraken")] == [made]
    assert selections(tmp_path, "kucoin") == []
    with pytest.raises(DataError, match="there is no selection 7"):
        selection(tmp_path, 7)


def test_a_selection_that_chose_nothing_leaves_the_universe_as_it_was(tmp_path: Path):
    record_universe(tmp_path, day(3), "kraken", [A], CONFIGURED)
    record_selection(tmp_path, day(3.5), "kraken", {}, [pair(B, 10.0, "too little volume")])
    assert universes(tmp_path) == [record(3, A)]


def test_a_selection_holds_from_the_moment_at_which_it_was_made(tmp_path: Path):
    record_universe(tmp_path, day(2), "kraken", [A], CONFIGURED)
    record_selection(tmp_path, day(3.5), "kraken", {}, [pair(B, 80.0)])
    assert [each.since_ms for each in universes(tmp_path)] == [day(2), day(3.5)]
    assert [each.symbols for each in universes(tmp_path, start_ms=day(3.25))] == [(A,), (B,)]
    assert [each.symbols for each in universes(tmp_path, start_ms=day(3.5))] == [(B,)]


# ---------------------------------------------------------------------------------------------- what holds


def test_a_day_without_a_record_has_the_universe_of_the_newest_day_before_it():
    records = [record(3, A, B), record(6, B, C)]
    assert periods_of(records, [], day(3), day(9)) == {
        A: ((day(3), day(6)),),
        B: ((day(3), day(9)),),
        C: ((day(6), day(9)),),
    }


def test_before_the_first_record_the_configured_universe_holds_together_with_it():
    records = [record(3, A, B), record(4, B)]
    assert periods_of(records, [B, D], day(1), day(6)) == {
        A: ((day(1), day(4)),),
        B: ((day(1), day(6)),),
        D: ((day(1), day(3)),),
    }


def test_a_coin_that_comes_back_has_two_periods():
    records = [record(1, A, B), record(2, B), record(5, A, B)]
    assert periods_of(records, [], day(1), day(7))[A] == ((day(1), day(2)), (day(5), day(7)))


def test_what_was_selected_at_noon_is_not_known_in_the_morning():
    records = [record(2, A), record(3, B, since=3.5)]
    assert periods_of(records, [], day(2), day(4)) == {
        A: ((day(2), day(3.5)),),
        B: ((day(3.5), day(4)),),
    }


@given(
    days=st.lists(
        st.tuples(st.integers(1, 12), st.sets(st.sampled_from([A, B, C, D]), min_size=1)),
        min_size=1,
        max_size=8,
        unique_by=lambda each: each[0],
    ),
    start=st.integers(1, 12),
    length=st.integers(1, 12),
)
def test_periods_are_what_a_walk_from_hour_to_hour_finds(days, start: int, length: int):
    records = [record(number, *symbols) for number, symbols in sorted(days, key=lambda each: each[0])]
    found = periods_of(records, [D], day(start), day(start + length))
    for moment in range(day(start), day(start + length), 6 * HOUR_MS):
        before = [each for each in records if each.since_ms <= moment]
        members = set(before[-1].symbols) if before else {D, *records[0].symbols}
        inside = {
            symbol
            for symbol, periods in found.items()
            if any(first <= moment < last for first, last in periods)
        }
        assert inside == members
    for periods in found.values():
        moments = [moment for each in periods for moment in each]
        assert moments == sorted(set(moments))


def test_where_every_symbol_belongs_throughout_there_is_nothing_to_obey():
    records = [record(3, A, B, C), record(6, A, B)]
    whose = {A: "kraken", B: "kraken", D: "kucoin"}
    assert membership(records, [], whose, day(4), day(9)) is None
    found = membership(records, [], {**whose, C: "kraken"}, day(4), day(9))
    assert found is not None
    whole = ((day(4), day(10)),)  # what is decided at the end lies in the day of the end
    assert found.periods == {A: whole, B: whole, C: ((day(4), day(6)),), D: whole}


def test_a_membership_comes_back_from_its_document():
    found = Membership(periods={A: ((day(1), day(2)), (day(5), day(7))), B: ()})
    again = Membership.of_document(found.document())
    assert again == found
    assert again.digest() == found.digest()
    assert Membership(periods={A: ((day(1), day(2)),), B: ()}).digest() != found.digest()


# -------------------------------------------------------------------------------------------- who is traded

STORED = """
    BTC/USD kraken 1m 1 20
    ETH/USD kraken 1m 1 20
    ADA/USD kraken 1m 1 8
    SOL/USD file 1m 1 20
"""


def chosen(records: Sequence[RecordedUniverse], *pairs: str, settings: Sequence[str] = (), **asked) -> Choice:
    plain = {"timeframe": None, "provider": "kraken", "start_ms": None, "end_ms": None}
    return choose(
        series(STORED),
        configuration(*settings),
        pairs=pairs,
        universes=records,
        **{**plain, **asked},
    )


BTC_AND_ADA = [record(2, BTC, ADA), record(8, BTC)]


def test_the_union_of_the_universes_of_a_span_takes_part_each_on_its_days():
    choice = chosen(BTC_AND_ADA, start_ms=day(3))
    assert choice.symbols == (ADA, BTC)  # ETH is in no universe of these days, though it is configured
    assert choice.universe is not None
    assert choice.universe.periods == {ADA: ((day(3), day(8)),), BTC: ((day(3), day(21)),)}
    assert choice.notes[-2:] == (
        "the universe of kraken was recorded on 1 of 17 days",
        "in the universe for a part of the span, and opening nothing else: ADA/USD",
    )


def test_a_coin_that_is_gone_takes_part_in_the_days_before():
    choice = chosen(BTC_AND_ADA, settings=('universe.symbols=["BTC/USD"]',))
    assert choice.symbols == (ADA, BTC)
    assert chosen([], settings=('universe.symbols=["BTC/USD"]',)).symbols == (BTC,)


def test_days_before_the_first_record_say_that_it_knows_what_came_later():
    choice = chosen(BTC_AND_ADA)
    assert choice.symbols == (ADA, BTC, ETH)
    assert choice.universe is not None
    assert choice.universe.periods[ETH] == ((day(1), day(2)),)
    told = next(note for note in choice.notes if note.startswith("the universe of kraken"))
    assert told == (
        "the universe of kraken was recorded on 2 of 19 days; before 2025-03-02 00:00 the configured one and "
        "that of the first record hold together, which may know what came later"
    )


def test_pairs_that_are_named_are_traded_on_every_day():
    choice = chosen(BTC_AND_ADA, "ETH/USD", "ADA/USD")
    assert choice.symbols == (ETH, ADA)
    assert choice.universe is None
    assert not any("universe" in note for note in choice.notes)


def test_without_a_record_or_by_configuration_the_universe_is_that_of_the_configuration():
    plain = chosen([])
    assert plain.universe is None
    assert chosen(BTC_AND_ADA, settings=("universe.by_day=false",)) == plain
    assert chosen([record(2, D, provider="kucoin")]) == plain


def test_a_universe_of_which_nothing_is_stored_is_not_obeyed():
    choice = chosen([record(1, D)], settings=('universe.symbols=["D/USD"]',))
    assert choice.symbols == (ADA, BTC, ETH)
    assert choice.universe is None
    assert choice.notes[0].startswith("every stored symbol takes part")


def test_bars_of_another_provider_are_traded_by_the_configuration():
    choice = chosen(BTC_AND_ADA, provider=None, start_ms=day(3))
    assert choice.symbols == (ADA, BTC, SOL)
    assert choice.universe is not None
    assert choice.universe.periods[SOL] == ((day(3), day(21)),)


def test_where_one_history_stands_in_the_universe_is_that_of_who_is_traded():
    text = """
        BTC/USD kraken 1m 15 20
        ADA/USD kraken 1m 15 20
        ETH/USD kraken 1m 15 20
        BTC/USD massive 1m 1 20
        ADA/USD massive 1m 1 8
        ETH/USD massive 1m 1 20
    """
    settings = (
        "market_data.provider=kraken",
        "market_data.history=massive",
        'universe.symbols=["BTC/USD", "ETH/USD"]',
    )
    choice = choose(
        series(text),
        configuration(*settings),
        pairs=(),
        timeframe=None,
        provider=None,
        start_ms=day(3),
        end_ms=day(12),
        universes=BTC_AND_ADA,
    )
    assert choice.symbols == (ADA, BTC)
    assert choice.provider_of == {ADA: "kraken", BTC: "kraken"}
    assert choice.universe is not None
    assert choice.universe.periods[ADA] == ((day(3), day(8)),)


def test_a_choice_by_name_can_be_made_to_obey():
    choice = chosen([], "BTC/USD", "ADA/USD")
    obedient = obeying(choice, configured(configuration()), BTC_AND_ADA)
    assert obedient.universe is not None
    assert obedient.universe.periods[ADA] == ((day(1), day(8)),)
    assert obeying(choice, configured(configuration()), []) == choice
