"""Opening an exchange by its name."""

from collections.abc import Callable
from dataclasses import dataclass

from crypto_tracker.config.market_data import Collector, Exchange, Fetching
from crypto_tracker.market.providers.base import History, Stream
from crypto_tracker.market.providers.exchange.seams import ExchangeRecorder, ExchangeReplay


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExchangeProvider:
    """One exchange: its past bars and its minutes as they close."""

    history: History
    stream: Stream | None  # None where ccxt brings neither candles nor trades of it by websocket

    async def close(self) -> None:
        """Let go of all connections."""
        await self.history.close()


def open_exchange(
    name: str,
    settings: Exchange,
    fetching: Fetching,
    collector: Collector,
    *,
    now_ms: Callable[[], int],
    recorder: ExchangeRecorder | None = None,
    replay: ExchangeReplay | None = None,
) -> ExchangeProvider:
    """Make ready to speak to the exchange that ccxt calls `name`; nothing is asked of it yet.

    Raises UsageError where ccxt is not installed, does not know the name, or does not understand `settings`.
    """
    raise NotImplementedError
