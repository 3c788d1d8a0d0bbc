"""What is read out of frames of Massive's stream."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.base import StreamedBars, Trouble
from crypto_tracker.market.providers.massive.frames import FrameReader, Status
from tests.market.massive_recorded import frames_of

BTC = Symbol.parse("BTC/USD")
MINUTE = json.loads(
    '{"ev":"XA","pair":"BTC-USD","v":725.09209352,"vw":9114.502,"z":0.65,"o":9111.14,"c":9134.3,'
    '"h":9134.7,"l":9106.5,"s":1594917720000,"e":1594917780000}'
)


def read(*events, reader=None):
    return (reader or FrameReader({"BTC-USD": BTC})).read(json.dumps(list(events)))


def only_minute(*events):
    (minute,) = read(*events)
    assert isinstance(minute, StreamedBars)
    return minute


def kinds(found):
    return [item.kind for item in found]


def test_a_minute_opens_at_s_and_carries_price_volume_and_vwap():
    minute = only_minute(MINUTE)
    bars = minute.bars
    assert minute.symbol == BTC
    assert bars.open_time_ms.tolist() == [1594917720000]
    assert bars.open.tolist() == [9111.14]
    assert bars.high.tolist() == [9134.7]
    assert bars.low.tolist() == [9106.5]
    assert bars.close.tolist() == [9134.3]
    assert bars.volume.tolist() == [725.09209352]
    assert bars.vwap.tolist() == [9114.502]
    assert bars.n_trades is None  # z is the average size of a trade, and no count
    assert minute.raw(0) == MINUTE


@pytest.mark.parametrize("value", [None, "", "  ", "NaN", math.nan, True, [1], {"a": 1}, "n/a", "9_111"])
@pytest.mark.parametrize(
    ("field", "column"), [("o", "open"), ("h", "high"), ("l", "low"), ("c", "close"), ("v", "volume")]
)
def test_a_field_that_is_no_number_is_missing_and_never_zero(field, column, value):
    minute = only_minute({**MINUTE, field: value})
    assert math.isnan(getattr(minute.bars, column)[0])
    kept = minute.raw(0)[field]
    assert kept == value or (math.isnan(kept) and math.isnan(value))


@pytest.mark.parametrize(
    ("field", "column"),
    [("o", "open"), ("h", "high"), ("l", "low"), ("c", "close"), ("v", "volume"), ("vw", "vwap")],
)
def test_a_field_that_is_not_there_is_missing(field, column):
    event = {name: value for name, value in MINUTE.items() if name != field}
    minute = only_minute(event)
    assert math.isnan(getattr(minute.bars, column)[0])
    assert minute.raw(0) == event


def test_absurd_numbers_come_through_for_the_store_to_judge():
    minute = only_minute({**MINUTE, "c": -5, "h": 10**400, "l": "Infinity", "o": "9111.14"})
    bars = minute.bars
    assert bars.close[0] == -5
    assert bars.high[0] == math.inf
    assert bars.low[0] == math.inf
    assert bars.open[0] == 9111.14


@pytest.mark.parametrize(
    "start", [None, "", "soon", math.nan, 1594917720000.5, True, 10**30, 0, -60_000, "1_594_917_720_000"]
)
def test_a_minute_without_a_time_goes_to_the_store_and_is_told(start):
    minute, trouble = read({**MINUTE, "s": start})
    assert minute.bars.open_time_ms.tolist() == [MISSING_TIME_MS]
    assert trouble.kind == "no_time"
    assert trouble.may_hide_bars


def test_a_time_off_the_grid_comes_through_for_the_store_to_judge():
    assert only_minute({**MINUTE, "s": 1594917720001, "e": 1594917780001}).bars.open_time_ms[0] % 60_000 == 1


def test_a_minute_that_does_not_say_its_end_is_a_minute():
    assert only_minute({**MINUTE, "e": None}).bars.open_time_ms.tolist() == [1594917720000]


@pytest.mark.parametrize("end", [1594917720000, 1594917721000, 1594917840000, 1])
def test_what_lasts_other_than_a_minute_is_none(end):
    (trouble,) = read({**MINUTE, "e": end})
    assert trouble.kind == "not_a_minute"
    assert trouble.may_hide_bars


def test_a_pair_that_was_not_asked_for_is_no_bar():
    (trouble,) = read({**MINUTE, "pair": "ETH-USD"})
    assert trouble.kind == "symbol_not_asked"
    assert not trouble.may_hide_bars
    assert "ETH-USD" in trouble.detail


@pytest.mark.parametrize("pair", [None, 5, ["BTC-USD"]])
def test_a_minute_without_a_pair_may_be_anybodys(pair):
    (trouble,) = read({**MINUTE, "pair": pair})
    assert (trouble.kind, trouble.may_hide_bars) == ("no_pair", True)


def test_a_frame_holds_several_events_in_their_order():
    found = read(
        {"ev": "status", "status": "success", "message": "hello"}, MINUTE, {**MINUTE, "c": 1.0}, MINUTE
    )
    assert found[0] == Status("success", "hello")
    assert [item.bars.close[0] for item in found[1:]] == [9134.3, 1.0, 9134.3]


def test_events_of_other_kinds_are_left_out_and_unknown_ones_told_once():
    reader = FrameReader({"BTC-USD": BTC})
    others = [{"ev": kind, "pair": "BTC-USD"} for kind in ("XAS", "XT", "XQ", "XL2")]
    assert read(*others, reader=reader) == []
    assert kinds(read({"ev": "NEW"}, {"ev": "NEW"}, {"x": 1}, reader=reader)) == ["unknown_event"] * 2
    assert read({"ev": "NEW"}, {}, reader=reader) == []


def test_unknown_kinds_without_end_take_no_memory_without_end():
    reader = FrameReader({})
    for number in range(1000):
        read({"ev": f"kind {number}"}, reader=reader)
    assert len(reader._told) == 100


@pytest.mark.parametrize(
    "frame",
    ["", "[", '[{"ev":"XA","pair"', "NaN]", "\x00", b"\xff\xfe", "[" * 100_000, "[1" + "0" * 5000 + "]"],
)
def test_a_frame_that_cannot_be_read_is_told_and_nothing_is_raised(frame):
    (trouble,) = FrameReader({}).read(frame)
    assert (trouble.kind, trouble.may_hide_bars) == ("unreadable", True)
    assert len(trouble.detail) < 500


@pytest.mark.parametrize("frame", ["{}", "5", "null", '"XA"', json.dumps(MINUTE)])
def test_a_frame_that_is_no_array_is_told(frame):
    (trouble,) = FrameReader({"BTC-USD": BTC}).read(frame)
    assert (trouble.kind, trouble.may_hide_bars) == ("not_an_array", True)


def test_an_event_that_is_no_object_does_not_spoil_the_others():
    trouble, minute = read(5, MINUTE)
    assert (trouble.kind, trouble.may_hide_bars) == ("not_an_event", True)
    assert minute.bars.close[0] == 9134.3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(
        st.fixed_dictionaries({"ev": st.just("XA")}, optional={name: JSON for name in MINUTE if name != "ev"})
    )
)
def test_no_event_breaks_the_reader_and_each_one_is_accounted_for(events):
    found = read(*events)
    minutes = [item for item in found if isinstance(item, StreamedBars)]
    troubles = [item for item in found if isinstance(item, Trouble) and item.kind != "no_time"]
    assert len(minutes) + len(troubles) == len(events)


# ------------------------------------------------------------------- what the provider really sent


@pytest.fixture(scope="module")
def recorded(market_data: Path) -> Path:
    return market_data / "raw" / "polygon_massive"


@pytest.mark.market_data
def test_real_minutes_come_out_as_they_were_sent_the_last_one_a_correction_of_the_first(recorded):
    reader = FrameReader({"BTC-USD": BTC})
    found = [
        item
        for frame in frames_of(recorded / "ws_XA_aggregates_2020-07-16.jsonl")
        for item in reader.read(frame)
    ]
    assert all(isinstance(item, StreamedBars) for item in found)
    assert [(m.bars.open_time_ms[0] - 1594917720000) // 60_000 for m in found] == [0, 1, 2, 3, 0]
    assert [m.bars.close[0] for m in found] == [9134.3, 9134.1, 9134.1, 9119.69, 9134.2]
    assert [m.bars.volume[0] for m in found][::4] == [725.09209352, 725.19209352]


@pytest.mark.market_data
def test_ten_thousand_real_quotes_and_a_trade_are_no_bars_and_no_trouble(recorded):
    reader = FrameReader({"BTC-USD": BTC})
    (quotes,) = frames_of(recorded / "ws_XQ_quotes_2023-07-26.json.gz")
    assert len(json.loads(quotes)) == 10_795
    (trade,) = frames_of(recorded / "ws_XT_trade_2024-01-30.json")
    assert reader.read(quotes) == reader.read(trade) == []


@pytest.mark.market_data
def test_examples_of_the_published_specification_are_read(recorded):
    paths = json.loads((recorded / "spec_ws_crypto.json").read_text())["paths"]
    examples = {
        path: document["get"]["responses"]["200"]["content"]["application/json"]["example"]
        for path, document in paths.items()
    }
    minute = examples.pop("/crypto/XA")
    reader = FrameReader({minute["pair"]: Symbol.parse("BCD/USD")})
    (found,) = reader.read(json.dumps([minute]))
    assert found.bars.open_time_ms[0] == minute["s"]
    assert found.bars.close[0] == minute["c"]
    others = {path for path, example in examples.items() if not reader.read(json.dumps([example]))}
    assert others == {"/crypto/XT", "/crypto/XQ", "/crypto/XL2", "/crypto/XAS"}  # the rest: other products
