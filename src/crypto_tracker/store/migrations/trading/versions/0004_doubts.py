"""The gate of data quality in the journal."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "doubts",
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("score_min", sa.Float(), nullable=False),
        sa.CheckConstraint("score < score_min", name=op.f("ck_doubts_score")),
        sa.PrimaryKeyConstraint("time_ms", "symbol", name=op.f("pk_doubts")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("doubts")
