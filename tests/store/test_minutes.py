"""Minutes of many symbols in one transaction: what `write` makes of each, made of all at once."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import tables
from crypto_tracker.store.batch import BarBatch
from tests.store.shelf import (
    BTC,
    ETH,
    MINUTE,
    NAN,
    assert_same_bars,
    at,
    closes,
    drawn,
    run_of_minutes,
    store,
)

M1 = Timeframe.M1
SOL = Symbol("SOL", "USDT")
COINS = (BTC, ETH, SOL)
START = at("2025-03-31 23:50")  # two months meet ten minutes later
TABLES = (tables.coverage, tables.suspects, tables.gaps, tables.bars, tables.manifest)


def everything(opened) -> dict[str, list[tuple]]:
    """All that is stored of bars, whichever the order in which symbols came."""
    found: dict[str, list[tuple]] = {}
    with opened._engine.connect() as connection:
        names = {
            row.symbol_id: (row.provider, row.symbol) for row in connection.execute(tables.symbols.select())
        }
        for table in TABLES:
            rows = [dict(row) for row in connection.execute(table.select()).mappings()]
            for row in rows:
                row["symbol_id"] = names[row["symbol_id"]]
            found[table.name] = sorted((tuple(row.items()) for row in rows), key=repr)
        found["mended"] = sorted(
            (names[row.symbol_id], row.start_ms, row.end_ms)
            for row in connection.execute(tables.mended.select())
        )
        held = tables.quarantine
        found["quarantine"] = sorted(
            (names[row.symbol_id], row.open_time_ms, row.rule, row.raw, row.source)
            for row in connection.execute(held.select())
        )
    return found


prices = st.sampled_from([100.0, 101.0, 160.0, 40.0, -1.0, NAN, 100.5])
volumes = st.sampled_from([0.0, 1.5, NAN])
traded = st.sampled_from([NAN, NAN, 100.2, 7.0])  # seldom known, and not always the same
a_bar = st.tuples(st.integers(0, 19), prices, volumes, st.booleans(), traded, traded)


@st.composite
def writes(draw):
    """What comes for each of three coins: some bars, and what was fetched."""
    found = {}
    for coin in draw(st.sets(st.sampled_from(COINS), min_size=1)):
        bars = draw(st.lists(a_bar, max_size=4))
        spans = draw(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 6)), max_size=2))
        times = np.array(
            [START + MINUTE * minute + 500 * odd for minute, _, _, odd, _, _ in bars], dtype=np.int64
        )
        close = np.array([price for _, price, *_ in bars])
        batch = BarBatch(
            open_time_ms=times,
            open=close,
            high=close,
            low=close,
            close=close,
            volume=np.array([volume for _, _, volume, *_ in bars]),
            vwap=np.array([vwap for *_, vwap, _ in bars]),
            n_trades=np.array([n_trades for *_, n_trades in bars]),
        )
        found[coin] = (
            batch,
            [(START + MINUTE * first, START + MINUTE * (first + count)) for first, count in spans],
        )
    return found


@settings(max_examples=60)
@given(
    st.lists(writes(), min_size=1, max_size=6),
    st.sampled_from([1, 3, 10_000]),
    st.booleans(),
)
def test_minutes_of_many_symbols_are_stored_as_if_each_had_been_written_alone(steps, cold_rows_min, lacked):
    with (
        tempfile.TemporaryDirectory() as folder,
        store(Path(folder, "one"), cold_rows_min=cold_rows_min) as one,
        store(Path(folder, "many"), cold_rows_min=cold_rows_min) as many,
    ):
        if lacked:
            for opened in (one, many):
                lack = [(START + MINUTE, START + 9 * MINUTE, "the provider was away")]
                opened.write("kraken", BTC, M1, BarBatch.none(), lacking=lack)
        for step in steps:
            results = [
                one.write("kraken", coin, M1, bars, covered, source="test")
                for coin, (bars, covered) in step.items()
            ]
            result = many.write_minutes(
                "kraken",
                {coin: bars for coin, (bars, _) in step.items()},
                {coin: covered for coin, (_, covered) in step.items()},
                source="test",
            )
            for name in ("rows", "rows_new", "revisions", "quarantined", "suspect"):
                assert getattr(result, name) == sum(getattr(each, name) for each in results), name
        assert everything(one) == everything(many)
        span = START - MINUTE, START + 25 * MINUTE
        coins = [info.symbol for info in one.reader.series()]
        if coins:
            assert_same_bars(one.reader.panel(coins, M1, *span), many.reader.panel(coins, M1, *span))


def test_a_minute_of_two_coins_and_of_one_that_did_not_trade(tmp_path):
    with store(tmp_path) as opened:
        minute = [(at("12:00"), at("12:01"))]
        result = opened.write_minutes(
            "kraken",
            {BTC: drawn("12:00 100"), ETH: drawn("12:00 10")},
            dict.fromkeys((BTC, ETH, SOL), minute),
        )
        assert (result.rows, result.rows_new, result.revisions, result.quarantined) == (2, 2, 0, 0)
        assert closes(opened, "11:59", "12:02", BTC) == ["unknown", 100, "unknown"]
        assert closes(opened, "11:59", "12:02", SOL) == ["unknown", "no trade", "unknown"]
        again = opened.write_minutes("kraken", {BTC: drawn("12:00 100")}, {})
        assert (again.rows, again.rows_new) == (1, 0)
        revised = opened.write_minutes("kraken", {BTC: drawn("12:00 101"), ETH: drawn("12:01 11")}, {})
        assert (revised.rows_new, revised.revisions) == (1, 1)
        assert closes(opened, "12:00", "12:02", ETH) == [10, 11]


def test_minutes_that_also_know_their_vwap_complete_those_of_the_stream(tmp_path):
    with store(tmp_path) as opened:
        covered = {coin: [(at("12:00"), at("12:02"))] for coin in (BTC, ETH)}
        plain = {BTC: drawn("12:00 100\n12:01 101"), ETH: drawn("12:01 10")}
        opened.write_minutes("kraken", plain, covered)
        known = {
            coin: replace(bars, vwap=bars.close + 0.5, n_trades=np.full(len(bars), 3.0))
            for coin, bars in plain.items()
        }
        for brought in (known, known, plain):
            result = opened.write_minutes("kraken", brought, covered)
            assert (result.rows_new, result.revisions) == (0, 0)
            for coin, bars in known.items():
                rows = opened.reader.rows(coin, M1, at("12:00"), at("12:02"))
                assert rows.revision.tolist() == [0] * len(bars)
                assert rows.values.tolist() == bars.values().tolist()


def test_minute_after_minute_is_settled_for_all_symbols_together(tmp_path, monkeypatch):
    with store(tmp_path) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("12:00", 30))
        opened.write("kraken", ETH, M1, run_of_minutes("12:00", 30))
        monkeypatch.setattr(opened, "_prepared", None)  # nothing may be written alone
        for minute in range(30, 40):
            bars = {coin: drawn(f"12:{minute} {100 * (1 + 1e-4 * minute)}") for coin in (BTC, ETH)}
            spans = [(at(f"12:{minute}"), at(f"12:{minute}") + MINUTE)]
            opened.write_minutes("kraken", bars, dict.fromkeys(bars, spans))
        (first, second) = opened.reader.series()
        assert (first.rows, first.gaps, first.suspect) == (40, 0, 0)
        assert (second.rows, second.gaps) == (40, 0)


@pytest.mark.parametrize("late", ["one by one", "at once"])
def test_a_jump_that_comes_minute_by_minute_is_doubted_and_confirmed(tmp_path, late):
    with store(tmp_path) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("12:00", 10))
        lines = ["12:10 200", "12:11 201", "12:12 202"]
        for batch in lines if late == "one by one" else ["\n".join(lines)]:
            opened.write_minutes("kraken", {BTC: drawn(batch)}, {})
        with opened._engine.connect() as connection:
            (row,) = connection.execute(tables.suspects.select()).mappings()
        assert (row["open_time_ms"], row["status"]) == (at("12:10"), "confirmed")
        assert row["confirmed_at_ms"] == at("12:13")


def test_a_broken_minute_is_quarantined_as_its_source_had_it_and_the_others_are_stored(tmp_path):
    with store(tmp_path) as opened:
        result = opened.write_minutes(
            "kraken",
            {BTC: drawn("12:00 100 90 99 100 1"), ETH: drawn("12:00 10")},
            dict.fromkeys((BTC, ETH), ((at("12:00"), at("12:01")),)),
            source="stream",
            raw={BTC: lambda index: {"h": "90", "at": index}},
        )
        assert (result.rows, result.rows_new, result.quarantined) == (2, 1, 1)
        assert closes(opened, "12:00", "12:01", BTC) == ["unknown"]
        assert closes(opened, "12:00", "12:01", ETH) == [10]
        with opened._engine.connect() as connection:
            (row,) = connection.execute(tables.quarantine.select()).mappings()
        assert (row["rule"], row["raw"], row["source"]) == ("high_too_low", '{"h": "90", "at": 0}', "stream")


def test_a_bar_that_came_too_early_is_refused_however_late_it_is_written(tmp_path):
    with store(tmp_path) as opened:
        result = opened.write_minutes(
            "kraken", {BTC: drawn("12:00 100 101 99 100 5")}, {}, seen_ms=at("12:01") - 6_000
        )
        assert (result.rows_new, result.quarantined) == (0, 1)
        result = opened.write_minutes(
            "kraken", {BTC: drawn("12:00 100 101 99 100 5")}, {}, seen_ms=at("12:01")
        )
        assert (result.rows_new, result.quarantined) == (1, 0)


def test_a_value_that_a_provider_withdrew_and_gives_again_is_the_newest_once_more(tmp_path):
    with store(tmp_path) as opened:
        for close in ("100", "101"):
            opened.write("kraken", BTC, Timeframe.M1, drawn(f"12:00 {close}"))
        again = drawn("12:00 100")
        assert opened.write("kraken", BTC, Timeframe.M1, again).revisions == 0  # old news, for all we know
        assert opened.write("kraken", BTC, Timeframe.M1, again, present=True).revisions == 1
        assert opened.write("kraken", BTC, Timeframe.M1, again, present=True).revisions == 0
        rows = opened.reader.rows(BTC, Timeframe.M1, at("12:00"), at("12:01"), provider="kraken")
    assert rows.values[3].tolist() == [100.0, 101.0, 100.0]
