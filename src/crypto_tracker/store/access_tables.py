"""The table of the tokens that the web server answers to.

The migrations under `migrations/access` make it; a test holds the two equal. Times are UTC milliseconds.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, MetaData, String, Table, text

from crypto_tracker.store.types import NAMING, one_of

metadata = MetaData(naming_convention=NAMING)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", String, primary_key=True),  # 8 hexadecimal digits, part of the token's text
    Column("name", String, nullable=False),  # whom or what it is for
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the whole text, which is nowhere kept
    Column("scopes", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger),
    Column("revoked_at_ms", BigInteger),
    CheckConstraint("length(digest) = 32", name="digest"),
    one_of("scopes", ["read", "control", "control,read"]),
    Index(None, "name", unique=True, sqlite_where=text("revoked_at_ms IS NULL")),
)
"""Every token that was ever given out; one that was revoked stays as a row, and its name is free again."""
