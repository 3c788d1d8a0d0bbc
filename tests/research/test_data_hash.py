"""The name of the bars that were read: any change of any bar changes it, and nothing else does."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe
from crypto_tracker.research.data_hash import DataHash, WitnessedBars, column_digest, xxh64

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
BARS = 50


def panel(symbols: Sequence[Symbol] = (BTC, ETH), start: int = 0) -> Panel:
    values = 100.0 + np.arange(BARS * 2, dtype=np.float64).reshape(BARS, 2)
    columns = [(BTC, ETH).index(symbol) for symbol in symbols]
    fields = {name: values[:, columns] * (place + 1) for place, name in enumerate(BAR_FIELDS)}
    return Panel(
        timeframe=Timeframe.H1,
        symbols=tuple(symbols),
        open_time_ms=(start + np.arange(BARS, dtype=np.int64)) * HOUR_MS,
        covered=np.ones((BARS, len(symbols)), dtype=np.bool_),
        **fields,
    )


class Shelf:
    """Gives one panel, whatever is asked for."""

    def __init__(self, whole: Panel) -> None:
        self.whole = whole

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        assert timeframe is self.whole.timeframe
        return self.whole.between(start_ms, end_ms).select(symbols)


def name_of(whole: Panel, *requests: Sequence[Symbol]) -> DataHash:
    witnessed = WitnessedBars(Shelf(whole))
    for symbols in requests or ([BTC, ETH],):
        witnessed.panel(symbols, Timeframe.H1, 0, 2 * BARS * HOUR_MS)
    return witnessed.data_hash()


def changed(field: str, row: int, value: float) -> Panel:
    whole = panel()
    values = getattr(whole, field).copy()
    values[row, 1] = value
    return replace(whole, **{field: values})


# As the xxHash library gives them for the 64-bit numbers 0, 1, ... n - 1 and the seed 7.
@pytest.mark.parametrize(
    ("count", "digest"),
    [
        (0, 0x95F0626F6F0A4409),
        (1, 0x8562A8CA30D1D8C7),
        (3, 0x062D71680F1830FB),
        (4, 0x29BBB7769AA805E6),
        (5, 0x48BCBD5867DE7D2A),
        (31, 0x84FDA550B83357E2),
        (1000, 0x3A54B4376A5E44CD),
    ],
)
def test_the_digest_is_xxh64(count: int, digest: int):
    assert int(xxh64(np.arange(count, dtype=np.uint64), np.uint64(7))) == digest


@pytest.mark.parametrize("field", [*BAR_FIELDS])
@pytest.mark.parametrize("row", [0, 17, BARS - 1])
def test_any_change_of_a_bar_changes_its_symbol_and_no_other(field: str, row: int):
    before, after = name_of(panel()), name_of(changed(field, row, 99.5))
    assert after.total != before.total
    assert after.symbols["ETH/USD"] != before.symbols["ETH/USD"]
    assert after.symbols["BTC/USD"] == before.symbols["BTC/USD"]


def test_a_missing_bar_is_a_change_and_every_nan_is_the_same():
    missing = changed("close", 3, float("nan"))
    assert name_of(missing) != name_of(panel())
    values = missing.close.copy()
    values.view(np.uint64)[3, 1] |= 1 << 63 | 5  # a NaN with a sign and other bits
    assert np.isnan(values[3, 1])
    assert name_of(replace(missing, close=values)) == name_of(missing)


def test_what_is_known_to_be_complete_belongs_to_the_bars():
    whole = panel()
    covered = whole.covered.copy()
    covered[10:12, 0] = False
    assert name_of(replace(whole, covered=covered)).symbols["BTC/USD"] != name_of(whole).symbols["BTC/USD"]


def test_bars_that_change_places_are_noticed():
    whole = panel()
    values = whole.close.copy()
    values[[3, 7], 0] = values[[7, 3], 0]
    assert column_digest(replace(whole, close=values), 0) != column_digest(whole, 0)


def test_the_same_bars_at_another_time_are_other_bars():
    assert name_of(panel(start=1)) != name_of(panel())


def test_neither_the_order_of_requests_nor_of_symbols_matters():
    assert name_of(panel(), [BTC, ETH]) == name_of(panel(), [ETH, BTC]) == name_of(panel(), [ETH], [BTC])


def test_more_bars_have_another_name():
    assert name_of(panel(), [BTC]).total != name_of(panel()).total


def test_the_panel_is_handed_on_unchanged():
    whole = panel()
    given = WitnessedBars(Shelf(whole)).panel([ETH], Timeframe.H1, 0, BARS * HOUR_MS)
    assert given.symbols == (ETH,)
    assert np.array_equal(given.close, whole.close[:, [1]])
