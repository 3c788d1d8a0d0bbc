"""What is known of a book besides its records: its symbols, whose bars they have, its rules, its present."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crypto_tracker.app.serving.book_memory import BookMemory
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.orders import Fill
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.decisions import ScanBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One account or recorded run, as it stands at `until_ms`.

    Attributes
    ----------
    account : its id, such as `paper` or `run:17`
    bars : those of its home
    symbols, strategies : in the order of its records
    providers : whose bars each symbol has, the reference included
    history : whose bars stand in where the provider has none; "" for nobody's
    installed : every strategy that there is now, by name; one of `strategies` may be missing
    configuration, version : under which the next minute is stepped, or the run was made
    start_ms, until_ms : its span; nothing that closes after `until_ms` may be shown
    live : whether it is a trading account
    near_miss_readiness : from which readiness on a scan that is no setup is a near miss
    base : the bars that its orders meet; a strategy of a finer timeframe scans these
    memory : what is kept of it between requests
    """

    account: str
    bars: HomeBars
    symbols: tuple[Symbol, ...]
    reference: Symbol | None
    providers: Mapping[Symbol, str]
    history: str
    strategies: tuple[str, ...]
    installed: Mapping[str, Strategy]
    configuration: Configuration
    version: str
    quote: str
    start_ms: int
    until_ms: int
    live: bool
    near_miss_readiness: float
    now_ms: Callable[[], int]
    base: Timeframe = Timeframe.M1
    memory: BookMemory = field(default_factory=BookMemory, repr=False)

    @property
    def home(self) -> Path:
        """Where everything of it is stored."""
        return self.bars.home


class Scanned(Protocol):
    """The recorded scans, setups and fills of a book."""

    def blocks(
        self,
        strategies: Sequence[str],
        start_ms: int | None,
        end_ms: int | None,
        *,
        limit: int | None,
        newest_first: bool,
    ) -> Iterator[ScanBlock]:
        """Blocks of the closes in [start_ms, end_ms)."""
        ...

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        """The blocks of these closes as they are stored, those that there are, with their closes, in order.

        Each is looked up by its key, so that a long span can be asked for here and there.
        """
        ...

    def setups_of(
        self, symbol: Symbol, strategies: Sequence[str], start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[SetupRecord]:
        """The newest setups and near misses of a symbol, oldest first."""
        ...

    def fills_of(self, symbol: Symbol, start_ms: int, end_ms: int, *, trades: int) -> list[Fill]:
        """The fills of a symbol in bars that open in [start_ms, end_ms), of its newest so many trades."""
        ...
