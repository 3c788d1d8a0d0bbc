"""The equity of a run, what its trades add up to, and its scans by strategy."""

from decimal import Decimal

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEX = "ix_decision_blocks_run_id_strategy_time_ms"


def upgrade() -> None:
    op.create_table(
        "equity",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("equity_quote", sa.BigInteger(), nullable=False),
        sa.Column("low_quote", sa.BigInteger(), nullable=False),
        sa.Column("high_quote", sa.BigInteger(), nullable=False),
        sa.Column("drawdown", sa.Float(), nullable=False),
        sa.CheckConstraint(
            "low_quote <= equity_quote AND equity_quote <= high_quote", name=op.f("ck_equity_within")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_equity_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "time_ms", name=op.f("pk_equity")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "totals",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("judged", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("open_trades", sa.Integer(), nullable=False),
        sa.Column("pnl_quote", sa.BigInteger(), nullable=False),
        sa.Column("invested_quote", sa.BigInteger(), nullable=False),
        sa.Column("equity_quote", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_totals_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_totals")),
    )
    _add_up_what_is_there()
    op.create_index(op.f(_INDEX), "decision_blocks", ["run_id", "strategy", "time_ms"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f(_INDEX), table_name="decision_blocks")
    op.drop_table("totals")
    op.drop_table("equity")


def _add_up_what_is_there() -> None:
    """Runs that were recorded before get their totals; their equity was not kept."""
    connection = op.get_bind()
    found = {
        run_id: [0, 0, 0, 0, 0, 0] for (run_id,) in connection.exec_driver_sql("SELECT run_id FROM runs")
    }
    trades = connection.exec_driver_sql("SELECT run_id, exit_reason, pnl_quote, invested_quote FROM trades")
    for run_id, exit_reason, pnl, invested in trades:
        totals = found[run_id]
        if exit_reason == "none":
            totals[3] += 1
            continue
        judged = exit_reason != "data_lost"
        totals[0] += 1
        totals[1] += judged
        totals[2] += judged and Decimal(pnl) > 0
        totals[4] += int(Decimal(pnl).scaleb(8))
        totals[5] += int(Decimal(invested).scaleb(8))
    for run_id, totals in found.items():
        connection.exec_driver_sql(
            "INSERT INTO totals (run_id, trades, judged, wins, open_trades, pnl_quote, invested_quote) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (run_id, *totals),
        )
