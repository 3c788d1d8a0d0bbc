"""Verdicts, and the block that keeps every scan of a moment."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies.dca import Dca
from crypto_tracker.strategies.decisions import (
    ScanBlock,
    decode_block,
    decode_column,
    decode_some,
    encode_block,
    near_misses,
    scan_block,
    verdict,
)
from tests.strategies.drawn import Scanned, bars, numbers, view


def drawn(symbols: int = 3) -> ScanBlock:
    return ScanBlock(
        strategy="DCA",
        time_ms=1_754_006_700_000,
        version="0123abcd",
        symbols=tuple(Symbol(f"C{i}", "USDT") for i in range(symbols)),
        reason=np.array([0, 1, 20][:symbols], dtype=np.int8),
        readiness=np.array([100.0, np.nan, 37.5][:symbols]),
        confidence=np.array([0.1 + 0.2, np.nan, 0.25][:symbols]),
        measurements={
            "drop": np.array([0.03125, np.nan, 0.01][:symbols]),
            "high_4h": np.array([115_700.1, 2.0, 1e-7][:symbols]),
        },
    )


def test_a_block_comes_back_as_it_was():
    block = drawn()
    back = decode_block(encode_block(block))
    assert (back.strategy, back.time_ms, back.version, back.symbols) == (
        block.strategy,
        block.time_ms,
        block.version,
        block.symbols,
    )
    assert back.reason.tolist() == [0, 1, 20]
    np.testing.assert_array_equal(back.readiness, block.readiness)
    np.testing.assert_array_equal(back.confidence, block.confidence)  # exact: it ranks setups
    assert list(back.measurements) == ["drop", "high_4h"]
    np.testing.assert_allclose(back.measurements["high_4h"], block.measurements["high_4h"], rtol=6e-8)


@given(
    values=st.lists(st.floats(width=32, allow_infinity=False), min_size=0, max_size=120),
    names=st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=6),
)
def test_any_numbers_and_names_come_back(values: list[float], names: list[str]):
    array = np.array(values, dtype=np.float64)
    block = ScanBlock(
        strategy="ANY",
        time_ms=-1,
        version="",
        symbols=tuple(Symbol(f"C{i}", "USD") for i in range(len(values))),
        reason=np.zeros(len(values), dtype=np.int8),
        readiness=array,
        confidence=array,
        measurements=dict.fromkeys(names, array),
    )
    back = decode_block(encode_block(block))
    np.testing.assert_array_equal(back.confidence, array)
    assert list(back.measurements) == names
    for name in names:
        np.testing.assert_array_equal(back.measurements[name], array)


def test_equal_blocks_are_equal_bytes_and_small():
    assert encode_block(drawn()) == encode_block(drawn())
    hundred = 100
    wide = ScanBlock(
        strategy="DCA",
        time_ms=0,
        version="0123abcd",
        symbols=tuple(Symbol(f"COIN{i}", "USDT") for i in range(hundred)),
        reason=np.full(hundred, 20, dtype=np.int8),
        readiness=np.random.default_rng(1).uniform(0, 100, hundred),
        confidence=np.random.default_rng(2).uniform(0, 1, hundred),
        measurements={name: np.random.default_rng(3).uniform(0, 1, hundred) for name in "abcd"},
    )
    assert len(encode_block(wide)) < 4_000  # random numbers do not compress; the rest does


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: b"JUNK" + data[4:],
        lambda data: data[:-3],
        lambda data: data[:20] + bytes([data[20] ^ 255]) + data[21:],
        lambda data: data[:4] + b"\x00" * 40,
    ],
)
def test_a_damaged_block_is_refused(damage):
    with pytest.raises(DataError, match="decision block"):
        decode_block(damage(encode_block(drawn())))


def test_columns_of_another_length_are_refused():
    block = drawn(2)
    broken = ScanBlock(
        **{
            f: getattr(block, f)
            for f in ("strategy", "time_ms", "version", "symbols", "readiness", "confidence", "measurements")
        },
        reason=np.zeros(3, dtype=np.int8),
    )
    with pytest.raises(DataError, match="one value for each symbol"):
        encode_block(broken)


def test_the_verdict_follows_from_reason_and_readiness():
    assert verdict(Reason.ACCEPTED, 100.0, 80.0) is Verdict.TAKE
    assert verdict(Reason.VOLUME_LOW, 80.0, 80.0) is Verdict.NEAR_MISS
    assert verdict(Reason.DROP_TOO_SMALL, 79.9, 80.0) is Verdict.SKIP
    assert verdict(Reason.NOT_READY, float("nan"), 80.0) is Verdict.SKIP


def test_a_row_of_a_detection_becomes_a_block():
    scan = Scanned(Dca(), view(bars(Timeframe.M5, [100.0] * 60 + [98.0, 97.0])), numbers("DCA"))
    assert near_misses(scan.detection, 80.0)[-2:, 0].tolist() == [True, False]
    block = decode_block(encode_block(scan_block(scan.detection, 60, "v1")))
    assert block.time_ms == scan.detection.panel.close_time_ms[60]
    assert block.reason.tolist() == [Reason.DROP_TOO_SMALL]
    assert block.readiness[0] == pytest.approx(80.0)
    assert block.measurements["drop"][0] == pytest.approx(0.02)


def test_one_symbol_of_a_block_is_what_the_whole_block_says_of_it():
    data = encode_block(drawn())
    whole = decode_block(data)
    for column, symbol in enumerate(whole.symbols):
        one = decode_column(data, symbol)
        assert one is not None
        assert (one.strategy, one.time_ms, one.version) == ("DCA", 1_754_006_700_000, "0123abcd")
        assert one.reason == whole.reason[column]
        np.testing.assert_equal(one.readiness, whole.readiness[column])
        np.testing.assert_equal(one.confidence, whole.confidence[column])
        assert list(one.measurements) == ["drop", "high_4h"]
        for name, value in one.measurements.items():
            np.testing.assert_equal(value, whole.measurements[name][column])


def test_a_symbol_that_is_not_in_a_block_has_no_column():
    assert decode_column(encode_block(drawn()), Symbol("BTC", "USDT")) is None


def test_some_symbols_of_a_block_come_in_the_order_in_which_they_were_asked_for():
    data, btc, c0 = encode_block(drawn()), Symbol("BTC", "USDT"), Symbol("C0", "USDT")
    last = decode_block(data).symbols[-1]
    assert str(decode_some(data, [last, btc, c0])) == str(
        [decode_column(data, each) for each in (last, btc, c0)]
    )
    assert decode_some(data, []) == []


def test_blocks_that_differ_in_their_time_alone_keep_their_times():
    blocks = [encode_block(replace(drawn(), time_ms=time_ms)) for time_ms in (5, 10, -15)]
    assert [decode_block(block).time_ms for block in blocks] == [5, 10, -15]


def test_a_damaged_block_is_refused_also_where_one_symbol_is_asked_for():
    whole = encode_block(drawn())
    with pytest.raises(DataError, match="damaged"):
        decode_column(whole[:-6], Symbol("C0", "USDT"))
    with pytest.raises(DataError, match="does not begin with its mark"):
        decode_column(b"XXXX" + whole[4:], Symbol("C0", "USDT"))
