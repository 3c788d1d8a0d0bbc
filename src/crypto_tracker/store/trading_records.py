"""What one step of the trader writes, as frozen records, and what an account is."""

from dataclasses import dataclass, field
from decimal import Decimal

from crypto_tracker.core.arrays import CodeArray, FloatArray, IntArray
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.orders import Fill, Order, Standing, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe

TRADED, REFERENCE = "traded", "reference"
"""The two parts of what is seen: the traded symbols, and the reference coin alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose records these are; nothing of it changes after the account was opened.

    Attributes
    ----------
    kind : `paper` or `replay`
    symbols : the traded symbols, sorted, the order of all columns
    reference : the symbol that stands for the market, traded or not; None where there is none
    providers : for every traded symbol and the reference
    strategies : names in the configured order
    start_ms : open time of the first minute
    end_ms : of a replay, the first minute that is not stepped; else None
    """

    kind: str
    symbols: tuple[Symbol, ...]
    reference: Symbol | None
    providers: dict[Symbol, str]
    strategies: tuple[str, ...]
    capital_quote: Decimal
    start_ms: int
    end_ms: int | None
    created_at_ms: int
    code_version: str

    @property
    def watched(self) -> tuple[Symbol, ...]:
        """The traded symbols, and the reference behind them where it is not traded."""
        if self.reference is None or self.reference in self.symbols:
            return self.symbols
        return (*self.symbols, self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationRow:
    """A configuration that an account trades under."""

    version: str
    canonical: str
    document: str  # JSON of every value


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBlock:
    """Bars as they were seen (`trading.seen`): one coarser row, or for `healed` some cells."""

    part: str
    timeframe: Timeframe
    time_ms: int  # open time of the (first) row; of healed cells the minute from which on they were seen
    block: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRecord:
    """A setup with the portfolio's answer at admission, or a near miss (then without a number)."""

    setup_number: int | None
    time_ms: int
    symbol: Symbol
    strategy: str
    verdict: Verdict
    reason: Reason
    readiness: float
    confidence: float
    rank: int | None
    fallback: bool
    measured: float | None
    limit: float | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord(Order):
    """An order, and the configuration version that its setup was decided under."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRecord(Standing):
    """One held position as it stands now. `trade` is the open trade, marked at `mark_price`."""

    trade: Trade
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedCommand:
    """One command as the simulator got it. `kind` is a CommandKind in lower case, or `configure`."""

    kind: str
    symbol: Symbol | None
    strategy: str | None
    value: str | None
    command_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The trader's answer to a person's command."""

    command_id: str
    kind: str
    status: str  # applied or refused
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """A critical error that stopped entries."""

    cause: str  # scan_failed, ledger_mismatch, invariant_broken
    sentence: str
    strategy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A symbol whose setups of a minute were withheld, as its data-quality score was too low."""

    symbol: Symbol
    score: float
    score_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """Everything that one step writes, in one transaction.

    Attributes
    ----------
    time_ms : open time of the minute
    version : of the configuration that it was stepped under
    seen : revisions of the watched symbols, and digests of the order books that were read
        (`trading.seen.encode_revisions`)
    bars_digest : of the values that were seen
    orders : those that changed, as they stand after the step
    fills, trades : new ones in order; they continue the numbers that the file has
    first_fill, first_trade : the numbers that the trader gives to the first of them, to be held against the
        file; None where it counts none
    trade_versions : for each of `trades` the configuration version of its setup
    positions : all that is held, when something about them changed; None leaves the table as it is
    medians : (symbol, day_ms, median or None)
    doubts : symbols that had a setup and were too doubtful to act on it
    configuration : a version that the account has not traded under before
    state : the trader's state after the step
    state_before : the state before the step, to be kept as a checkpoint; None on most minutes
    next_version : of the configuration that the next minute is stepped under
    """

    time_ms: int
    version: str
    seen: bytes
    bars_digest: bytes
    equity_quote: Decimal
    cash_quote: Decimal
    reserved_quote: Decimal
    regime: Regime
    volatility: float | None
    state: bytes
    next_version: str
    state_before: bytes | None = None
    rows: list[SeenBlock] = field(default_factory=list)
    healed: list[SeenBlock] = field(default_factory=list)
    blocks: list[tuple[int, str, bytes]] = field(default_factory=list)  # (close time, strategy, block)
    setups: list[SetupRecord] = field(default_factory=list)
    orders: list[OrderRecord] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    first_fill: int | None = None
    first_trade: int | None = None
    trades: list[Trade] = field(default_factory=list)
    trade_versions: list[str] = field(default_factory=list)
    positions: list[PositionRecord] | None = None
    commands: list[AppliedCommand] = field(default_factory=list)
    results: list[CommandResult] = field(default_factory=list)
    medians: list[tuple[Symbol, int, float | None]] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    halts: list[Halt] = field(default_factory=list)
    configuration: ConfigurationRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an account begins with; written in one transaction."""

    account: Account
    configuration: ConfigurationRow
    history: list[SeenBlock]  # `time_ms` is the open time of the first row
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TraderRow:
    """Where the trader stands: everything that the next step needs."""

    cursor_ms: int  # open time of the next minute to step
    version: str  # of the configuration that it is stepped under
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The trader's state before the minute `time_ms`."""

    time_ms: int
    version: str
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One process that traded the account."""

    session_id: int
    started_at_ms: int
    ended_at_ms: int | None
    pid: int
    host: str
    code_version: str
    cursor_ms: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Minutes:
    """Stepped minutes in order of time, by columns.

    Attributes
    ----------
    time_ms : int64 (minutes,), open times
    version : of the configuration of each
    seen : revisions of the watched symbols, and digests of the order books that were read
        (`trading.seen.decode_revisions`, `decode_books`)
    bars_digest : of the values that were seen
    equity_e8, cash_e8, reserved_e8 : int64 (minutes,), amounts at CLOSE in 1e-8 quote
    regime : int8 (minutes,), a `Regime`
    volatility : float64 (minutes,), NaN where unknown
    recorded_at_ms : int64 (minutes,)
    """

    time_ms: IntArray
    version: list[str]
    seen: list[bytes]
    bars_digest: list[bytes]
    equity_e8: IntArray
    cash_e8: IntArray
    reserved_e8: IntArray
    regime: CodeArray
    volatility: FloatArray
    recorded_at_ms: IntArray

    def __len__(self) -> int:
        return len(self.time_ms)
