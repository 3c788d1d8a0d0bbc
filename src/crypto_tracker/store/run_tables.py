"""The tables of the database of runs: times in UTC milliseconds, money and coins as exact decimals in text.

The migrations under `migrations/runs` make these tables; a test holds the two equal.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import ExitReason, FillKind, OrderStatus
from crypto_tracker.store.types import NAMING, ExactDecimal, Money, one_of

metadata = MetaData(naming_convention=NAMING)


def _run_id() -> Column[int]:
    return Column(
        "run_id", Integer, ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True, nullable=False
    )


RUN_KINDS = ["backtest", "demo"]
RUN_STATES = ["running", "finished", "interrupted"]
_REASONS = [reason.code for reason in Reason]
_EXITS = [reason.code for reason in ExitReason]

runs = Table(
    "runs",
    metadata,
    Column("run_id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("synthetic", Boolean, nullable=False),
    Column("base", String, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("symbols", String, nullable=False),  # JSON list, the columns of blocks
    Column("strategies", String, nullable=False),  # JSON list, in the configured order
    Column("configuration_version", String, nullable=False),
    Column("configuration", String, nullable=False),  # canonical JSON
    Column("code_version", String, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    one_of("kind", RUN_KINDS),
    one_of("state", RUN_STATES),
    CheckConstraint("end_ms > start_ms", name="span"),
)
"""One simulation whose records are kept."""

decision_blocks = Table(
    "decision_blocks",
    metadata,
    _run_id(),
    Column("time_ms", BigInteger, primary_key=True),
    Column("strategy", String, primary_key=True),
    Column("block", LargeBinary, nullable=False),
    Index(None, "run_id", "strategy", "time_ms"),
    sqlite_with_rowid=False,
)
"""Every scan, compactly: one compressed block for each close and strategy (`strategies.decisions`)."""

setups = Table(
    "setups",
    metadata,
    _run_id(),
    Column("time_ms", BigInteger, primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("strategy", String, primary_key=True),
    Column("verdict", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("readiness", Float, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("rank", Integer),
    Column("fallback", Boolean, nullable=False),
    Column("measured", Float),
    Column("limit_value", Float),
    one_of("verdict", [verdict.value for verdict in Verdict]),
    one_of("reason", _REASONS),
    Index(None, "run_id", "symbol", "time_ms"),
    sqlite_with_rowid=False,
)
"""Setups with the portfolio's answer, and near misses. TAKE means that an order was placed."""

fills = Table(
    "fills",
    metadata,
    _run_id(),
    Column("sequence", Integer, primary_key=True),
    Column("trade_group_id", String, nullable=False),
    Column("symbol", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("rung", Integer, nullable=False),
    Column("bar_open_ms", BigInteger, nullable=False),
    Column("price", ExactDecimal, nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("notional_quote", ExactDecimal, nullable=False),
    Column("fee_quote", ExactDecimal, nullable=False),
    Column("slippage_quote", ExactDecimal, nullable=False),
    Column("exit_reason", String, nullable=False),
    Column("volume_unknown", Boolean, nullable=False),
    one_of("kind", [kind.code for kind in FillKind]),
    one_of("exit_reason", _EXITS),
    Index(None, "run_id", "trade_group_id"),
    sqlite_with_rowid=False,
)

trades = Table(
    "trades",
    metadata,
    _run_id(),
    Column("trade_group_id", String, primary_key=True),
    Column("symbol", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("decision_ms", BigInteger, nullable=False),
    Column("entry_ms", BigInteger, nullable=False),
    Column("exit_ms", BigInteger),
    Column("entry_price", ExactDecimal, nullable=False),
    Column("exit_price", ExactDecimal),
    Column("quantity", ExactDecimal, nullable=False),
    Column("invested_quote", ExactDecimal, nullable=False),
    Column("fee_quote", ExactDecimal, nullable=False),
    Column("slippage_quote", ExactDecimal, nullable=False),
    Column("pnl_quote", ExactDecimal, nullable=False),
    Column("return_net", Float, nullable=False),
    Column("exit_reason", String, nullable=False),
    Column("entry_fills", Integer, nullable=False),
    Column("ambiguous", Boolean, nullable=False),
    Column("fallback", Boolean, nullable=False),
    one_of("exit_reason", _EXITS),
    Index(None, "run_id", "exit_ms"),
    sqlite_with_rowid=False,
)
"""Closed trades, and open ones (`exit_reason` none) marked at the last close of the run."""

positions = Table(
    "positions",
    metadata,
    _run_id(),
    Column("trade_group_id", String, primary_key=True),
    Column("open_quantity", ExactDecimal, nullable=False),  # still held
    Column("mark_price", Float, nullable=False),  # last close
    Column("stop_price", Float, nullable=False),  # active: the trailing level where it is armed and higher
    Column("target_price", Float, nullable=False),
    Column("trailing_armed", Boolean, nullable=False),
    Column("due_ms", BigInteger, nullable=False),  # time exit
    Column("exit_pending", String),  # exit reason that was asked for or is under way
    one_of("exit_pending", _EXITS),
    sqlite_with_rowid=False,
)
"""How trades that were left open stood at the end; runs of older versions have none."""

orders = Table(
    "orders",
    metadata,
    _run_id(),
    Column("trade_group_id", String, primary_key=True),
    Column("rung", Integer, primary_key=True),  # 0 the market entry
    Column("symbol", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("quote", Money, nullable=False),  # the amount that it buys for
    Column("limit_price", ExactDecimal),  # of a rung, once the first fill has set it
    Column("status", String, nullable=False),
    Column("placed_ms", BigInteger, nullable=False),  # the close at which it was admitted
    Column("ended_ms", BigInteger),  # close of the bar in which it was filled or ended
    Column("reason", String),  # why it ended without being filled whole
    one_of("status", [status.code for status in OrderStatus]),
    CheckConstraint("(status IN ('open', 'partially_filled')) = (ended_ms IS NULL)", name="ended"),
    sqlite_with_rowid=False,
)
"""The buys of every admitted setup, as an account keeps them; runs of older versions have none."""

equity = Table(
    "equity",
    metadata,
    _run_id(),
    Column("time_ms", BigInteger, primary_key=True),  # open time of its last bar
    Column("equity_quote", Money, nullable=False),  # at the close of that bar
    Column("low_quote", Money, nullable=False),  # lowest and highest at any close of the stretch
    Column("high_quote", Money, nullable=False),
    Column("drawdown", Float, nullable=False),  # deepest fall in it from the highest point of the run so far
    CheckConstraint("low_quote <= equity_quote AND equity_quote <= high_quote", name="within"),
    sqlite_with_rowid=False,
)
"""The equity of a run in some thousand stretches of equal length; runs of older versions have none."""

totals = Table(
    "totals",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("trades", Integer, nullable=False),  # closed ones; those of `judged` have a result
    Column("judged", Integer, nullable=False),
    Column("wins", Integer, nullable=False),
    Column("open_trades", Integer, nullable=False),
    Column("pnl_quote", Money, nullable=False),  # of the closed ones
    Column("invested_quote", Money, nullable=False),
    Column("equity_quote", Money),  # at the end; none where it was not kept
)
"""What the trades of a run add up to."""
