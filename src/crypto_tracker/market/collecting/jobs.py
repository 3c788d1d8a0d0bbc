"""What a collector makes of the progress of its fetching jobs."""

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.collecting.health import Health, Watcher
from crypto_tracker.market.collecting.times import MarketTime
from crypto_tracker.market.fetching.planning import Chunk, Plan


class JobWatch:
    """Counts what is still to be fetched, and passes on what people should know."""

    def __init__(self, health: Health, watcher: Watcher, provider: str, time: MarketTime) -> None:
        self._health = health
        self._time = time
        self._watcher = watcher
        self._provider = provider
        self._left = 0

    def planned(self, plan: Plan) -> None:
        """What will be fetched."""
        self._left = len(plan.chunks)
        self._health.backlog_chunks += self._left

    def chunk_done(self, chunk: Chunk, bars: int, requests: int) -> None:  # noqa: ARG002 - of the protocol
        """A chunk is in the store."""
        self._health.counts["requests"] += requests
        self._less(1)

    def chunk_failed(self, chunk: Chunk, reason: str) -> None:  # noqa: ARG002
        """A chunk stays missing; the job's summary says so."""
        self._less(1)

    def chunk_lacking(self, chunk: Chunk, reason: str) -> None:  # noqa: ARG002
        """The provider lacks a chunk for good."""
        self._less(1)

    def inactive(self, symbol: Symbol, reason: str, dropped: int) -> None:
        """The provider does not have a symbol (any more)."""
        self._less(dropped)
        self._watcher.noted(self._provider, f"{symbol} is inactive: {reason}")

    def left_out(self, chunk: Chunk) -> None:
        """A chunk is fetched in another way: never here, where every chunk is a request."""

    def waiting(self, seconds: float, reason: str) -> None:
        """Nothing is asked for during this time."""
        sentence = f"waits {seconds:.0f} s before it asks again ({reason})"
        self._health.mention("waiting", sentence, self._time.now_ms())

    def over(self) -> None:
        """The job has ended, in whatever way."""
        self._less(self._left)

    def _less(self, chunks: int) -> None:
        chunks = min(chunks, self._left)
        self._left -= chunks
        self._health.backlog_chunks -= chunks
