"""What all views share: how times, amounts and fractions are written, and the base of every view.

Times are integers, milliseconds since 1970 in UTC, and end in `_ms`. Amounts are in the quote currency of the
account and end in `_quote`. Rates and returns are fractions: 0.025 is 2.5 %. What is not known is null.
"""

import math
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.functional_validators import BeforeValidator


def _known(value: Any) -> Any:
    """NaN is what arrays have for a missing value; JSON has null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Ms = Annotated[int, Field(description="UTC, milliseconds since 1970", examples=[1_755_864_000_000])]
Quote = Annotated[float, Field(description="in the quote currency", examples=[10_055.09])]
Price = Annotated[float, Field(description="in the quote currency, of one unit", examples=[118_995.5])]
Quantity = Annotated[float, Field(description="units of the base coin", examples=[0.0421])]
Fraction = Annotated[float, Field(description="a fraction: 0.025 is 2.5 %", examples=[0.0213])]
Number = Annotated[float, Field(examples=[1.38])]
MaybeFraction = Annotated[
    float | None, BeforeValidator(_known), Field(description="a fraction: 0.025 is 2.5 %", examples=[0.0213])
]
MaybePrice = Annotated[
    float | None, BeforeValidator(_known), Field(description="in the quote currency", examples=[118_995.5])
]
MaybeNumber = Annotated[float | None, BeforeValidator(_known), Field(examples=[1.38])]
Pair = Annotated[str, Field(description="BASE/QUOTE", examples=["BTC/USDT"])]
StrategyName = Annotated[str, Field(examples=["DCA"])]
AccountId = Annotated[
    str,
    Field(description="an account, such as `paper`, or a recorded run, such as `run:17`", examples=["paper"]),
]
Timezone = Annotated[
    str, Field(description="whose days, weeks and months are meant", examples=["America/New_York"])
]
Version = Annotated[str, Field(description="of the configuration", examples=["f744a98dffad"])]
Sentence = Annotated[str, Field(examples=["the market is in PANIC, which opens nothing"])]
Share = Annotated[float, Field(ge=0.0, le=1.0, description="between 0 and 1", examples=[0.62])]
Readiness = Annotated[
    Annotated[float, Field(ge=0.0, le=100.0)] | None, BeforeValidator(_known), Field(examples=[86.0])
]


class View(BaseModel):
    """Something that a page shows: frozen, and nothing in it but what is declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ItemT = TypeVar("ItemT", bound=View)


class Listed(View, Generic[ItemT]):
    """One page of a list that grows. `next` fetches the page behind it; null where this is the last."""

    items: list[ItemT]
    next: Annotated[
        str | None, Field(description="the cursor of the page behind this one", examples=["MTAyNA"])
    ]
    total: Annotated[
        int | None, Field(description="rows under this filter; null where nobody counted", examples=[1_204])
    ] = None
