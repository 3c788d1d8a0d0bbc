"""The tables of one trading account: its records, its state and the journal of what it saw.

One file holds them all, and only the account's trader writes it. Times are UTC milliseconds, amounts are
integers of 1e-8 quote, prices and quantities exact decimals in text. The migrations under
`migrations/trading` make these tables; a test holds the two equal.
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

from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.simulation.records import CommandKind
from crypto_tracker.store.types import NAMING, ExactDecimal, Money, one_of

metadata = MetaData(naming_convention=NAMING)

ACCOUNT_KINDS = ["paper", "replay"]
PARTS = ["traded", "reference"]
ORDER_KINDS = ["market", "rung"]
ORDER_STATUSES = ["open", "partially_filled", "filled", "cancelled", "expired"]
RESULT_STATUSES = ["applied", "refused"]
_REASONS = [reason.code for reason in Reason]
_EXITS = [reason.code for reason in ExitReason]


def _version() -> Column[str]:
    return Column(
        "version", String, ForeignKey("configurations.version", ondelete="RESTRICT"), nullable=False
    )


configurations = Table(
    "configurations",
    metadata,
    Column("version", String, primary_key=True),
    Column("canonical", String, nullable=False),  # what the version is a hash of
    Column("document", String, nullable=False),  # every value, JSON; reads back as the whole tree
    Column("first_ms", BigInteger, nullable=False),  # first minute that was stepped under it
)
"""Every configuration that the account has traded under."""

account = Table(
    "account",
    metadata,
    Column("account_id", Integer, primary_key=True),  # always 1: one account, one file
    Column("kind", String, nullable=False),
    Column("symbols", String, nullable=False),  # JSON list of the traded symbols, in the order of all columns
    Column("reference", String),  # the symbol that stands for the market, traded or not
    Column("providers", String, nullable=False),  # JSON object, symbol to provider
    Column("strategies", String, nullable=False),  # JSON list in the configured order
    Column("capital_quote", Money, nullable=False),
    Column("start_ms", BigInteger, nullable=False),  # open time of the first minute
    Column("end_ms", BigInteger),  # of a replay: open time of the first minute that is not stepped
    Column("created_at_ms", BigInteger, nullable=False),
    Column("code_version", String, nullable=False),
    CheckConstraint("account_id = 1", name="only_one"),
    CheckConstraint("end_ms IS NULL OR end_ms > start_ms", name="span"),
    one_of("kind", ACCOUNT_KINDS),
)
"""Whose file this is. Nothing here changes after the account was opened."""

history = Table(
    "history",
    metadata,
    Column("part", String, primary_key=True),
    Column("timeframe", String, primary_key=True),
    Column("time_ms", BigInteger, nullable=False),  # open time of the first row
    Column("block", LargeBinary, nullable=False),
    one_of("part", PARTS),
)
"""The bars before the start, as they were seen when the account was opened (`trading.seen`)."""

trader = Table(
    "trader",
    metadata,
    Column("trader_id", Integer, primary_key=True),  # always 1
    Column("cursor_ms", BigInteger, nullable=False),  # open time of the next minute to step
    _version(),  # of the configuration that the next minute is stepped under
    Column("state", LargeBinary, nullable=False),  # `trading.state.TraderState`
    CheckConstraint("trader_id = 1", name="only_one"),
)
"""Everything that one step hands to the next."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),
    _version(),
    Column("state", LargeBinary, nullable=False),
)
"""The trader's state before the minute `time_ms`: at the account's start and at every 00:00 UTC."""

minutes = Table(
    "minutes",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),  # open time
    _version(),
    Column("seen", LargeBinary, nullable=False),  # revisions, digests of order books (`trading.seen`)
    Column("bars_digest", LargeBinary, nullable=False),  # of the values that were seen
    Column("equity_quote", Money, nullable=False),  # at CLOSE
    Column("cash_quote", Money, nullable=False),
    Column("reserved_quote", Money, nullable=False),
    Column("regime", String, nullable=False),
    Column("volatility", Float),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # of all rows that the step wrote and nobody changes
    one_of("regime", [regime.name.lower() for regime in Regime]),
)
"""One row for each minute that was stepped: what was seen, and the account at its close."""

seen_rows = Table(
    "seen_rows",
    metadata,
    Column("part", String, primary_key=True),
    Column("timeframe", String, primary_key=True),
    Column("time_ms", BigInteger, primary_key=True),  # open time of the coarser bar
    Column("block", LargeBinary, nullable=False),
    one_of("part", PARTS),
    sqlite_with_rowid=False,
)
"""The coarser bars as they were seen when they closed, one row for all symbols."""

healed = Table(
    "healed",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),  # the minute from which on they were seen
    Column("part", String, primary_key=True),
    Column("timeframe", String, primary_key=True),
    Column("block", LargeBinary, nullable=False),
    one_of("part", PARTS),
    sqlite_with_rowid=False,
)
"""Coarser bars that were unknown when they closed and came in later; taken into the window once a day."""

decision_blocks = Table(
    "decision_blocks",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),  # the close at which was decided
    Column("strategy", String, primary_key=True),
    Column("block", LargeBinary, nullable=False),
    Index(None, "strategy", "time_ms"),
    sqlite_with_rowid=False,
)
"""Every scan, compactly (`strategies.decisions`)."""

setups = Table(
    "setups",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("strategy", String, primary_key=True),
    Column("setup_number", BigInteger, unique=True),  # counted from 0; none for near misses
    Column("verdict", String, nullable=False),
    Column("reason", String, nullable=False),  # at admission; how an order ended says `orders`
    Column("readiness", Float, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("rank", Integer),
    Column("fallback", Boolean, nullable=False),
    Column("measured", Float),
    Column("limit_value", Float),
    _version(),
    one_of("verdict", [verdict.value for verdict in Verdict]),
    one_of("reason", _REASONS),
    Index(None, "symbol", "time_ms"),
)
"""Setups with the portfolio's answer, and near misses. TAKE means that an order was placed."""

orders = Table(
    "orders",
    metadata,
    Column("order_id", String, primary_key=True),  # trade_group_id/0 the market entry, /1 .. the rungs
    Column("trade_group_id", String, nullable=False),
    Column("symbol", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("rung", Integer, nullable=False),
    Column("quote", Money, nullable=False),  # the amount that it buys for
    Column("limit_price", ExactDecimal),  # of a rung, once the first fill has set it
    Column("status", String, nullable=False),
    Column("placed_ms", BigInteger, nullable=False),  # the close at which it was admitted
    Column("ended_ms", BigInteger),  # close of the minute in which it was filled or ended
    Column("reason", String),  # why it ended without being filled whole
    _version(),
    one_of("reason", _REASONS),
    one_of("kind", ORDER_KINDS),
    one_of("status", ORDER_STATUSES),
    CheckConstraint("(kind = 'market') = (rung = 0)", name="rung_of_kind"),
    CheckConstraint("(status IN ('open', 'partially_filled')) = (ended_ms IS NULL)", name="ended"),
    Index(None, "trade_group_id"),
    Index(None, "status"),
)
"""The buys of every admitted setup. A ladder is the rows of one trade group."""

fills = Table(
    "fills",
    metadata,
    Column("sequence", BigInteger, primary_key=True),  # counted from 0
    Column("trade_group_id", String, nullable=False),
    Column("symbol", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("rung", Integer, nullable=False),
    Column("bar_open_ms", BigInteger, nullable=False),
    Column("price", ExactDecimal, nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("notional_quote", Money, nullable=False),
    Column("fee_quote", Money, nullable=False),
    Column("slippage_quote", Money, nullable=False),
    Column("exit_reason", String, nullable=False),
    Column("volume_unknown", Boolean, nullable=False),
    one_of("kind", [kind.code for kind in FillKind]),
    one_of("exit_reason", _EXITS),
    Index(None, "trade_group_id"),
    Index(None, "bar_open_ms"),
)
"""Every execution, in the order in which they happened."""

trades = Table(
    "trades",
    metadata,
    Column("trade_number", BigInteger, primary_key=True),  # counted from 0 in the order in which they closed
    Column("trade_group_id", String, nullable=False, unique=True),
    Column("symbol", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("decision_ms", BigInteger, nullable=False),
    Column("entry_ms", BigInteger, nullable=False),
    Column("exit_ms", BigInteger, nullable=False),
    Column("entry_price", ExactDecimal, nullable=False),
    Column("exit_price", ExactDecimal, nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("invested_quote", Money, nullable=False),
    Column("fee_quote", Money, nullable=False),
    Column("slippage_quote", Money, nullable=False),
    Column("pnl_quote", Money, nullable=False),
    Column("return_net", Float, nullable=False),
    Column("exit_reason", String, nullable=False),
    Column("entry_fills", Integer, nullable=False),
    Column("ambiguous", Boolean, nullable=False),
    Column("fallback", Boolean, nullable=False),
    _version(),  # that the setup was decided under
    one_of("exit_reason", _EXITS),
    Index(None, "exit_ms"),
    Index(None, "symbol", "exit_ms"),
)
"""Closed trades."""

positions = Table(
    "positions",
    metadata,
    Column("symbol", String, primary_key=True),
    Column("trade_group_id", String, nullable=False, unique=True),
    Column("strategy", String, nullable=False),
    Column("decision_ms", BigInteger, nullable=False),
    Column("entry_ms", BigInteger, nullable=False),
    Column("entry_price", ExactDecimal, nullable=False),
    Column("exit_price", ExactDecimal),  # of what was sold so far
    Column("quantity", ExactDecimal, nullable=False),  # bought in all
    Column("open_quantity", ExactDecimal, nullable=False),  # still held
    Column("invested_quote", Money, nullable=False),
    Column("fee_quote", Money, nullable=False),
    Column("slippage_quote", Money, nullable=False),
    Column("pnl_quote", Money, nullable=False),  # marked at `mark_price`
    Column("return_net", Float, nullable=False),
    Column("exit_reason", String, nullable=False),  # of the first exit fill, `none` before it
    Column("entry_fills", Integer, nullable=False),
    Column("ambiguous", Boolean, nullable=False),
    Column("fallback", Boolean, nullable=False),
    Column("mark_price", Float, nullable=False),  # last close
    Column("stop_price", Float, nullable=False),  # active: the trailing level where it is armed and higher
    Column("target_price", Float, nullable=False),
    Column("trailing_armed", Boolean, nullable=False),
    Column("due_ms", BigInteger, nullable=False),  # time exit
    Column("exit_pending", String),  # exit reason that was asked for or is under way
    _version(),  # that the setup was decided under
    one_of("exit_reason", _EXITS),
    one_of("exit_pending", _EXITS),
)
"""What is held now; rewritten by every step that changes it."""

commands_applied = Table(
    "commands_applied",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),  # acts before the OPEN of this minute
    Column("sequence", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("symbol", String),
    Column("strategy", String),
    Column("value", String),  # regime forced, exit reason of a close, configuration version
    Column("command_id", String),  # the person's command; none where the trader itself halted entries
    one_of("kind", [kind.name.lower() for kind in CommandKind] + ["configure"]),
    sqlite_with_rowid=False,
)
"""The journal of commands, as the simulator got them."""

command_results = Table(
    "command_results",
    metadata,
    Column("command_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("status", String, nullable=False),
    Column("time_ms", BigInteger, nullable=False),  # the minute before whose OPEN it was answered
    Column("sentence", String, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    one_of("status", RESULT_STATUSES),
    Index(None, "time_ms"),
)
"""The trader's answers to commands of the control schema."""

range_medians = Table(
    "range_medians",
    metadata,
    Column("day_ms", BigInteger, primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("median", Float),  # none where no bar of the days before is known
    Column("time_ms", BigInteger, nullable=False),  # the minute in which it was read
    Index(None, "time_ms"),
    sqlite_with_rowid=False,
)
"""The median bar range of the days before (R7), as it was when the day first needed it."""

doubts = Table(
    "doubts",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),  # the minute at whose close the setups were found
    Column("symbol", String, primary_key=True),
    Column("score", Float, nullable=False),
    Column("score_min", Float, nullable=False),
    CheckConstraint("score < score_min", name="score"),
    sqlite_with_rowid=False,
)
"""The gate of data quality: symbols whose setups were withheld, with the score that they had."""

halts = Table(
    "halts",
    metadata,
    Column("time_ms", BigInteger, primary_key=True),  # minute in which it was found
    Column("sequence", Integer, primary_key=True),
    Column("cause", String, nullable=False),
    Column("sentence", String, nullable=False),
    Column("strategy", String),  # whose scan failed; its scan of that minute is left out
    Column("recorded_at_ms", BigInteger, nullable=False),
    one_of("cause", ["scan_failed", "ledger_mismatch", "invariant_broken"]),
)
"""Critical errors: entries stopped and wait for a person."""

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Integer, primary_key=True),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),  # none while it runs, and for ever where it was killed
    Column("pid", Integer, nullable=False),
    Column("host", String, nullable=False),
    Column("code_version", String, nullable=False),
    Column("cursor_ms", BigInteger, nullable=False),  # where it went on
)
"""One row for each process that traded the account."""
