"""What must hold for every answer and every sequence of faults."""

import asyncio
import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.massive import answers, rest
from crypto_tracker.market.providers.massive.misplaced import doubtful
from crypto_tracker.net.http import Answer
from crypto_tracker.store import intervals
from tests.market.massive_market import BTC, START, minutes
from tests.market.massive_market import settings as massive_settings
from tests.net.patience import quick
from tests.servers.massive_rest import (
    KEY,
    Fault,
    MassiveServer,
    disconnect,
    garbage,
    massive_rest,
    passes,
    status,
    too_many,
    truncated,
    wrong_ticker,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"o": NUMBERS, "h": NUMBERS, "l": NUMBERS, "c": NUMBERS, "v": NUMBERS, "t": st.integers(0, 2**45)},
        optional={
            "vw": NUMBERS,
            "n": NUMBERS,
            "T": st.sampled_from(["X:BTCUSD", "X:ETH-USD"]),
            "x": st.text(),
        },
    ),
    max_size=6,
)
ODD = st.sampled_from([None, "", "1.5", "x", [], {}, True, float("nan"), float("inf"), 10**400])


def answer_of(rows: list[dict[str, object]]) -> Answer:
    body: dict[str, object] = {"ticker": "X:BTCUSD", "status": "OK", "request_id": "a"}
    return Answer(200, {}, json.dumps(body | ({"results": rows} if rows else {})).encode())


@given(rows=ROWS)
def test_a_proper_page_is_read_the_same_quickly_and_field_by_field(rows):
    answer = answer_of(rows)
    quickly = answers.bar_page(answer, ticker="X:BTCUSD")
    slowly = answers._tolerant_page(answer, "X:BTCUSD")
    np.testing.assert_array_equal(quickly.bars.open_time_ms, slowly.bars.open_time_ms)
    for name in ("open", "high", "low", "close", "volume", "vwap", "n_trades"):
        np.testing.assert_array_equal(getattr(quickly.bars, name), getattr(slowly.bars, name))
    for index, row in enumerate(rows):
        told = quickly.raw(index)
        assert told == {key: value for key, value in row.items() if key != "x"}
        assert slowly.raw(index) == row


@given(rows=ROWS.filter(bool), data=st.data())
def test_one_odd_field_spoils_no_other(rows, data):
    index = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(["o", "h", "l", "c", "v", "vw", "n"]))
    good = answers.bar_page(answer_of(rows), ticker="X:BTCUSD").bars
    spoiled = [dict(row) for row in rows]
    value = spoiled[index][name] = data.draw(ODD)
    bars = answers.bar_page(answer_of(spoiled), ticker="X:BTCUSD").bars
    column = {
        "o": "open",
        "h": "high",
        "l": "low",
        "c": "close",
        "v": "volume",
        "vw": "vwap",
        "n": "n_trades",
    }[name]
    for each in ("open", "high", "low", "close", "volume", "vwap", "n_trades"):
        expected = getattr(good, each).copy()
        if each == column:
            expected[index] = {"1.5": 1.5, "inf": np.inf}.get(str(value), np.nan)
        np.testing.assert_array_equal(getattr(bars, each), expected)


LENGTH = 3000
HOLES = tuple(n for n in range(200, 2900) if n % 11 == 0 or 700 <= n < 900)
MARKET = {BTC: minutes(START, LENGTH, seed=8, without=HOLES)}
PASSING = (
    passes(),
    status(500),
    status(502),
    status(429),
    too_many("0"),
    truncated(),
    disconnect(),
    garbage(b"{}"),
    wrong_ticker("X:ETHUSD"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[MassiveServer]:
    with massive_rest(MARKET) as running:
        yield running


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, LENGTH - 1),
    length=st.integers(1, LENGTH),
    faults=st.lists(st.sampled_from(PASSING), max_size=8),
    page=st.sampled_from([200, 500, 1000, 50_000]),
)
def test_whatever_passes_leaves_the_bars_and_coverage_of_an_undisturbed_fetch(
    server: MassiveServer, start: int, length: int, faults: list[Fault], page: int
):
    start_ms, end_ms = START + start * MINUTE_MS, START + min(start + length, LENGTH) * MINUTE_MS
    server.faults[:] = faults
    server.requests.clear()

    async def scene():
        history = rest.MassiveHistory(
            massive_settings(server.url),
            quick(attempts=len(faults) + 1, wait_seconds=0.0005),
            SecretStr(KEY),
            now_ms=lambda: START + 30 * DAY_MS,
        )
        history._page_rows = page
        try:
            return await history.fetch(BTC, Timeframe.M1, start_ms, end_ms)
        finally:
            await history.close()

    fetched = asyncio.run(scene())
    source = MARKET[BTC]
    rows = (source.open_time_ms >= start_ms) & (source.open_time_ms < end_ms)
    np.testing.assert_array_equal(fetched.bars.open_time_ms, source.open_time_ms[rows])
    np.testing.assert_array_equal(fetched.bars.values(), source.values()[:, rows])
    assert fetched.covered == ((start_ms, end_ms),)
    assert fetched.lacking == ()
    assert fetched.requests == len(server.requests)


@given(
    traded=st.sets(st.integers(0, 40), min_size=1),
    data=st.data(),
    in_order=st.booleans(),
)
def test_a_minute_whose_bar_came_with_a_wrong_time_is_doubtful_and_one_that_came_is_not(
    traded, data, in_order
):
    rows = sorted(traded) if in_order else data.draw(st.permutations(sorted(traded)))
    spoilt = data.draw(st.sets(st.sampled_from(rows)))
    times = [
        START + minute * MINUTE_MS
        if minute not in spoilt
        else data.draw(st.sampled_from([MISSING_TIME_MS, 7, START + 1]))
        for minute in rows
    ]
    span = START, START + 41 * MINUTE_MS
    found = doubtful(np.array(times, dtype=np.int64), Timeframe.M1, *span)
    cells = intervals.covered_cells(found, START, 41, MINUTE_MS)
    for minute in traded:
        assert cells[minute] == (minute in spoilt)
    if not spoilt:
        assert not cells.any()
