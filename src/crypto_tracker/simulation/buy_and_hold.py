"""What the market did meanwhile: the change of each symbol, and buying all of them and holding.

Panels may fill most of the memory, so they are read column by column.
"""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.simulation.performance import Performance, performance
from crypto_tracker.simulation.records import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyAndHold:
    """The same capital in equal parts in every symbol, bought at its first close and held.

    Attributes
    ----------
    symbols : how many have a bar; a symbol's part stays cash until its first close
    performance : of the curve marked at the last closes, the costs of buying included
    return_sold : total return after all is sold at the last closes, the costs of selling included
    fees_quote, slippage_quote : of buying and selling
    """

    symbols: int
    performance: Performance
    return_sold: float
    fees_quote: float
    slippage_quote: float


def market_changes(scenario: Scenario) -> dict[str, float | None]:
    """Each symbol's change from its first to its last close; None where it has no bar."""
    changes: dict[str, float | None] = {}
    for column, symbol in enumerate(scenario.panel.symbols):
        close = scenario.panel.close[:, column]
        known = np.flatnonzero(~np.isnan(close))
        changes[str(symbol)] = float(close[known[-1]] / close[known[0]] - 1.0) if len(known) else None
    return changes


def hold(scenario: Scenario, days: IntArray) -> tuple[BuyAndHold, FloatArray] | None:
    """Buy every symbol and hold it: the figures and the curve; None where no symbol has a bar.

    Each part pays the taker fee and the slippage of its instrument, as a market order does. Quantities are
    not rounded to lots.
    """
    panel, facts = scenario.panel, scenario.instruments
    held = [column for column in range(len(panel.symbols)) if not np.isnan(panel.close[:, column]).all()]
    if not held:
        return None
    capital = scenario.rules.capital_quote
    part = capital / len(held)
    curve = np.zeros(len(panel))
    sold = fees = slipped = 0.0
    for column in held:
        close = panel.close[:, column]
        known = ~np.isnan(close)
        first = int(np.argmax(known))
        fee, slippage = float(facts.taker_fee[column]), float(facts.slippage[column])
        price = float(close[first])
        quantity = part / (price * (1.0 + slippage) * (1.0 + fee))
        rows = np.where(known, np.arange(len(close)), 0)
        np.maximum.accumulate(rows, out=rows)
        curve[:first] += part
        curve[first:] += quantity * close[rows[first:]]
        last = float(close[rows[-1]])
        returned = quantity * last * (1.0 - slippage)
        sold += returned * (1.0 - fee)
        fees += (quantity * price * (1.0 + slippage) + returned) * fee
        slipped += quantity * (price + last) * slippage
    return (
        BuyAndHold(
            symbols=len(held),
            performance=performance(curve, capital, panel.close_time_ms, int(panel.open_time_ms[0]), days),
            return_sold=sold / capital - 1.0,
            fees_quote=fees,
            slippage_quote=slipped,
        ),
        curve,
    )
