"""Tiny markets drawn bar by bar, for tests whose numbers are found by hand."""

from typing import Any

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.simulation.records import Scenario, no_commands
from crypto_tracker.strategies.base import EVENT_SETUP, SETUP_DTYPE
from tests.simulation.rules import instruments, spec_rules

E8 = 100_000_000
START_MS = 1_760_000_400_000 - 1_760_000_400_000 % MINUTE_MS
FREE: dict[str, float] = {"taker_fee": 0.0, "maker_fee": 0.0, "slippage": 0.0}
MISSING = (np.nan,) * 5


def panel(*columns: list[tuple[float, ...]]) -> Panel:
    """One column of (open, high, low, close, volume) rows for each symbol; A/USD, B/USD ..."""
    array = np.array(columns, dtype=np.float64)  # (symbols, bars, 5)
    fields = {
        name: np.asfortranarray(array[:, :, place].T)
        for place, name in enumerate(("open", "high", "low", "close", "volume"))
    }
    rows = array.shape[1]
    return Panel(
        timeframe=Timeframe.M1,
        symbols=tuple(Symbol.parse(f"{chr(65 + c)}/USD") for c in range(array.shape[0])),
        open_time_ms=START_MS + MINUTE_MS * np.arange(rows),
        covered=np.ones((rows, array.shape[0]), dtype=np.bool_),
        **fields,
    )


def setup(after_bar: int = 0, **changed: Any) -> tuple[Any, ...]:
    """A setup decided at the close of a bar; 100 USD at market, target and stop 0.05 away."""
    values: dict[str, Any] = {
        "time_ms": START_MS + (after_bar + 1) * MINUTE_MS,
        "symbol": 0,
        "strategy": 0,
        "kind": EVENT_SETUP,
        "side": 1,
        "confidence": 0.6,
        "readiness": 100.0,
        "size_quote": 100.0,
        "levels": 1,
        "withheld": 0,
        "spacing": 0.0,
        "take_profit": 0.05,
        "stop_loss": 0.05,
        "trailing": 0.0,
        "max_hold_ms": 60 * MINUTE_MS,
        "max_entry_gap": np.nan,
        "decision_close": 100.0,
        "wait_ms": 5 * MINUTE_MS,
        "range_median": np.nan,
    }
    assert set(changed) <= set(values)
    return tuple((values | changed)[name] for name in SETUP_DTYPE.names or ())


def scenario(market: Panel, *setups: tuple[Any, ...], **changed: Any) -> Scenario:
    names = {"rules": {}, "facts": FREE, "commands": no_commands(), "reference": None} | changed
    return Scenario(
        panel=market,
        reference=names["reference"],
        instruments=instruments(market.symbols, **names["facts"]),
        strategies=("DCA", "SWING", "CHANNEL"),
        enabled=(True, True, True),
        setups=np.array(list(setups), dtype=SETUP_DTYPE),
        commands=names["commands"],
        rules=spec_rules(**names["rules"]),
        close_at_end=bool(names.get("close_at_end", False)),
    )


FLAT = (100.0, 100.0, 100.0, 100.0, 1e6)
