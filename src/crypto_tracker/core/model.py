"""The base of every immutable, validated slice of configuration."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A frozen model that refuses unknown keys.

    Slices carry no defaults: each default of the specification stands once, in `config/defaults.toml`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
