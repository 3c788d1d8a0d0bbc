"""What providers lack and say of their markets, who collects, quality, universes; quarantine is settled."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIMEFRAMES = "timeframe IN ('1m', '5m', '15m', '1h', '4h', '1d')"
STATES = "state IN ('starting', 'waiting', 'catching_up', 'live', 'scheduled', 'trouble', 'stopped')"
RULES = (
    "rule IN ('missing_field', 'not_finite', 'not_positive', 'high_too_low', 'low_too_high', "
    "'volume_not_finite', 'volume_negative', 'off_grid', 'in_future')"
)
QUARANTINE = (
    "quarantine_id", "symbol_id", "timeframe", "open_time_ms", "rule", "raw", "source", "line",
    "recorded_at_ms", "content_key",
)  # fmt: skip


def _reference(table: str, column: str, to: str, ondelete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [to], name=f"fk_{table}_{column}", ondelete=ondelete)


def _symbol_id(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return sa.Column("symbol_id", sa.Integer, nullable=False), _reference(
        table, "symbol_id", "symbols.symbol_id", "RESTRICT"
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _make_quarantine(*, settled: bool) -> None:
    """Make the table anew and take the rows along: SQLite adds no constraint to a table that there is."""
    op.drop_index("ix_quarantine_symbol_id_timeframe_open_time_ms", "quarantine")
    op.rename_table("quarantine", "quarantine_before")
    more: list[sa.schema.SchemaItem] = []
    if settled:
        more = [
            sa.Column("status", sa.String, nullable=False, server_default="held"),
            sa.Column("settled_at_ms", sa.BigInteger),
            sa.Column("settlement", sa.String),
            sa.Column("judged", sa.String),
            _check("quarantine", "status", "status IN ('held', 'released', 'dropped', 'healed')"),
            _check("quarantine", "settled_at", "(status = 'held') = (settled_at_ms IS NULL)"),
            _check("quarantine", "settlement", "(status = 'held') = (settlement IS NULL)"),
        ]
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
        *more,
        sa.PrimaryKeyConstraint("quarantine_id", name="pk_quarantine"),
        sa.UniqueConstraint("content_key", name="uq_quarantine_content_key"),
        _check("quarantine", "timeframe", TIMEFRAMES),
        _check("quarantine", "rule", RULES),
    )
    columns = ", ".join(QUARANTINE)
    op.execute(f"INSERT INTO quarantine ({columns}) SELECT {columns} FROM quarantine_before")  # noqa: S608 - our own
    op.drop_table("quarantine_before")
    op.create_index(
        "ix_quarantine_symbol_id_timeframe_open_time_ms",
        "quarantine",
        ["symbol_id", "timeframe", "open_time_ms"],
    )


def upgrade() -> None:
    _make_quarantine(settled=True)
    op.create_table(
        "gaps",
        *_symbol_id("gaps"),
        sa.Column("timeframe", sa.String, nullable=False),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("noted_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("symbol_id", "timeframe", "start_ms", name="pk_gaps"),
        _check("gaps", "timeframe", TIMEFRAMES),
        _check("gaps", "not_empty", "end_ms > start_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "instruments",
        *_symbol_id("instruments"),
        sa.Column("provider_symbol", sa.String, nullable=False),
        *(
            sa.Column(name, sa.String)
            for name in ("tick", "lot", "quantity_min", "notional_min", "taker_fee", "maker_fee")
        ),
        sa.Column("fetched_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("symbol_id", name="pk_instruments"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("machine", sa.String, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", sa.BigInteger),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("acquired_at_ms", sa.BigInteger, nullable=False),
        sa.Column("renewed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "collectors",
        sa.Column("provider", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("figures", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("provider", name="pk_collectors"),
        _check("collectors", "state", STATES),
    )
    op.create_table(
        "quality",
        *_symbol_id("quality"),
        sa.Column("measured_at_ms", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("freshness", sa.Float, nullable=False),
        sa.Column("completeness", sa.Float, nullable=False),
        sa.Column("soundness", sa.Float, nullable=False),
        sa.Column("agreement", sa.Float),
        sa.PrimaryKeyConstraint("symbol_id", name="pk_quality"),
        _check("quality", "score", "score >= 0 AND score <= 1"),
    )
    op.create_table(
        "disagreements",
        *_symbol_id("disagreements"),
        sa.Column("other_id", sa.Integer, nullable=False),
        sa.Column("day_ms", sa.BigInteger, nullable=False),
        sa.Column("compared", sa.Integer, nullable=False),
        sa.Column("beyond", sa.Integer, nullable=False),
        sa.Column("median", sa.Float, nullable=False),
        sa.Column("p99", sa.Float, nullable=False),
        sa.Column("largest", sa.Float, nullable=False),
        sa.Column("measured_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("symbol_id", "other_id", "day_ms", name="pk_disagreements"),
        _reference("disagreements", "other_id", "symbols.symbol_id", "RESTRICT"),
        _check("disagreements", "counts", "compared > 0 AND beyond >= 0 AND beyond <= compared"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "selections",
        sa.Column("selection_id", sa.Integer, nullable=False),
        sa.Column("made_at_ms", sa.BigInteger, nullable=False),
        sa.Column("provider", sa.String, nullable=False),
        sa.Column("settings", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("selection_id", name="pk_selections"),
    )
    op.create_table(
        "selection_pairs",
        sa.Column("selection_id", sa.Integer, nullable=False),
        sa.Column("symbol", sa.String, nullable=False),
        *(sa.Column(name, sa.Float) for name in ("volume_quote", "volatility", "correlation", "score")),
        sa.Column("listed_days", sa.Integer),
        sa.Column("risk", sa.String),
        sa.Column("chosen", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String),
        sa.PrimaryKeyConstraint("selection_id", "symbol", name="pk_selection_pairs"),
        _reference("selection_pairs", "selection_id", "selections.selection_id", "CASCADE"),
        _check("selection_pairs", "risk", "risk IN ('low', 'medium', 'high')"),
        _check("selection_pairs", "reason_if_not_chosen", "chosen = (reason IS NULL)"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "universes",
        sa.Column("day_ms", sa.BigInteger, nullable=False),
        sa.Column("provider", sa.String, nullable=False),
        sa.Column("symbol", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("selection_id", sa.Integer),
        sa.PrimaryKeyConstraint("day_ms", "provider", "symbol", name="pk_universes"),
        _reference("universes", "selection_id", "selections.selection_id", "RESTRICT"),
        _check("universes", "origin", "origin IN ('configured', 'selected')"),
        _check("universes", "selection", "(origin = 'selected') = (selection_id IS NOT NULL)"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_bars_revised",
        "bars",
        ["symbol_id", "timeframe", "open_time_ms"],
        sqlite_where=sa.text("revision > 0"),
    )


def downgrade() -> None:
    op.drop_index("ix_bars_revised", "bars")
    for table in (
        "universes", "selection_pairs", "selections", "disagreements", "quality", "collectors", "leases",
        "instruments", "gaps",
    ):  # fmt: skip
        op.drop_table(table)
    _make_quarantine(settled=False)
