"""Opening an exchange by its name."""

from collections.abc import Callable
from dataclasses import dataclass

from crypto_tracker.config.market_data import Collector, Exchange, Fetching
from crypto_tracker.market.providers.exchange.connection import Polite, Wiring
from crypto_tracker.market.providers.exchange.history import ExchangeHistory
from crypto_tracker.market.providers.exchange.seams import ExchangeRecorder, ExchangeReplay
from crypto_tracker.market.providers.exchange.stream import ExchangeStream


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExchangeProvider:
    """One exchange: its past bars and its minutes as they close."""

    history: ExchangeHistory
    stream: ExchangeStream

    async def close(self) -> None:
        """Let go of all connections; a stream lets go of its own when its iteration ends."""
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

    History and stream share one limit and one breaker. Raises UsageError where ccxt is not installed, does
    not know the name, or does not understand `settings`.
    """
    wiring = Wiring(
        name=name,
        settings=settings,
        fetching=fetching,
        collector=collector,
        polite=Polite(name, settings, fetching, replayed=replay is not None),
        now_ms=now_ms,
        recorder=recorder,
        replay=replay,
    )
    return ExchangeProvider(history=ExchangeHistory(wiring), stream=ExchangeStream(wiring))
