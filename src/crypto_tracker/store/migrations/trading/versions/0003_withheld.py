"""Two more reasons, which a setup comes with: data of too little quality, and a day's universe without it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
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
    _make_anew(
        (*_DATA, *_OTHERS), kept="reason IS NULL OR reason NOT IN ('data_doubtful', 'not_in_universe')"
    )


def _make_anew(reasons: tuple[str, ...], *, kept: str) -> None:
    """SQLite changes no constraint of a table, so both tables are made anew and filled from the old ones."""
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    op.drop_index(op.f("ix_setups_symbol_time_ms"), table_name="setups")
    op.drop_index(op.f("ix_orders_trade_group_id"), table_name="orders")
    op.drop_index(op.f("ix_orders_status"), table_name="orders")
    for name in ("orders", "setups"):
        op.rename_table(name, f"{name}_before")
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("quote", sa.BigInteger(), nullable=False),
        sa.Column("limit_price", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("placed_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("version", sa.String(), nullable=False),
        sa.CheckConstraint("(kind = 'market') = (rung = 0)", name=op.f("ck_orders_rung_of_kind")),
        sa.CheckConstraint(
            "(status IN ('open', 'partially_filled')) = (ended_ms IS NULL)", name=op.f("ck_orders_ended")
        ),
        sa.CheckConstraint("kind IN ('market', 'rung')", name=op.f("ck_orders_kind")),
        sa.CheckConstraint(f"reason IN ({listed})", name=op.f("ck_orders_reason")),
        sa.CheckConstraint(
            "status IN ('open', 'partially_filled', 'filled', 'cancelled', 'expired')",
            name=op.f("ck_orders_status"),
        ),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_orders_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
    )
    op.create_table(
        "setups",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("setup_number", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("readiness", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.Column("measured", sa.Float(), nullable=True),
        sa.Column("limit_value", sa.Float(), nullable=True),
        sa.Column("version", sa.String(), nullable=False),
        sa.CheckConstraint(f"reason IN ({listed})", name=op.f("ck_setups_reason")),
        sa.CheckConstraint("verdict IN ('TAKE', 'SKIP', 'NEAR_MISS')", name=op.f("ck_setups_verdict")),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_setups_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("time_ms", "symbol", "strategy", name=op.f("pk_setups")),
        sa.UniqueConstraint("setup_number", name=op.f("uq_setups_setup_number")),
    )
    for name in ("orders", "setups"):
        op.execute(f"INSERT INTO {name} SELECT * FROM {name}_before WHERE {kept}")  # noqa: S608 - our own words
        op.drop_table(f"{name}_before")
    op.create_index(op.f("ix_orders_status"), "orders", ["status"], unique=False)
    op.create_index(op.f("ix_orders_trade_group_id"), "orders", ["trade_group_id"], unique=False)
    op.create_index(op.f("ix_setups_symbol_time_ms"), "setups", ["symbol", "time_ms"], unique=False)
