"""A trader lives on what the store has when its minute comes, while another process brings bars to it."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.store.feed import NO_TRADE, UNKNOWN
from crypto_tracker.store.trading_records import TRADED, StepRecord
from crypto_tracker.trading.seen import SeenCells, decode_cells, decode_revisions, decode_rows
from tests.app.conftest import run_command
from tests.trading.kills import ROOT, cursor_ms, environment, eventually, started, trade_arguments
from tests.trading.worlds import (
    ACCOUNT,
    START_MS,
    Dump,
    Quiet,
    account_folder,
    build_home,
    dump,
    synthetic_market,
    trade,
)

MINUTES = 180
END_MS = START_MS + MINUTES * MINUTE_MS
MIDNIGHT = 140
BTC, DOGE, ETH, PEPE, SOL, WIF = (
    Symbol(base, "USD") for base in ("BTC", "DOGE", "ETH", "PEPE", "SOL", "WIF")
)
WATCHED = (BTC, DOGE, ETH, PEPE, SOL, WIF)
NEVER = MINUTES


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


# ------------------------------------------------------------------------------------------ what is brought

# (symbol, minute): the minute after whose step the bar comes in.
LATE = {
    (DOGE, 35): 36,  # at its open the entry that was decided at that moment would have been filled
    (ETH, 31): 32,  # before its 5m bar (30 to 34) has closed
    (ETH, 52): 55,  # after its 5m bar (50 to 54) has closed, before its 15m bar (50 to 64) has
    (ETH, 117): 118,  # while the minute 115 of the same 5m bar has a revision by now
    (BTC, 125): 145,  # after the midnight at which unknown bars are asked for again
    (PEPE, 80): NEVER,
} | {(SOL, minute): NEVER for minute in range(150, MINUTES)}
SILENT = {(SOL, minute) for minute in (70, 71, 72)}  # the provider says that there was no trade
WRONG = {(WIF, 100): 2.0}  # a single wrong print
DOUBLED = {(WIF, minute): 2.0 for minute in range(160, MINUTES)}  # a true change of level
REVISED = {(DOGE, 90): 91, (ETH, 115): 116}  # by REVISION, after the step of this minute
REVISION = 1.004
RESTARTS = (60, 93, 118, 141, 155)  # the trader is stopped after these minutes and started again


def bars_of_minute(minute: int) -> list[dict[str, Any]]:
    """What comes in before the minute is stepped."""
    wishes = []
    for symbol in WATCHED:
        key = symbol, minute
        if key not in LATE:
            factor = (WRONG | DOUBLED).get(key, 1.0)
            wishes.append(wish(symbol, minute, factor=factor, silent=key in SILENT))
    return wishes


def bars_after_minute(minute: int, *, revised: bool) -> list[dict[str, Any]]:
    """What comes in after the minute was stepped."""
    wishes = [wish(symbol, late) for (symbol, late), after in LATE.items() if after == minute]
    if revised:
        wishes += [
            wish(symbol, old, factor=REVISION) for (symbol, old), after in REVISED.items() if after == minute
        ]
    return wishes


def wish(symbol: Symbol, minute: int, *, factor: float = 1.0, silent: bool = False) -> dict[str, Any]:
    return {
        "symbol": str(symbol),
        "start_ms": at(minute),
        "end_ms": at(minute + 1),
        "factor": factor,
        "silent": silent,
    }


@dataclass(slots=True)
class Appender:
    """Another process that brings bars, and says when they are there."""

    process: subprocess.Popen[str]

    def tell(self, wishes: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wishes) + "\n")
        self.process.stdin.flush()

    def wait(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "written\n"

    def bring(self, bars: list[dict[str, Any]]) -> None:
        if bars:
            self.tell({"bars": bars})
            self.wait()


@contextmanager
def appender(home: Path) -> Iterator[Appender]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.trading.appender_child", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Appender(process)
        assert process.stdin is not None
        process.stdin.close()


class Bringing(Quiet):
    """Has the bars brought that come between two minutes, and stops the trader after some of them."""

    def __init__(self, bringing: Appender, *, revised: bool, restarts: tuple[int, ...]) -> None:
        super().__init__(lambda record: (record.time_ms - START_MS) // MINUTE_MS in restarts)
        self._bringing = bringing
        self._revised = revised

    def stepped(self, record: StepRecord, seconds: float) -> None:
        minute = (record.time_ms - START_MS) // MINUTE_MS
        self._bringing.bring(
            [*bars_after_minute(minute, revised=self._revised), *bars_of_minute(minute + 1)]
            if minute + 1 < MINUTES
            else bars_after_minute(minute, revised=self._revised)
        )
        super().stepped(record, seconds)


def followed(home: Path, *, revised: bool, restarts: tuple[int, ...]) -> Dump:
    """Trade an account while its bars are brought minute by minute; its records."""
    build_home(home, until_ms=START_MS)
    with appender(home) as bringing:
        bringing.bring(bars_of_minute(0))
        for _ in range(len(restarts) + 1):
            watcher = Bringing(bringing, revised=revised, restarts=restarts)
            trade(home, end_ms=END_MS, follow=True, watcher=watcher)
    return dump(account_folder(home))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose account was traded, with restarts, while all of the above happened."""
    made = tmp_path_factory.mktemp("appended") / "home"
    followed(made, revised=True, restarts=RESTARTS)
    return made


@pytest.fixture(scope="module")
def records(home: Path) -> Dump:
    return dump(account_folder(home))


# ------------------------------------------------------------------------------------------- what was seen


@cache
def market() -> Panel:
    """What the market was, as a minute of it first came in; bars that came late or never are in it."""
    panel = synthetic_market().panel(WATCHED, START_MS, END_MS)
    values = {name: getattr(panel, name).copy() for name in BAR_FIELDS}
    for (symbol, minute), factor in DOUBLED.items():
        for name in ("open", "high", "low", "close"):
            values[name][minute, WATCHED.index(symbol)] *= factor
    for symbol, minute in (*SILENT, *WRONG):  # a suspect bar is missing
        for array in values.values():
            array[minute, WATCHED.index(symbol)] = np.nan
    # The first bar of the new level is suspect until two more confirm it, and is acted on by nobody.
    for array in values.values():
        array[160, WATCHED.index(WIF)] = np.nan
    return Panel(
        timeframe=Timeframe.M1,
        symbols=WATCHED,
        open_time_ms=panel.open_time_ms,
        covered=np.ones((MINUTES, len(WATCHED)), dtype=np.bool_),
        **values,
    )


def seen_revisions(records: Dump) -> np.ndarray:
    return np.stack([decode_revisions(row["seen"]) for row in records["minutes"]])


def test_the_journal_says_for_every_minute_what_was_there_when_it_was_stepped(records: Dump):
    expected = np.where(np.isnan(market().close), NO_TRADE, 0)
    for symbol, minute in LATE:
        expected[minute, WATCHED.index(symbol)] = UNKNOWN
    assert [row["time_ms"] for row in records["minutes"]] == [at(minute) for minute in range(MINUTES)]
    np.testing.assert_array_equal(seen_revisions(records), expected)


def test_nothing_is_bought_or_sold_in_a_minute_without_a_bar(records: Dump):
    seen = seen_revisions(records)
    assert len(records["fills"]) >= 20
    for fill in records["fills"]:
        minute = (fill["bar_open_ms"] - START_MS) // MINUTE_MS
        assert seen[minute, WATCHED.index(Symbol.parse(fill["symbol"]))] >= 0
    # The entry of DOGE waits for a bar that is there, though the late one came in meanwhile.
    (order,) = [
        row
        for row in records["orders"]
        if (row["symbol"], row["placed_ms"], row["rung"]) == (str(DOGE), at(35), 0)
    ]
    (entry,) = [
        row
        for row in records["fills"]
        if (row["trade_group_id"], row["kind"]) == (order["trade_group_id"], "entry")
    ]
    assert entry["bar_open_ms"] == at(36)
    # SOL is held, with rungs below it, when its bars stop: nothing more happens to it.
    assert any(row["symbol"] == str(SOL) for row in records["positions"])
    assert any(row["symbol"] == str(SOL) and row["status"] == "open" for row in records["orders"])


def five_minutes(records: Dump) -> tuple[np.ndarray, np.ndarray]:
    """The 5m bars as they were kept when they closed: values (5, bars, symbols) and whether they are known."""
    blocks = [
        decode_rows(row["block"])
        for row in records["seen_rows"]
        if (row["part"], row["timeframe"]) == (TRADED, "5m") and row["time_ms"] >= START_MS
    ]
    values = np.concatenate([block.values for block in blocks], axis=1)
    return values, np.concatenate([block.covered for block in blocks])


def test_a_late_bar_enters_the_coarser_bars_that_close_after_it_came(records: Dump):
    values, covered = five_minutes(records)
    whole = market()
    revised = {name: getattr(whole, name).copy() for name in BAR_FIELDS}
    # ETH missed 117, so that its bar 115 to 119 was asked of the store, where 115 has a revision by now.
    for name in ("open", "high", "low", "close"):
        revised[name][115, WATCHED.index(ETH)] *= REVISION
    known = whole.covered.copy()
    for (symbol, minute), after in LATE.items():
        # The bar of five closes with the step of its last minute, before what comes after that step.
        if after >= minute - minute % 5 + 4:
            known[minute, WATCHED.index(symbol)] = False
    expected = resample(
        Panel(
            timeframe=Timeframe.M1,
            symbols=WATCHED,
            open_time_ms=whole.open_time_ms,
            covered=known,
            **{name: np.where(known, array, np.nan) for name, array in revised.items()},
        ),
        Timeframe.M5,
    )
    np.testing.assert_array_equal(covered, expected.covered)
    for place, name in enumerate(BAR_FIELDS):
        np.testing.assert_array_equal(values[place], getattr(expected, name))
    # What that means for the five that are drawn above.
    eth = WATCHED.index(ETH)
    assert covered[6, eth]
    assert not covered[10, eth]
    assert covered[23, eth]
    assert not covered[16, WATCHED.index(PEPE)]
    assert not covered[25, WATCHED.index(BTC)]


def test_a_bar_that_came_too_late_is_taken_in_at_midnight_and_once(records: Dump):
    (healed,) = records["healed"]
    assert (healed["time_ms"], healed["part"], healed["timeframe"]) == (at(MIDNIGHT), TRADED, "5m")
    cells: SeenCells = decode_cells(healed["block"])
    assert cells.open_time_ms.tolist() == [at(50)]
    assert cells.column.tolist() == [WATCHED.index(ETH)]
    five = resample(market().between(at(50), at(55)), Timeframe.M5)
    assert cells.values[:, 0].tolist() == [float(getattr(five, name)[0, 2]) for name in BAR_FIELDS]


def test_revisions_and_restarts_change_nothing_that_was_done(records: Dump, tmp_path: Path):
    plain = followed(tmp_path / "home", revised=False, restarts=())
    # Only the one coarser bar that had to be asked of the store knows of a revision, and what is made of it.
    assert differing(plain["seen_rows"], records["seen_rows"]) == {
        ("block", (TRADED, "15m", at(110))),
        ("block", (TRADED, "5m", at(115))),
    }
    assert differing(plain["minutes"], records["minutes"]) == {("digest", at(119)), ("digest", at(124))}
    for name in plain.keys() - {"seen_rows", "minutes"}:
        assert records[name] == plain[name], name


def differing(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> set[tuple[str, Any]]:
    """The cells in which two tables differ: column, and the key of the row."""
    found = set()
    for row, other in zip(rows, others, strict=True):
        key = (row["part"], row["timeframe"], row["time_ms"]) if "part" in row else row["time_ms"]
        found |= {(name, key) for name in row if row[name] != other[name]}
    return found


def test_parity_of_an_account_that_lived_through_all_that_finds_no_difference(home: Path):
    code, out, err = run_command(home, "parity", "--account", ACCOUNT, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["differences"], found["compared"]["minutes"]) == (0, MINUTES)
    late = sum(after < NEVER for after in LATE.values())
    missing = len(LATE) - late
    assert found["complete_history"]["minutes"] == {"late": late, "revised": len(REVISED), "missing": missing}


# --------------------------------------------------------------------------------------- without a handshake


def raced(home: Path, *, minutes: int, seed: int, kills: int) -> Dump:
    """Let the command line follow a process that brings bars as fast as it can, and kill it now and then."""
    end_ms = at(minutes)
    build_home(home, until_ms=START_MS)
    arguments = trade_arguments(home, end_ms, "--follow", "--speed", "max")
    chance = random.Random(seed)
    trader = started(arguments)
    try:
        with appender(home) as bringing:
            bringing.tell({"start_ms": START_MS, "end_ms": end_ms, "seed": seed})
            for number in range(kills):
                wanted = at(minutes * (number + 1) // (kills + 1) - chance.randrange(minutes // (kills + 2)))
                eventually(
                    lambda wanted=wanted: True if (cursor_ms(home) or 0) >= wanted else None,
                    f"the trader comes to {wanted}",
                )
                trader.kill()
                trader.communicate(timeout=600)
                trader = started(arguments)
            bringing.wait()
            # Whatever the last minutes lacked: once the next one is known, they are over.
            bringing.bring([wish(symbol, minutes) for symbol in WATCHED])
            _, err = trader.communicate(timeout=600)
    finally:
        trader.kill()
        trader.communicate()
    assert trader.returncode == 0, err
    return dump(account_folder(home))


def assert_lived_on_what_was_there(home: Path, found: Dump, minutes: int) -> None:
    assert [row["time_ms"] for row in found["minutes"]] == [at(minute) for minute in range(minutes)]
    seen = seen_revisions(found)
    for fill in found["fills"]:
        minute = (fill["bar_open_ms"] - START_MS) // MINUTE_MS
        assert seen[minute, WATCHED.index(Symbol.parse(fill["symbol"]))] >= 0
    code, out, err = run_command(home, "parity", "--account", ACCOUNT, "--json")
    assert code == 0, err
    assert json.loads(out)["differences"] == 0


def test_a_trader_that_races_the_bars_and_is_killed_can_be_proved(tmp_path: Path):
    found = raced(tmp_path / "home", minutes=150, seed=7, kills=1)
    assert_lived_on_what_was_there(tmp_path / "home", found, 150)
    # The trader was fast enough to miss bars, and slow enough to see some.
    assert {UNKNOWN, 0} <= set(seen_revisions(found).ravel().tolist())


@pytest.mark.nightly
def test_a_trader_that_races_the_bars_for_a_day_and_is_killed_often_can_be_proved(tmp_path: Path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to find the same holes again
    found = raced(tmp_path / "home", minutes=1_900, seed=seed, kills=12)
    assert_lived_on_what_was_there(tmp_path / "home", found, 1_900)
