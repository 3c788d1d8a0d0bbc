"""The health of every part: processes, data, files and the machine."""

from typing import Annotated, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import MaybeFraction, MaybeNumber, Ms, Pair, Sentence, View

State = Annotated[
    Literal["ok", "degraded", "failing", "off"], Field(description="off: it is not meant to run")
]


class Part(View):
    """One part of the system, how it is, and what to do about it."""

    name: Annotated[str, Field(examples=["trader paper"])]
    state: State
    sentence: Sentence
    advice: Annotated[str | None, Field(description="what helps")]
    since_ms: Ms | None


class Machine(View):
    """What the machine has left."""

    cpu: MaybeFraction
    cores: int
    memory: MaybeFraction
    memory_bytes: int
    disk: MaybeFraction
    disk_free_bytes: int
    process_memory_bytes: Annotated[int, Field(description="of this server")]


class FileItem(View):
    """One file of the home, or a folder with all that is in it."""

    name: Annotated[str, Field(examples=["market.db"])]
    bytes: int


class Health(View):
    """All parts, the worst first."""

    state: State
    now_ms: Ms
    code_version: str
    started_at_ms: Annotated[Ms, Field(description="of this server")]
    parts: list[Part]
    machine: Machine
    files: list[FileItem]
    clients: Annotated[int, Field(description="open live streams")]


class Collector(View):
    """Who keeps the bars of one provider up to date, and what it says of itself."""

    provider: str
    state: str
    words: Sentence
    gone: bool
    started_at_ms: Ms | None
    updated_at_ms: Ms
    newest_minute_ms: Ms | None
    symbols: int | None
    bars: Annotated[int | None, Field(description="stored since it started")]
    note: str | None


class Collectors(View):
    """Every collector that has told of itself."""

    items: list[Collector]


class DataRow(View):
    """What is stored of one symbol of one provider, and how far it can be trusted."""

    symbol: Pair
    provider: str
    newest_ms: Annotated[dict[str, Ms | None], Field(description="end of the newest bar by timeframe")]
    age_ms: Annotated[int | None, Field(description="of the newest minute, by the account's present")]
    score: MaybeFraction
    freshness: MaybeFraction
    completeness: MaybeFraction
    quarantined: MaybeNumber
    disagreement: MaybeFraction
    doubtful: bool
    why: str | None


class DataQuality(View):
    """The symbols that the account watches, the worst first."""

    score_min: float
    items: list[DataRow]


class Identity(View):
    """Who is asking, and what that one may do."""

    actor: Annotated[str, Field(examples=["web:anna"])]
    scopes: list[Literal["read", "control"]]
    open_to_loopback: Annotated[
        Literal["none", "read", "control"],
        Field(description="what this machine may do without a token"),
    ]
    code_version: str
    now_ms: Ms


class Ping(View):
    """The server is there."""

    status: Literal["pong"] = "pong"


class VersionView(View):
    """Which version of the program answers."""

    version: Annotated[str, Field(examples=["0.5.0"])]


class Problem(View):
    """Why a request was not answered (RFC 9457); never with internals of the server."""

    type: Annotated[str, Field(examples=["about:blank"])] = "about:blank"
    title: Annotated[str, Field(examples=["Not found"])]
    status: Annotated[int, Field(examples=[404])]
    detail: Annotated[Sentence, Field(description="what is wrong, where, and what to do")]
