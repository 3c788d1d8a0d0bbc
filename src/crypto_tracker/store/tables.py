"""The tables of the market database. Times are integer UTC milliseconds.

The migrations under `migrations/market` make these tables; a test holds the two equal.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import BarRule
from crypto_tracker.store.types import NAMING, one_of

metadata = MetaData(naming_convention=NAMING)


def _known_timeframe() -> CheckConstraint:
    return one_of("timeframe", [timeframe.value for timeframe in Timeframe])


def _symbol_id(*, primary_key: bool = True) -> Column[int]:
    return Column(
        "symbol_id",
        Integer,
        ForeignKey("symbols.symbol_id", ondelete="RESTRICT"),
        primary_key=primary_key,
        nullable=False,
    )


symbols = Table(
    "symbols",
    metadata,
    Column("symbol_id", Integer, primary_key=True),
    Column("provider", String, nullable=False),
    Column("symbol", String, nullable=False),
    Column("status", String, nullable=False),
    Column("reason", String),
    UniqueConstraint("provider", "symbol"),
    one_of("status", ["active", "inactive"]),
    CheckConstraint("(status = 'inactive') = (reason IS NOT NULL)", name="reason_if_inactive"),
)

bars = Table(
    "bars",
    metadata,
    _symbol_id(),
    Column("timeframe", String, primary_key=True),
    Column("open_time_ms", BigInteger, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("open", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("close", Float, nullable=False),
    Column("volume", Float),
    Column("vwap", Float),
    Column("n_trades", Float),
    _known_timeframe(),
    CheckConstraint("revision >= 0", name="revision"),
    sqlite_with_rowid=False,
)
"""The hot tier, and the overlays of cold months. Revision 0 is the first value known of a bar."""

coverage = Table(
    "coverage",
    metadata,
    _symbol_id(),
    Column("timeframe", String, primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("end_ms", BigInteger, nullable=False),
    _known_timeframe(),
    CheckConstraint("end_ms > start_ms", name="not_empty"),
    sqlite_with_rowid=False,
)
"""What is known to have been fetched: disjoint intervals [start, end) of each series."""

manifest = Table(
    "manifest",
    metadata,
    _symbol_id(),
    Column("timeframe", String, primary_key=True),
    Column("month_ms", BigInteger, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("path", String, nullable=False, unique=True),
    Column("rows", Integer, nullable=False),
    Column("bars", Integer, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("sha256", String, nullable=False),
    _known_timeframe(),
    CheckConstraint("bars > 0 AND rows >= bars", name="counts"),
    sqlite_with_rowid=False,
)
"""The cold files. A file that has no row here does not exist for any reader."""

suspects = Table(
    "suspects",
    metadata,
    _symbol_id(),
    Column("timeframe", String, primary_key=True),
    Column("open_time_ms", BigInteger, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("status", String, nullable=False),
    Column("confirmed_at_ms", BigInteger),
    _known_timeframe(),
    one_of("status", ["unconfirmed", "confirmed"]),
    CheckConstraint("(status = 'confirmed') = (confirmed_at_ms IS NOT NULL)", name="confirmed_at"),
    sqlite_with_rowid=False,
)
"""Bars whose close jumped: stored, counted, and read by nobody who trades."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", Integer, primary_key=True),
    _symbol_id(primary_key=False),
    Column("timeframe", String, nullable=False),
    Column("open_time_ms", BigInteger),
    Column("rule", String, nullable=False),
    Column("raw", String, nullable=False),
    Column("source", String, nullable=False),
    Column("line", Integer),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("content_key", String, nullable=False, unique=True),
    _known_timeframe(),
    one_of("rule", [rule.label for rule in BarRule if rule is not BarRule.VALID]),
    Index(None, "symbol_id", "timeframe", "open_time_ms"),
)
"""Bars that broke a rule, as the source had them. The same bar that comes again is the same row."""

imports = Table(
    "imports",
    metadata,
    Column("import_id", Integer, primary_key=True),
    Column("source", String, nullable=False),
    Column("options", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("layout", String, nullable=False),
    Column("symbol_id", Integer, ForeignKey("symbols.symbol_id", ondelete="RESTRICT"), nullable=False),
    Column("timeframe", String, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("finished_at_ms", BigInteger, nullable=False),
    _known_timeframe(),
    UniqueConstraint("source", "options"),
)
"""Files whose bars are all in the store, so that an interrupted import goes on where it stopped."""
