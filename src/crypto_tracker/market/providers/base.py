"""What every provider of bars gives: one protocol for history, one for streams, and what travels in them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.batch import BarBatch

RawBar = Callable[[int], Mapping[str, Any]]
"""Gives the fields of a bar of a batch, by its index, as the provider had them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketInfo:
    """One market of a provider: its own rules and fees, exact, None where it does not say.

    Attributes
    ----------
    provider_symbol : the provider's own spelling
    active : whether it is traded now
    tick, lot : price grid and quantity grid
    quantity_min, notional_min : smallest order in coins and in the quote currency
    taker_fee, maker_fee : fractions of the notional
    volume_quote : traded in the last 24 h, in the quote currency
    """

    symbol: Symbol
    provider_symbol: str
    active: bool = True
    tick: Decimal | None = None
    lot: Decimal | None = None
    quantity_min: Decimal | None = None
    notional_min: Decimal | None = None
    taker_fee: Decimal | None = None
    maker_fee: Decimal | None = None
    volume_quote: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a provider can be asked for on one timeframe.

    Attributes
    ----------
    page_bars : the most bars of one request
    oldest_ms : no bar that opens before it can be had; None where there is no limit
    newest_ms : no bar that closes after it can be had yet, besides those that have not closed
    why_oldest, why_newest : the reason in one clause, with what helps; empty without a limit
    """

    page_bars: int
    oldest_ms: int | None = None
    newest_ms: int | None = None
    why_oldest: str = ""
    why_newest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """An interval [start_ms, end_ms) that a provider lacks for good, and why."""

    start_ms: int
    end_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FetchedBars:
    """The answer to a request for history.

    Attributes
    ----------
    bars : closed bars only, unchecked, as the provider gave them
    covered : intervals that the answer covers wholly: where no bar is in them, nobody traded
    lacking : intervals that the provider lacks for good
    raw : the fields of single bars as the provider had them
    requests : how many requests it took
    why_open : why a part is neither covered nor lacking, where that is more than its being new
    """

    bars: BarBatch
    covered: tuple[tuple[int, int], ...]
    lacking: tuple[Lacking, ...] = ()
    raw: RawBar | None = None
    requests: int = 1
    why_open: str = ""


class History(Protocol):
    """A provider of past bars. Failures are `core.errors.ProviderError`s, after the retries of `net`."""

    @property
    def name(self) -> str:
        """The name under which its bars are stored, such as `massive` or `kraken`."""
        ...

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """Those that it can be asked for."""
        ...

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """What can be asked for at this moment."""
        ...

    async def markets(self) -> Sequence[MarketInfo]:
        """Every market of the provider that has a symbol of ours."""
        ...

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """The bars that open in [start_ms, end_ms), which lies on the grid and within `reach`.

        Raises UnknownToProvider for a symbol that it does not have, NotEntitled where the plan does not
        reach so far, ProviderRefused for a wrong key, ProviderUnavailable when all attempts have failed.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The stream is connected and will bring these symbols from now on."""

    symbols: tuple[Symbol, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamedBars:
    """Minutes of one symbol that the stream takes for closed; one that comes again is a correction."""

    symbol: Symbol
    bars: BarBatch
    raw: RawBar | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The connection is gone, or of no use; the stream connects anew by itself."""

    reason: str
    again_seconds: float  # until it tries again


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something in the stream that was left out: a message that cannot be read, a symbol not asked for.

    Where `may_hide_bars`, minutes that closed about now may have been in it: absence does not mean that
    nobody traded, until they have been asked for over REST.
    """

    kind: str
    detail: str
    may_hide_bars: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Proof that the connection lives: whatever the provider said before `at_ms` has been given out.

    What comes late proves nothing of when it was said, so only an answer to a question does, or a time that
    the provider itself wrote down. The moment is told by our clock and by that of the provider, whichever is
    earlier.
    """

    at_ms: int


StreamEvent = Subscribed | StreamedBars | Alive | Lost | Trouble


class Stream(Protocol):
    """A provider of minutes as they close."""

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        ...

    def events(self, symbols: Sequence[Symbol]) -> AsyncIterator[StreamEvent]:
        """What happens on the stream, for ever: it reconnects and subscribes anew by itself.

        Who iterates slowly slows the reading of the socket down, so that nothing piles up. Ends only by
        `aclose`, or by ProviderRefused where trying again is of no use, such as for a wrong key.
        """
        ...


def no_bars() -> BarBatch:
    """A batch without bars."""
    none = np.empty(0)
    return BarBatch(
        open_time_ms=np.empty(0, dtype=np.int64), open=none, high=none, low=none, close=none, volume=none
    )
