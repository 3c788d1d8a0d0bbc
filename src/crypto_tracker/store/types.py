"""Column types that keep money exact in every database."""

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Dialect, String, TypeDecorator

from crypto_tracker.core.money import to_decimal, to_e8


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
