"""What experiments have shown, and how far an account is from its targets."""

from typing import Annotated, Any, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import AccountId, MaybeFraction, MaybeNumber, Ms, Sentence, Version, View


class ScoreRow(View):
    """One target: its value, its interval, its sample, and whether it is met."""

    name: Annotated[str, Field(examples=["win rate DCA"])]
    value: MaybeNumber
    low: MaybeNumber
    high: MaybeNumber
    n: int
    n_min: int
    unit: str
    target: float
    above: Annotated[bool, Field(description="whether the target is to be exceeded, or stayed below")]
    state: Annotated[str, Field(examples=["met"])]
    why: str


class ScorecardView(View):
    """What is missing before money trades; brought up to date every few minutes."""

    account: AccountId
    made_at_ms: Ms | None
    verdict: str | None
    sentence: str
    rows: list[ScoreRow]
    notes: list[Sentence]


class Trials(View):
    """Every configuration that was held against bars: what luck alone could have found."""

    count: int
    searches: int
    newest_ms: Ms | None


class Agreement(View):
    """How often two strategies were near a setup of the same symbol at once."""

    first: str
    second: str
    together: int
    either: int
    share: MaybeFraction


class Progress(View):
    """Outcomes recorded against those that a model needs before it is trained."""

    strategy: str
    outcomes: int
    needed: int


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
