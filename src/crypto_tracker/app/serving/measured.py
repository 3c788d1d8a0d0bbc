"""What strategies measured in the scans of setups and near misses, read for many rows at once."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from crypto_tracker.app.serving.setup_columns import SetupKey
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.strategies.decisions import decode_some

Measured = Mapping[SetupKey, Mapping[str, float]]
"""The measurements of scans by time, symbol and strategy."""


class Blocks(Protocol):
    """Records that keep every scan, of an account or of a run."""

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        """The scans of a strategy at these closes as they are stored, with their closes."""
        ...


def key_of(row: SetupRecord) -> SetupKey:
    """What names a row."""
    return row.time_ms, str(row.symbol), row.strategy


def measured(records: Blocks, rows: Sequence[SetupRecord]) -> Measured:
    """What was measured in the scans of these rows, as far as they were kept: each block is read once."""
    wanted: dict[str, dict[int, list[SetupRecord]]] = {}
    for row in rows:
        wanted.setdefault(row.strategy, {}).setdefault(row.time_ms, []).append(row)
    found: dict[SetupKey, Mapping[str, float]] = {}
    for strategy, at in wanted.items():
        for time_ms, block in records.encoded_blocks(strategy, sorted(at)):
            columns = decode_some(block, [row.symbol for row in at[time_ms]])
            found |= {
                key_of(row): column.measurements
                for row, column in zip(at[time_ms], columns, strict=True)
                if column is not None
            }
    return found
