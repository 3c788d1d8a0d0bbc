"""The slices for experiments: where they run, and what a search must show before it recommends anything."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from crypto_tracker.core.model import Frozen

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class Research(Frozen):
    """Where experiments run."""

    executor: Literal["processes", "dask"]
    workers: Annotated[int, Field(ge=0)]  # processes; 0: one for each core
    dask_address: str  # of the scheduler, such as tcp://127.0.0.1:8786


class Optimize(Frozen):
    """How a search walks forward, and the evidence that it asks for."""

    windows: Annotated[int, Field(ge=1)]
    in_sample_ratio: Annotated[float, Field(gt=0.0)]  # days to search in for each day to trade
    trials: Annotated[int, Field(ge=1)]  # parameter sets, where --trials does not say
    batch: Annotated[int, Field(ge=1)]  # parameter sets that optuna proposes at a time
    trades_min: Annotated[int, Field(ge=1)]  # in sample, for a parameter set to be chosen
    overfitting_blocks: Annotated[int, Field(ge=2, le=20)]
    bootstrap_days: Annotated[int, Field(ge=1)]  # days in a row that are drawn together
    bootstrap_draws: Annotated[int, Field(ge=100)]
    confidence: Share
    deflated_sharpe_min: Share
    overfitting_max: Share
    out_of_sample_trades_min: Annotated[int, Field(ge=1)]

    @field_validator("overfitting_blocks")
    @classmethod
    def _is_even(cls, blocks: int) -> int:
        if blocks % 2:
            raise ValueError("expected an even number: half of the blocks are the past, half the future")
        return blocks
