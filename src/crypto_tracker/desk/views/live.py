"""What the live stream says and is told. One JSON text for each message, told apart by `type`."""

from typing import Annotated, Literal

from pydantic import Field

from crypto_tracker.desk.views.accounts import Status
from crypto_tracker.desk.views.base import AccountId, Fraction, MaybeNumber, Ms, Pair, Quote, View
from crypto_tracker.desk.views.decisions import Decision, LogLine
from crypto_tracker.desk.views.system import Health
from crypto_tracker.desk.views.trades import Positions, Trade

Topic = Annotated[
    str,
    Field(
        pattern=r"^(trades|decisions|positions|equity|regime|health|log"
        r"|bars:[A-Za-z0-9]{1,24}/[A-Za-z0-9]{1,24}(:[A-Za-z0-9]{1,24})?@(1m|5m|15m|1h|4h|1d))$",
        description="trades, decisions, positions, equity, regime, health, log, or bars:SYMBOL@TIMEFRAME",
        examples=["trades", "bars:BTC/USDT@15m"],
    ),
]


class Authenticate(View):
    """The first message, unless this machine needs no token."""

    type: Literal["auth"]
    token: str


class Subscribe(View):
    """From now on these topics of this account; it replaces what was subscribed before."""

    type: Literal["subscribe"]
    account: Annotated[AccountId, Field(pattern=r"^([a-z0-9][a-z0-9_-]{0,62}|run:[1-9][0-9]{0,9})$")]
    topics: Annotated[list[Topic], Field(max_length=16)]


class Hello(View):
    """The stream is open."""

    type: Literal["hello"] = "hello"
    actor: str
    now_ms: Ms
    beat_ms: Annotated[
        int, Field(gt=0, description="milliseconds from one beat to the next", examples=[2_000])
    ]


class Subscribed(View):
    """Answers `subscribe`: what comes next is newer than what the REST endpoints say from now on."""

    type: Literal["subscribed"] = "subscribed"
    account: AccountId
    topics: list[Topic]


class Beat(View):
    """Every `beat_ms` that `hello` names, also where nothing happens: a stream silent for longer is dead."""

    type: Literal["beat"] = "beat"
    now_ms: Ms


class Resync(View):
    """The client was too slow and messages were left out: fetch the pages anew."""

    type: Literal["resync"] = "resync"
    account: AccountId


class LiveProblem(View):
    """What was sent could not be understood or is not allowed, or something cannot be told of just now."""

    type: Literal["problem"] = "problem"
    detail: str
    topic: Annotated[
        Topic | None,
        Field(
            description="the only topic that it is about, until `subscribed` names it; null where it is of "
            "all of the stream, or of what was sent"
        ),
    ] = None


class EquityNow(View):
    """What the account is worth at the close of the last minute."""

    time_ms: Ms
    equity_quote: Quote
    drawdown: Fraction


class RegimeNow(View):
    """The fast regime has changed, or was forced."""

    time_ms: Ms
    regime: str
    forced: bool
    volatility: MaybeNumber


class BarNow(View):
    """The newest bar of a symbol, whole or still growing from closed minutes."""

    symbol: Pair
    timeframe: str
    time_ms: Ms
    open: float
    high: float
    low: float
    close: float
    volume: MaybeNumber
    closed: bool


class TradesEvent(View):
    """Trades that closed."""

    type: Literal["trades"] = "trades"
    account: AccountId
    items: list[Trade]


class DecisionsEvent(View):
    """Setups and near misses."""

    type: Literal["decisions"] = "decisions"
    account: AccountId
    items: list[Decision]


class PositionsEvent(View):
    """All that is held now."""

    type: Literal["positions"] = "positions"
    account: AccountId
    positions: Positions


class EquityEvent(View):
    """Points of the equity curve since the last message, with the account at a glance."""

    type: Literal["equity"] = "equity"
    account: AccountId
    points: list[EquityNow]
    status: Status


class RegimeEvent(View):
    """The fast regime."""

    type: Literal["regime"] = "regime"
    account: AccountId
    regime: RegimeNow


class LogEvent(View):
    """The log has new lines: all of it, as it is short."""

    type: Literal["log"] = "log"
    account: AccountId
    items: list[LogLine]


class HealthEvent(View):
    """How every part is."""

    type: Literal["health"] = "health"
    account: AccountId
    health: Health


class BarsEvent(View):
    """New bars of one symbol."""

    type: Literal["bars"] = "bars"
    account: AccountId
    items: list[BarNow]


class MendedEvent(View):
    """Bars of one symbol that are further back than those that are told one by one may be others now."""

    type: Literal["mended"] = "mended"
    account: AccountId
    symbol: Pair
    timeframe: str
    start_ms: Annotated[Ms, Field(description="the open of the first of them")]
    end_ms: Annotated[Ms, Field(description="the close of the last of them")]


CLIENT_MESSAGES = (Authenticate, Subscribe)
SERVER_MESSAGES = (
    Hello,
    Subscribed,
    Beat,
    Resync,
    LiveProblem,
    TradesEvent,
    DecisionsEvent,
    PositionsEvent,
    EquityEvent,
    RegimeEvent,
    LogEvent,
    HealthEvent,
    BarsEvent,
    MendedEvent,
)

StreamWish = Annotated[Authenticate | Subscribe, Field(discriminator="type", title="StreamWish")]
StreamMessage = Annotated[
    Hello
    | Subscribed
    | Beat
    | Resync
    | LiveProblem
    | TradesEvent
    | DecisionsEvent
    | PositionsEvent
    | EquityEvent
    | RegimeEvent
    | LogEvent
    | HealthEvent
    | BarsEvent
    | MendedEvent,
    Field(discriminator="type", title="StreamMessage"),
]
