"""What `bench_peers.py` hands to an engine, and what an engine hands back.

An engine is a module `peers.NAME.run`, started in its own environment with two paths: the task and the
answer, both JSON. Bars lie beside the task in one .npz of (bars, symbols) arrays. This module needs NumPy and
nothing of ours, since every environment imports it.
"""

import json
import platform
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MINUTE_MS = 60_000
MINUTES_OF_HOUR = 60
COINS = 5.0  # a position, for engines that count coins
QUOTE = 500.0  # a position, for engines that count money
REASONS = ("take_profit", "stop_loss", "time_exit")
COLUMNS = ("symbol", "entry_row", "exit_row", "entry_price", "exit_price", "reason", "fees")


@dataclass(frozen=True)
class Exits:
    """When a position is left: fractions of its entry price, and hours."""

    take_profit: float
    stop_loss: float
    hours: int

    @property
    def bars(self) -> int:
        """Minutes that a position is held at most."""
        return self.hours * MINUTES_OF_HOUR


@dataclass(frozen=True)
class Bars:
    """One-minute bars as (bars, symbols) arrays, and the entries drawn for them.

    `signal_row` and `signal_symbol` name bars at whose close an entry is decided; it is bought at the next
    open.
    """

    open_time_ms: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    signal_row: np.ndarray
    signal_symbol: np.ndarray

    @property
    def size(self) -> int:
        """Bars of all symbols together."""
        return int(self.close.size)

    def signals_of(self, symbol: int) -> np.ndarray:
        """Rows at whose close `symbol` is to be bought."""
        rows: np.ndarray = self.signal_row[self.signal_symbol == symbol]
        return rows

    def first(self, *, rows: int, symbols: int) -> "Bars":
        """The first rows of the first symbols, with the signals that can still be bought there."""
        kept = (self.signal_row < rows - 1) & (self.signal_symbol < symbols)
        sides = {
            name: np.ascontiguousarray(getattr(self, name)[:rows, :symbols])
            for name in ("open", "high", "low", "close", "volume")
        }
        return Bars(
            open_time_ms=self.open_time_ms[:rows],
            signal_row=self.signal_row[kept],
            signal_symbol=self.signal_symbol[kept],
            **sides,
        )


@dataclass(frozen=True)
class Task:
    """What an engine is to do: the slice of the bars, the exits of every repetition, the cost of a fill."""

    bars: Path
    rows: int
    symbols: int
    fee: float
    exits: tuple[Exits, ...]
    many: tuple[Exits, ...]  # parameter sets to be tried together; all with the same hours
    rounds: int  # how often every repetition is measured
    crowded: bool = False  # the other list of entries, of which many come while a position is held

    def write(self, path: Path) -> None:
        """Write the task for the engine's process."""
        document = {
            "bars": str(self.bars),
            "rows": self.rows,
            "symbols": self.symbols,
            "fee": self.fee,
            "exits": [vars(exits) for exits in self.exits],
            "many": [vars(exits) for exits in self.many],
            "rounds": self.rounds,
            "crowded": self.crowded,
        }
        path.write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Task":
        """Read what `write` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            bars=Path(document["bars"]),
            rows=document["rows"],
            symbols=document["symbols"],
            fee=document["fee"],
            exits=tuple(Exits(**exits) for exits in document["exits"]),
            many=tuple(Exits(**exits) for exits in document["many"]),
            rounds=document["rounds"],
            crowded=document["crowded"],
        )

    def load(self) -> Bars:
        """The slice of the bars that this task is about."""
        names = {field.name: field.name for field in fields(Bars)}
        if self.crowded:
            names |= {"signal_row": "crowded_row", "signal_symbol": "crowded_symbol"}
        with np.load(self.bars) as arrays:
            whole = Bars(**{name: arrays[stored] for name, stored in names.items()})
        return whole.first(rows=self.rows, symbols=self.symbols)


@dataclass
class Trades:
    """Closed trades as columns; rows are those of the bars, `fees` a fraction of the amount of the entry."""

    symbol: list[int] = field(default_factory=list)
    entry_row: list[int] = field(default_factory=list)
    exit_row: list[int] = field(default_factory=list)
    entry_price: list[float] = field(default_factory=list)
    exit_price: list[float] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    fees: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.symbol)

    def append(self, *values: Any) -> None:
        """One trade, its values in the order of COLUMNS, as plain numbers whatever the engine calls them."""
        for name, value in zip(COLUMNS, values, strict=True):
            getattr(self, name).append(value.item() if isinstance(value, np.generic) else value)

    @classmethod
    def from_columns(cls, **columns: Sequence[Any] | np.ndarray) -> "Trades":
        """The same from whole columns."""
        return cls(**{name: np.asarray(columns[name]).tolist() for name in COLUMNS})


@dataclass
class Answer:
    """What an engine measured. Seconds are CPU seconds of all its threads, user and system."""

    engine: str
    versions: dict[str, str]
    bars: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    takes: dict[str, list[dict[str, float]]] = field(default_factory=dict)  # by variant of the engine
    trades: dict[str, list[Trades]] = field(default_factory=dict)  # by variant, one list for each exits

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time that is not the simulation's own: `load`, `prepare`, `compile`."""
        began = process_time()
        yield
        self.stages[name] = self.stages.get(name, 0.0) + process_time() - began

    def take(self, variant: str, work: Callable[[], T], *, repetition: int, sets: int = 1) -> T:
        """Measure one simulation."""
        cpu, wall = process_time(), perf_counter()
        result = work()
        self.takes.setdefault(variant, []).append(
            {
                "repetition": repetition,
                "sets": sets,
                "cpu": process_time() - cpu,
                "wall": perf_counter() - wall,
            }
        )
        return result

    def keep(self, variant: str, trades: Trades, *, repetition: int) -> None:
        """Keep the trades of a repetition, once."""
        lists = self.trades.setdefault(variant, [])
        if len(lists) == repetition:
            lists.append(trades)

    def write(self, path: Path) -> None:
        """Write the answer for `bench_peers.py`."""
        document = {
            "engine": self.engine,
            "versions": self.versions,
            "python": platform.python_version(),
            "bars": self.bars,
            "stages": self.stages,
            "takes": self.takes,
            "trades": {name: [vars(trades) for trades in lists] for name, lists in self.trades.items()},
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        path.write_text(json.dumps(document), encoding="utf-8")


def answer_task(engine: str, versions: dict[str, str], work: Callable[[Task, Bars, Answer], None]) -> None:
    """Read the task, load the bars, let the engine work, write the answer: the main of every engine."""
    task = Task.read(Path(sys.argv[1]))
    answer = Answer(engine, versions)
    with answer.stage("load"):
        bars = task.load()
    answer.bars = bars.size
    work(task, bars, answer)
    answer.write(Path(sys.argv[2]))
