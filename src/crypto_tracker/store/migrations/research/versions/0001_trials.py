"""Trials: which configurations were held against which bars."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trials",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("base", sa.String(), nullable=False),
        sa.Column("symbols", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("synthetic", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("configuration_version", sa.String(), nullable=False),
        sa.Column("assignments", sa.String(), nullable=False),
        sa.Column("sharpe", sa.Float(), nullable=True),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("end_ms > start_ms", name=op.f("ck_trials_span")),
        sa.CheckConstraint("source IN ('optimize', 'backtest')", name=op.f("ck_trials_source")),
        sa.PrimaryKeyConstraint("trial_id", name=op.f("pk_trials")),
        sa.UniqueConstraint(
            "configuration_version",
            "start_ms",
            "end_ms",
            "base",
            "symbols",
            "data",
            name=op.f("uq_trials_configuration_version_start_ms_end_ms_base_symbols_data"),
        ),
    )
    op.create_index(op.f("ix_trials_start_ms_end_ms"), "trials", ["start_ms", "end_ms"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_trials_start_ms_end_ms"), table_name="trials")
    op.drop_table("trials")
