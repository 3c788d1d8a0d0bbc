"""An account as it stands after its last minute: read once for each minute, and shared by all who ask."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.trade_view import position_view, positions_view
from crypto_tracker.app.standing import (
    HALTS_TOLD,
    Entries,
    Glance,
    Reading,
    StrategyStanding,
    glance,
    silence,
    strategy_standings,
)
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.views import trades as trade_views
from crypto_tracker.store.trading_records import Account, OrderRecord, PositionRecord
from crypto_tracker.store.trading_views import Halted
from crypto_tracker.trading.state import TraderState


@dataclass(frozen=True, kw_only=True, eq=False)
class Present:
    """One account after one minute; what it was read from has been let go of.

    Attributes
    ----------
    generation : of the follower; another one may say something else
    scope : what is known of it besides its records
    glance : what its last minute says, without the clock
    held, orders : positions by symbol, and the buys of each by trade group
    tiers : of every symbol
    """

    generation: int
    account: Account
    scope: Scope
    state: TraderState
    glance: Glance
    held: tuple[PositionRecord, ...]
    orders: Mapping[str, list[OrderRecord]]
    strategies: tuple[StrategyStanding, ...]
    halts: tuple[Halted, ...]
    tiers: Mapping[Symbol, str]

    @classmethod
    def read(cls, read: Reading, scope: Scope, tiers: Mapping[Symbol, str], *, generation: int) -> "Present":
        """Take everything from an account that is open for reading; a bounded number of rows."""
        held = read.views.positions()
        return cls(
            generation=generation,
            account=read.account,
            scope=scope,
            state=read.state,
            glance=glance(read, held, now_ms=None),
            held=tuple(held),
            orders=read.views.orders([each.trade.trade_group_id for each in held]),
            strategies=strategy_standings(read, held),
            halts=tuple(read.views.halts(limit=HALTS_TOLD)),
            tiers=tiers,
        )

    @property
    def cursor_ms(self) -> int:
        """Open time of the next minute: everything before it is recorded."""
        return self.scope.until_ms

    @property
    def ended(self) -> bool:
        """Whether it is a replay that has come to its end."""
        return self.account.end_ms is not None and self.cursor_ms >= self.account.end_ms

    def entries(self, now_ms: int) -> Entries:
        """Whether any setup may be admitted at this time of the clock."""
        found, silent = self.glance.entries, silence(self.account, self.cursor_ms, now_ms)
        return found if silent is None else replace(found, allowed=False, why_not=(silent, *found.why_not))

    def record_of(self, symbol: Symbol) -> PositionRecord | None:
        """What is held of a symbol."""
        return next((each for each in self.held if each.trade.symbol == symbol), None)

    def orders_of(self, record: PositionRecord) -> list[OrderRecord]:
        """The buys of a position: the market entry, then its rungs."""
        return self.orders.get(record.trade.trade_group_id, [])

    def position_of(self, record: PositionRecord) -> trade_views.Position:
        """One position as it is shown."""
        tier = self.tiers[record.trade.symbol]
        return position_view(record, self.orders_of(record), self.cursor_ms, tier)

    @cached_property
    def positions(self) -> trade_views.Positions:
        """All that is held."""
        return positions_view([self.position_of(each) for each in self.held])
