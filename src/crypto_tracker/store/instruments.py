"""The exchange's own rules and fees of each of its markets, in exact decimals."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store import tables
from crypto_tracker.store.market_database import known_symbol_ids, reading, writing

RULES = ("tick", "lot", "quantity_min", "notional_min", "taker_fee", "maker_fee")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRow:
    """What a provider says of one of its markets; None where it does not say.

    Attributes
    ----------
    provider_symbol : the provider's own spelling
    tick, lot : price grid in the quote currency, quantity grid in coins
    quantity_min, notional_min : smallest order in coins and in the quote currency
    taker_fee, maker_fee : fractions of the notional
    """

    symbol: Symbol
    provider_symbol: str
    tick: Decimal | None = None
    lot: Decimal | None = None
    quantity_min: Decimal | None = None
    notional_min: Decimal | None = None
    taker_fee: Decimal | None = None
    maker_fee: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstrument:
    """A row as it is stored, whose it is, since when, and why nothing is traded there where that is so."""

    provider: str
    rules: InstrumentRow
    fetched_at_ms: int
    inactive: str | None


def write_instruments(home: Path, provider: str, markets: Sequence[InstrumentRow], now_ms: int) -> int:
    """Keep what a provider said of these markets at this moment, in place of what it said before.

    Symbols that the store does not know yet become known. Returns the count of markets whose rules or fees
    are others than before, new ones included.
    """
    table = tables.instruments
    with writing(home) as connection:
        ids = known_symbol_ids(connection, provider, [market.symbol for market in markets])
        rows = {
            ids[provider, market.symbol]: {
                "provider_symbol": market.provider_symbol,
                **{name: getattr(market, name) for name in RULES},
            }
            for market in markets
        }
        before = {
            row.symbol_id: {name: getattr(row, name) for name in ("provider_symbol", *RULES)}
            for row in connection.execute(select(table))
        }
        changed = sum(before.get(symbol_id) != row for symbol_id, row in rows.items())
        if rows:
            statement = sqlite_insert(table)
            replaced = {
                name: statement.excluded[name] for name in ("provider_symbol", *RULES, "fetched_at_ms")
            }
            connection.execute(
                statement.on_conflict_do_update(index_elements=["symbol_id"], set_=replaced),
                [{"symbol_id": symbol_id, "fetched_at_ms": now_ms, **row} for symbol_id, row in rows.items()],
            )
    return changed


def instruments(home: Path, provider: str | None = None) -> list[StoredInstrument]:
    """What providers said of their markets, by provider and symbol; of one provider where it is named."""
    table, names = tables.instruments, tables.symbols
    query = select(names.c.provider, names.c.symbol, names.c.reason, table).join(
        names, names.c.symbol_id == table.c.symbol_id
    )
    if provider is not None:
        query = query.where(names.c.provider == provider)
    with reading(home) as connection:
        rows = connection.execute(query).all()
    found = [
        StoredInstrument(
            provider=row.provider,
            rules=InstrumentRow(
                symbol=Symbol.parse(row.symbol),
                provider_symbol=row.provider_symbol,
                **{name: getattr(row, name) for name in RULES},
            ),
            fetched_at_ms=row.fetched_at_ms,
            inactive=row.reason,
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.provider, each.rules.symbol))


@dataclass(frozen=True, slots=True, kw_only=True)
class InactiveSymbol:
    """A symbol of a provider that is not traded, or not known there, and why."""

    provider: str
    symbol: Symbol
    reason: str


def inactive_symbols(home: Path) -> list[InactiveSymbol]:
    """Every symbol that is marked inactive, by symbol and provider."""
    table = tables.symbols
    query = select(table.c.provider, table.c.symbol, table.c.reason).where(table.c.status == "inactive")
    with reading(home) as connection:
        found = [
            InactiveSymbol(provider=row.provider, symbol=Symbol.parse(row.symbol), reason=row.reason)
            for row in connection.execute(query)
        ]
    return sorted(found, key=lambda each: (each.symbol, each.provider))
