"""Which accounts and recorded runs there are, how one stands, and what it is worth."""

from typing import Annotated, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import (
    AccountId,
    Fraction,
    MaybeFraction,
    MaybeNumber,
    MaybePrice,
    Ms,
    Pair,
    Quote,
    Sentence,
    StrategyName,
    Timezone,
    Version,
    View,
)
from crypto_tracker.desk.views.trades import Sums

Light = Annotated[
    Literal["green", "yellow", "red", "off"],
    Field(
        description="green: it trades; yellow: it trades, or watches, with something to be told; "
        "red: it does not do what it should; off: nothing is meant to run (a recorded run, an ended replay)"
    ),
]


class AccountItem(View):
    """One account, or one recorded run: both are looked at through the same pages."""

    account: AccountId
    name: Annotated[str, Field(description="for people", examples=["paper"])]
    kind: Literal["paper", "replay", "backtest", "demo"]
    running: bool
    synthetic: Annotated[bool, Field(description="whether its market is made up")]
    start_ms: Ms
    end_ms: Annotated[Ms | None, Field(description="null for an account that has no end")]
    until_ms: Annotated[Ms, Field(description="open time of the next minute: what is before it is recorded")]
    quote: Annotated[str, Field(examples=["USDT"])]
    symbols: list[Pair]
    strategies: list[StrategyName]
    configuration_version: Version
    capital_quote: Quote
    equity_quote: Quote | None
    return_net: MaybeFraction
    trades: int
    open_positions: int
    recorded_at_ms: Annotated[Ms, Field(description="when it was last started, or the run was recorded")]


class Accounts(View):
    """All of them, the one that a person most likely means first."""

    items: list[AccountItem]


class Entries(View):
    """Whether any setup may be admitted now; `why_not` are sentences, the most general first."""

    allowed: bool
    why_not: list[Sentence]
    paused: bool
    paused_since_ms: Ms | None
    halted: str | None
    day_base_quote: Quote
    day_pnl_quote: Quote
    day_loss: Annotated[Fraction, Field(description="of the base, marked; negative while the day gains")]
    day_loss_max: Fraction
    day_latched: bool
    peak_quote: Quote
    drawdown: Fraction
    drawdown_max: Fraction
    drawdown_latched: bool


class Counter(View):
    """How much room a strategy has: `18 / 50` positions, and its share of the equity."""

    strategy: StrategyName
    open: int
    max_open: int
    used_quote: Quote
    share_quote: Quote


class LastCheck(View):
    """What the last parity check found."""

    start_ms: Ms
    end_ms: Ms
    differences: int
    created_at_ms: Ms


class Process(View):
    """The process that trades, or traded last."""

    pid: int
    host: str
    started_at_ms: Ms
    ended_at_ms: Ms | None
    code_version: str


class Status(View):
    """One account at a glance. A recorded run has no entries, no process and no light but `off`."""

    account: AccountId
    kind: Literal["paper", "replay", "backtest", "demo"]
    running: bool
    synthetic: bool
    light: Light
    light_why: Annotated[list[Sentence], Field(description="why it is not green")]
    now_ms: Annotated[Ms, Field(description="the clock of the server")]
    start_ms: Ms
    end_ms: Ms | None
    until_ms: Ms
    lag_ms: Annotated[int | None, Field(description="of paper: how far it is behind the clock")]
    progress: MaybeFraction
    ended: Annotated[bool, Field(description="whether it came to its end, and is not just stopped")] = False
    configuration_version: Version
    timezone: Timezone
    quote: str
    capital_quote: Quote
    equity_quote: Quote
    cash_quote: Quote
    reserved_quote: Annotated[
        Quote | None, Field(description="held back for orders that wait; null where it was not recorded")
    ]
    invested_quote: Annotated[Quote, Field(description="what the open positions cost")]
    exposure_quote: Annotated[Quote, Field(description="what the open positions are worth now")]
    unrealised_quote: Quote
    unrealised_fraction: Annotated[MaybeFraction, Field(description="of what the open positions cost")]
    realised_quote: Quote
    realised_fraction: Annotated[MaybeFraction, Field(description="of the sizes of the closed trades")]
    return_net: Fraction
    day_pnl_quote: Annotated[float | None, Field(description="since the base of the trading day")]
    day_return: MaybeFraction
    drawdown: Fraction
    max_drawdown: Fraction
    fee_quote: Quote
    slippage_quote: Quote
    open_positions: int
    max_open_positions: int
    pending_orders: int | None
    counters: list[Counter]
    closed: Sums
    regime: Annotated[str | None, Field(examples=["NORMAL"])]
    regime_forced: bool
    reference: Pair | None
    reference_price: MaybePrice
    reference_return_24h: MaybeFraction
    entries: Entries | None
    waiting_commands: int
    newest_bar_ms: Annotated[Ms | None, Field(description="end of the newest minute that it watches")]
    process: Process | None
    last_check: LastCheck | None


class Allocation(View):
    """What part of the equity is where."""

    name: Annotated[str, Field(examples=["DCA"])]
    kind: Literal["cash", "reserved", "strategy", "symbol"]
    value_quote: Quote
    fraction: Fraction
    limit_quote: Annotated[Quote | None, Field(description="the most that may be there at admission")]


class Balance(View):
    """Cash, reserves and positions, by strategy and by symbol."""

    quote: str
    equity_quote: Quote
    cash_quote: Quote
    reserved_quote: Quote | None
    exposure_quote: Quote
    parts: list[Allocation]


class EquityCurve(View):
    """Marked equity in stretches of equal length; columns of one length, oldest first."""

    account: AccountId
    capital_quote: Quote
    resolution_ms: Annotated[int, Field(description="length of a stretch")]
    time_ms: Annotated[list[int], Field(description="close of the last minute of each stretch")]
    equity_quote: list[float]
    low_quote: list[float]
    high_quote: list[float]
    drawdown: Annotated[
        list[float],
        Field(description="deepest within each stretch, below the highest point until then; fractions >= 0"),
    ]
    peak_before_quote: Annotated[
        Quote,
        Field(description="highest before the first stretch, at least the capital: what falls falls from it"),
    ]
    max_drawdown: Fraction
    marked: Annotated[
        bool,
        Field(description="whether positions held are in it; false: the capital and closed trades, in steps"),
    ] = True
    note: Annotated[str | None, Field(description="why there is no curve, or not the whole truth")] = None


class RegimeSpan(View):
    """A stretch of time in one fast regime."""

    start_ms: Ms
    end_ms: Ms
    regime: Annotated[str, Field(examples=["CAUTION"])]


class Regimes(View):
    """How the fast regime went, oldest first, stretches of NORMAL left out."""

    items: list[RegimeSpan]
    note: Annotated[str | None, Field(description="what was left out")] = None


class Ratios(View):
    """Figures of the whole account, of its daily equity; brought up to date once a minute at most."""

    days: int
    sharpe: MaybeNumber
    sortino: MaybeNumber
    calmar: MaybeNumber
    volatility: MaybeFraction
    profit_factor: MaybeNumber
    expectancy_quote: MaybeNumber
    market_change: Annotated[MaybeFraction, Field(description="of the reference over the same time")]
    note: Annotated[str | None, Field(description="why the figures of days are not known")] = None
