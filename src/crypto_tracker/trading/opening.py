"""How an account begins: the bars before its first minute, and the state that it starts from."""

from decimal import Decimal

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.money import to_e8
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.portfolio.parameters import Protection
from crypto_tracker.portfolio.regime import NO_FORCE, follow_market
from crypto_tracker.simulation.state import PortfolioState
from crypto_tracker.store.sources import BarSource
from crypto_tracker.store.trading_records import (
    REFERENCE,
    TRADED,
    Account,
    ConfigurationRow,
    Opening,
    SeenBlock,
)
from crypto_tracker.trading.seen import SeenRows, encode_rows
from crypto_tracker.trading.state import TraderState
from crypto_tracker.trading.window import Needs


def opening(
    account: Account,
    configuration: ConfigurationRow,
    *,
    needs: Needs,
    protection: Protection,
    source: BarSource,
) -> Opening:
    """Read the bars before `account.start_ms` and make the state of an account that has only its capital."""
    symbols = {TRADED: account.symbols}
    if account.reference is not None:
        symbols[REFERENCE] = (account.reference,)
    history: list[SeenBlock] = []
    lead: Panel | None = None
    for part, names in symbols.items():
        for timeframe in (Timeframe.M1, *needs.coarse(part)):
            end_ms = timeframe.floor(account.start_ms)
            panel = source.panel(names, timeframe, needs.start_ms(part, timeframe, account.start_ms), end_ms)
            if part == REFERENCE and timeframe is Timeframe.M1:
                lead = panel
            if len(panel):
                history.append(
                    SeenBlock(
                        part=part,
                        timeframe=timeframe,
                        time_ms=int(panel.open_time_ms[0]),
                        block=encode_rows(SeenRows.of_panel(panel)),
                    )
                )
    no_force = np.full(0 if lead is None else len(lead), NO_FORCE, dtype=np.int8)
    _, carry = follow_market(lead, account.strategies, protection, no_force, None)
    state = TraderState(
        cursor_ms=account.start_ms,
        version=configuration.version,
        portfolio=PortfolioState.fresh(
            len(account.symbols), len(account.strategies), to_e8(account.capital_quote)
        ),
        carry=carry,
        was_setup=np.zeros((len(account.strategies), len(account.symbols)), dtype=np.bool_),
    )
    return Opening(account=account, configuration=configuration, history=history, state=state.to_bytes())


def capital_of(amount: float) -> Decimal:
    """A configured capital as an exact amount, to 1e-8."""
    return Decimal(repr(amount)).quantize(Decimal("1e-8"))
