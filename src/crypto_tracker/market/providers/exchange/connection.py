"""One client of ccxt, polite through `net`, and open for recording and replay."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from crypto_tracker.config.market_data import Collector, Exchange, Fetching
from crypto_tracker.core.errors import CryptoTrackerError, UsageError
from crypto_tracker.market.providers.exchange.clocks import DATE_MS, ClockDifference, date_of
from crypto_tracker.market.providers.exchange.errors import UNREADABLE, failure_clause, passes, plain
from crypto_tracker.market.providers.exchange.loading import exchange_class
from crypto_tracker.market.providers.exchange.seams import ExchangeRecorder, ExchangeReplay
from crypto_tracker.market.providers.exchange.venues import venue
from crypto_tracker.net.breaker import Breaker
from crypto_tracker.net.gate import turn_of_request
from crypto_tracker.net.http import seconds_to_wait
from crypto_tracker.net.limits import RateLimit
from crypto_tracker.net.retry import Retry, Transient

_TIMEOUT_ON_EXIT_MS = 250
_UNHURRIED = 1e6  # requests a second of a recording, which nobody has to spare


class Polite:
    """What all clients of one exchange share: how often it is asked, how often again, and when not at all.

    A recording is asked as often again as the exchange was, and without a pause.
    """

    def __init__(self, name: str, settings: Exchange, fetching: Fetching, *, replayed: bool = False) -> None:
        if replayed:
            fetching = fetching.model_copy(update={"wait_seconds": 1e-6, "wait_max_seconds": 1e-6})
        self._name = name
        self._per_second = _UNHURRIED if replayed else settings.requests_per_second
        self._fetching = fetching
        self._breaker = Breaker(name, fetching)
        self._retry = Retry(fetching)
        self._limit: RateLimit | None = None

    async def ask(self, client: Any, cost: float, once: Callable[[], Any]) -> Any:
        """The answer to one request, after as many attempts as are allowed."""
        limit = self._bucket(client)

        async def attempt() -> Any:
            async with turn_of_request():
                # A configured rate counts requests; ccxt's own counts them by what they cost.
                for _ in range(1 if self._per_second else max(1, math.ceil(cost))):
                    await limit.acquire()
                self._breaker.check()  # meanwhile another one may have been told to leave it alone
                return await self._judged(client, once)

        return await self._breaker.run(lambda: self._retry.run(attempt))

    async def _judged(self, client: Any, once: Callable[[], Any]) -> Any:
        """The answer, or a Transient for a failure that may pass."""
        import ccxt  # noqa: PLC0415 - heavy

        try:
            answer = await once()
        except (ccxt.BaseError, OSError) as error:
            headers = getattr(error, "answered_headers", {})
            if not passes(error, getattr(error, "answered_status", None)):
                raise
            seconds = seconds_to_wait(headers)
            clause = failure_clause(self._name, error, getattr(error, "answered_status", None))
            if seconds is not None:
                if seconds > self._fetching.wait_max_seconds:
                    clause += f" and wants to be left alone for {seconds:.0f} s"
                    raise self._breaker.rest(seconds, clause) from error
                self._bucket(client).pause(seconds)
            raise Transient(clause, retry_after=seconds) from error
        if not isinstance(answer, (dict, list)):
            # ccxt hands text on, finds nothing in it, and would call that an empty history.
            raise Transient(f"{self._name} sent an answer that is no JSON")
        return answer

    def _bucket(self, client: Any) -> RateLimit:
        if self._limit is None:
            per_second = self._per_second or 1000.0 / max(float(client.rateLimit or 1000.0), 0.1)
            self._limit = RateLimit(per_second, max(1, math.ceil(per_second)))
        return self._limit


def constructor_arguments(name: str, settings: Exchange, fetching: Fetching) -> dict[str, Any]:
    """What ccxt is given to make a client: our timeout, the user's settings, and its own throttle off."""
    given: Any = json.loads(settings.settings)
    if not isinstance(given, Mapping):
        raise UsageError(f"market_data.exchanges.{name}.settings is no JSON object: write one, such as {{}}")
    return {
        "timeout": math.ceil(fetching.timeout_seconds * 1000.0),
        **given,
        "enableRateLimit": False,
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wiring:
    """What history and stream of one exchange have in common."""

    name: str
    settings: Exchange
    fetching: Fetching
    collector: Collector
    polite: Polite
    now_ms: Callable[[], int]
    recorder: ExchangeRecorder | None = None
    replay: ExchangeReplay | None = None
    clocks: ClockDifference = field(default_factory=ClockDifference)

    def open_client(self, *, streaming: bool) -> Any:
        """A client of ccxt whose requests are polite, and whose answers are recorded or replayed."""
        base = exchange_class(self.name, streaming=streaming)
        if base is None:
            raise UsageError(
                f"ccxt has no websocket client of {self.name}: fetch its bars, and stream from another"
            )
        arguments = constructor_arguments(self.name, self.settings, self.fetching)
        try:
            return _spoken(base)(arguments, self)
        except UNREADABLE as error:
            raise UsageError(
                f"ccxt cannot make a client of {self.name} with market_data.exchanges.{self.name}.settings "
                f"({type(error).__name__}: {plain(error)}): write what ccxt takes there"
            ) from error


def _spoken(base: Any) -> Any:
    class Spoken(base):  # type: ignore[misc]  # which class that is, is known at run time only
        """An exchange of ccxt with our seams in it."""

        def __init__(self, arguments: dict[str, Any], wiring: Wiring) -> None:
            super().__init__(arguments)
            self._polite = wiring.polite
            self._recorder = wiring.recorder
            self._replay = wiring.replay
            self._clocks, self._our_ms = wiring.clocks, wiring.now_ms
            self._venue = venue(self.id)
            self.spoke_tls = False

        async def fetch2(
            self,
            path: Any,
            api: Any = "public",
            method: Any = "GET",
            params: Any = None,
            config: Any = None,
        ) -> Any:
            params, config = params or {}, config or {}
            ask = super().fetch2

            async def once() -> Any:
                return await ask(path, api, method, dict(params), config)

            cost = float(self.calculate_rate_limiter_cost(api, method, path, params, config) or 1.0)
            return await self._polite.ask(self, cost, once)

        async def fetch(self, url: Any, method: Any = "GET", headers: Any = None, body: Any = None) -> Any:
            if self._replay is None:
                self.spoke_tls = self.spoke_tls or url.startswith("https:")
                asked_ms = self._our_ms()
                answer = await super().fetch(url, method, headers, body)
                # Set a moment ago, with nothing in between.
                said_ms = date_of(self.last_response_headers)
                if said_ms is not None:
                    came_ms = self._our_ms()
                    self._clocks.answered(said_ms, asked_ms=asked_ms, came_ms=came_ms, within_ms=DATE_MS)
            else:
                answer = await self._replayed(url, method, headers, body)
            lacks = self._venue.lacks(url, answer)
            if lacks is not None:
                raise Transient(f"{self.id} sent an answer that cannot be read: {lacks}")
            return answer

        async def _replayed(self, url: Any, method: Any, headers: Any, body: Any) -> Any:
            status, text = await self._replay.answer(method, url)  # type: ignore[union-attr]
            text = text.strip()
            answer = self.parse_json(text)
            self.handle_errors(status, "", url, method, {}, text, answer, headers, body)
            return answer

        def on_rest_response(
            self, code: Any, reason: Any, url: Any, method: Any, headers: Any, text: Any, *rest: Any
        ) -> Any:
            if self._recorder is not None:
                self._recorder.note_answer(method, url, code, text)
            return super().on_rest_response(code, reason, url, method, headers, text, *rest)

        def handle_errors(
            self, code: Any, reason: Any, url: Any, method: Any, headers: Any, text: Any, *rest: Any
        ) -> Any:
            judge = super().handle_errors
            return _with_circumstances(
                lambda: judge(code, reason, url, method, headers, text, *rest),
                lambda: self.handle_http_status_code(code, reason, url, method, text),
                code,
                headers,
                text,
            )

        def parse_ohlcv(self, ohlcv: Any, market: Any = None) -> Any:
            """The row that ccxt makes of it, and behind it the row as the exchange wrote it."""
            row = list(super().parse_ohlcv(ohlcv, market))
            return [*row[:6], ohlcv]

        def parse_ohlcvs(self, ohlcvs: Any, market: Any = None, timeframe: Any = "1m", *_bounds: Any) -> Any:
            """All rows: what ccxt would cut off tells whether the exchange does as it is asked."""
            return super().parse_ohlcvs(ohlcvs, market, timeframe)

    Spoken.__name__ = base.__name__
    return Spoken


def _with_circumstances(
    judge: Callable[[], Any], judge_status: Callable[[], Any], code: int, headers: Any, text: str
) -> Any:
    """What ccxt thinks of an answer; its exceptions learn the status and headers they came with."""
    import ccxt  # noqa: PLC0415 - heavy; the answer is one to a client of it

    try:
        if code < HTTPStatus.BAD_REQUEST and text.replace(" ", "") in {"{}", "null"}:
            raise ccxt.NullResponse("an empty answer")
        result = judge()
        judge_status()
    except ccxt.BaseError as error:
        error.answered_status = code
        error.answered_headers = {str(key).lower(): value for key, value in (headers or {}).items()}
        raise
    return result


async def close_client(client: Any) -> None:
    """Let go of all connections of a client; also of what it began to open meanwhile."""
    for socket in list((client.clients or {}).values()):
        if socket.ping_looper:
            socket.ping_looper.cancel()
    # A connection with TLS takes a moment to end; one without is gone at once.
    client.timeout_on_exit = _TIMEOUT_ON_EXIT_MS if client.spoke_tls else 0
    await client.close()


async def asked(name: str, about: str, work: Callable[[], Any]) -> Any:
    """What a call of ccxt gives; its exceptions become ours."""
    import ccxt  # noqa: PLC0415

    from crypto_tracker.market.providers.exchange.errors import meaning  # noqa: PLC0415

    try:
        return await work()
    except CryptoTrackerError:
        raise
    except (TimeoutError, ccxt.BaseError, OSError, *UNREADABLE) as error:
        raise meaning(name, error, asked=about) from error
