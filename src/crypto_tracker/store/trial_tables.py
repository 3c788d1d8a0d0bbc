"""The table of trials: every configuration that was held against recorded bars, and what it came to.

The migrations under `migrations/research` make it; a test holds the two equal. Times are UTC milliseconds.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from crypto_tracker.store.types import NAMING, one_of

metadata = MetaData(naming_convention=NAMING)

SOURCES = ["optimize", "backtest"]

trials = Table(
    "trials",
    metadata,
    Column("trial_id", Integer, primary_key=True),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("base", String, nullable=False),
    Column("symbols", String, nullable=False),  # JSON array, sorted
    Column("data", String, nullable=False),  # JSON object: whose bars each symbol has
    Column("synthetic", Boolean(create_constraint=False), nullable=False),
    Column("configuration_version", String, nullable=False),
    Column("assignments", String, nullable=False),  # JSON array of section.key=value; empty for a backtest
    Column("sharpe", Float),  # of daily returns, not annualised; none where it does not exist
    Column("days", Integer, nullable=False),
    Column("trades", Integer, nullable=False),
    Column("source", String, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    CheckConstraint("end_ms > start_ms", name="span"),
    one_of("source", SOURCES),
    UniqueConstraint("configuration_version", "start_ms", "end_ms", "base", "symbols", "data"),
    Index(None, "start_ms", "end_ms"),
)
"""One row for one configuration on one span of one set of bars, however often it is tried."""
