"""The one Strategy protocol, and what a strategy sees and says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketView:
    """All that a strategy may look at: closed bars, and facts that do not change.

    Attributes
    ----------
    timeframe : the one to scan: the strategy's own, or a coarser one where the data holds nothing finer.
        Windows stated in hours keep their hours, windows stated in bars keep their bars
    panels : bars by timeframe, the same symbols in each; rows are joined across timeframes on close time
    reference : one-column panels of the reference coin by timeframe; empty when it is not in the data
    instruments : facts per symbol, in the order of the panels' columns
    slow_regime : `SlowRegime` codes of the rows of `reference[Timeframe.D1]`, each known from that row's
        close; None where nothing is known (docs/decisions/0020-strategy-view.md)
    """

    timeframe: Timeframe
    panels: Mapping[Timeframe, Panel]
    reference: Mapping[Timeframe, Panel]
    instruments: Instruments
    slow_regime: CodeArray | None = None

    def __post_init__(self) -> None:
        if self.slow_regime is None:
            return
        days = self.reference.get(Timeframe.D1)
        if days is None or self.slow_regime.shape != (len(days),):
            raise DataError("the slow regime must have one code for each daily bar of the reference coin")

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The columns of every panel."""
        return self.instruments.symbols


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """A strategy's measurements for a whole panel: arrays (bars, symbols) on the strategy's timeframe.

    NaN where a value is missing. `ready` is true where the declared warm-up exists.
    """

    panel: Panel
    instruments: Instruments
    values: Mapping[str, FloatArray]
    ready: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """How a setup is to be traded. Arrays are (bars, symbols), or broadcast to it; fractions unless said.

    Attributes
    ----------
    size_quote : quote amount of each ladder level, before size factors
    levels : number of equal buys, 1 for a single market entry
    spacing : distance of the rungs below the first fill
    take_profit, stop_loss : measured from the average entry
    trailing : distance of the trailing stop, 0 for none
    max_hold_ms : time limit from the first entry fill
    max_entry_gap : the entry is skipped when the next open is more than this above the decision close; NaN
        for no limit
    """

    size_quote: FloatArray
    levels: IntArray
    spacing: FloatArray
    take_profit: FloatArray
    stop_loss: FloatArray
    trailing: FloatArray
    max_hold_ms: IntArray
    max_entry_gap: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detection:
    """What one strategy says of every symbol at every bar of a panel; arrays (bars, symbols).

    Attributes
    ----------
    panel : the bars scanned; row t is decided at its close time
    setup : all rules of the strategy are met
    reason : `Reason` code of the first rule that stopped it, ACCEPTED where `setup`, NO_BAR where no bar is
    readiness : 0 to 100, NaN where the scan is not ready
    confidence : 0 to 1, NaN where the scan is not ready
    side : +1 for long; -1 is refused by the portfolio (`unsupported_side`)
    measurements : the strategy's own numbers behind the decision, for people
    """

    strategy: str
    panel: Panel
    setup: BoolArray
    reason: CodeArray
    readiness: FloatArray
    confidence: FloatArray
    measurements: Mapping[str, FloatArray]
    plan: Plan
    side: int = 1

    def __post_init__(self) -> None:
        shape = (len(self.panel), len(self.panel.symbols))
        for name in ("setup", "reason", "readiness", "confidence"):
            if getattr(self, name).shape != shape:
                raise DataError(f"strategy {self.strategy}: {name} must have shape {shape} (bars, symbols)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One gate of a strategy at one scan, in words and numbers."""

    gate: str  # the reason code that this gate gives
    passed: bool
    measured: float
    required: float
    sentence: str  # what was seen, and what would have had to be different


@runtime_checkable
class Strategy(Protocol):
    """A rule that finds setups. Stateless: its rule is a level, true or false at each scan.

    `name` is upper case. `timeframe` is the native one; `features` scans `market.timeframe`, which is coarser
    where the data holds nothing finer (a 1h backtest), and then `warmup[timeframe]` counts bars of that one.
    `warmup` gives, for each timeframe read, the bars that must exist before a scan is ready;
    `reference_warmup` the same for the reference coin. `parameters_model` is a `Frozen` model; parameters may
    differ by tier. A built-in strategy has its defaults in `config/defaults.toml` and none in the model; a
    plug-in, which that file does not know, has them in its model.
    """

    name: ClassVar[str]
    timeframe: ClassVar[Timeframe]
    warmup: ClassVar[Mapping[Timeframe, int]]
    reference_warmup: ClassVar[Mapping[Timeframe, int]]
    parameters_model: ClassVar[type[Frozen]]

    def features(self, market: MarketView) -> Features:
        """Measure a whole panel from closed bars only; independent of parameters, so that sweeps share it."""
        ...

    def detect(self, features: Features, parameters: Frozen) -> Detection:
        """Apply the rules to a whole panel."""
        ...

    def explain(
        self, detection: Detection, features: Features, parameters: Frozen, row: int, column: int
    ) -> list[Explanation]:
        """Every gate of the rule at one scan, in the order in which they are tested."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyEntry:
    """A strategy as configured: the object, its parameters, and whether it trades."""

    strategy: Strategy
    parameters: Frozen
    enabled: bool = field(default=True)


SETUP_DTYPE = np.dtype(
    [
        ("time_ms", np.int64),  # decision time: the close of the strategy's bar
        ("symbol", np.int32),  # column of the panel
        ("strategy", np.int16),  # position in the configured order
        ("kind", np.int8),  # EVENT_SETUP or EVENT_RESET
        ("side", np.int8),
        ("confidence", np.float64),
        ("readiness", np.float64),
        ("size_quote", np.float64),
        ("levels", np.int16),
        ("withheld", np.int8),  # Reason for which it must not be acted on, 0 for none; the first of all gates
        ("spacing", np.float64),
        ("take_profit", np.float64),
        ("stop_loss", np.float64),
        ("trailing", np.float64),
        ("max_hold_ms", np.int64),
        ("max_entry_gap", np.float64),
        ("decision_close", np.float64),
        ("wait_ms", np.int64),  # one strategy bar: how long a market entry waits for a missing bar
        ("range_median", np.float64),  # median bar range of the previous 30 days, NaN where unknown
    ],
    align=True,
)

# What a setup can be withheld for by whoever knows it; anything else is found by the portfolio itself.
WITHHELD_FOR = (Reason.DATA_DOUBTFUL, Reason.NOT_IN_UNIVERSE)

EVENT_RESET = 0  # the first false scan after a true one: the episode is over
EVENT_SETUP = 1
