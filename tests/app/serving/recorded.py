"""Recorded scans that a test lays down itself."""

from collections.abc import Iterator, Sequence

from crypto_tracker.core.orders import Fill
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.strategies.decisions import ScanBlock, decode_block, encode_block


class Recorded:
    """Scans that were recorded: none, or some blocks."""

    def __init__(self, *blocks: ScanBlock) -> None:
        self._kept = {(block.strategy, block.time_ms): encode_block(block) for block in blocks}

    def blocks(
        self,
        strategies: Sequence[str],
        start_ms: int | None,
        end_ms: int | None,
        *,
        limit: int | None,
        newest_first: bool,
    ) -> Iterator[ScanBlock]:
        keys = sorted(
            (time_ms, name)
            for name, time_ms in self._kept
            if name in strategies
            and (start_ms is None or time_ms >= start_ms)
            and (end_ms is None or time_ms < end_ms)
        )
        for time_ms, name in (keys[::-1] if newest_first else keys)[:limit]:
            yield decode_block(self._kept[name, time_ms])

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        return [
            (time_ms, self._kept[strategy, time_ms])
            for time_ms in times_ms
            if (strategy, time_ms) in self._kept
        ]

    def setups_of(
        self, symbol: Symbol, strategies: Sequence[str], start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[SetupRecord]:
        del symbol, strategies, start_ms, end_ms, limit
        return []

    def fills_of(self, symbol: Symbol, start_ms: int, end_ms: int, *, trades: int) -> list[Fill]:
        del symbol, start_ms, end_ms, trades
        return []
