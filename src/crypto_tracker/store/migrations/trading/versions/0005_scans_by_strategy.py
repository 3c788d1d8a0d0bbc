"""The scans of one strategy are found without reading those of the others."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NAME = "ix_decision_blocks_strategy_time_ms"


def upgrade() -> None:
    op.create_index(op.f(_NAME), "decision_blocks", ["strategy", "time_ms"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f(_NAME), table_name="decision_blocks")
