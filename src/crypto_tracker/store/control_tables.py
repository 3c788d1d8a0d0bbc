"""The tables of what people tell an account: commands, configuration versions, checks, and the audit of all.

People write them through the faces, the trader only reads them. Times are UTC milliseconds. The migrations
under `migrations/control` make these tables; a test holds the two equal.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

from crypto_tracker.store.types import NAMING

metadata = MetaData(naming_convention=NAMING)

COMMAND_KINDS = [
    "pause",
    "resume",
    "close",
    "close_worst",
    "regime_force",
    "regime_release",
    "cooldown_clear",
    "streak_clear",
    "strategy_on",
    "strategy_off",
    "block",
    "unblock",
    "configure",
]

commands = Table(
    "commands",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("command_id", String, nullable=False, unique=True),  # random: never given twice, even after a loss
    Column("kind", String, nullable=False),
    Column("arguments", String, nullable=False),  # JSON object, see `store.control.Command`
    Column("not_before_ms", BigInteger),  # market time; none to act at once
    Column("actor", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint(f"kind IN ({', '.join(repr(kind) for kind in COMMAND_KINDS)})", name="kind"),
)
"""What people ask for. The answers are rows of the trader's own schema (`command_results`)."""

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("command_id", String, ForeignKey("commands.command_id"), primary_key=True),
    Column("actor", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""Commands that people took back before the trader had answered them: it never will."""

configurations = Table(
    "configurations",
    metadata,
    Column("version", String, primary_key=True),
    Column("canonical", String, nullable=False),
    Column("document", String, nullable=False),
    Column("source", String, nullable=False),  # the file it was read from
    Column("actor", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
"""Configurations that people have offered to the account; immutable."""

checks = Table(
    "checks",
    metadata,
    Column("check_id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("differences", Integer, nullable=False),
    Column("document", String, nullable=False),  # JSON
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint("kind IN ('parity')", name="kind"),
    Index(None, "created_at_ms"),
)
"""What parity found."""

audit = Table(
    "audit",
    metadata,
    Column("audit_id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("detail", String, nullable=False),  # JSON
    Index(None, "at_ms"),
)
"""Every act of a person, also those that the trader later refuses."""
