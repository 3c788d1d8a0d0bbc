"""Rules and fees of markets, exact and replaced when the exchange changes them."""

from decimal import Decimal
from pathlib import Path

import pytest

from crypto_tracker.core.errors import DataError
from crypto_tracker.store.instruments import (
    InstrumentRow,
    StoredInstrument,
    inactive_symbols,
    instruments,
    write_instruments,
)
from crypto_tracker.store.market_database import writing
from crypto_tracker.store.tables import symbols
from tests.store.shelf import BTC, ETH, store

BITCOIN = InstrumentRow(
    symbol=BTC,
    provider_symbol="XBTUSDT",
    tick=Decimal("0.1"),
    lot=Decimal("1E-8"),
    quantity_min=Decimal("0.00005"),
    notional_min=Decimal("0.5"),
    taker_fee=Decimal("0.0040"),
    maker_fee=Decimal("0.0025"),
)
ETHER = InstrumentRow(symbol=ETH, provider_symbol="ETHUSDT")


def test_rules_come_back_to_the_last_digit_and_what_nobody_says_stays_unsaid(tmp_path: Path):
    assert write_instruments(tmp_path, "kraken", [BITCOIN, ETHER], 1_000) == 2
    assert instruments(tmp_path) == [
        StoredInstrument(provider="kraken", rules=BITCOIN, fetched_at_ms=1_000, inactive=None),
        StoredInstrument(provider="kraken", rules=ETHER, fetched_at_ms=1_000, inactive=None),
    ]
    assert [str(each.rules.lot) for each in instruments(tmp_path)] == ["1E-8", "None"]


def test_what_is_said_again_counts_from_then_on_and_only_changes_are_counted(tmp_path: Path):
    write_instruments(tmp_path, "kraken", [BITCOIN, ETHER], 1_000)
    dearer = InstrumentRow(symbol=ETH, provider_symbol="ETHUSDT", taker_fee=Decimal("0.005"))
    assert write_instruments(tmp_path, "kraken", [BITCOIN, dearer], 2_000) == 1
    assert [each.rules for each in instruments(tmp_path, "kraken")] == [BITCOIN, dearer]
    assert {each.fetched_at_ms for each in instruments(tmp_path)} == {2_000}
    assert write_instruments(tmp_path, "kraken", [], 3_000) == 0


def test_providers_stand_side_by_side(tmp_path: Path):
    write_instruments(tmp_path, "kraken", [BITCOIN], 1_000)
    write_instruments(tmp_path, "kucoin", [ETHER], 1_000)
    assert [(each.provider, each.rules.symbol) for each in instruments(tmp_path)] == [
        ("kraken", BTC),
        ("kucoin", ETH),
    ]
    assert [each.provider for each in instruments(tmp_path, "kucoin")] == ["kucoin"]


def test_an_inactive_symbol_says_why(tmp_path: Path):
    write_instruments(tmp_path, "kraken", [BITCOIN], 1_000)
    with writing(tmp_path) as connection:
        connection.execute(
            symbols.update().where(symbols.c.symbol == str(BTC)).values(status="inactive", reason="delisted")
        )
    assert [each.inactive for each in instruments(tmp_path)] == ["delisted"]
    [inactive] = inactive_symbols(tmp_path)
    assert (inactive.provider, inactive.symbol, inactive.reason) == ("kraken", BTC, "delisted")


def test_a_market_without_bars_is_no_series(tmp_path: Path):
    write_instruments(tmp_path, "kraken", [BITCOIN], 1_000)
    with store(tmp_path) as opened:
        assert opened.reader.series() == []


def test_without_a_store_nothing_can_be_read(tmp_path: Path):
    with pytest.raises(DataError, match="there are no bars under"):
        instruments(tmp_path)
    assert list(tmp_path.iterdir()) == []
