"""The slice for the web server: where it listens, whom it answers, and how much of it."""

from typing import Annotated, Literal

from pydantic import Field

from crypto_tracker.core.model import Frozen


class Web(Frozen):
    """The page and its API."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65_535)]
    hosts: tuple[str, ...]  # names under which it is reached besides localhost and `host`
    open_to_loopback: Literal["none", "read", "control"]  # what this machine may do without a token
    requests_per_minute: Annotated[int, Field(ge=1)]  # of one token, or of one address without one
    body_bytes_max: Annotated[int, Field(ge=1_000)]
    streams_max: Annotated[int, Field(ge=1)]  # live streams open at once
    beat_seconds: Annotated[float, Field(gt=0.0, le=60.0)]
    look_seconds: Annotated[float, Field(gt=0.0, le=60.0)]  # between two looks for what is new
