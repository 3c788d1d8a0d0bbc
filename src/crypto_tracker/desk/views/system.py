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


class ProcessItem(View):
    """One process that is part of the system, or was."""

    name: Annotated[str, Field(examples=["trader paper"])]
    pid: int
    host: str
    running: Annotated[bool, Field(description="as far as can be seen from here")]
    started_at_ms: Ms
    ended_at_ms: Ms | None
    code_version: Annotated[str | None, Field(description="null where it does not tell")]


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
    processes: list[ProcessItem]
    files: list[FileItem]
    clients: Annotated[int, Field(description="open live streams")]


class Collector(View):
    """Who keeps the bars of one provider up to date, and what it says of itself."""

    provider: str
    state: Annotated[
        Literal["starting", "waiting", "catching_up", "live", "scheduled", "trouble", "stopped"],
        Field(description="as it last said"),
    ]
    words: Sentence
    gone: Annotated[bool, Field(description="whether it ended without a word")]
    holder: Annotated[str | None, Field(description="who holds its lease, or held it last")]
    lease_until_ms: Annotated[Ms | None, Field(description="when the lease ends if nothing more is heard")]
    since_ms: Annotated[Ms, Field(description="since when it is in this state")]
    updated_at_ms: Ms
    newest_minute_ms: Annotated[Ms | None, Field(description="end of the newest minute that is known")]
    symbols: int | None
    symbols_live: Annotated[int | None, Field(description="whose bars the stream brings")]
    reconnects: int | None
    backlog_chunks: Annotated[int | None, Field(description="of history that are still to be fetched")]
    stored_after_seconds: Annotated[MaybeNumber, Field(description="median, from a close to its bar")]
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
    since_ms: Annotated[Ms | None, Field(description="begin of the first minute that is known")] = None
    age_ms: Annotated[int | None, Field(description="of the newest minute, by the account's present")]
    score: MaybeFraction
    freshness: MaybeFraction
    completeness: Annotated[
        MaybeFraction,
        Field(description="known share of the newest days; of a coin listed later, since it is known"),
    ]
    soundness: MaybeFraction
    agreement: MaybeFraction
    measured_at_ms: Annotated[Ms | None, Field(description="null where nobody measured it")]
    quarantined: Annotated[int, Field(description="bars that broke a rule and are held back")]
    disagreement: Annotated[
        MaybeFraction, Field(description="share of minutes too far from another provider's")
    ]
    doubtful: Annotated[bool, Field(description="whether its score is too low to open anything")]
    why: Annotated[str | None, Field(description="what is wrong with it, and what helps")]


class DataQuality(View):
    """The symbols that the account watches, the worst first."""

    until_ms: Annotated[Ms, Field(description="the present of the account")]
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
