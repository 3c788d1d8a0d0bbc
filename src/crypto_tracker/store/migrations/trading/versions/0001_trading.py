"""A trading account: its records, its state and the journal of what it saw."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("symbols", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("providers", sa.String(), nullable=False),
        sa.Column("strategies", sa.String(), nullable=False),
        sa.Column("capital_quote", sa.BigInteger(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('paper', 'replay')", name=op.f("ck_account_kind")),
        sa.CheckConstraint("account_id = 1", name=op.f("ck_account_only_one")),
        sa.CheckConstraint("end_ms IS NULL OR end_ms > start_ms", name=op.f("ck_account_span")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account")),
    )
    op.create_table(
        "command_results",
        sa.Column("command_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("status IN ('applied', 'refused')", name=op.f("ck_command_results_status")),
        sa.PrimaryKeyConstraint("command_id", name=op.f("pk_command_results")),
    )
    op.create_index(op.f("ix_command_results_time_ms"), "command_results", ["time_ms"], unique=False)
    op.create_table(
        "commands_applied",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=True),
        sa.Column("strategy", sa.String(), nullable=True),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("command_id", sa.String(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('pause', 'resume', 'close', 'force_regime', 'release_regime', 'clear_cooldown', "
            "'clear_streak', 'strategy_off', 'strategy_on', 'block', 'unblock', 'configure')",
            name=op.f("ck_commands_applied_kind"),
        ),
        sa.PrimaryKeyConstraint("time_ms", "sequence", name=op.f("pk_commands_applied")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "configurations",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("canonical", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_configurations")),
    )
    op.create_table(
        "decision_blocks",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("block", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("time_ms", "strategy", name=op.f("pk_decision_blocks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fills",
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("bar_open_ms", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("notional_quote", sa.BigInteger(), nullable=False),
        sa.Column("fee_quote", sa.BigInteger(), nullable=False),
        sa.Column("slippage_quote", sa.BigInteger(), nullable=False),
        sa.Column("exit_reason", sa.String(), nullable=False),
        sa.Column("volume_unknown", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "exit_reason IN ('none', 'take_profit', 'stop_loss', 'trailing_stop', 'time_exit', 'manual', "
            "'market_transition', 'data_lost', 'end_of_data')",
            name=op.f("ck_fills_exit_reason"),
        ),
        sa.CheckConstraint("kind IN ('entry', 'rung', 'exit')", name=op.f("ck_fills_kind")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_fills")),
    )
    op.create_index(op.f("ix_fills_bar_open_ms"), "fills", ["bar_open_ms"], unique=False)
    op.create_index(op.f("ix_fills_trade_group_id"), "fills", ["trade_group_id"], unique=False)
    op.create_table(
        "halts",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=True),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "cause IN ('scan_failed', 'ledger_mismatch', 'invariant_broken')", name=op.f("ck_halts_cause")
        ),
        sa.PrimaryKeyConstraint("time_ms", "sequence", name=op.f("pk_halts")),
    )
    op.create_table(
        "healed",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("timeframe", sa.String(), nullable=False),
        sa.Column("block", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("part IN ('traded', 'reference')", name=op.f("ck_healed_part")),
        sa.PrimaryKeyConstraint("time_ms", "part", "timeframe", name=op.f("pk_healed")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "history",
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("timeframe", sa.String(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("part IN ('traded', 'reference')", name=op.f("ck_history_part")),
        sa.PrimaryKeyConstraint("part", "timeframe", name=op.f("pk_history")),
    )
    op.create_table(
        "range_medians",
        sa.Column("day_ms", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("median", sa.Float(), nullable=True),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day_ms", "symbol", name=op.f("pk_range_medians")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_range_medians_time_ms"), "range_medians", ["time_ms"], unique=False)
    op.create_table(
        "seen_rows",
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("timeframe", sa.String(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("part IN ('traded', 'reference')", name=op.f("ck_seen_rows_part")),
        sa.PrimaryKeyConstraint("part", "timeframe", "time_ms", name=op.f("pk_seen_rows")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("cursor_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_checkpoints_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("time_ms", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "minutes",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("seen", sa.LargeBinary(), nullable=False),
        sa.Column("bars_digest", sa.LargeBinary(), nullable=False),
        sa.Column("equity_quote", sa.BigInteger(), nullable=False),
        sa.Column("cash_quote", sa.BigInteger(), nullable=False),
        sa.Column("reserved_quote", sa.BigInteger(), nullable=False),
        sa.Column("regime", sa.String(), nullable=False),
        sa.Column("volatility", sa.Float(), nullable=True),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "regime IN ('normal', 'caution', 'euphoria', 'panic')", name=op.f("ck_minutes_regime")
        ),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_minutes_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("time_ms", name=op.f("pk_minutes")),
    )
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
        sa.CheckConstraint(
            "reason IN ('accepted', 'not_ready', 'no_bar', 'data_stale', 'drop_too_small', 'volume_low', "
            "'regime_crash', 'breakout_too_small', 'rsi_low', 'trend_down', 'no_channel', "
            "'too_few_touches', 'channel_weak', 'channel_too_narrow', 'not_in_buy_zone', "
            "'target_below_costs', 'rule_not_met', 'unsupported_side', 'paused', 'blocked', 'strategy_off', "
            "'volatility_high', 'regime_panic', 'day_loss', 'losing_streak', 'cooldown', 'symbol_limit', "
            "'same_episode', 'confidence_low', 'trailing_too_tight', 'outranked', 'size_too_small', "
            "'strategy_limit', 'portfolio_limit', 'strategy_exposure', 'concentration', 'share_used', "
            "'no_cash', 'drawdown', 'no_edge', 'slippage_too_high', 'expired', 'cancelled')",
            name=op.f("ck_orders_reason"),
        ),
        sa.CheckConstraint(
            "status IN ('open', 'partially_filled', 'filled', 'cancelled', 'expired')",
            name=op.f("ck_orders_status"),
        ),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_orders_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
    )
    op.create_index(op.f("ix_orders_status"), "orders", ["status"], unique=False)
    op.create_index(op.f("ix_orders_trade_group_id"), "orders", ["trade_group_id"], unique=False)
    op.create_table(
        "positions",
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("decision_ms", sa.BigInteger(), nullable=False),
        sa.Column("entry_ms", sa.BigInteger(), nullable=False),
        sa.Column("entry_price", sa.String(), nullable=False),
        sa.Column("exit_price", sa.String(), nullable=True),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("open_quantity", sa.String(), nullable=False),
        sa.Column("invested_quote", sa.BigInteger(), nullable=False),
        sa.Column("fee_quote", sa.BigInteger(), nullable=False),
        sa.Column("slippage_quote", sa.BigInteger(), nullable=False),
        sa.Column("pnl_quote", sa.BigInteger(), nullable=False),
        sa.Column("return_net", sa.Float(), nullable=False),
        sa.Column("exit_reason", sa.String(), nullable=False),
        sa.Column("entry_fills", sa.Integer(), nullable=False),
        sa.Column("ambiguous", sa.Boolean(), nullable=False),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.Column("mark_price", sa.Float(), nullable=False),
        sa.Column("stop_price", sa.Float(), nullable=False),
        sa.Column("target_price", sa.Float(), nullable=False),
        sa.Column("trailing_armed", sa.Boolean(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("exit_pending", sa.String(), nullable=True),
        sa.Column("version", sa.String(), nullable=False),
        sa.CheckConstraint(
            "exit_pending IN ('none', 'take_profit', 'stop_loss', 'trailing_stop', 'time_exit', 'manual', "
            "'market_transition', 'data_lost', 'end_of_data')",
            name=op.f("ck_positions_exit_pending"),
        ),
        sa.CheckConstraint(
            "exit_reason IN ('none', 'take_profit', 'stop_loss', 'trailing_stop', 'time_exit', 'manual', "
            "'market_transition', 'data_lost', 'end_of_data')",
            name=op.f("ck_positions_exit_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_positions_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_positions")),
        sa.UniqueConstraint("trade_group_id", name=op.f("uq_positions_trade_group_id")),
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
        sa.CheckConstraint(
            "reason IN ('accepted', 'not_ready', 'no_bar', 'data_stale', 'drop_too_small', 'volume_low', "
            "'regime_crash', 'breakout_too_small', 'rsi_low', 'trend_down', 'no_channel', "
            "'too_few_touches', 'channel_weak', 'channel_too_narrow', 'not_in_buy_zone', "
            "'target_below_costs', 'rule_not_met', 'unsupported_side', 'paused', 'blocked', 'strategy_off', "
            "'volatility_high', 'regime_panic', 'day_loss', 'losing_streak', 'cooldown', 'symbol_limit', "
            "'same_episode', 'confidence_low', 'trailing_too_tight', 'outranked', 'size_too_small', "
            "'strategy_limit', 'portfolio_limit', 'strategy_exposure', 'concentration', 'share_used', "
            "'no_cash', 'drawdown', 'no_edge', 'slippage_too_high', 'expired', 'cancelled')",
            name=op.f("ck_setups_reason"),
        ),
        sa.CheckConstraint("verdict IN ('TAKE', 'SKIP', 'NEAR_MISS')", name=op.f("ck_setups_verdict")),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_setups_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("time_ms", "symbol", "strategy", name=op.f("pk_setups")),
        sa.UniqueConstraint("setup_number", name=op.f("uq_setups_setup_number")),
    )
    op.create_index(op.f("ix_setups_symbol_time_ms"), "setups", ["symbol", "time_ms"], unique=False)
    op.create_table(
        "trader",
        sa.Column("trader_id", sa.Integer(), nullable=False),
        sa.Column("cursor_ms", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("trader_id = 1", name=op.f("ck_trader_only_one")),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_trader_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("trader_id", name=op.f("pk_trader")),
    )
    op.create_table(
        "trades",
        sa.Column("trade_number", sa.BigInteger(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("decision_ms", sa.BigInteger(), nullable=False),
        sa.Column("entry_ms", sa.BigInteger(), nullable=False),
        sa.Column("exit_ms", sa.BigInteger(), nullable=False),
        sa.Column("entry_price", sa.String(), nullable=False),
        sa.Column("exit_price", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("invested_quote", sa.BigInteger(), nullable=False),
        sa.Column("fee_quote", sa.BigInteger(), nullable=False),
        sa.Column("slippage_quote", sa.BigInteger(), nullable=False),
        sa.Column("pnl_quote", sa.BigInteger(), nullable=False),
        sa.Column("return_net", sa.Float(), nullable=False),
        sa.Column("exit_reason", sa.String(), nullable=False),
        sa.Column("entry_fills", sa.Integer(), nullable=False),
        sa.Column("ambiguous", sa.Boolean(), nullable=False),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.CheckConstraint(
            "exit_reason IN ('none', 'take_profit', 'stop_loss', 'trailing_stop', 'time_exit', 'manual', "
            "'market_transition', 'data_lost', 'end_of_data')",
            name=op.f("ck_trades_exit_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["version"], ["configurations.version"], name=op.f("fk_trades_version"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("trade_number", name=op.f("pk_trades")),
        sa.UniqueConstraint("trade_group_id", name=op.f("uq_trades_trade_group_id")),
    )
    op.create_index(op.f("ix_trades_exit_ms"), "trades", ["exit_ms"], unique=False)
    op.create_index(op.f("ix_trades_symbol_exit_ms"), "trades", ["symbol", "exit_ms"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_trades_symbol_exit_ms"), table_name="trades")
    op.drop_index(op.f("ix_trades_exit_ms"), table_name="trades")
    op.drop_table("trades")
    op.drop_table("trader")
    op.drop_index(op.f("ix_setups_symbol_time_ms"), table_name="setups")
    op.drop_table("setups")
    op.drop_table("positions")
    op.drop_index(op.f("ix_orders_trade_group_id"), table_name="orders")
    op.drop_index(op.f("ix_orders_status"), table_name="orders")
    op.drop_table("orders")
    op.drop_table("minutes")
    op.drop_table("checkpoints")
    op.drop_table("sessions")
    op.drop_table("seen_rows")
    op.drop_index(op.f("ix_range_medians_time_ms"), table_name="range_medians")
    op.drop_table("range_medians")
    op.drop_table("history")
    op.drop_table("healed")
    op.drop_table("halts")
    op.drop_index(op.f("ix_fills_trade_group_id"), table_name="fills")
    op.drop_index(op.f("ix_fills_bar_open_ms"), table_name="fills")
    op.drop_table("fills")
    op.drop_table("decision_blocks")
    op.drop_table("configurations")
    op.drop_table("commands_applied")
    op.drop_index(op.f("ix_command_results_time_ms"), table_name="command_results")
    op.drop_table("command_results")
    op.drop_table("account")
