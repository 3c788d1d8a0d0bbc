"""The slice for the trader: how long it waits for bars."""

from typing import Annotated

from pydantic import Field

from crypto_tracker.core.model import Frozen


class Engine(Frozen):
    """How long a minute is waited for on real time. A replay waits for nothing."""

    grace_seconds: Annotated[float, Field(ge=0.0)]  # for symbols that are late, once others have come
    outage_seconds: Annotated[float, Field(ge=0.0)]  # for minutes of which nothing at all has come
