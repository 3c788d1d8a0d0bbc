"""A trading account written by hand: ten minutes, two closed trades, one held position, a few decisions."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from crypto_tracker.app.accounts import account_place
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.money import to_e8
from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, from_ms
from crypto_tracker.portfolio.regime import MarketCarry
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.simulation.state import PortfolioState
from crypto_tracker.store.trading import TradingStore
from crypto_tracker.store.trading_records import (
    Account,
    CommandResult,
    ConfigurationRow,
    Opening,
    OrderRecord,
    PositionRecord,
    SetupRecord,
    StepRecord,
)
from crypto_tracker.strategies.decisions import ScanBlock, encode_block
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.setting import configuration_row
from crypto_tracker.trading.state import TraderState
from tests.app.conftest import MARCH_MS

BTC, ETH, SOL = Symbol.parse("BTC/USD"), Symbol.parse("ETH/USD"), Symbol.parse("SOL/USD")
SYMBOLS = (BTC, ETH, SOL)
STRATEGIES = ("DCA", "SWING", "CHANNEL")
START_MS = MARCH_MS
MINUTES = 10
CURSOR_MS = START_MS + MINUTES * MINUTE_MS
STARTED_AT_MS = START_MS + 5 * HOUR_MS
CAPITAL = Decimal(10_000)


def configuration(*assignments: str) -> Configuration:
    """The defaults, with some values set."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(models, file=None, environment={}, assignments=assignments).tree


def at(minute: int) -> int:
    """The open time of a minute of the account; also the close of the one before."""
    return START_MS + minute * MINUTE_MS


def group(symbol: Symbol, strategy: str, decided_ms: int) -> str:
    return trade_group_id(symbol, strategy, from_ms(decided_ms))


def trade(
    symbol: Symbol, strategy: str, minute: int, *, closed: int | None, pnl: str, reason: ExitReason
) -> Trade:
    """A trade of 1,000 that was decided at a minute and closed in another."""
    return Trade(
        trade_group_id=group(symbol, strategy, at(minute)),
        symbol=symbol,
        strategy=strategy,
        decision_time=from_ms(at(minute)),
        entry_time=from_ms(at(minute)),
        exit_time=None if closed is None else from_ms(at(closed)),
        entry_price=Decimal(100),
        exit_price=None if closed is None else Decimal(101),
        quantity=Decimal(10),
        invested_quote=Decimal(1_000),
        fee_quote=Decimal(6),
        slippage_quote=Decimal("1.5"),
        pnl_quote=Decimal(pnl),
        return_net=float(pnl) / 1_000,
        exit_reason=reason,
        entry_fills=1,
        ambiguous=False,
        fallback=False,
    )


BTC_WON = trade(BTC, "DCA", 1, closed=3, pnl="20", reason=ExitReason.TAKE_PROFIT)
SOL_LOST = trade(SOL, "CHANNEL", 1, closed=5, pnl="-30.5", reason=ExitReason.STOP_LOSS)
ETH_HELD = trade(ETH, "SWING", 2, closed=None, pnl="7.25", reason=ExitReason.NONE)


def setup(
    symbol: Symbol,
    strategy: str,
    minute: int,
    number: int | None,
    verdict: Verdict,
    reason: Reason,
    version: str,
) -> SetupRecord:
    refused = verdict is Verdict.SKIP
    return SetupRecord(
        setup_number=number,
        time_ms=at(minute),
        symbol=symbol,
        strategy=strategy,
        verdict=verdict,
        reason=reason,
        readiness=100.0 if number is not None else 87.0,
        confidence=0.7,
        rank=None if number is None else 0,
        fallback=False,
        measured=float(at(minute)) if refused else None,
        limit=float(at(minute) + 4 * HOUR_MS) if refused else None,
        version=version,
    )


def order(symbol: Symbol, strategy: str, minute: int, rung: int, status: str, version: str) -> OrderRecord:
    ended = status not in {"open", "partially_filled"}
    return OrderRecord(
        order_id=f"{group(symbol, strategy, at(minute))}/{rung}",
        trade_group_id=group(symbol, strategy, at(minute)),
        symbol=symbol,
        strategy=strategy,
        kind="rung" if rung else "market",
        rung=rung,
        quote=Decimal(500),
        limit_price=Decimal("97.5") if rung else None,
        status=status,
        placed_ms=at(minute),
        ended_ms=at(minute + 1) if ended else None,
        reason=Reason.EXPIRED if status == "expired" else None,
        version=version,
    )


def block(minute: int, version: str) -> tuple[int, str, bytes]:
    """Three scans of DCA, of which that of SOL is a near miss and the others fell too little."""
    codes = [Reason.DROP_TOO_SMALL, Reason.VOLUME_LOW, Reason.DROP_TOO_SMALL]
    scans = ScanBlock(
        strategy="DCA",
        time_ms=at(minute),
        version=version,
        symbols=SYMBOLS,
        reason=np.array(codes, dtype=np.int8),
        readiness=np.array([10.0, 40.0, 87.0]),
        confidence=np.array([0.1, 0.4, 0.7]),
        measurements={"drop": np.array([0.001, 0.01, np.nan])},
    )
    return at(minute), "DCA", encode_block(scans)


def steps(version: str, state: TraderState) -> list[StepRecord]:
    """Ten minutes. The equity rises to 10,100 and falls to 9,999."""
    equity = [10_000, 10_050, 10_100, 10_080, 10_060, 9_999, 10_010, 10_020, 10_000, 9_999]
    plain = [
        StepRecord(
            time_ms=at(minute),
            version=version,
            seen=b"",
            bars_digest=b"",
            equity_quote=Decimal(equity[minute]),
            cash_quote=Decimal(8_000),
            reserved_quote=Decimal(500),
            regime=Regime.CAUTION,
            volatility=0.03,
            state=replace(state, cursor_ms=at(minute + 1)).to_bytes(),
            next_version=version,
        )
        for minute in range(MINUTES)
    ]
    accepted, take = Reason.ACCEPTED, Verdict.TAKE
    changes = {
        0: {
            "setups": [
                setup(BTC, "DCA", 1, 0, take, accepted, version),
                setup(SOL, "CHANNEL", 1, 1, take, accepted, version),
            ],
            "orders": [
                order(BTC, "DCA", 1, 0, "filled", version),
                order(SOL, "CHANNEL", 1, 0, "filled", version),
            ],
        },
        1: {
            "setups": [setup(ETH, "SWING", 2, 2, take, accepted, version)],
            "orders": [
                order(ETH, "SWING", 2, 0, "filled", version),
                order(ETH, "SWING", 2, 1, "open", version),
            ],
        },
        2: {"positions": [held(version)]},
        3: {"trades": [BTC_WON], "trade_versions": [version]},
        4: {
            "setups": [
                setup(BTC, "DCA", 5, 3, Verdict.SKIP, Reason.COOLDOWN, version),
                setup(SOL, "DCA", 5, None, Verdict.NEAR_MISS, Reason.DROP_TOO_SMALL, version),
            ],
            "blocks": [block(5, version)],
        },
        5: {"trades": [SOL_LOST], "trade_versions": [version]},
        6: {
            "setups": [setup(BTC, "SWING", 7, 4, take, accepted, version)],
            "orders": [order(BTC, "SWING", 7, 0, "expired", version)],
        },
        8: {
            "results": [
                CommandResult(command_id="a1", kind="block", status="applied", sentence="SOL/USD is blocked")
            ]
        },
    }
    return [replace(step, **changes.get(minute, {})) for minute, step in enumerate(plain)]


def held(version: str) -> PositionRecord:
    return PositionRecord(
        trade=ETH_HELD,
        open_quantity=Decimal(10),
        mark_price=101.0,
        stop_price=95.95,
        target_price=106.05,
        trailing_armed=False,
        due_ms=CURSOR_MS + 90 * MINUTE_MS,
        exit_pending=None,
        version=version,
    )


def calm_state(version: str) -> TraderState:
    """What the trader remembers after the last minute, with nothing in the way of entries."""
    portfolio = PortfolioState.fresh(len(SYMBOLS), len(STRATEGIES), to_e8(CAPITAL))
    portfolio.book["cash"], portfolio.book["reserved"] = to_e8(Decimal(8_000)), to_e8(Decimal(500))
    portfolio.book["equity"] = to_e8(Decimal(9_999))
    return TraderState(
        cursor_ms=CURSOR_MS,
        version=version,
        portfolio=portfolio,
        carry=MarketCarry(regime=Regime.CAUTION, switched_on=(True, True, True), first_ms=START_MS),
        was_setup=np.zeros((len(STRATEGIES), len(SYMBOLS)), dtype=np.bool_),
    )


def kept_account(
    home: Path,
    name: str = "paper",
    *,
    state: TraderState | None = None,
    row: ConfigurationRow | None = None,
) -> Path:
    """The account, opened, traded for ten minutes and stopped again."""
    row = row or configuration_row(configuration())
    state = state or calm_state(row.version)
    account = Account(
        kind="paper",
        symbols=SYMBOLS,
        reference=BTC,
        providers=dict.fromkeys(SYMBOLS, "synthetic"),
        strategies=STRATEGIES,
        capital_quote=CAPITAL,
        start_ms=START_MS,
        end_ms=None,
        created_at_ms=STARTED_AT_MS,
        code_version="0.1.0",
    )
    folder = account_place(home, name).folder
    with TradingStore.open(folder, wait_ms=0) as store:
        first = replace(state, cursor_ms=START_MS)
        store.create(Opening(account=account, configuration=row, history=[], state=first.to_bytes()))
        session = store.begin_session(
            started_at_ms=STARTED_AT_MS, pid=4321, host="tower", code_version="0.1.0"
        )
        for step in steps(row.version, state):
            store.commit(step, recorded_at_ms=STARTED_AT_MS + 1_000)
        store.end_session(session, STARTED_AT_MS + HOUR_MS)
    return folder
