"""The tables of the market database. Times are integer UTC milliseconds.

The migrations under `migrations/market` make these tables; a test holds the two equal.
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
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import BarRule
from crypto_tracker.store.types import NAMING, ExactDecimal, one_of

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
    Index(
        "ix_bars_revised",
        "symbol_id",
        "timeframe",
        "open_time_ms",
        sqlite_where=text("revision > 0"),
    ),
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
    Column("status", String, nullable=False, server_default="held"),
    Column("settled_at_ms", BigInteger),
    Column("settlement", String),
    Column("judged", String),
    _known_timeframe(),
    one_of("status", ["held", "released", "dropped", "healed"]),
    CheckConstraint("(status = 'held') = (settled_at_ms IS NULL)", name="settled_at"),
    CheckConstraint("(status = 'held') = (settlement IS NULL)", name="settlement"),
    one_of("rule", [rule.label for rule in BarRule if rule is not BarRule.VALID]),
    Index(None, "symbol_id", "timeframe", "open_time_ms"),
)
"""Bars that broke a rule, as the source had them. The same bar that comes again is the same row.

A person settles them: released, once they break no rule any more, or dropped. A write that makes their minute
known settles them as healed. `settlement` says why. `judged` are the values that were held to the rules, as a
JSON object; null in rows older than the column, whose `raw` has them under the names of a file's columns.
"""

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

gaps = Table(
    "gaps",
    metadata,
    _symbol_id(),
    Column("timeframe", String, primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("end_ms", BigInteger, nullable=False),
    Column("reason", String, nullable=False),
    Column("noted_at_ms", BigInteger, nullable=False),
    _known_timeframe(),
    CheckConstraint("end_ms > start_ms", name="not_empty"),
    sqlite_with_rowid=False,
)
"""What a provider lacks for good, with the reason: disjoint intervals, not asked for again."""

mended = Table(
    "mended",
    metadata,
    Column("mended_id", Integer, primary_key=True),
    _symbol_id(primary_key=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    CheckConstraint("end_ms > start_ms", name="not_empty"),
)
"""Spans in which bars became others long after their time: the newest so many, in the order of writing."""

instruments = Table(
    "instruments",
    metadata,
    _symbol_id(),
    Column("provider_symbol", String, nullable=False),
    Column("tick", ExactDecimal),
    Column("lot", ExactDecimal),
    Column("quantity_min", ExactDecimal),
    Column("notional_min", ExactDecimal),
    Column("taker_fee", ExactDecimal),
    Column("maker_fee", ExactDecimal),
    Column("fetched_at_ms", BigInteger, nullable=False),
)
"""The exchange's own rules and fees of each of its markets; null where it does not say."""

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("host", String, nullable=False),
    Column("machine", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", BigInteger),
    Column("token", Integer, nullable=False),
    Column("acquired_at_ms", BigInteger, nullable=False),
    Column("renewed_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)
"""Who holds what only one process may hold, such as a provider's stream; the token grows with each holder."""

collectors = Table(
    "collectors",
    metadata,
    Column("provider", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("figures", String, nullable=False),
    one_of("state", ["starting", "waiting", "catching_up", "live", "scheduled", "trouble", "stopped"]),
)
"""What each collector last said of itself; `figures` is a JSON object of counts."""

quality = Table(
    "quality",
    metadata,
    _symbol_id(),
    Column("measured_at_ms", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
    Column("freshness", Float, nullable=False),
    Column("completeness", Float, nullable=False),
    Column("soundness", Float, nullable=False),
    Column("agreement", Float),
    CheckConstraint("score >= 0 AND score <= 1", name="score"),
)
"""The newest data-quality score of each symbol, and its parts; agreement is null with one provider."""

disagreements = Table(
    "disagreements",
    metadata,
    _symbol_id(),
    Column(
        "other_id",
        Integer,
        ForeignKey("symbols.symbol_id", ondelete="RESTRICT"),
        primary_key=True,
        nullable=False,
    ),
    Column("day_ms", BigInteger, primary_key=True),
    Column("compared", Integer, nullable=False),
    Column("beyond", Integer, nullable=False),
    Column("median", Float, nullable=False),
    Column("p99", Float, nullable=False),
    Column("largest", Float, nullable=False),
    Column("measured_at_ms", BigInteger, nullable=False),
    CheckConstraint("compared > 0 AND beyond >= 0 AND beyond <= compared", name="counts"),
    sqlite_with_rowid=False,
)
"""How far the closes of two providers of one symbol lie apart, of each UTC day, as fractions."""

selections = Table(
    "selections",
    metadata,
    Column("selection_id", Integer, primary_key=True),
    Column("made_at_ms", BigInteger, nullable=False),
    Column("provider", String, nullable=False),
    Column("settings", String, nullable=False),
)
"""Every selection of pairs, with the settings that it was made under (JSON)."""

selection_pairs = Table(
    "selection_pairs",
    metadata,
    Column(
        "selection_id",
        Integer,
        ForeignKey("selections.selection_id", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    Column("symbol", String, primary_key=True),
    Column("volume_quote", Float),
    Column("volatility", Float),
    Column("correlation", Float),
    Column("score", Float),
    Column("listed_days", Integer),
    Column("risk", String),
    Column("chosen", Boolean, nullable=False),
    Column("reason", String),
    one_of("risk", ["low", "medium", "high"]),
    CheckConstraint("chosen = (reason IS NULL)", name="reason_if_not_chosen"),
    sqlite_with_rowid=False,
)
"""What a selection looked at: the inputs, the score, and why a pair was not chosen."""

universes = Table(
    "universes",
    metadata,
    Column("day_ms", BigInteger, primary_key=True),
    Column("provider", String, primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("origin", String, nullable=False),
    Column("selection_id", Integer, ForeignKey("selections.selection_id", ondelete="RESTRICT")),
    one_of("origin", ["configured", "selected"]),
    CheckConstraint("(origin = 'selected') = (selection_id IS NOT NULL)", name="selection"),
    sqlite_with_rowid=False,
)
"""The symbols that could be traded on each UTC day."""
