"""How patiently tests fetch: the defaults, with what a test changes of them."""

import tomllib
from typing import Any

from crypto_tracker.config.market_data import Fetching
from crypto_tracker.config.tree import defaults

_DEFAULTS = tomllib.loads(defaults().text)["market_data"]["fetching"]
_HASTE = {"wait_seconds": 0.005, "wait_max_seconds": 0.3, "breaker_seconds": 0.6, "timeout_seconds": 5.0}


def fetching(**changes: Any) -> Fetching:
    return Fetching.model_validate(_DEFAULTS | changes)


def quick(**changes: Any) -> Fetching:
    """The same policy, a hundred times as fast: for servers on real sockets."""
    return fetching(**(_HASTE | changes))
