"""Chunks hold what is missing and can be had: all of it, once, the newest first."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.market.fetching.planning import Missing, Plan, plan
from crypto_tracker.market.providers.base import Reach
from crypto_tracker.store import intervals

BTC, ETH, SOL = (Symbol(base, "USD") for base in ("BTC", "ETH", "SOL"))
M1, H1, D1 = Timeframe.M1, Timeframe.H1, Timeframe.D1
OPEN = {timeframe: Reach(page_bars=50_000) for timeframe in Timeframe}


def at(text: str) -> int:
    """Milliseconds of `2025-03-01`, or of `2025-03-01 12:00`."""
    whole = text if " " in text else f"{text} 00:00"
    return to_ms(datetime.strptime(whole, "%Y-%m-%d %H:%M").replace(tzinfo=UTC))


def missing(symbol: Symbol, timeframe: Timeframe, *spans: tuple[str, str]) -> Missing:
    """A series of which these spans are missing."""
    pairs = intervals.as_intervals((at(start), at(end)) for start, end in spans)
    return Missing(symbol=symbol, timeframe=timeframe, intervals=pairs)


def told(planned: Plan) -> list[str]:
    """Each chunk in words, in order."""
    return [
        f"{chunk.symbol.base} {from_ms(chunk.start_ms):%m-%d %H:%M} {from_ms(chunk.end_ms):%m-%d %H:%M}"
        for chunk in planned.chunks
    ]


def test_minutes_are_cut_at_calendar_months_and_every_symbol_gets_its_newest_first():
    planned = plan(
        [
            missing(BTC, M1, ("2025-01-15", "2025-04-02")),
            missing(ETH, M1, ("2025-02-01", "2025-04-02")),
        ],
        OPEN,
        at("2025-04-02"),
    )
    assert told(planned) == [
        "BTC 04-01 00:00 04-02 00:00",
        "ETH 04-01 00:00 04-02 00:00",
        "BTC 03-01 00:00 04-01 00:00",
        "ETH 03-01 00:00 04-01 00:00",
        "BTC 02-01 00:00 03-01 00:00",
        "ETH 02-01 00:00 03-01 00:00",
        "BTC 01-15 00:00 02-01 00:00",
    ]
    assert planned.bars == sum(chunk.bars for chunk in planned.chunks) == (77 + 60) * 1_440


def test_a_whole_month_of_minutes_stays_whole_where_a_page_is_smaller_and_parts_of_months_do_not():
    planned = plan(
        [missing(BTC, M1, ("2025-02-01", "2025-03-01 20:00"))],
        {M1: Reach(page_bars=720)},
        at("2025-03-02"),
    )
    assert told(planned) == [
        "BTC 03-01 08:00 03-01 20:00",
        "BTC 03-01 00:00 03-01 08:00",
        "BTC 02-01 00:00 03-01 00:00",
    ]


def test_coarser_bars_are_cut_by_pages_from_the_newest_on():
    planned = plan(
        [missing(BTC, H1, ("2025-03-01", "2025-03-02 01:00"))], {H1: Reach(page_bars=10)}, at("2025-04-01")
    )
    assert told(planned) == [
        "BTC 03-01 15:00 03-02 01:00",
        "BTC 03-01 05:00 03-01 15:00",
        "BTC 03-01 00:00 03-01 05:00",
    ]


def test_a_bar_that_has_not_closed_is_neither_asked_for_nor_said_to_be_missing():
    planned = plan([missing(BTC, D1, ("2025-03-01", "2025-03-05"))], OPEN, at("2025-03-03 23:59"))
    assert told(planned) == ["BTC 03-01 00:00 03-03 00:00"]
    assert planned.beyond == ()


def test_what_is_beyond_reach_is_said_with_its_reason_and_only_the_oldest_is_lost_for_good():
    reach = Reach(
        page_bars=50_000,
        oldest_ms=at("2025-02-27 12:30"),
        newest_ms=at("2025-03-01 06:20"),
        why_oldest="two days only",
        why_newest="a day later",
    )
    planned = plan([missing(BTC, H1, ("2025-02-26", "2025-03-02"))], {H1: reach}, at("2025-03-01 10:30"))
    assert told(planned) == ["BTC 02-27 13:00 03-01 06:00"]
    assert [
        (from_ms(each.start_ms), from_ms(each.end_ms), each.reason, each.for_good) for each in planned.beyond
    ] == [
        (from_ms(at("2025-02-26")), from_ms(at("2025-02-27 13:00")), "two days only", True),
        (from_ms(at("2025-03-01 06:00")), from_ms(at("2025-03-01 10:00")), "a day later", False),
    ]


def test_a_reach_that_is_empty_leaves_nothing_to_ask_and_says_everything_once():
    reach = Reach(page_bars=10, oldest_ms=at("2025-03-03"), newest_ms=at("2025-03-02"))
    planned = plan([missing(BTC, D1, ("2025-03-01", "2025-03-06"))], {D1: reach}, at("2025-03-06"))
    assert planned.chunks == ()
    assert [(from_ms(each.start_ms).day, from_ms(each.end_ms).day) for each in planned.beyond] == [
        (1, 3),
        (3, 6),
    ]


def test_a_timeframe_that_the_provider_does_not_offer_is_said_and_may_come_another_way():
    planned = plan([missing(BTC, H1, ("2025-03-01", "2025-03-02"))], {M1: OPEN[M1]}, at("2025-04-01"))
    assert planned.chunks == ()
    assert [(each.reason, each.for_good) for each in planned.beyond] == [
        ("the provider has no bars of 1h", False)
    ]


def test_no_cell_is_asked_for_that_begins_before_its_interval():
    ragged = Missing(
        symbol=BTC,
        timeframe=H1,
        intervals=np.array([[at("2025-03-01 10:20"), at("2025-03-01 12:20")]], dtype=np.int64),
    )
    assert told(plan([ragged], OPEN, at("2025-04-01"))) == ["BTC 03-01 11:00 03-01 13:00"]


_START = at("2024-12-20")
_TIMES = st.integers(0, 90 * DAY_MS // MINUTE_MS).map(lambda minute: _START + minute * MINUTE_MS)
_SPANS = st.lists(st.tuples(_TIMES, _TIMES).map(lambda pair: (min(pair), max(pair))), max_size=6)
_SERIES = st.lists(
    st.tuples(st.sampled_from([BTC, ETH, SOL]), st.sampled_from([M1, H1, D1]), _SPANS),
    max_size=6,
    unique_by=lambda each: each[:2],
)


@settings(max_examples=150, deadline=None)
@given(
    series=_SERIES,
    now_ms=_TIMES,
    oldest_ms=st.none() | _TIMES,
    newest_ms=st.none() | _TIMES,
    page_bars=st.integers(100, 60_000),
)
def test_chunks_and_what_is_beyond_make_up_all_that_is_missing_and_nothing_twice(
    series: list[tuple[Symbol, Timeframe, list[tuple[int, int]]]],
    now_ms: int,
    oldest_ms: int | None,
    newest_ms: int | None,
    page_bars: int,
):
    reach = Reach(
        page_bars=page_bars, oldest_ms=oldest_ms, newest_ms=newest_ms, why_oldest="old", why_newest="new"
    )
    wanted = [
        Missing(symbol=symbol, timeframe=timeframe, intervals=intervals.as_intervals(spans))
        for symbol, timeframe, spans in series
    ]
    planned = plan(wanted, dict.fromkeys(Timeframe, reach), now_ms)

    ends = [chunk.end_ms for chunk in planned.chunks]
    assert ends == sorted(ends, reverse=True)
    for each in wanted:
        timeframe, step = each.timeframe, each.timeframe.ms
        cells = {
            cell
            for start_ms, end_ms in each.intervals.tolist()
            for cell in range(-(-start_ms // step) * step, end_ms, step)
            if cell + step <= now_ms
        }
        chunks = [c for c in planned.chunks if (c.symbol, c.timeframe) == (each.symbol, timeframe)]
        asked = [cell for c in chunks for cell in range(c.start_ms, c.end_ms, step)]
        assert len(asked) == len(set(asked))
        within = {
            cell
            for cell in cells
            if (oldest_ms is None or cell >= oldest_ms) and (newest_ms is None or cell + step <= newest_ms)
        }
        assert set(asked) == within
        beyond = [b for b in planned.beyond if (b.symbol, b.timeframe) == (each.symbol, timeframe)]
        said = [cell for b in beyond for cell in range(b.start_ms, b.end_ms, step)]
        assert len(said) == len(set(said))
        assert set(said) == cells - within
        for b in beyond:
            old = oldest_ms is not None and b.start_ms < oldest_ms
            assert (b.for_good, b.reason) == ((True, "old") if old else (False, "new"))
        for chunk in chunks:
            is_month = (
                timeframe is M1
                and from_ms(chunk.start_ms).day == 1
                and from_ms(chunk.end_ms).day == 1
                and chunk.end_ms - chunk.start_ms <= 31 * DAY_MS
            )
            assert chunk.bars <= page_bars or is_month
            if timeframe is M1:
                assert from_ms(chunk.start_ms).month == from_ms(chunk.end_ms - 1).month


def test_an_hour_is_not_cut_for_minutes_inside_one_month():
    planned = plan([missing(BTC, M1, ("2025-03-05 10:00", "2025-03-05 11:00"))], OPEN, at("2025-04-01"))
    assert [chunk.end_ms - chunk.start_ms for chunk in planned.chunks] == [HOUR_MS]
