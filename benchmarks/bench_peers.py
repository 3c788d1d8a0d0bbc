"""How fast backtests run, here and elsewhere: the same bars, entries and exits through every engine.

`make peers`, or this file, makes an environment for each engine once (benchmarks/.environments), draws the
bars, starts every engine as a process of its own, and prints one table: CPU time of the simulation alone, as
a multiple of ours. Trade lists are held against ours, trade by trade. docs/benchmarks.md tells how.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from peers.comparison import Verdict, compare
from peers.environments import PEERS, CannotRunError, interpreter, last_line
from peers.market import MINUTES_OF_DAY, crowded_entries, drawn_bars
from peers.protocol import Bars, Exits, Task, Trades

SYMBOLS, DAYS = 20, 180
FEE = 0.003
ENGINE_SECONDS = 600
# Every repetition trades other exits; all hold shorter than entries are apart, so each entry is taken by all.
EXITS = (
    Exits(0.010, 0.010, 6),
    Exits(0.015, 0.020, 8),
    Exits(0.020, 0.015, 12),
    Exits(0.030, 0.025, 12),
    Exits(0.012, 0.030, 8),
)
# Trade lists are held against ours once more on entries about 90 minutes apart, whether or not one is held.
CROWDED_DAYS, CROWDED_REPETITIONS, CROWDED_MINUTES = 10, 2, 60
LEVELS = (0.010, 0.012, 0.015, 0.018, 0.021, 0.025, 0.030, 0.035)
MANY = tuple(Exits(target, stop, 12) for target in LEVELS for stop in LEVELS)
OURS = "ours"
TITLES = {OURS: "crypto-tracker", "backtesting": "backtesting.py"}
SHARED, FULL, OPTIMISTIC, READING, TOGETHER = (
    "shared rules",
    "all rules",
    "optimistic",
    "reading",
    "many sets",
)


@dataclass(frozen=True)
class Engine:
    """What an engine is given to do."""

    name: str  # of its folder
    days: int = (
        DAYS  # the first days of the bars; slow engines get fewer, and their time is scaled by the bar
    )
    repetitions: int = len(EXITS)
    rounds: int = 2
    many: bool = False
    against: str = SHARED  # which of our trade lists has its order of high and low within a bar
    turns_down: bool = True  # whether it can be told to turn down entries while it holds


ENGINES = (
    Engine(OURS, rounds=3, many=True),
    Engine("vectorbt", many=True, turns_down=False),
    Engine("backtesting", days=60, repetitions=2),
    Engine("nautilus_trader", days=12, repetitions=2, against=OPTIMISTIC),
    Engine("freqtrade", days=12, repetitions=2),
    Engine("backtrader", days=12, repetitions=2),
)


def named(verdicts: Counter[Verdict]) -> dict[str, int]:
    """Verdicts by the names that files have for them."""
    return {verdict.name.lower(): count for verdict, count in verdicts.most_common()}


@dataclass
class Row:
    """One line of the table."""

    engine: str
    version: str
    bars: int
    nanoseconds: float  # CPU time for a bar (and a parameter set)
    times_ours: float = 0.0
    trades: int = 0
    verdicts: Counter[Verdict] | None = None

    @property
    def same(self) -> int:
        """Trades that agree in bars, prices, reason and fees."""
        return 0 if self.verdicts is None else self.verdicts[Verdict.SAME]

    @property
    def differ(self) -> int:
        """Trades that do not."""
        return 0 if self.verdicts is None else self.verdicts.total() - self.same

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "verdicts": None if self.verdicts is None else named(self.verdicts)}


@dataclass
class Report:
    """All that one run of the command measured."""

    machine: str
    bars: Bars
    rows: list[Row] = field(default_factory=list)
    together: list[Row] = field(default_factory=list)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    crowded: dict[str, Counter[Verdict]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "machine": self.machine,
            "symbols": self.bars.close.shape[1],
            "days": len(self.bars.close) // MINUTES_OF_DAY,
            "bars": self.bars.size,
            "entries": len(self.bars.signal_row),
            "fee": FEE,
            "rows": [row.document() for row in self.rows],
            "many_sets": {"sets": len(MANY), "rows": [row.document() for row in self.together]},
            "crowded": {engine: named(verdicts) for engine, verdicts in self.crowded.items()},
            "stages": self.stages,
            "versions": self.versions,
            "missing": self.missing,
        }


def machine() -> str:
    """Processor, cores, system and how busy it was: what figures depend on."""
    facts = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(), re.MULTILINE) if facts.exists() else None
    processor = named[1] if named else platform.machine()
    load = os.getloadavg()[0]
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"load {load:.1f} before"
    )


def run_engine(engine: Engine, bars: Path, folder: Path, *, crowded: bool = False) -> dict[str, Any]:
    """Start an engine in its environment and read its answer, with the crowded entries once and for few bars.

    Raises CannotRunError with the last line of what it said.
    """
    python = Path(sys.executable) if engine.name == OURS else interpreter(engine.name)
    task, answer = folder / f"{engine.name}.task.json", folder / f"{engine.name}.json"
    Task(
        bars=bars,
        rows=(CROWDED_DAYS if crowded else engine.days) * MINUTES_OF_DAY,
        symbols=SYMBOLS,
        fee=FEE,
        exits=EXITS[: CROWDED_REPETITIONS if crowded else engine.repetitions],
        many=MANY if engine.many and not crowded else (),
        rounds=1 if crowded else engine.rounds,
        crowded=crowded,
    ).write(task)
    print(f"Running {engine.name}{' on crowded entries' if crowded else ''} ...", file=sys.stderr)
    try:
        done = subprocess.run(  # noqa: S603 - our own script in an environment of ours
            [str(python), "-m", f"peers.{engine.name}.run", str(task), str(answer)],
            cwd=PEERS.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=ENGINE_SECONDS,
        )
    except subprocess.TimeoutExpired as slow:
        raise CannotRunError(f"it took more than {ENGINE_SECONDS} s") from slow
    if done.returncode:
        raise CannotRunError(last_line(done.stderr))
    document: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return document


def nanoseconds(takes: list[dict[str, float]], bars: int) -> float:
    """CPU time for a bar and set: the best of the rounds of each repetition, the mean of the repetitions."""
    best: dict[float, float] = {}
    for take in takes:
        cost = take["cpu"] / take["sets"] / bars * 1e9
        best[take["repetition"]] = min(best.get(take["repetition"], cost), cost)
    return mean(best.values())


def measure(chosen: tuple[Engine, ...]) -> Report:
    """Run every engine and hold it against ours, which runs first."""
    whole = drawn_bars(symbols=SYMBOLS, days=DAYS, spacing_minutes=max(exits.bars for exits in EXITS))
    crowded_row, crowded_symbol = crowded_entries(whole, every_minutes=CROWDED_MINUTES)
    crowd = replace(whole, signal_row=crowded_row, signal_symbol=crowded_symbol)
    report = Report(machine(), whole)
    own: dict[str, list[Trades]] = {}
    own_crowded: dict[str, list[Trades]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, stored = Path(name), Path(name) / "bars.npz"
        np.savez(stored, **vars(whole), crowded_row=crowded_row, crowded_symbol=crowded_symbol)
        for engine in chosen:
            try:
                answer = run_engine(engine, stored, folder)
                answer_crowded = (
                    run_engine(engine, stored, folder, crowded=True) if engine.turns_down else None
                )
            except CannotRunError as reason:
                if engine.name == OURS:
                    raise
                report.missing[engine.name] = str(reason)
                continue
            own = own or trade_lists(answer)
            add_rows(report, engine, answer, own[engine.against])
            if answer_crowded:
                own_crowded = own_crowded or trade_lists(answer_crowded)
                for variant, lists in trade_lists(answer_crowded).items():
                    verdicts = compared(crowd, CROWDED_DAYS, own_crowded[engine.against], lists)
                    report.crowded[title(engine.name, variant)] = verdicts
    reference = next(row.nanoseconds for row in report.rows if row.engine == f"{TITLES[OURS]}, {SHARED}")
    for row in report.rows:
        row.times_ours = row.nanoseconds / reference
    for row in report.together:
        row.times_ours = row.nanoseconds / report.together[0].nanoseconds
    return report


def title(engine: str, variant: str) -> str:
    """What a line is called."""
    if variant == READING:
        return "reading every bar once"
    return f"{TITLES.get(engine, engine)}, {variant.removeprefix(f'{TOGETHER}, ')}"


def trade_lists(answer: dict[str, Any]) -> dict[str, list[Trades]]:
    """The trades of an answer, by variant of the engine, one list for each repetition."""
    return {key: [Trades(**each) for each in lists] for key, lists in answer["trades"].items()}


def compared(bars: Bars, days: int, own: list[Trades], other: list[Trades]) -> Counter[Verdict]:
    """All repetitions that the other engine ran, over the first days of the bars."""
    part = bars.first(rows=days * MINUTES_OF_DAY, symbols=SYMBOLS)
    verdicts: Counter[Verdict] = Counter()
    for exits, ours, theirs in zip(EXITS, own, other, strict=False):
        verdicts.update(compare(part, exits, ours, theirs))
    return verdicts


def add_rows(report: Report, engine: Engine, answer: dict[str, Any], own: list[Trades]) -> None:
    """A row for every variant that an engine measured, and what it needed besides."""
    versions, bars = answer["versions"], answer["bars"]
    report.versions[engine.name] = {"python": answer["python"], **versions}
    report.stages[engine.name] = {**answer["stages"], "memory_mb": answer["memory_mb"]}
    for variant, takes in answer["takes"].items():
        row = Row(
            engine=title(engine.name, variant),
            version="" if variant == READING else next(iter(versions.values())),
            bars=bars,
            nanoseconds=nanoseconds(takes, bars),
        )
        if variant.startswith(TOGETHER):
            report.together.append(row)
            continue
        report.rows.append(row)
        traded = trade_lists(answer).get(variant, [])
        row.trades = round(mean(len(trades) for trades in traded)) if traded else 0
        if engine.name != OURS:
            row.verdicts = compared(report.bars, engine.days, own, traded)


def print_report(report: Report) -> None:
    """The tables, at most 100 columns wide."""
    bars = report.bars
    print(f"{SYMBOLS} symbols x {DAYS} days of 1m: {bars.size:,} bars, {len(bars.signal_row):,} entries")
    print(report.machine)
    print("CPU time of the simulation alone: user and system, all threads, best of the rounds\n")
    head = f"{'':41}{'measured':>8}{'CPU ns':>10}{'CPU s for':>10}{'times':>9}"
    units = f"{'engine':30}{'version':11}{'M bars':>8}{'a bar':>10}{'all bars':>10}{'ours':>9}"
    print(f"{head}{'trades:':>11}\n{units}{'same':>10}{'differ':>8}")
    for row in sorted(report.rows, key=lambda each: each.nanoseconds):
        agreement = "" if row.verdicts is None else f"{row.same:10,}{row.differ:8,}"
        print(f"{measured(row, bars.size)}{agreement}")
    for name, reason in report.missing.items():
        print(f"{name:30}not measured: {reason}")
    print(f"\n{len(MANY)} parameter sets over the same bars; CPU ns for a bar and set, CPU s for all of them")
    for row in report.together:
        print(measured(row, bars.size * len(MANY)))
    print(f"\n{'besides, CPU s':30}{'load':>10}{'prepare':>10}{'compile':>10}{'peak memory, MB':>18}")
    for name, stages in report.stages.items():
        seconds = "".join(f"{stages.get(stage, 0.0):10.1f}" for stage in ("load", "prepare", "compile"))
        print(f"{name:30}{seconds}{stages['memory_mb']:18,.0f}")
    print("\ntrades that differ from ours, and why")
    for row in report.rows:
        print_differences(row.engine, row.verdicts or Counter())
    print(f"\nand on {CROWDED_DAYS} days of entries that come while positions are held")
    for engine, verdicts in report.crowded.items():
        if not engine.startswith(TITLES[OURS]):
            print(f"{engine:26}{verdicts[Verdict.SAME]:6,}  {Verdict.SAME}")
            print_differences(engine, verdicts)


def print_differences(engine: str, verdicts: Counter[Verdict]) -> None:
    """A line for every kind of difference."""
    for verdict, count in verdicts.most_common():
        if verdict is not Verdict.SAME:
            print(f"{engine:26}{count:6,}  {verdict}")


def measured(row: Row, bars: int) -> str:
    """What a line says about speed; `bars` is what the whole task holds."""
    return (
        f"{row.engine:30}{row.version:11}{row.bars / 1e6:8.2f}{row.nanoseconds:10,.1f}"
        f"{row.nanoseconds * bars / 1e9:10,.2f}{row.times_ours:9,.1f}"
    )


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one document instead of tables")
    parser.add_argument(
        "--only",
        action="append",
        choices=[engine.name for engine in ENGINES[1:]],
        help="this engine and ours",
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    asked = arguments()
    chosen = tuple(engine for engine in ENGINES if asked.only is None or engine.name in {OURS, *asked.only})
    report = measure(chosen)
    if asked.json:
        print(json.dumps(report.document(), indent=1))
    else:
        print_report(report)


if __name__ == "__main__":
    main()
