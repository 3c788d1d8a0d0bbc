"""Two more reasons, which a setup comes with: data of too little quality, and a day's universe without it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_DATA = ("accepted", "not_ready", "no_bar", "data_stale")
_NEW = ("data_doubtful", "not_in_universe")
_OTHERS = (
    "drop_too_small", "volume_low", "regime_crash", "breakout_too_small", "rsi_low", "trend_down",
    "no_channel", "too_few_touches", "channel_weak", "channel_too_narrow", "not_in_buy_zone",
    "target_below_costs", "rule_not_met", "unsupported_side", "paused", "blocked", "strategy_off",
    "volatility_high", "regime_panic", "day_loss", "losing_streak", "cooldown", "symbol_limit",
    "same_episode", "confidence_low", "trailing_too_tight", "outranked", "size_too_small",
    "strategy_limit", "portfolio_limit", "strategy_exposure", "concentration", "share_used", "no_cash",
    "drawdown", "no_edge", "correlation", "slippage_too_high", "expired", "cancelled",
)  # fmt: skip


def upgrade() -> None:
    _make_anew((*_DATA, *_NEW, *_OTHERS), kept="1")


def downgrade() -> None:
    """Setups that were withheld for the new reasons are lost: the older tables have no word for them."""
    _make_anew((*_DATA, *_OTHERS), kept="reason NOT IN ('data_doubtful', 'not_in_universe')")


def _make_anew(reasons: tuple[str, ...], *, kept: str) -> None:
    """SQLite changes no constraint of a table, so the table is made anew and filled from the old one."""
    op.drop_index(op.f("ix_setups_run_id_symbol_time_ms"), table_name="setups")
    op.rename_table("setups", "setups_before")
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    op.create_table(
        "setups",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("readiness", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.Column("measured", sa.Float(), nullable=True),
        sa.Column("limit_value", sa.Float(), nullable=True),
        sa.CheckConstraint(f"reason IN ({listed})", name=op.f("ck_setups_reason")),
        sa.CheckConstraint("verdict IN ('TAKE', 'SKIP', 'NEAR_MISS')", name=op.f("ck_setups_verdict")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_setups_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "time_ms", "symbol", "strategy", name=op.f("pk_setups")),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO setups SELECT * FROM setups_before WHERE {kept}")  # noqa: S608 - our own words
    op.drop_table("setups_before")
    op.create_index(op.f("ix_setups_run_id_symbol_time_ms"), "setups", ["run_id", "symbol", "time_ms"])
