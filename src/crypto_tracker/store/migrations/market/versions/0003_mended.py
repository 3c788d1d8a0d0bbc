"""Bars that were mended long after their time are noted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mended",
        sa.Column("mended_id", sa.Integer, nullable=False),
        sa.Column("symbol_id", sa.Integer, nullable=False),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("mended_id", name="pk_mended"),
        sa.ForeignKeyConstraint(
            ["symbol_id"], ["symbols.symbol_id"], name="fk_mended_symbol_id", ondelete="RESTRICT"
        ),
        sa.CheckConstraint("end_ms > start_ms", name=op.f("ck_mended_not_empty")),
    )


def downgrade() -> None:
    op.drop_table("mended")
