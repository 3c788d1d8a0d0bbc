"""What is kept of a recorded run while somebody looks at it: its trades and setups as columns, its file open.

A run never changes, so what all pages need is read once; of its fills, scans and single trades only what is
asked for.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from crypto_tracker.app.serving.setup_columns import SetupColumns, SetupKey
from crypto_tracker.app.serving.trade_columns import TradeColumns
from crypto_tracker.core.orders import Fill, Order, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.desk.source import DecisionFilter, NotThere, TradeFilter
from crypto_tracker.store.run_views import RunReader
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.strategies.decisions import ScanBlock


class RunRecords:
    """One recorded run; threads share it. What it has scanned is there as `Scanned` has it.

    Attributes
    ----------
    trades : the closed ones; their numbers are their places
    setups : setups and near misses
    equity : in some thousand stretches; no row where the run is older than that
    max_drawdown : of the equity at every close, None where it was not kept
    left_open : what was still held at the end, by symbol, marked at the last close
    standings : how that stood, by trade group; empty where the run is older than that
    newest_blocks : the last scan of every strategy whose scans were kept
    """

    def __init__(self, reader: RunReader, run_id: int) -> None:
        self._reader = reader
        self.run_id = run_id
        with reader.views() as views:
            self.summary = views.summary(run_id)
            self.run = self.summary.run
            rows, self._groups = views.trade_rows(run_id)
            self.trades = TradeColumns().extended(rows)
            self.setups = SetupColumns().extended(views.setup_rows(run_id))
            self.equity = views.equity(run_id)
            self.max_drawdown = views.max_drawdown(run_id)
            self.left_open = tuple(views.open_trades(run_id))
            self.standings = views.standings(run_id)
            newest = [
                next(views.blocks(run_id, (name,), limit=1, newest_first=True), None)
                for name in self.run.strategies
            ]
        self._known = frozenset((*self._groups, *(each.trade_group_id for each in self.left_open)))
        self.newest_blocks: Mapping[str, ScanBlock] = {
            block.strategy: block for block in newest if block is not None
        }

    # --- trades --------------------------------------------------------------------------------

    def trades_numbered(self, numbers: Sequence[int]) -> list[Trade]:
        """The closed trades of these numbers, in this order."""
        return self.trades_of([self._groups[number] for number in numbers])

    def trades_of(self, groups: Sequence[str]) -> list[Trade]:
        """The trades of these groups, closed or left open, in this order."""
        with self._reader.views() as views:
            return views.trades_of(self.run_id, groups)

    def ended(self, groups: Sequence[str]) -> dict[str, Trade]:
        """Those of these groups that became trades, closed or left open, by group."""
        known = [group for group in groups if group in self._known]
        return {trade.trade_group_id: trade for trade in self.trades_of(known)} if known else {}

    def trade(self, group: str) -> Trade:
        """One trade; raises NotThere where the run has none of this group."""
        if group not in self._known:
            raise NotThere(f"run {self.run_id} has no trade {group}: the list of its trades names them")
        return self.trades_of([group])[0]

    def fills(self, groups: Sequence[str]) -> list[Fill]:
        """The executions of some trades in the order in which they happened."""
        if not groups:
            return []
        with self._reader.views() as views:
            return views.fills_of(self.run_id, groups)

    def orders(self, groups: Sequence[str]) -> dict[str, list[Order]]:
        """The buys of each group, the market entry first; empty where the run is older than that."""
        if not groups:
            return {}
        with self._reader.views() as views:
            return views.orders(self.run_id, groups)

    def closed_of(self, symbol: Symbol, start_ms: int, end_ms: int, *, limit: int) -> list[Trade]:
        """The newest `limit` trades of a symbol that closed in [start_ms, end_ms)."""
        where = TradeFilter(symbols=(symbol,), start_ms=start_ms, end_ms=end_ms)
        index = self.trades.select(where, {})[-limit:]
        return self.trades_numbered(self.trades.number[index].tolist())

    # --- decisions -----------------------------------------------------------------------------

    def setups_keyed(self, keys: Sequence[SetupKey]) -> list[SetupRecord]:
        """The setups and near misses of these keys, in this order."""
        with self._reader.views() as views:
            rows = views.setups_keyed(self.run_id, keys)
        return [
            SetupRecord(
                setup_number=None,
                time_ms=row.time_ms,
                symbol=row.symbol,
                strategy=row.strategy,
                verdict=row.verdict,
                reason=row.reason,
                readiness=row.readiness,
                confidence=row.confidence,
                rank=row.rank,
                fallback=row.fallback,
                measured=row.measured,
                limit=row.limit,
                version=self.run.configuration_version,
            )
            for row in rows
        ]

    def setup(self, time_ms: int, symbol: Symbol, strategy: str) -> list[SetupRecord]:
        """The setup or near miss of one scan; empty where it was neither."""
        key = (time_ms, str(symbol), strategy)
        place = self.setups.place(key)
        here = [] if place >= len(self.setups) else self.setups.keys(np.array([place]))
        return self.setups_keyed(here) if here == [key] else []

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
        with self._reader.views() as views:
            yield from views.blocks(
                self.run_id,
                strategies,
                start_ms=start_ms,
                end_ms=end_ms,
                limit=limit,
                newest_first=newest_first,
            )

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        """The blocks of these closes as they are stored, those that there are, in order."""
        with self._reader.views() as views:
            return views.encoded_blocks(self.run_id, strategy, times_ms)

    def setups_of(
        self, symbol: Symbol, strategies: Sequence[str], start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[SetupRecord]:
        """The newest setups and near misses of a symbol, oldest first."""
        where = DecisionFilter(
            symbols=(symbol,), strategies=tuple(strategies), start_ms=start_ms, end_ms=end_ms
        )
        places = self.setups.page(where, limit=limit)
        return self.setups_keyed(self.setups.keys(places[::-1]))

    def fills_of(self, symbol: Symbol, start_ms: int, end_ms: int, *, trades: int) -> list[Fill]:
        """The fills of a symbol in bars that open in [start_ms, end_ms), of its newest so many trades."""
        groups = [self._groups[number] for number in self._within(symbol, start_ms, end_ms)[-trades:]]
        groups += [each.trade_group_id for each in self.left_open if each.symbol == symbol]
        return [fill for fill in self.fills(groups) if start_ms <= to_ms(fill.bar_open_time) < end_ms]

    def _within(self, symbol: Symbol, start_ms: int, end_ms: int) -> list[int]:
        index = self.trades.select(TradeFilter(symbols=(symbol,), start_ms=start_ms), {})
        inside = index[self.trades.entry_ms[index] < end_ms]
        return [int(number) for number in self.trades.number[inside]]
