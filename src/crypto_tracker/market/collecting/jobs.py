"""What a collector makes of the progress of its fetching jobs."""

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.collecting.health import Health
from crypto_tracker.market.collecting.times import SteadyTime
from crypto_tracker.market.fetching.planning import Chunk, Plan

REQUESTS = "requests"
"""The part of a collector's health that requests are."""


class JobWatch:
    """Counts what is still to be fetched, and tells when the provider is left alone."""

    def __init__(self, health: Health, steady: SteadyTime) -> None:
        self._health = health
        self._steady = steady
        self._left = 0
        self._rests_until_ms: int | None = None

    def planned(self, plan: Plan) -> None:
        """What will be fetched."""
        self._left = len(plan.chunks)
        self._health.backlog_chunks += self._left

    def chunk_done(self, chunk: Chunk, bars: int, requests: int) -> None:  # noqa: ARG002 - of the protocol
        """A chunk is in the store."""
        self._health.counts["requests"] += requests
        self._less(1)
        if self._rests_until_ms is not None and self._steady.now_ms() >= self._rests_until_ms:
            self._rests_until_ms = None
            self._health.sound(REQUESTS)

    def chunk_failed(self, chunk: Chunk, reason: str) -> None:  # noqa: ARG002
        """A chunk stays missing; the job's summary says so."""
        self._less(1)

    def chunk_lacking(self, chunk: Chunk, reason: str) -> None:  # noqa: ARG002
        """The provider lacks a chunk for good."""
        self._less(1)

    def inactive(self, symbol: Symbol, reason: str, dropped: int) -> None:  # noqa: ARG002
        """Chunks are not asked for; whether the symbol is gone, the list of markets says."""
        self._less(dropped)

    def left_out(self, chunk: Chunk) -> None:
        """A chunk is fetched in another way: never here, where every chunk is a request."""

    def waiting(self, seconds: float, reason: str) -> None:
        """Nothing is asked for during this time."""
        self._rests_until_ms = self._steady.now_ms() + int(seconds * 1_000)
        self._health.counts["trouble_waiting"] += 1
        self._health.trouble(REQUESTS, reason)

    def over(self) -> None:
        """The job has ended, in whatever way."""
        self._less(self._left)

    def _less(self, chunks: int) -> None:
        chunks = min(chunks, self._left)
        self._left -= chunks
        self._health.backlog_chunks -= chunks
