"""A small paper account whose records are written by hand, step by step, with the trader's own store.

Three coins, three strategies, 10,000 USD, from 10:00 UTC on 1 August 2025. A day before they stood at 90, 50
and 30; now they stand at 100, 60 and 20.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.money import to_e8
from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.portfolio.regime import MarketCarry
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.simulation.state import HELD, PortfolioState
from crypto_tracker.store.trading import TradingStore
from crypto_tracker.store.trading_records import (
    TRADED,
    Account,
    Opening,
    OrderRecord,
    PositionRecord,
    SeenBlock,
    SetupRecord,
    StepRecord,
)
from crypto_tracker.strategies.decisions import ScanBlock, encode_block
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.seen import SeenRows, encode_rows
from crypto_tracker.trading.setting import configuration_row
from crypto_tracker.trading.state import TraderState

BTC, ETH, SOL = SYMBOLS = tuple(Symbol(base, "USD") for base in ("BTC", "ETH", "SOL"))
STRATEGIES = ("DCA", "SWING", "CHANNEL")
START_MS = 1_754_042_400_000  # 2025-08-01 10:00 UTC
CAPITAL = 10_000
YESTERDAY, TODAY = (90.0, 50.0, 30.0), (100.0, 60.0, 20.0)
CONFIGURATION = configuration_row(
    load_configuration(
        {name: each.parameters_model for name, each in builtin().items()},
        file=None,
        environment={},
        assignments=(),
    ).tree
)
ACCOUNT = Account(
    kind="paper",
    symbols=SYMBOLS,
    reference=BTC,
    providers=dict.fromkeys(SYMBOLS, "synthetic"),
    strategies=STRATEGIES,
    capital_quote=Decimal(CAPITAL),
    start_ms=START_MS,
    end_ms=None,
    created_at_ms=START_MS,
    code_version="0",
)


class HandMade:
    """One account. `state` is what the next step leaves behind; change it before `step`."""

    def __init__(self, store: TradingStore, account: Account) -> None:
        self.store = store
        self.state = TraderState(
            cursor_ms=account.start_ms,
            version=CONFIGURATION.version,
            portfolio=PortfolioState.fresh(len(SYMBOLS), len(STRATEGIES), to_e8(account.capital_quote)),
            carry=MarketCarry(regime=Regime.NORMAL, switched_on=(True,) * len(STRATEGIES), first_ms=None),
            was_setup=np.zeros((len(STRATEGIES), len(SYMBOLS)), dtype=np.bool_),
        )
        rows = 25 * 12
        start_ms = Timeframe.M5.floor(account.start_ms) - rows * Timeframe.M5.ms
        before = SeenRows(
            start_ms=start_ms,
            step_ms=Timeframe.M5.ms,
            values=np.tile(np.array(YESTERDAY), (5, rows, 1)),
            covered=np.ones((rows, len(SYMBOLS)), dtype=np.bool_),
        )
        store.create(
            Opening(
                account=account,
                configuration=CONFIGURATION,
                history=[
                    SeenBlock(
                        part=TRADED, timeframe=Timeframe.M5, time_ms=start_ms, block=encode_rows(before)
                    )
                ],
                state=self.state.to_bytes(),
            )
        )

    @property
    def close_ms(self) -> int:
        """The close of the minute that is stepped next."""
        return self.state.cursor_ms + MINUTE_MS

    def step(self, *, equity: float = CAPITAL, regime: Regime = Regime.NORMAL, **records: Any) -> None:
        """Step the next minute, with these records beside it."""
        state, time_ms = self.state, self.state.cursor_ms
        book = state.portfolio.book
        book["equity"] = to_e8(Decimal(str(equity)))
        book["cash"], book["reserved"] = book["equity"] - to_e8(Decimal(900)), to_e8(Decimal(300))
        state.portfolio.coins["last_close"] = TODAY
        state.carry = replace(state.carry, regime=regime)
        state.cursor_ms = time_ms + MINUTE_MS
        state.next_setup += sum(row.setup_number is not None for row in records.get("setups", ()))
        state.next_trade += len(records.get("trades", ()))
        records.setdefault("trade_versions", [CONFIGURATION.version] * len(records.get("trades", ())))
        self.store.commit(
            StepRecord(
                time_ms=time_ms,
                version=CONFIGURATION.version,
                seen=b"",
                bars_digest=b"",
                equity_quote=Decimal(str(equity)),
                cash_quote=Decimal(str(equity)) - 900,
                reserved_quote=Decimal(300),
                regime=regime,
                volatility=0.0423,
                state=state.to_bytes(),
                next_version=CONFIGURATION.version,
                **records,
            ),
            recorded_at_ms=time_ms,
        )

    def steps(self, count: int, *, equity: float = CAPITAL, regime: Regime = Regime.NORMAL) -> None:
        """Step so many minutes in which nothing happens."""
        for _ in range(count):
            self.step(equity=equity, regime=regime)

    def block(self, strategy: str, readiness: dict[Symbol, tuple[float, Reason]], **measured: float) -> Any:
        """A scan of the minute that is stepped next; what was measured is the same for every coin."""
        readings = [readiness.get(symbol, (np.nan, Reason.NOT_READY)) for symbol in SYMBOLS]
        block = ScanBlock(
            strategy=strategy,
            time_ms=self.close_ms,
            version=CONFIGURATION.version,
            symbols=SYMBOLS,
            reason=np.array([reason for _, reason in readings], dtype=np.int8),
            readiness=np.array([value for value, _ in readings]),
            confidence=np.full(len(SYMBOLS), 0.72),
            measurements={name: np.full(len(SYMBOLS), value) for name, value in measured.items()},
        )
        return self.close_ms, strategy, encode_block(block)


@contextmanager
def hand_made(home: Path, name: str = "paper", **changes: Any) -> Iterator[HandMade]:
    """An account that was opened and is traded while the block runs."""
    account = replace(ACCOUNT, **changes)
    with TradingStore.open(home / "accounts" / name, wait_ms=0, durable=False) as store:
        made = HandMade(store, account)
        session = store.begin_session(
            started_at_ms=account.created_at_ms, pid=4711, host="here", code_version="0"
        )
        yield made
        store.end_session(session, made.state.cursor_ms)


def setup(
    time_ms: int, symbol: Symbol = ETH, *, number: int | None, strategy: str = "DCA", **changes: Any
) -> SetupRecord:
    """A setup that was taken, or what `changes` makes of it."""
    taken = SetupRecord(
        setup_number=number,
        time_ms=time_ms,
        symbol=symbol,
        strategy=strategy,
        verdict=Verdict.TAKE,
        reason=Reason.ACCEPTED,
        readiness=100.0,
        confidence=0.72,
        rank=0,
        fallback=False,
        measured=None,
        limit=None,
        version=CONFIGURATION.version,
    )
    return replace(taken, **changes)


def refused(time_ms: int, symbol: Symbol, reason: Reason, *, number: int, **changes: Any) -> SetupRecord:
    """A setup that the portfolio did not take."""
    return setup(time_ms, symbol, number=number, verdict=Verdict.SKIP, reason=reason, rank=None, **changes)


def near_miss(
    time_ms: int, symbol: Symbol, reason: Reason, *, readiness: float = 92.0, **changes: Any
) -> SetupRecord:
    """A scan that was nearly a setup."""
    return setup(
        time_ms,
        symbol,
        number=None,
        verdict=Verdict.NEAR_MISS,
        reason=reason,
        readiness=readiness,
        rank=None,
        **changes,
    )


def ladder(row: SetupRecord, *statuses: str, ended_ms: int | None = None) -> list[OrderRecord]:
    """The buys of a setup: the market entry and its rungs, in these states."""
    group = trade_group_id(row.symbol, row.strategy, from_ms(row.time_ms))
    return [
        OrderRecord(
            order_id=f"{group}/{rung}",
            trade_group_id=group,
            symbol=row.symbol,
            strategy=row.strategy,
            kind="rung" if rung else "market",
            rung=rung,
            quote=Decimal(100),
            limit_price=Decimal(59 - rung) if rung else None,
            status=status,
            placed_ms=row.time_ms,
            ended_ms=None if status in {"open", "partially_filled"} else ended_ms or row.time_ms + MINUTE_MS,
            reason=Reason.EXPIRED if status == "expired" else None,
            version=CONFIGURATION.version,
        )
        for rung, status in enumerate(statuses)
    ]


def trade(row: SetupRecord, *, pnl: float, exit_ms: int | None, reason: ExitReason) -> Trade:
    """The trade of a setup, bought for 200 a minute after it."""
    return Trade(
        trade_group_id=trade_group_id(row.symbol, row.strategy, from_ms(row.time_ms)),
        symbol=row.symbol,
        strategy=row.strategy,
        decision_time=from_ms(row.time_ms),
        entry_time=from_ms(row.time_ms),
        exit_time=None if exit_ms is None else from_ms(exit_ms),
        entry_price=Decimal("58.5"),
        exit_price=None if exit_ms is None else Decimal(60),
        quantity=Decimal(4),
        invested_quote=Decimal(200),
        fee_quote=Decimal("0.60"),
        slippage_quote=Decimal("0.25"),
        pnl_quote=Decimal(str(pnl)),
        return_net=pnl / 200,
        exit_reason=reason,
        entry_fills=2,
        ambiguous=False,
        fallback=False,
    )


def position(row: SetupRecord, *, pnl: float) -> PositionRecord:
    """The position of a setup: bought at 58.5, now at 60, between 51 and 65."""
    return PositionRecord(
        trade=trade(row, pnl=pnl, exit_ms=None, reason=ExitReason.NONE),
        open_quantity=Decimal(4),
        mark_price=60.0,
        stop_price=51.0,
        target_price=65.0,
        trailing_armed=False,
        due_ms=row.time_ms + DAY_MS,
        exit_pending=None,
        version=CONFIGURATION.version,
    )


def eventful(made: HandMade) -> None:
    """Half an hour: a near miss, two buys, a sale with a loss, a refusal, and a market that turns.

    10:05 SOL is bought; ETH comes near. 10:10 ETH is bought. 10:13 SOL is stopped out. 10:15 SOL cools down.
    10:20 CAUTION. The equity peaks at 10,200 and ends at 10,098 at 10:30.
    """
    made.steps(4)
    at = made.close_ms
    sol = setup(at, SOL, number=0)
    made.step(
        blocks=[made.block("DCA", {SOL: (100.0, Reason.ACCEPTED)}, drop=0.041, volume_ratio=1.84)],
        setups=[sol, near_miss(at, ETH, Reason.VOLUME_LOW)],
        orders=ladder(sol, "open", "open"),
    )
    made.step(orders=ladder(sol, "filled", "open"), positions=[position(sol, pnl=0.0)])
    made.steps(3)
    eth = setup(made.close_ms, ETH, number=1)
    made.step(
        blocks=[made.block("DCA", {ETH: (100.0, Reason.ACCEPTED)}, drop=0.034, volume_ratio=1.2)],
        setups=[eth],
        orders=ladder(eth, "open", "open", "open"),
    )
    made.step(orders=ladder(eth, "filled", "filled", "open"))
    made.step()
    made.state.portfolio.slots["phase"][1] = HELD
    lost = trade(sol, pnl=-24.1, exit_ms=made.state.cursor_ms, reason=ExitReason.STOP_LOSS)
    made.step(
        equity=10_200.0,
        trades=[lost],
        orders=ladder(sol, "filled", "filled"),
        positions=[position(eth, pnl=6.2)],
    )
    made.step()
    made.state.portfolio.coins["cooldown_ms"][2] = made.close_ms + 6 * HOUR_MS
    made.step(
        blocks=[
            made.block(
                "DCA",
                {
                    BTC: (64.0, Reason.DROP_TOO_SMALL),
                    ETH: (31.0, Reason.VOLUME_LOW),
                    SOL: (100.0, Reason.ACCEPTED),
                },
                drop=0.02,
            )
        ],
        setups=[
            refused(
                made.close_ms,
                SOL,
                Reason.COOLDOWN,
                number=2,
                measured=float(made.close_ms),
                limit=float(made.close_ms + 6 * HOUR_MS),
            )
        ],
    )
    made.steps(4)
    made.steps(11, equity=10_098.0, regime=Regime.CAUTION)
