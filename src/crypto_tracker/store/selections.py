"""Selections of pairs, each with all that it was made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.store import tables
from crypto_tracker.store.market_database import reading, writing
from crypto_tracker.store.universes import SELECTED, write_universe


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedPair:
    """One pair that a selection looked at; None where a figure is not known.

    Attributes
    ----------
    volume_quote : traded in 24 h, in the quote currency
    volatility : standard deviation of daily returns
    correlation : of daily returns with those of the benchmark
    listed_days : days with a daily bar
    score : 0 to 100, None where an input of it is missing
    risk : `low`, `medium` or `high`; None where its inputs are missing
    reason : why it was not chosen, None where it was
    """

    symbol: Symbol
    volume_quote: float | None
    volatility: float | None
    correlation: float | None
    listed_days: int | None
    score: float | None
    risk: str | None
    reason: str | None

    @property
    def chosen(self) -> bool:
        """Whether it belongs to the universe."""
        return self.reason is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A selection as it was recorded: when, of whose pairs, under which settings, and what came of each."""

    selection_id: int
    made_at_ms: int
    provider: str
    settings: Mapping[str, Any]
    pairs: tuple[SelectedPair, ...]  # the chosen first, each part by score, the best first


def record_selection(
    home: Path, made_at_ms: int, provider: str, settings: Mapping[str, Any], pairs: Sequence[SelectedPair]
) -> int:
    """Record a selection and the universe that it makes of its UTC day, in one transaction; its number.

    Where it chose nothing, the universe of the day stays as it was.
    """
    with writing(home) as connection:
        selection_id = _write(connection, made_at_ms, provider, settings, pairs)
        chosen = [pair.symbol for pair in pairs if pair.chosen]
        if chosen:
            write_universe(
                connection, made_at_ms // DAY_MS * DAY_MS, provider, chosen, SELECTED, selection_id
            )
        return selection_id


def selections(home: Path, provider: str | None = None) -> list[Selection]:
    """Every selection, or those of one provider, in the order in which they were made."""
    table = tables.selections
    query = select(table).order_by(table.c.selection_id)
    if provider is not None:
        query = query.where(table.c.provider == provider)
    with reading(home) as connection:
        rows = connection.execute(query).all()
        return [_selection(connection, row) for row in rows]


def selection(home: Path, selection_id: int) -> Selection:
    """One selection by its number; raises DataError where there is none."""
    table = tables.selections
    with reading(home) as connection:
        row = connection.execute(select(table).where(table.c.selection_id == selection_id)).first()
        if row is None:
            raise DataError(f"there is no selection {selection_id}: see list-universe for those that are")
        return _selection(connection, row)


def _write(
    connection: Connection,
    made_at_ms: int,
    provider: str,
    settings: Mapping[str, Any],
    pairs: Sequence[SelectedPair],
) -> int:
    made = connection.execute(
        insert(tables.selections)
        .values(made_at_ms=made_at_ms, provider=provider, settings=json.dumps(settings, sort_keys=True))
        .returning(tables.selections.c.selection_id)
    ).scalar_one()
    if pairs:
        connection.execute(
            insert(tables.selection_pairs),
            [
                {
                    "selection_id": made,
                    "symbol": str(pair.symbol),
                    "volume_quote": pair.volume_quote,
                    "volatility": pair.volatility,
                    "correlation": pair.correlation,
                    "listed_days": pair.listed_days,
                    "score": pair.score,
                    "risk": pair.risk,
                    "chosen": pair.chosen,
                    "reason": pair.reason,
                }
                for pair in pairs
            ],
        )
    return int(made)


def _selection(connection: Connection, row: Any) -> Selection:
    table = tables.selection_pairs
    pairs = [
        SelectedPair(
            symbol=Symbol.parse(each.symbol),
            volume_quote=each.volume_quote,
            volatility=each.volatility,
            correlation=each.correlation,
            listed_days=each.listed_days,
            score=each.score,
            risk=each.risk,
            reason=each.reason,
        )
        for each in connection.execute(select(table).where(table.c.selection_id == row.selection_id))
    ]
    pairs.sort(key=in_order)
    return Selection(
        selection_id=row.selection_id,
        made_at_ms=row.made_at_ms,
        provider=row.provider,
        settings=json.loads(row.settings),
        pairs=tuple(pairs),
    )


def in_order(pair: SelectedPair) -> tuple[bool, float, str]:
    """Sorts pairs: the chosen first, then by score from the best to those without one, then by name."""
    return (not pair.chosen, 0.0 if pair.score is None else -pair.score - 1.0, str(pair.symbol))
