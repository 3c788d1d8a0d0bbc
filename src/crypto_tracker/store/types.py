"""What the tables of all databases share: names of constraints, and column types that keep money exact."""

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Dialect, String, TypeDecorator

from crypto_tracker.core.money import to_decimal, to_e8

NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
"""How constraints and indexes are named, so that migrations can name them too."""


def one_of(column: str, values: list[str]) -> CheckConstraint:
    """The constraint that a text column holds one of a closed set."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal kept as text, since SQLite would make a float of it: for prices and quantities."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Plain notation, never an exponent."""
        return None if value is None else format(value, "f")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - likewise
        """The same decimal again."""
        return None if value is None else Decimal(value)


class Money(TypeDecorator[Decimal]):
    """An exact amount kept as an integer number of 1e-8 quote, so that the database itself can add it up."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's
        """The integer; raises ValueError for an amount finer than 1e-8."""
        return None if value is None else to_e8(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - likewise
        """The same decimal again."""
        return None if value is None else to_decimal(value)
