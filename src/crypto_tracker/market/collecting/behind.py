"""Symbols that are fetched alone, each after waits of its own, so that the others need not wait; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crypto_tracker.config.market_data import Collector
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.net.reconnect import Reconnect

WAIT_MAX_SECONDS = 900.0
"""Between two attempts for one symbol."""
NEW = "its bars are being fetched"
_NAMED = 3  # symbols in a sentence


@dataclass(slots=True)
class _Alone:
    reason: str
    due_ms: int
    policy: Reconnect


@dataclass(slots=True)
class Behind:
    """The symbols that are not up to date because of themselves, and when each is tried again."""

    settings: Collector
    _alone: dict[Symbol, _Alone] = field(default_factory=dict)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._alone

    def __len__(self) -> int:
        return len(self._alone)

    def came(self, symbol: Symbol, now_ms: int) -> None:
        """A symbol is collected from now on, and nothing of it was fetched yet."""
        self._alone.setdefault(symbol, _Alone(NEW, now_ms, slowly(self.settings)))

    def failed(self, symbol: Symbol, reason: str, now_ms: int) -> None:
        """A symbol could not be fetched; it is tried again after a wait that grows."""
        alone = self._alone.setdefault(symbol, _Alone(reason, now_ms, slowly(self.settings)))
        alone.reason = reason
        alone.due_ms = now_ms + int(alone.policy.failed(reason) * 1_000)

    def hurry(self, now_ms: int) -> None:
        """Try all of them now."""
        for alone in self._alone.values():
            alone.due_ms = min(alone.due_ms, now_ms)

    def done(self, symbol: Symbol) -> None:
        """A symbol is up to date, or nobody collects it any more."""
        self._alone.pop(symbol, None)

    def keep(self, symbols: Iterable[Symbol]) -> None:
        """Forget all but these."""
        kept = set(symbols)
        self._alone = {symbol: alone for symbol, alone in self._alone.items() if symbol in kept}

    def next_ms(self) -> int | None:
        """When the next one is to be tried; None where there is none."""
        return min((alone.due_ms for alone in self._alone.values()), default=None)

    def due(self, now_ms: int) -> Symbol | None:
        """The one that waited longest, of those that are to be tried now."""
        due = [(alone.due_ms, symbol) for symbol, alone in self._alone.items() if alone.due_ms <= now_ms]
        return min(due)[1] if due else None

    @property
    def reasons(self) -> Mapping[Symbol, str]:
        """Why each is behind."""
        return {symbol: alone.reason for symbol, alone in sorted(self._alone.items())}


def slowly(settings: Collector) -> Reconnect:
    """The policy of what nobody waits for: its waits grow for longer."""
    longest = max(settings.backoff_max_seconds, WAIT_MAX_SECONDS)
    return Reconnect(settings.model_copy(update={"backoff_max_seconds": longest}))


def behind_words(reasons: Mapping[Symbol, str], symbols: int) -> str:
    """Who is behind, in one clause; empty where nobody is.

    >>> behind_words({Symbol("BTC", "USD"): "kraken is not to be had"}, 5)
    '1 of 5 symbols is behind: BTC/USD (kraken is not to be had)'
    """
    if not reasons:
        return ""
    named = [f"{symbol} ({reason})" for symbol, reason in list(reasons.items())[:_NAMED]]
    if len(reasons) > _NAMED:
        named.append(f"and {len(reasons) - _NAMED} more")
    verb = "is" if len(reasons) == 1 else "are"
    return f"{len(reasons)} of {symbols} symbols {verb} behind: {', '.join(named)}"
