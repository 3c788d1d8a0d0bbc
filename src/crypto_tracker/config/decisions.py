"""The slice for the decision log."""

from typing import Annotated

from pydantic import Field

from crypto_tracker.config.fields import NoTrade
from crypto_tracker.core.model import Frozen


class DecisionLog(Frozen):
    """What the log calls a near miss."""

    near_miss_readiness: Annotated[
        float, Field(ge=0.0, le=100.0), NoTrade("it names scans, and takes none of them")
    ]
