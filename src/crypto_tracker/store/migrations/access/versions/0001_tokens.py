"""The tokens of the web server."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_tokens_digest")),
        sa.CheckConstraint("scopes IN ('read', 'control', 'control,read')", name=op.f("ck_tokens_scopes")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_tokens")),
    )
    op.create_index(
        op.f("ix_tokens_name"), "tokens", ["name"], unique=True, sqlite_where=sa.text("revoked_at_ms IS NULL")
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_tokens_name"), table_name="tokens")
    op.drop_table("tokens")
