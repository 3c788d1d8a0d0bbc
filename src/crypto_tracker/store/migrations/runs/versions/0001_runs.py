"""Recorded runs: decisions, setups, fills and trades."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("base", sa.String(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("symbols", sa.String(), nullable=False),
        sa.Column("strategies", sa.String(), nullable=False),
        sa.Column("configuration_version", sa.String(), nullable=False),
        sa.Column("configuration", sa.String(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('backtest', 'demo')", name=op.f("ck_runs_kind")),
        sa.CheckConstraint("state IN ('running', 'finished', 'interrupted')", name=op.f("ck_runs_state")),
        sa.CheckConstraint("end_ms > start_ms", name=op.f("ck_runs_span")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
    )
    op.create_table(
        "decision_blocks",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("block", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_decision_blocks_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "time_ms", "strategy", name=op.f("pk_decision_blocks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fills",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("bar_open_ms", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("notional_quote", sa.String(), nullable=False),
        sa.Column("fee_quote", sa.String(), nullable=False),
        sa.Column("slippage_quote", sa.String(), nullable=False),
        sa.Column("exit_reason", sa.String(), nullable=False),
        sa.Column("volume_unknown", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "exit_reason IN ('none', 'take_profit', 'stop_loss', 'trailing_stop', 'time_exit', "
            "'manual', 'market_transition', 'data_lost', 'end_of_data')",
            name=op.f("ck_fills_exit_reason"),
        ),
        sa.CheckConstraint("kind IN ('entry', 'rung', 'exit')", name=op.f("ck_fills_kind")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_fills_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "sequence", name=op.f("pk_fills")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_fills_run_id_trade_group_id"), "fills", ["run_id", "trade_group_id"], unique=False
    )
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
        sa.CheckConstraint(
            "reason IN ('accepted', 'not_ready', 'no_bar', 'data_stale', 'drop_too_small', "
            "'volume_low', 'regime_crash', 'breakout_too_small', 'rsi_low', 'trend_down', 'no_channel', "
            "'too_few_touches', 'channel_weak', 'channel_too_narrow', 'not_in_buy_zone', "
            "'target_below_costs', 'rule_not_met', 'unsupported_side', 'paused', 'blocked', "
            "'strategy_off', 'volatility_high', 'regime_panic', 'day_loss', 'losing_streak', "
            "'cooldown', 'symbol_limit', 'same_episode', 'confidence_low', 'trailing_too_tight', "
            "'outranked', 'size_too_small', 'strategy_limit', 'portfolio_limit', 'strategy_exposure', "
            "'concentration', 'share_used', 'no_cash', 'slippage_too_high', 'expired', 'cancelled')",
            name=op.f("ck_setups_reason"),
        ),
        sa.CheckConstraint("verdict IN ('TAKE', 'SKIP', 'NEAR_MISS')", name=op.f("ck_setups_verdict")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_setups_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "time_ms", "symbol", "strategy", name=op.f("pk_setups")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_setups_run_id_symbol_time_ms"), "setups", ["run_id", "symbol", "time_ms"], unique=False
    )
    op.create_table(
        "trades",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("decision_ms", sa.BigInteger(), nullable=False),
        sa.Column("entry_ms", sa.BigInteger(), nullable=False),
        sa.Column("exit_ms", sa.BigInteger(), nullable=True),
        sa.Column("entry_price", sa.String(), nullable=False),
        sa.Column("exit_price", sa.String(), nullable=True),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("invested_quote", sa.String(), nullable=False),
        sa.Column("fee_quote", sa.String(), nullable=False),
        sa.Column("slippage_quote", sa.String(), nullable=False),
        sa.Column("pnl_quote", sa.String(), nullable=False),
        sa.Column("return_net", sa.Float(), nullable=False),
        sa.Column("exit_reason", sa.String(), nullable=False),
        sa.Column("entry_fills", sa.Integer(), nullable=False),
        sa.Column("ambiguous", sa.Boolean(), nullable=False),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "exit_reason IN ('none', 'take_profit', 'stop_loss', 'trailing_stop', 'time_exit', "
            "'manual', 'market_transition', 'data_lost', 'end_of_data')",
            name=op.f("ck_trades_exit_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_trades_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "trade_group_id", name=op.f("pk_trades")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_trades_run_id_exit_ms"), "trades", ["run_id", "exit_ms"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_trades_run_id_exit_ms"), table_name="trades")
    op.drop_table("trades")
    op.drop_index(op.f("ix_setups_run_id_symbol_time_ms"), table_name="setups")
    op.drop_table("setups")
    op.drop_index(op.f("ix_fills_run_id_trade_group_id"), table_name="fills")
    op.drop_table("fills")
    op.drop_table("decision_blocks")
    op.drop_table("runs")
