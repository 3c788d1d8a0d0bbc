"""How trades left open stood, and the orders of all setups.

Runs that were recorded before have no rows in these tables.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_EXITS = (
    "'none', 'take_profit', 'stop_loss', 'trailing_stop', 'time_exit', 'manual', 'market_transition', "
    "'data_lost', 'end_of_data'"
)
_STATUSES = "'open', 'partially_filled', 'filled', 'cancelled', 'expired'"


def upgrade() -> None:
    op.create_table(
        "positions",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("open_quantity", sa.String(), nullable=False),
        sa.Column("mark_price", sa.Float(), nullable=False),
        sa.Column("stop_price", sa.Float(), nullable=False),
        sa.Column("target_price", sa.Float(), nullable=False),
        sa.Column("trailing_armed", sa.Boolean(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("exit_pending", sa.String(), nullable=True),
        sa.CheckConstraint(f"exit_pending IN ({_EXITS})", name=op.f("ck_positions_exit_pending")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_positions_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "trade_group_id", name=op.f("pk_positions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "orders",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trade_group_id", sa.String(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("quote", sa.BigInteger(), nullable=False),
        sa.Column("limit_price", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("placed_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.CheckConstraint(f"status IN ({_STATUSES})", name=op.f("ck_orders_status")),
        sa.CheckConstraint(
            "(status IN ('open', 'partially_filled')) = (ended_ms IS NULL)", name=op.f("ck_orders_ended")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_orders_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "trade_group_id", "rung", name=op.f("pk_orders")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("orders")
    op.drop_table("positions")
