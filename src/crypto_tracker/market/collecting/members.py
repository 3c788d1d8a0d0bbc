"""Which of the wanted symbols a provider has, by looks at its markets that may be wrong; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.market.providers.base import MarketInfo

APART_MS = MINUTE_MS
"""Between the two looks that make a symbol inactive."""
_NAMED = 3  # symbols in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one look at the markets says.

    Attributes
    ----------
    gone : symbols that have become inactive, with the reason
    back : symbols that were inactive and are traded again
    trouble : what is wrong with the list itself, in one sentence; empty where nothing is
    """

    gone: Mapping[Symbol, str]
    back: tuple[Symbol, ...]
    trouble: str


@dataclass(slots=True)
class Members:
    """The symbols that are collected.

    What was never traded here is inactive after one look that does not have it. What was traded is inactive
    after two looks in a row that do not have it, with a minute between them: lists are wrong at times. One
    that lacks more than half of what was traded is no verdict at all, such as during maintenance.

    Attributes
    ----------
    active : those that are collected, in the order in which they were wanted
    inactive : those that are not, with the reason
    """

    provider: str
    wanted: tuple[Symbol, ...]
    inactive: dict[Symbol, str] = field(default_factory=dict)
    _traded: set[Symbol] = field(default_factory=set)  # seen active, and not inactive since
    _absent_since: dict[Symbol, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, provider: str, wanted: Sequence[Symbol], traded: Iterable[Symbol], inactive: Mapping[Symbol, str]
    ) -> "Members":
        """The members as they were left: those that were traded here, and those that were inactive."""
        return cls(
            provider,
            tuple(wanted),
            {symbol: inactive[symbol] for symbol in wanted if symbol in inactive},
            {symbol for symbol in traded if symbol in set(wanted) and symbol not in inactive},
        )

    @property
    def active(self) -> tuple[Symbol, ...]:
        """Those that are collected, in the order in which they were wanted."""
        return tuple(symbol for symbol in self.wanted if symbol not in self.inactive)

    @property
    def doubted(self) -> tuple[Symbol, ...]:
        """Those that the last look did not have, and that are collected until the next one says the same."""
        return tuple(self._absent_since)

    def look(self, markets: Sequence[MarketInfo], now_ms: int) -> Verdict:
        """Take in the list of markets."""
        absent = self._absent(markets)
        lacked = [symbol for symbol in self.wanted if symbol in self._traded and symbol in absent]
        if 2 * len(lacked) > len(self._traded):
            trouble = (
                f"the list of markets lacks {len(lacked)} of {len(self._traded)} symbols that were traded "
                f"({_names(lacked)}): they are collected all the same"
            )
            # Of those that were never traded nothing better is known.
            unmet = {each: why for each, why in absent.items() if each not in self._traded}
            return self._judge(unmet, lacked, trouble)
        for symbol in lacked:
            since_ms = self._absent_since.get(symbol, now_ms)
            self._absent_since[symbol] = min(since_ms, now_ms)
        doubted = [each for each in lacked if now_ms - self._absent_since[each] < APART_MS]
        gone = {symbol: reason for symbol, reason in absent.items() if symbol not in doubted}
        self._absent_since = {symbol: self._absent_since[symbol] for symbol in doubted}
        return self._judge(gone, doubted, "")

    def _absent(self, markets: Sequence[MarketInfo]) -> dict[Symbol, str]:
        listed = {market.symbol: market.active for market in markets}
        absent = {}
        for symbol in self.wanted:
            if symbol not in listed:
                absent[symbol] = f"{self.provider} does not have it"
            elif not listed[symbol]:
                absent[symbol] = f"{self.provider} no longer trades it"
        return absent

    def _judge(self, absent: Mapping[Symbol, str], kept: Sequence[Symbol], trouble: str) -> Verdict:
        """Make the absent inactive, and those active that are neither absent nor kept as they are."""
        gone = {symbol: reason for symbol, reason in absent.items() if symbol not in self.inactive}
        back = tuple(
            symbol for symbol in self.wanted if symbol in self.inactive and symbol not in {*absent, *kept}
        )
        self.inactive = dict(absent)
        self._traded = {symbol for symbol in self.wanted if symbol not in absent}
        if self.wanted and not self.active and not trouble:
            trouble = f"no symbol can be collected ({_reason(absent)})"
        return Verdict(gone=gone, back=back, trouble=trouble)


def _names(symbols: Sequence[Symbol]) -> str:
    """The first of them by name, the others by their number.

    >>> _names([Symbol("BTC", "USD"), Symbol("ETH", "USD")])
    'BTC/USD, ETH/USD'
    """
    named = ", ".join(map(str, symbols[:_NAMED]))
    others = len(symbols) - _NAMED
    return named if others <= 0 else f"{named} and {others} more"


def _reason(absent: Mapping[Symbol, str]) -> str:
    symbol, reason = next(iter(absent.items()))
    return f"{symbol}: {reason}" if len(absent) == 1 else f"{symbol} and {len(absent) - 1} more: {reason}"
