"""Bars in two tiers, with coverage, suspects, quarantine and the progress of imports."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIMEFRAMES = "timeframe IN ('1m', '5m', '15m', '1h', '4h', '1d')"
RULES = (
    "rule IN ('missing_field', 'not_finite', 'not_positive', 'high_too_low', 'low_too_high', "
    "'volume_not_finite', 'volume_negative', 'off_grid', 'in_future')"
)


def _symbol_id(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return sa.Column("symbol_id", sa.Integer, nullable=False), sa.ForeignKeyConstraint(
        ["symbol_id"], ["symbols.symbol_id"], name=f"fk_{table}_symbol_id", ondelete="RESTRICT"
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def upgrade() -> None:
    op.create_table(
        "symbols",
        sa.Column("symbol_id", sa.Integer, nullable=False),
        sa.Column("provider", sa.String, nullable=False),
        sa.Column("symbol", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("reason", sa.String),
        sa.PrimaryKeyConstraint("symbol_id", name="pk_symbols"),
        sa.UniqueConstraint("provider", "symbol", name="uq_symbols_provider_symbol"),
        _check("symbols", "status", "status IN ('active', 'inactive')"),
        _check("symbols", "reason_if_inactive", "(status = 'inactive') = (reason IS NOT NULL)"),
    )
    op.create_table(
        "bars",
        *_symbol_id("bars"),
        sa.Column("timeframe", sa.String, nullable=False),
        sa.Column("open_time_ms", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("open", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("close", sa.Float, nullable=False),
        sa.Column("volume", sa.Float),
        sa.Column("vwap", sa.Float),
        sa.Column("n_trades", sa.Float),
        sa.PrimaryKeyConstraint("symbol_id", "timeframe", "open_time_ms", "revision", name="pk_bars"),
        _check("bars", "timeframe", TIMEFRAMES),
        _check("bars", "revision", "revision >= 0"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "coverage",
        *_symbol_id("coverage"),
        sa.Column("timeframe", sa.String, nullable=False),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("symbol_id", "timeframe", "start_ms", name="pk_coverage"),
        _check("coverage", "timeframe", TIMEFRAMES),
        _check("coverage", "not_empty", "end_ms > start_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "manifest",
        *_symbol_id("manifest"),
        sa.Column("timeframe", sa.String, nullable=False),
        sa.Column("month_ms", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("bars", sa.Integer, nullable=False),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("symbol_id", "timeframe", "month_ms", name="pk_manifest"),
        sa.UniqueConstraint("path", name="uq_manifest_path"),
        _check("manifest", "timeframe", TIMEFRAMES),
        _check("manifest", "counts", "bars > 0 AND rows >= bars"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "suspects",
        *_symbol_id("suspects"),
        sa.Column("timeframe", sa.String, nullable=False),
        sa.Column("open_time_ms", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("confirmed_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("symbol_id", "timeframe", "open_time_ms", "revision", name="pk_suspects"),
        _check("suspects", "timeframe", TIMEFRAMES),
        _check("suspects", "status", "status IN ('unconfirmed', 'confirmed')"),
        _check("suspects", "confirmed_at", "(status = 'confirmed') = (confirmed_at_ms IS NOT NULL)"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.Integer, nullable=False),
        *_symbol_id("quarantine"),
        sa.Column("timeframe", sa.String, nullable=False),
        sa.Column("open_time_ms", sa.BigInteger),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("raw", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("line", sa.Integer),
        sa.Column("recorded_at_ms", sa.BigInteger, nullable=False),
        sa.Column("content_key", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("quarantine_id", name="pk_quarantine"),
        sa.UniqueConstraint("content_key", name="uq_quarantine_content_key"),
        _check("quarantine", "timeframe", TIMEFRAMES),
        _check("quarantine", "rule", RULES),
    )
    op.create_index(
        "ix_quarantine_symbol_id_timeframe_open_time_ms",
        "quarantine",
        ["symbol_id", "timeframe", "open_time_ms"],
    )
    op.create_table(
        "imports",
        sa.Column("import_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("options", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified_ns", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("layout", sa.String, nullable=False),
        *_symbol_id("imports"),
        sa.Column("timeframe", sa.String, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("import_id", name="pk_imports"),
        sa.UniqueConstraint("source", "options", name="uq_imports_source_options"),
        _check("imports", "timeframe", TIMEFRAMES),
    )


def downgrade() -> None:
    for table in ("imports", "quarantine", "suspects", "manifest", "coverage", "bars", "symbols"):
        op.drop_table(table)
