"""A market that is read and measured once, so that any number of parameter sets can be held against it.

Features do not depend on parameters. They are computed month by month, as every scan defines them, and
written to a folder as they come; whoever opens the folder maps its arrays into memory, so that worker
processes share one copy. What parameters change begins with detection.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.features.blocks import closing_within, month_blocks
from crypto_tracker.research.backtest import slow_regime
from crypto_tracker.research.market import Market
from crypto_tracker.research.universe import withhold
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.parameters import FillRules, FillSource
from crypto_tracker.simulation.records import Scenario, no_commands
from crypto_tracker.store.membership import Membership
from crypto_tracker.strategies.base import (
    EVENT_RESET,
    EVENT_SETUP,
    SETUP_DTYPE,
    Detection,
    Features,
    Strategy,
    StrategyEntry,
)
from crypto_tracker.strategies.needs import REFERENCE_LEAD_DAYS, scan_timeframe
from crypto_tracker.strategies.scan import block_view, cut, setup_events

INDEX = "index.json"
_DETECTIONS_KEPT = 64  # of one strategy under one set of parameters each, the latest

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """The features of one month, and which of its rows are scans of the span: [first, stop)."""

    panel: Panel
    values: Mapping[str, FloatArray]
    ready: BoolArray
    first: int
    stop: int

    def features(self, facts: Instruments) -> Features:
        """What a strategy measured, with facts that the configuration in question gives."""
        return Features(panel=self.panel, instruments=facts, values=self.values, ready=self.ready)


def prepare(
    market: Market,
    entries: Sequence[StrategyEntry],
    configuration: Configuration,
    folder: Path,
    *,
    progress: Progress,
) -> None:
    """Compute the features of a market and write everything that simulations over it need to a folder."""
    shelf = _Shelf(folder)
    # A setup at the last close of the span is decided on the day after it.
    days = np.arange(market.start_ms // DAY_MS, market.end_ms // DAY_MS + 1)
    index: dict[str, Any] = {
        "start_ms": market.start_ms,
        "end_ms": market.end_ms,
        "panel": shelf.put_panel(market.panel),
        "reference": None if market.reference is None else shelf.put_panel(market.reference),
        "slow_regime": shelf.put_optional(slow_regime(market)),
        "books": shelf.put_books(market.books),
        "universe": None if market.universe is None else market.universe.document(),
        "first_day": int(days[0]),
        "range_medians": shelf.put(_medians(market, days, configuration.fills.trailing_range_days)),
        "blocks": {},
    }
    for number, entry in enumerate(entries):
        strategy = entry.strategy
        timeframe = scan_timeframe(strategy, market.base)
        view = market.views[timeframe]
        months = list(month_blocks(timeframe.floor(market.start_ms), timeframe.floor(market.end_ms)))
        blocks = index["blocks"].setdefault(strategy.name, [])
        for done, (block_start, block_end) in enumerate(months):
            progress(f"measuring {strategy.name}", (number + done / len(months)) / len(entries))
            features = strategy.features(block_view(strategy, view, block_start, block_end))
            wanted = closing_within(features.panel, max(market.start_ms, block_start), block_end)
            if not len(wanted):
                continue
            first = int(np.searchsorted(features.panel.open_time_ms, wanted.open_time_ms[0]))
            blocks.append(
                {
                    "panel": shelf.put_panel(features.panel),
                    "values": {name: shelf.put(array) for name, array in features.values.items()},
                    "ready": shelf.put(features.ready),
                    "first": first,
                    "stop": first + len(wanted),
                }
            )
    progress("measured", 1.0)
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


class Prepared:
    """What `prepare` wrote, mapped into memory: detections and scenarios of any parameters.

    Attributes
    ----------
    panel : base bars of the span
    """

    def __init__(self, folder: Path, strategies: Mapping[str, Strategy]) -> None:
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(
                f"there is no prepared market in {folder}: where workers run on other machines, "
                "the home folder must be on a file system that all of them share"
            ) from error
        shelf = _Shelf(folder)
        self._strategies = strategies
        self._span = int(index["start_ms"]), int(index["end_ms"])
        self.panel = shelf.panel(index["panel"])
        self._reference = None if index["reference"] is None else shelf.panel(index["reference"])
        self._slow_regime: CodeArray | None = shelf.get_optional(index["slow_regime"])
        self._books = shelf.books(index["books"])
        universe = index["universe"]
        self._universe = None if universe is None else Membership.of_document(universe)
        self._first_day = int(index["first_day"])
        self._medians: FloatArray = shelf.get(index["range_medians"])
        self._blocks = {
            name: [
                Block(
                    panel=shelf.panel(block["panel"]),
                    values={key: shelf.get(number) for key, number in block["values"].items()},
                    ready=shelf.get(block["ready"]),
                    first=int(block["first"]),
                    stop=int(block["stop"]),
                )
                for block in blocks
            ]
            for name, blocks in index["blocks"].items()
        }
        self._events: OrderedDict[tuple[str, str, bytes], RecordArray] = OrderedDict()
        self._lock = Lock()  # workers of a cluster may run several threads in one process

    @property
    def span(self) -> tuple[int, int]:
        """Start and end of what was gathered, in milliseconds."""
        return self._span

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The traded symbols."""
        return self.panel.symbols

    def days(self, timezone: str, start_ms: int, end_ms: int) -> IntArray:
        """The trading day of each base bar that opens in [start_ms, end_ms)."""
        return trading_days(self.panel.between(start_ms, end_ms).open_time_ms, timezone)

    def scenario(
        self,
        configuration: Configuration,
        entries: Sequence[StrategyEntry],
        *,
        start_ms: int,
        end_ms: int,
        close_at_end: bool,
    ) -> Scenario:
        """The simulator's input over [start_ms, end_ms), as if nothing had been traded or set up before.

        Both ends lie on the grid of the base. It is what a backtest of that span would be given: bars before
        it are data for features and regimes, setups decided before it are not seen.
        """
        facts = instruments(configuration, self.symbols)
        parts = [np.zeros(0, dtype=SETUP_DTYPE)]
        for index, entry in enumerate(entries):
            events = _within(self._detected(entry, facts), start_ms, end_ms)
            events["strategy"] = index
            parts.append(events)
        setups = np.concatenate(parts)
        setups = setups[np.lexsort((setups["strategy"], setups["symbol"], setups["time_ms"]))]
        withhold(setups, self.symbols, self._universe)
        held = setups["kind"] == EVENT_SETUP
        setups["range_median"][held] = self._medians[
            setups["time_ms"][held] // DAY_MS - self._first_day, setups["symbol"][held]
        ]
        reference = self._reference
        if reference is not None:
            reference = reference.between(start_ms - REFERENCE_LEAD_DAYS * DAY_MS, end_ms)
            if not reference.between(start_ms, end_ms).present.any():
                reference = None
        rules = configuration.rules()
        books = None
        if self._books is not None and rules.fills.source is FillSource.BOOK:
            books = self._books.between(start_ms - lead_ms(rules.fills), end_ms)
        first, stop = np.searchsorted(self.panel.open_time_ms, [start_ms, end_ms])
        return Scenario(
            panel=self.panel.rows(int(first), int(stop)),
            reference=reference,
            instruments=facts,
            strategies=tuple(entry.strategy.name for entry in entries),
            enabled=tuple(entry.enabled for entry in entries),
            setups=setups,
            commands=no_commands(),
            rules=rules,
            close_at_end=close_at_end,
            slow_regime=None if self._slow_regime is None else self._slow_regime[first:stop],
            books=books,
        )

    def _detected(self, entry: StrategyEntry, facts: Instruments) -> RecordArray:
        """The events of one strategy over the whole span; computed once for the same parameters and facts."""
        name = entry.strategy.name
        key = (name, entry.parameters.model_dump_json(), _as_bytes(facts))
        with self._lock:
            events = self._events.get(key)
            if events is None:
                events = setup_events(self._detections(entry, facts), 0)
                self._events[key] = events
                if len(self._events) > _DETECTIONS_KEPT:
                    self._events.popitem(last=False)
            self._events.move_to_end(key)
        return events

    def _detections(self, entry: StrategyEntry, facts: Instruments) -> Iterator[Detection]:
        strategy = self._strategies[entry.strategy.name]
        for block in self._blocks[strategy.name]:
            features = block.features(facts)
            yield cut(features, strategy.detect(features, entry.parameters), block.first, block.stop)[1]


class _Shelf:
    """Arrays of a folder, each in a file with a number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def put(self, array: RecordArray) -> int:
        number = self._count
        self._count += 1
        np.save(self._file(number), np.asfortranarray(array) if array.ndim > 1 else array)
        return number

    def put_optional(self, array: RecordArray | None) -> int | None:
        return None if array is None else self.put(array)

    def put_panel(self, panel: Panel) -> dict[str, Any]:
        return {
            "timeframe": str(panel.timeframe),
            "symbols": [str(symbol) for symbol in panel.symbols],
            **{name: self.put(getattr(panel, name)) for name in ("open_time_ms", *BAR_FIELDS, "covered")},
        }

    def put_books(self, books: OrderBooks | None) -> dict[str, int] | None:
        if books is None:
            return None
        return {name: self.put(getattr(books, name)) for name in ("first", "snapshots", "levels")}

    def get(self, number: int) -> RecordArray:
        # Copy on write: a strategy may write into an array as into any other, and changes only its own view.
        return np.asarray(np.load(self._file(number), mmap_mode="c"))

    def get_optional(self, number: int | None) -> RecordArray | None:
        return None if number is None else self.get(number)

    def panel(self, index: Mapping[str, Any]) -> Panel:
        return Panel(
            timeframe=Timeframe.parse(index["timeframe"]),
            symbols=tuple(Symbol.parse(name) for name in index["symbols"]),
            **{name: self.get(index[name]) for name in ("open_time_ms", *BAR_FIELDS, "covered")},
        )

    def books(self, index: Mapping[str, int] | None) -> OrderBooks | None:
        return None if index is None else OrderBooks(**{name: self.get(each) for name, each in index.items()})

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:05}.npy"


def lead_ms(rules: FillRules) -> int:
    """How long before a span a recorded book may be that is fresh at its first open."""
    return ceil(rules.book_max_age_seconds * 1000)


def _medians(market: Market, days: IntArray, trailing_days: int) -> FloatArray:
    """The median bar range of the days before each day (R7), (days, symbols): the same for all parameters."""
    symbols = len(market.panel.symbols)
    wanted = np.zeros(len(days) * symbols, dtype=SETUP_DTYPE)
    wanted["time_ms"] = np.repeat(days * DAY_MS, symbols)
    wanted["symbol"] = np.tile(np.arange(symbols), len(days))
    return market.range_medians(wanted, trailing_days).reshape(len(days), symbols)


def _within(events: RecordArray, start_ms: int, end_ms: int) -> RecordArray:
    """A copy of the events decided in (start_ms, end_ms], less resets of setups that came before."""
    first, stop = np.searchsorted(events["time_ms"], [start_ms + 1, end_ms + 1])
    inside = events[first:stop].copy()
    # Events of one symbol alternate in runs of setups that a reset ends: one that comes first is left over.
    _, firsts = np.unique(inside["symbol"], return_index=True)
    left_over = firsts[inside["kind"][firsts] == EVENT_RESET]
    return np.delete(inside, left_over)


def _as_bytes(facts: Instruments) -> bytes:
    return b"".join(
        getattr(facts, field.name).tobytes() for field in fields(facts) if field.name != "symbols"
    )
