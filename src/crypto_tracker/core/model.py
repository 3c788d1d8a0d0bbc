"""The base of every immutable, validated slice of configuration."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST_HOURS = 1e6  # more than a century: longer times are slips, and their milliseconds may fit no integer

Hours = Annotated[float, Field(gt=0.0, le=MOST_HOURS)]
Minutes = Annotated[float, Field(gt=0.0, le=60.0 * MOST_HOURS)]


class Frozen(BaseModel):
    """A frozen model that refuses unknown keys.

    Slices carry no defaults: each default of the specification stands once, in `config/defaults.toml`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
