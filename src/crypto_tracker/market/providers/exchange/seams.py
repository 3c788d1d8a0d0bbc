"""Where a session with an exchange can be recorded, and where a recording takes the place of the exchange."""

from collections.abc import AsyncIterator
from typing import Protocol

from crypto_tracker.market.recording.format import Record


class ExchangeRecorder(Protocol):
    """Notes what an exchange said, word for word."""

    def note_message(self, connection: str, text: str) -> None:
        """A message that came on the connection of this name."""
        ...

    def note_answer(self, method: str, url: str, status: int, text: str) -> None:
        """The answer to a request."""
        ...


class ExchangeReplay(Protocol):
    """Stands in for an exchange: the same answers and messages, in the same order."""

    async def answer(self, method: str, url: str) -> tuple[int, str]:
        """Status and body of the next recorded answer to this request, else a ProviderError."""
        ...

    def messages(self) -> AsyncIterator[Record]:
        """The recorded messages in the order in which they came, at the speed of the replay."""
        ...
