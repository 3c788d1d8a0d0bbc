"""A trading account as one of a list: a few rows of its records, however many there are."""

import numpy as np

from crypto_tracker.core.money import to_decimal
from crypto_tracker.desk.views.accounts import AccountItem
from crypto_tracker.simulation.state import EMPTY, PENDING
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.trading.state import TraderState

SYNTHETIC = "synthetic"
"""The provider of bars that are made up."""


def account_item(name: str, records: TradingViews, *, running: bool) -> AccountItem:
    """One account; raises StoreError where its records cannot be read."""
    account, cursor_ms = records.account(), records.cursor_ms()
    state = TraderState.from_bytes(records.state())
    sessions = records.sessions(limit=1)
    equity, capital = to_decimal(state.portfolio.book["equity"][0]), account.capital_quote
    phase = state.portfolio.slots["phase"]
    return AccountItem.model_validate(
        {
            "account": name,
            "name": name,
            "kind": account.kind,
            "running": running,
            "synthetic": SYNTHETIC in account.providers.values(),
            "start_ms": account.start_ms,
            "end_ms": account.end_ms,
            "until_ms": cursor_ms,
            "quote": account.symbols[0].quote,
            "symbols": [str(symbol) for symbol in account.symbols],
            "strategies": list(account.strategies),
            "configuration_version": state.version,
            "capital_quote": float(capital),
            "equity_quote": float(equity),
            "return_net": float(equity / capital - 1) if capital else None,
            "trades": state.next_trade,
            "open_positions": int(np.sum((phase != EMPTY) & (phase != PENDING))),
            "recorded_at_ms": sessions[0].started_at_ms if sessions else account.created_at_ms,
        }
    )
