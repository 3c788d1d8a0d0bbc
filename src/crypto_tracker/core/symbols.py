"""Symbols: `BASE/QUOTE` for spot, `BASE/QUOTE:SETTLE` for perpetuals."""

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering

from crypto_tracker.core.errors import UsageError

_PART = re.compile(r"[A-Za-z0-9]{1,24}")


@total_ordering
@dataclass(frozen=True, slots=True)
class Symbol:
    """One instrument; ordered and printed by its text.

    >>> Symbol.parse("BTC/USDT").is_perpetual
    False
    >>> str(Symbol.parse("SOL/USDC:USDC"))
    'SOL/USDC:USDC'
    """

    base: str
    quote: str
    settle: str | None = None

    def __post_init__(self) -> None:
        for part in (self.base, self.quote, *([] if self.settle is None else [self.settle])):
            if not _PART.fullmatch(part):
                raise UsageError(
                    f"symbol part {part!r} is not a coin code: write BASE/QUOTE or BASE/QUOTE:SETTLE"
                )

    @classmethod
    def parse(cls, text: str) -> "Symbol":
        """Read `BASE/QUOTE` or `BASE/QUOTE:SETTLE`; raises UsageError on anything else."""
        return _parsed(text)

    @property
    def is_perpetual(self) -> bool:
        """Whether the symbol settles in a currency of its own, as perpetuals do."""
        return self.settle is not None

    def __str__(self) -> str:
        return f"{self.base}/{self.quote}" + (f":{self.settle}" if self.settle else "")

    def __lt__(self, other: "Symbol") -> bool:
        return str(self) < str(other)


@lru_cache(maxsize=4_096)  # rows of records name the same few symbols again and again
def _parsed(text: str) -> Symbol:
    pair, colon, settle = text.strip().partition(":")
    base, slash, quote = pair.partition("/")
    if not slash or (colon and not settle):
        raise UsageError(
            f"{text!r} is not a symbol: write BASE/QUOTE (spot) or BASE/QUOTE:SETTLE (perpetual)"
        )
    return Symbol(base, quote, settle or None)
