"""Minutes of an exchange as they close, from one connection after the other, or out of a recording."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from crypto_tracker.core.errors import ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.base import Lost, StreamedBars, StreamEvent
from crypto_tracker.market.providers.exchange.connection import Wiring
from crypto_tracker.market.providers.exchange.loading import exchange_class
from crypto_tracker.market.providers.exchange.seams import ExchangeReplay
from crypto_tracker.market.providers.exchange.session import STEPS, Gone, Session, note
from crypto_tracker.market.recording.format import Kind, Record
from crypto_tracker.net.reconnect import Reconnect


class ExchangeStream:
    """Minutes of one exchange.

    `Subscribed` comes when the exchange has confirmed the symbols that it names; where it confirms in a way
    that is not known here, with the first data of each symbol. It may come several times on one connection,
    each time with symbols that were not named on it before. From then on every change of these symbols
    comes, so each minute that opens after it is complete, until `Lost`.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._markets: Any = None  # a client that has them: they are not asked for with each connection

    @property
    def name(self) -> str:
        """The name that ccxt has for the exchange."""
        return self._wiring.name

    async def events(self, symbols: Sequence[Symbol]) -> AsyncIterator[StreamEvent]:
        """What happens on the stream; see `Stream.events`. A replay ends where its recording ends."""
        replay = self._wiring.replay
        # Loading ccxt takes a while, in which the loop has other things to do.
        await asyncio.to_thread(exchange_class, self.name, streaming=True)
        inner = self._live(symbols) if replay is None else self._replayed(replay, symbols)
        async with contextlib.aclosing(inner) as events:
            async for event in events:
                yield event

    async def _live(self, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        policy = Reconnect(self._wiring.collector)
        loop = asyncio.get_running_loop()
        while True:
            brought, began = False, loop.time()
            try:
                async with contextlib.aclosing(self._connection(symbols)) as connection:
                    async for event in connection:
                        brought = brought or isinstance(event, StreamedBars)
                        yield event
                reason = f"{self.name} ended the connection"
            except (Gone, ProviderUnavailable) as error:
                reason = str(error)
            policy.lived(loop.time() - began, brought)
            seconds = policy.failed(reason)
            note(self._wiring.recorder, {"step": "lost", "reason": reason, "seconds": seconds})
            yield Lost(reason=reason, again_seconds=seconds)
            await asyncio.sleep(seconds)

    async def _connection(self, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        """One connection from its beginning to its end, which is an exception."""
        session = Session(self._wiring, symbols, connecting=True)
        try:
            note(self._wiring.recorder, {"step": "opening"})
            await self._load(session)
            note(self._wiring.recorder, {"step": "opened"})
            session.begin()
            async with contextlib.aclosing(session.run()) as events:
                async for event in events:
                    yield event
        finally:
            await session.close()

    async def _replayed(
        self, replay: ExchangeReplay, symbols: Sequence[Symbol]
    ) -> AsyncGenerator[StreamEvent, None]:
        """A recorded session: its messages through the same reading, our own steps where they stood."""
        session: Session | None = None
        try:
            async with contextlib.aclosing(_closable(replay.messages())) as records:
                async for record in records:
                    if record.kind is not Kind.MESSAGE:
                        continue
                    if session is not None:
                        session.replayed_ms = record.time_ns // 1_000_000
                    step = json.loads(record.text) if record.connection == STEPS else {}
                    if step.get("step") == "lost":
                        if session is not None:
                            await session.close()
                            session = None
                        yield Lost(reason=step["reason"], again_seconds=step["seconds"])
                    elif step.get("step") == "opening":
                        if session is not None:  # it was ended by us, to go on with other symbols
                            await session.close()
                            yield Lost(reason="other symbols were asked for", again_seconds=0.0)
                        session = Session(self._wiring, symbols, connecting=False)
                        # Where it failed then it fails now, and the recording goes on with the loss.
                        with contextlib.suppress(ProviderUnavailable):
                            await self._load(session)
                    elif session is not None and step.get("step") == "opened":
                        with contextlib.suppress(ProviderUnavailable):
                            await session.subscribe()
                    elif session is not None and step:
                        session.take_step(step)
                    elif session is not None:
                        session.tap.receive(record.connection, record.text)
                    for event in [] if session is None else session.take_all():
                        yield event
        finally:
            if session is not None:
                await session.close()

    async def _load(self, session: Session) -> None:
        await session.load(self._markets)
        self._markets = session.client


async def _closable(records: AsyncIterator[Record]) -> AsyncGenerator[Record, None]:
    async for record in records:
        yield record
