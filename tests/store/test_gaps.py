"""What can still be asked for, and what a provider lacks for good: found, noted, and forgotten once it comes."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import intervals
from crypto_tracker.store.batch import BarBatch
from tests.store.shelf import BTC, ETH, MINUTE, at, drawn, drawn_minute, store

M1 = Timeframe.M1
NOTHING = BarBatch.none()


@pytest.fixture
def shop(tmp_path):
    with store(tmp_path) as opened:
        yield opened


def missing(opened, start: str, end: str, symbol=BTC) -> list[list[int]]:
    """Intervals in minutes from noon."""
    found = opened.reader.missing("kraken", symbol, M1, at(start), at(end))
    return ((found - at("12:00")) // MINUTE).tolist()


def lacking(opened) -> list[tuple[int, int, str]]:
    return [
        ((start - at("12:00")) // MINUTE, (end - at("12:00")) // MINUTE, reason)
        for start, end, reason in opened.reader.lacking("kraken", BTC, M1)
    ]


def lack(first: str, end: str, reason: str = "listed later") -> tuple[int, int, str]:
    return at(first), at(end), reason


def test_of_a_symbol_that_the_store_does_not_have_all_is_missing(shop):
    assert missing(shop, "12:00", "12:10") == [[0, 10]]
    assert len(shop.reader.coverage("kraken", BTC, M1)) == 0
    assert shop.reader.lacking("kraken", BTC, M1) == []


def test_missing_is_what_is_neither_covered_nor_lacking(shop):
    shop.write(
        "kraken",
        BTC,
        M1,
        drawn("12:05 100"),
        [(at("12:04"), at("12:07"))],
        lacking=[lack("12:00", "12:02")],
    )
    assert missing(shop, "12:00", "12:10") == [[2, 4], [7, 10]]
    assert missing(shop, "12:04", "12:07") == []
    assert missing(shop, "12:00", "12:10", ETH) == [[0, 10]]
    assert shop.reader.coverage("kraken", BTC, M1).tolist() == [[at("12:04"), at("12:07")]]


def test_the_ends_of_what_is_missing_are_floored_to_the_grid(shop):
    found = shop.reader.missing("kraken", BTC, M1, at("12:00") + 59_000, at("12:02") + 1)
    assert found.tolist() == [[at("12:00"), at("12:02")]]


def test_what_is_lacking_becomes_one_interval_where_it_touches_for_the_same_reason(shop):
    for span in (("12:00", "12:02"), ("12:04", "12:06"), ("12:02", "12:04")):
        shop.write("kraken", BTC, M1, NOTHING, lacking=[lack(*span)])
    assert lacking(shop) == [(0, 6, "listed later")]
    shop.write("kraken", BTC, M1, NOTHING, lacking=[lack("12:05", "12:08", "720 bars at most")])
    assert lacking(shop) == [(0, 5, "listed later"), (5, 8, "720 bars at most")]


def test_a_bar_or_coverage_that_comes_ends_the_lack_there(shop):
    shop.write("kraken", BTC, M1, NOTHING, lacking=[lack("12:00", "12:10")])
    shop.write("kraken", BTC, M1, drawn("12:03 100"))
    shop.write("kraken", BTC, M1, NOTHING, [(at("12:08"), at("12:12"))])
    shop.write_minutes("kraken", {BTC: drawn_minute(at("12:05"))}, {})
    assert lacking(shop) == [
        (0, 3, "listed later"),
        (4, 5, "listed later"),
        (6, 8, "listed later"),
    ]


def test_what_is_covered_is_not_lacking_whatever_a_provider_says(shop):
    shop.write("kraken", BTC, M1, drawn("12:01 100"), lacking=[lack("12:00", "12:03")])
    assert lacking(shop) == [(0, 1, "listed later"), (2, 3, "listed later")]


def test_what_has_not_happened_yet_is_not_lacking(shop):
    shop.write("kraken", BTC, M1, NOTHING, lacking=[lack("2025-05-31 23:58", "2025-06-01 00:10")])
    ((start, end, _),) = shop.reader.lacking("kraken", BTC, M1)
    assert (start, end) == (at("2025-05-31 23:58"), at("2025-06-01 00:00"))


def test_a_lack_has_a_reason(shop):
    with pytest.raises(UsageError, match="without a reason"):
        shop.write("kraken", BTC, M1, NOTHING, lacking=[lack("12:00", "12:01", " ")])


def test_the_same_lack_again_is_no_news(shop):
    from crypto_tracker.store import tables

    shop.write("kraken", BTC, M1, NOTHING, lacking=[lack("12:00", "12:03")])
    with shop._engine.connect() as connection:
        before = connection.execute(tables.gaps.select()).fetchall()
    with store(Path(shop._cold.folder).parent, now=shop._clock.now().replace(day=2)) as later:
        later.write("kraken", BTC, M1, NOTHING, lacking=[lack("12:01", "12:02")])
        with later._engine.connect() as connection:
            assert connection.execute(tables.gaps.select()).fetchall() == before


spans = st.tuples(st.integers(0, 29), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))
steps = st.lists(st.tuples(st.sampled_from(["cover", "bar", "listed later", "too old"]), spans), max_size=8)


@settings(max_examples=40)
@given(steps)
def test_known_lacking_and_missing_share_out_every_minute(steps):
    """Held to a table of minutes in which each step simply paints its minutes."""
    painted: list[str | None] = [None] * 40
    start = at("12:00")
    with tempfile.TemporaryDirectory() as folder, store(Path(folder)) as opened:
        opened.register("kraken", [BTC])
        for what, (first, stop) in steps:
            span = start + first * MINUTE, start + stop * MINUTE
            if what == "cover":
                opened.write("kraken", BTC, M1, NOTHING, [span])
            elif what == "bar":
                opened.write("kraken", BTC, M1, drawn_minute(span[0]))
            else:
                opened.write("kraken", BTC, M1, NOTHING, lacking=[(*span, what)])
            for minute in range(first, first + 1 if what == "bar" else stop):
                if what in {"cover", "bar"}:
                    painted[minute] = "known"
                elif painted[minute] != "known":
                    painted[minute] = what
        reader = opened.reader
        found: list[str | None] = [None] * 40
        known = reader.coverage("kraken", BTC, M1)
        lacks = reader.lacking("kraken", BTC, M1)
        for begin, end, name in [*((*pair, "known") for pair in known.tolist()), *lacks]:
            for minute in range((begin - start) // MINUTE, (end - start) // MINUTE):
                assert found[minute] is None, "two say something of one minute"
                found[minute] = name
        assert found == painted
        rest = intervals.as_intervals(
            (start + minute * MINUTE, start + (minute + 1) * MINUTE)
            for minute in range(40)
            if painted[minute] is None
        )
        left = reader.missing("kraken", BTC, M1, start, start + 40 * MINUTE)
        np.testing.assert_array_equal(left, rest)
        ends = [(begin, end) for begin, end, _ in lacks]
        assert ends == sorted(ends)
