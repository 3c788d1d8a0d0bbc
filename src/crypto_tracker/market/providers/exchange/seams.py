"""Where a session with an exchange can be recorded, and where a recording takes the place of the exchange."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


class ExchangeRecorder(Protocol):
    """Notes what an exchange said, word for word."""

    def note_message(self, connection: str, text: str) -> None:
        """A message of a websocket; `connection` is its address."""
        ...

    def note_answer(self, method: str, url: str, status: int, text: str) -> None:
        """The answer to a request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedMessage:
    """A recorded message of a websocket."""

    at_ms: int  # when it came, by the clock of the session
    connection: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedAnswer:
    """A recorded answer to a request."""

    status: int
    text: str


class ExchangeReplay(Protocol):
    """Stands in for an exchange: the same answers and messages, in the same order."""

    def answer(self, method: str, url: str) -> ReplayedAnswer:
        """The next recorded answer to this request; raises ProviderUnavailable where there is none."""
        ...

    def messages(self) -> AsyncIterator[ReplayedMessage]:
        """The recorded messages in the order in which they came, at the speed of the replay."""
        ...
