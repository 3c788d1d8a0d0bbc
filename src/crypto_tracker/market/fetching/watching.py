"""What a fetching job tells while it runs, for those who show it."""

from typing import Protocol

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.fetching.planning import Chunk, Plan


class Watcher(Protocol):
    """Hears what happens. It is called on the event loop, so it must be quick."""

    def planned(self, plan: Plan) -> None:
        """What will be fetched."""
        ...

    def chunk_done(self, chunk: Chunk, bars: int, requests: int) -> None:
        """A chunk is in the store; `bars` were given by the provider."""
        ...

    def chunk_failed(self, chunk: Chunk, reason: str) -> None:
        """A chunk stays missing; asking again later may help."""
        ...

    def chunk_lacking(self, chunk: Chunk, reason: str) -> None:
        """The provider lacks a chunk for good."""
        ...

    def inactive(self, symbol: Symbol, reason: str, dropped: int) -> None:
        """The provider does not have a symbol (any more), so `dropped` chunks of it are not asked for."""
        ...

    def waiting(self, seconds: float, reason: str) -> None:
        """Nothing is asked for during this time."""
        ...


class BulkWatcher(Watcher, Protocol):
    """A watcher that hears also of day files."""

    def left_out(self, chunk: Chunk) -> None:
        """A chunk that was planned for day files is to be fetched by request instead."""
        ...


class Unwatched:
    """A watcher that shows nothing."""

    def planned(self, plan: Plan) -> None:
        """Show nothing."""

    def chunk_done(self, chunk: Chunk, bars: int, requests: int) -> None:
        """Show nothing."""

    def chunk_failed(self, chunk: Chunk, reason: str) -> None:
        """Show nothing."""

    def chunk_lacking(self, chunk: Chunk, reason: str) -> None:
        """Show nothing."""

    def inactive(self, symbol: Symbol, reason: str, dropped: int) -> None:
        """Show nothing."""

    def waiting(self, seconds: float, reason: str) -> None:
        """Show nothing."""

    def left_out(self, chunk: Chunk) -> None:
        """Show nothing."""
