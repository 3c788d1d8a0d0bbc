"""The records of one stepped minute: setups with their answers, orders that changed, positions that are held.

Everything here is worked out from the portfolio's state before and after the minute and from what the step
brought; nothing is remembered beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.orders import Order, Standing
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.driver import waiting_orders
from crypto_tracker.simulation.live import Stepped
from crypto_tracker.simulation.state import EMPTY, PortfolioState
from crypto_tracker.store.trading_records import OrderRecord, PositionRecord, SetupRecord
from crypto_tracker.strategies.base import EVENT_SETUP


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SteppedMinute:
    """One minute as it was stepped.

    Attributes
    ----------
    instruments : that it was stepped under
    strategies : names in the configured order
    before, after : the portfolio's state; `before` is a copy
    setups : SETUP_DTYPE, those of this close
    first_setup_number : of the first row of `setups` that is a setup
    version : of the configuration that it was stepped under
    versions : of the configuration of each setup whose order or position was there before
    """

    instruments: Instruments
    strategies: tuple[str, ...]
    before: PortfolioState
    after: PortfolioState
    setups: RecordArray
    first_setup_number: int
    stepped: Stepped
    version: str
    versions: Mapping[int, str]

    def version_of(self, setup_number: int) -> str:
        """The configuration version of a setup of this minute, or of one that was traded before it."""
        return self.version if setup_number >= self.first_setup_number else self.versions[setup_number]

    def versions_after(self) -> dict[int, str]:
        """The configuration version of the setup of every order and position that is there now."""
        slots = self.after.slots
        numbers = slots["setup"][slots["phase"] != EMPTY]
        return {int(number): self.version_of(int(number)) for number in numbers}

    def trade_versions(self) -> list[str]:
        """The configuration version of the setup of every trade that closed."""
        return [self.version_of(int(number)) for number in self.stepped.trades["setup"]]


def setup_records(minute: SteppedMinute) -> list[SetupRecord]:
    """Every setup of the minute's close with the portfolio's answer, in the order of the setups."""
    symbols, records = minute.instruments.symbols, []
    rows = np.flatnonzero(minute.setups["kind"] == EVENT_SETUP)
    for number, row in enumerate(rows, start=minute.first_setup_number):
        setup, decision = minute.setups[row], minute.stepped.decisions[row]
        reason = Reason(decision["reason"])
        records.append(
            SetupRecord(
                setup_number=number,
                time_ms=int(setup["time_ms"]),
                symbol=symbols[setup["symbol"]],
                strategy=minute.strategies[setup["strategy"]],
                verdict=Verdict.TAKE if reason is Reason.ACCEPTED else Verdict.SKIP,
                reason=reason,
                readiness=float(setup["readiness"]),
                confidence=float(setup["confidence"]),
                rank=int(decision["rank"]) if decision["rank"] >= 0 else None,
                fallback=bool(decision["fallback"]),
                measured=_number(decision["measured"]),
                limit=_number(decision["limit"]),
                version=minute.version,
            )
        )
    return records


def order_records(minute: SteppedMinute) -> list[OrderRecord]:
    """Every buy that was admitted in the minute, or is not what it was before it, by symbol and rung.

    At any moment the orders that are `open` or `partially_filled` are the open parts of the state.
    """
    rows = np.concatenate(
        [minute.stepped.orders, _changed(waiting_orders(minute.before), waiting_orders(minute.after))]
    )
    rows = rows[np.lexsort((rows["rung"], rows["setup"], rows["symbol"]))]
    orders = ledger.orders(rows, minute.instruments.symbols, minute.strategies)
    return [
        OrderRecord(version=minute.version_of(int(row["setup"])), **_values(order))
        for row, order in zip(rows, orders, strict=True)
    ]


def position_records(minute: SteppedMinute, positions: RecordArray) -> list[PositionRecord]:
    """Every held position; `positions` are the stepper's TRADE_DTYPE rows after the minute."""
    trades = ledger.trades(positions, minute.instruments.symbols, minute.strategies)
    standings = ledger.standings(positions, minute.after.holdings())
    return [
        PositionRecord(trade=trade, version=minute.version_of(int(row["setup"])), **_values(standing))
        for row, trade, standing in zip(positions, trades, standings, strict=True)
    ]


# --- orders ---------------------------------------------------------------------------------------


def _changed(before: RecordArray, after: RecordArray) -> RecordArray:
    """The waiting orders of after a minute that did not wait before it, or not so."""
    known = {(int(row["setup"]), int(row["rung"])): row.tobytes() for row in before}
    same = [known.get((int(row["setup"]), int(row["rung"]))) == row.tobytes() for row in after]
    return after[~np.array(same, dtype=np.bool_)]


def _values(record: Order | Standing) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
