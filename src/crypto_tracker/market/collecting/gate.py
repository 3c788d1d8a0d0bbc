"""All requests to one provider go through one gate, and failures of single symbols are told apart there."""

from collections import Counter
from collections.abc import Callable, Sequence

from crypto_tracker.core.errors import ProviderUnavailable, UnknownToProvider
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.providers.base import FetchedBars, History, MarketInfo, Reach
from crypto_tracker.net.breaker import LeftAlone
from crypto_tracker.net.gate import Gate, Urgency, through

FAILURES_MAX = 2
"""In a row of one symbol, after which a job asks for no more of it: others wait for their turn."""


class GatedHistory:
    """A History for one job, whose requests wait at a gate, each for itself.

    A symbol that fails for good several times in a row is not asked for again by this job, so that it takes
    neither time from the others nor the blame for all of them. One that the provider says it does not know
    fails likewise, and is reported: whether it is gone is for the list of markets to say.

    Attributes
    ----------
    answered : symbols of which something came
    left_alone : whether the provider was left alone, and nothing has come since
    """

    def __init__(
        self, history: History, gate: Gate, urgency: Urgency, unknown: Callable[[Symbol], None]
    ) -> None:
        self._history = history
        self._gate = gate
        self._urgency = urgency
        self._unknown = unknown
        self._failures: Counter[Symbol] = Counter()
        self._reasons: dict[Symbol, str] = {}
        self.answered: set[Symbol] = set()
        self.left_alone = False

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        return self._history.name

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """Those that it can be asked for."""
        return self._history.timeframes

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """What can be asked for at this moment."""
        return self._history.reach(timeframe, now_ms)

    async def markets(self) -> Sequence[MarketInfo]:
        """Every market of the provider that has a symbol of ours."""
        with through(self._gate, self._urgency):
            return await self._history.markets()

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """The bars that open in [start_ms, end_ms)."""
        if self._failures[symbol] >= FAILURES_MAX:
            raise ProviderUnavailable(self._reasons[symbol])
        try:
            with through(self._gate, self._urgency):
                answer = await self._history.fetch(symbol, timeframe, start_ms, end_ms)
        except UnknownToProvider as error:
            self._failures[symbol] = FAILURES_MAX
            self._reasons[symbol] = str(error)
            self._unknown(symbol)
            raise ProviderUnavailable(str(error)) from error
        except LeftAlone:
            self.left_alone = True
            raise
        except ProviderUnavailable as error:
            self._failures[symbol] += 1
            self._reasons[symbol] = str(error)
            raise
        self._failures[symbol] = 0
        self.answered.add(symbol)
        self.left_alone = False
        return answer

    async def close(self) -> None:
        """Let go of all connections."""
        await self._history.close()
