"""What experiments have shown, and how far an account is from its targets."""

from typing import Annotated, Any, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import AccountId, MaybeFraction, MaybeNumber, Ms, Sentence, Version, View


class ScoreRow(View):
    """One target: its value, its interval, its sample, and whether it is met."""

    key: Annotated[str, Field(examples=["win_rate.DCA"])]
    name: Annotated[str, Field(description="for people", examples=["Win rate, DCA"])]
    kind: Annotated[
        Literal["share", "number", "money"],
        Field(description="how it is written: share: a fraction; money: in the quote currency"),
    ]
    value: MaybeNumber
    low: Annotated[MaybeNumber, Field(description="of its interval; null where it has no bound there")]
    high: Annotated[MaybeNumber, Field(description="of its interval; null where it has no bound there")]
    n: int
    n_min: int
    unit: str
    target: float
    above: Annotated[bool, Field(description="whether the target is to be exceeded, or stayed below")]
    state: Annotated[
        Literal["met", "not_met", "not_known"], Field(description="what is not known is not met")
    ]
    thin: Annotated[bool, Field(description="whether there is a value, of too small a sample to count")]
    sure: Annotated[bool | None, Field(description="whether chance hardly explains its side of the target")]
    why: Annotated[str, Field(description="why it is not known; empty where it is")]


class ScorecardView(View):
    """What is missing before money trades; brought up to date every few minutes."""

    account: AccountId
    made_at_ms: Annotated[Ms | None, Field(description="null while the first one is being made")]
    verdict: Literal["go_on_to_live_preparation", "optimise", "pivot"] | None
    sentence: str
    confidence: Annotated[float | None, Field(description="of the intervals", examples=[0.95])]
    met: int
    not_met: int
    not_known: int
    rows: list[ScoreRow]
    notes: list[Sentence]


class Trials(View):
    """Every configuration that was held against bars: what luck alone could have found."""

    count: Annotated[int, Field(description="different configurations, over all spans")]
    searched: Annotated[int, Field(description="of these, how many a search tried")]
    newest_ms: Ms | None
    best_sharpe: Annotated[MaybeNumber, Field(description="a year, of the best one")]
    lucky_sharpe: Annotated[
        MaybeNumber,
        Field(description="a year: what the best of so many reaches where none of them has an edge"),
    ]
    days: Annotated[int | None, Field(description="that the best one was held against")]
    synthetic: Annotated[bool, Field(description="whether these are trials on made-up bars")] = False
    sentence: Sentence


class Agreement(View):
    """How often two strategies were near a setup of the same symbol at once."""

    first: str
    second: str
    together: int
    either: int
    share: Annotated[MaybeFraction, Field(description="of `either`; null where neither was near one")]
    scans: Annotated[int, Field(description="of one symbol, at closes at which both looked")]


class Progress(View):
    """Outcomes recorded against those that a model needs before it is trained."""

    strategy: str
    outcomes: Annotated[int, Field(description="closed trades, but for those a person or lost data ended")]
    needed: int
    sentence: Sentence


class RunItem(View):
    """One recorded run."""

    account: AccountId
    run_id: int
    kind: Literal["backtest", "demo"]
    synthetic: bool
    base: str
    start_ms: Ms
    end_ms: Ms
    recorded_at_ms: Ms
    symbols: int
    strategies: list[str]
    configuration_version: Version
    trades: int
    wins: int
    pnl_quote: float
    return_net: MaybeFraction


class Runs(View):
    """Recorded runs, the newest first."""

    items: list[RunItem]
    next: str | None


class Research(View):
    """What research has written so far; what does not exist yet says so in `missing`."""

    made_at_ms: Annotated[
        Ms | None, Field(description="when the scans were read of which strategies agree")
    ] = None
    trials: Trials
    agreement: list[Agreement]
    progress: list[Progress]
    models: list[dict[str, Any]]
    shadow: list[dict[str, Any]]
    suggestions: list[dict[str, Any]]
    missing: Annotated[
        dict[str, Sentence],
        Field(description="why a part is empty", examples=[{"models": "no model was trained yet"}]),
    ]
