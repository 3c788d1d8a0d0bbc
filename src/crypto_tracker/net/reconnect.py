"""How long to wait before a stream connects anew: a policy without a clock."""

import random
from collections.abc import Callable

from crypto_tracker.config.market_data import Collector


class Reconnect:
    """Waits double with each failure in a row, up to a maximum, and start anew after a good connection.

    A connection is good once it has brought data or lived for `stable_seconds`: one that is accepted and
    thrown out at once is none, else a provider that does so would be asked without a pause.

    Parameters
    ----------
    settings : `backoff_seconds`, `backoff_max_seconds`, `stable_seconds` and `cool_down_seconds`
    chance : gives numbers in [0, 1); spreads the waits, so that many clients do not come back together
    """

    def __init__(self, settings: Collector, chance: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._chance = chance
        self.failures = 0  # in a row
        self.reason = ""  # of the last one

    def lived(self, seconds: float, brought_data: bool) -> None:
        """A connection has ended after it was of use for `seconds`; to be told before `failed`."""
        if brought_data or seconds >= self._settings.stable_seconds:
            self.failures = 0

    def failed(self, reason: str, *, cool_down: bool = False) -> float:
        """Seconds to wait before the next attempt: between half of the doubled wait and the whole of it.

        With `cool_down` at least `cool_down_seconds`: the account is connected elsewhere, and whoever comes
        back early would throw the other one out.
        """
        settings = self._settings
        doublings = min(self.failures, 60)  # far beyond any maximum, and still a finite number
        self.failures += 1
        self.reason = reason
        whole = min(settings.backoff_seconds * 2.0**doublings, settings.backoff_max_seconds)
        wait = whole * (0.5 + 0.5 * self._chance())
        return wait + settings.cool_down_seconds if cool_down else wait
