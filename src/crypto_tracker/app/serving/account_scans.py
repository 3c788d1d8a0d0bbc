"""The recorded scans, setups and fills of a trading account."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from crypto_tracker.app.serving.follower import AccountFollower
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.core.orders import Fill
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import DecisionFilter
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.store.trading_views import TradingViews, Where
from crypto_tracker.strategies.decisions import ScanBlock, decode_column

_SEEN_KEPT = 4_096


class AccountScans:
    """Reads them by key, each time as they stand then."""

    def __init__(self, follower: AccountFollower) -> None:
        self._follower = follower
        self._seen: Recent[Mapping[str, float]] = Recent(_SEEN_KEPT)

    def blocks(
        self,
        strategies: Sequence[str],
        start_ms: int | None,
        end_ms: int | None,
        *,
        limit: int | None,
        newest_first: bool,
    ) -> Iterator[ScanBlock]:
        """Blocks of the closes in [start_ms, end_ms)."""
        where = Where(strategies=tuple(strategies), start_ms=start_ms, end_ms=end_ms)
        with self._follower.views() as records:
            yield from records.blocks(where, limit=limit, newest_first=newest_first)

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        """The blocks of these closes as they are stored, those that there are, in order of time."""
        with self._follower.views() as records:
            return records.encoded_blocks(strategy, times_ms)

    def setups_of(
        self, symbol: Symbol, strategies: Sequence[str], start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[SetupRecord]:
        """The newest setups and near misses of a symbol, oldest first."""
        where = DecisionFilter(
            symbols=(symbol,), strategies=tuple(strategies), start_ms=start_ms, end_ms=end_ms
        )
        columns = self._follower.setups
        keys = columns.keys(columns.page(where, limit=limit)[::-1])
        with self._follower.views() as records:
            return records.setups_keyed(keys)

    def fills_of(self, symbol: Symbol, start_ms: int, end_ms: int, *, trades: int) -> list[Fill]:
        """The fills of a symbol in bars that open in [start_ms, end_ms), of its newest so many trades."""
        with self._follower.views() as records:
            return records.fills_of_symbol(symbol, start_ms, end_ms, trades=trades)

    def seen_in(self, records: TradingViews) -> Callable[[SetupRecord], Mapping[str, float]]:
        """What a strategy measured in the scan of a setup or near miss; empty where it is not kept.

        It is read from records that are open already: who holds one connection shall not wait for another.
        """
        beginning = self._follower.now.beginning

        def seen(row: SetupRecord) -> Mapping[str, float]:
            # An account that is made anew decides at the same closes again.
            key = beginning, row.time_ms, row.strategy, row.symbol
            return self._seen.made(key, lambda: _measured(records, row))

        return seen


def _measured(records: TradingViews, row: SetupRecord) -> Mapping[str, float]:
    found = records.encoded_blocks(row.strategy, [row.time_ms])
    scan = decode_column(found[0][1], row.symbol) if found else None
    return {} if scan is None else scan.measurements
