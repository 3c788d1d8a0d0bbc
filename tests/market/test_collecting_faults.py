"""Every fault of stream and requests, in one table: what happened, and that the store is the market after it.

`python -m tests.market.test_collecting_faults` prints the table.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.core.errors import ProviderRefused
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.collecting.service import Assignment, Collecting
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.quarantine import quarantined
from crypto_tracker.store.reader import DATABASE_NAME
from tests import virtual_time
from tests.market.collected import START, Told
from tests.market.massive_world import World, massive_world_here
from tests.market.witness import Witnessed, deceptions
from tests.servers.massive_stream import Fault, FaultScript, Kind, Market
from tests.store.shelf import _empty_database

PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD")
MINUTES = 11  # of the market in each world
SPM = 0.5  # seconds
AT = 5  # the minute of the fault
FIRST, LAST = 0, 9  # minutes that are held against the market


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes
    ----------
    stream : faults of the stream by minute, and of its first logins
    rest : what happens to the first requests for bars
    said : words that people are told, of which at least one line has each
    counted : figures that must not be 0
    missing : whether the bar of the fault must be missing in the end (it was doubted)
    quarantined : the rule under which a bar must be in quarantine
    refused : whether the collector ends by a refusal
    deceives : whether a trader may be told of a minute without a trade, in which there was one
    """

    name: str
    stream: FaultScript = field(default_factory=FaultScript)
    rest: Sequence[str] = ()
    said: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    missing: bool = False
    quarantined: str = ""
    refused: bool = False
    deceives: bool = False
    collector: tuple[tuple[str, object], ...] = ()


def at(kind: Kind, **more: object) -> FaultScript:
    return FaultScript.of({AT: Fault(kind, pair="BTC-USD", **more)})  # type: ignore[arg-type]


CASES = (
    Case("none: the undisturbed market"),
    Case(
        "disconnect mid-frame",
        at(Kind.CUT),
        said=("the stream was lost",),
        counted=("reconnects", "catch_ups"),
    ),
    Case(
        "silence",
        at(Kind.SILENCE),
        said=("nothing came for",),
        counted=("reconnects", "catch_ups"),
        collector=(("silence_seconds", 75.0),),
    ),
    Case("duplicate", at(Kind.DUPLICATE), counted=("duplicates",)),
    Case("out of order", at(Kind.OUT_OF_ORDER)),
    Case("late correction", at(Kind.LATE_CORRECTION), counted=("corrections",)),
    Case("wrong symbol", at(Kind.WRONG_SYMBOL), said=("WRONG-USD",)),
    Case(
        "NaN",
        at(Kind.NOT_A_NUMBER),
        said=("breaks a rule",),
        counted=("unusable",),
        quarantined="missing_field",
    ),
    Case(
        "empty string",
        at(Kind.EMPTY_STRING),
        said=("breaks a rule",),
        counted=("unusable",),
        quarantined="missing_field",
    ),
    Case(
        "missing field",
        at(Kind.MISSING_FIELD),
        said=("breaks a rule",),
        counted=("unusable",),
        quarantined="missing_field",
    ),
    Case("absurd price", at(Kind.ABSURD_PRICE), said=("jumped too far",), missing=True),
    Case("clock skew: early by 3 s", at(Kind.EARLY, skew_ms=3_000)),
    Case(
        "clock skew: early by 40 s",
        at(Kind.EARLY, skew_ms=40_000),
        said=("breaks a rule",),
        counted=("unusable",),
        quarantined="in_future",
    ),
    Case("late by 20 s", at(Kind.LATE, skew_ms=20_000)),
    Case("one bar late by 3 s", at(Kind.ONE_LATE, skew_ms=3_000)),
    Case("one bar late by 14 s", at(Kind.ONE_LATE, skew_ms=14_000)),
    Case("one bar late by 50 s", at(Kind.ONE_LATE, skew_ms=50_000), deceives=True),
    Case(
        "a line that is dead, and nobody was told",
        at(Kind.DEAD),
        said=("nothing came for",),
        counted=("reconnects", "catch_ups"),
        collector=(("silence_seconds", 75.0),),
    ),
    Case("slow drip of the stream", at(Kind.SLOW_DRIP, seconds=0.1)),
    Case("truncated JSON in the stream", at(Kind.TRUNCATED_JSON), said=("left out of the stream",)),
    Case("no array", at(Kind.NO_ARRAY), said=("left out of the stream",)),
    Case("bar of half a minute", at(Kind.NOT_A_MINUTE), said=("left out of the stream",)),
    Case("clean close", at(Kind.CLEAN_CLOSE), said=("the stream was lost",), counted=("reconnects",)),
    Case("slow consumer", at(Kind.SLOW_CONSUMER), said=("slow_consumer",), counted=("reconnects",)),
    Case("forced disconnect", at(Kind.FORCE_DISCONNECT), said=("force_disconnect",), counted=("reconnects",)),
    Case(
        "max_connections after success",
        at(Kind.MAX_CONNECTIONS),
        said=("connected elsewhere",),
        counted=("reconnects",),
        collector=(("cool_down_seconds", 60.0),),
    ),
    Case(
        "no answer to the login", at(Kind.UNREACHABLE), said=("the stream was lost",), counted=("reconnects",)
    ),
    Case("auth failure", FaultScript.of({}, [Kind.AUTH_FAILED]), said=("refuses the key",), refused=True),
    Case("502 of requests", rest=["502"] * 2, counted=("requests",)),
    Case("429 of requests", rest=["429"] * 2, counted=("requests",)),
    Case("truncated JSON of a request", rest=["truncated"] * 2, counted=("requests",)),
    Case("slow drip of a request", rest=["drip"] * 2, counted=("requests",)),
    Case("wrong key of requests", rest=["401"] * 9, said=("key",), refused=True),
)


@dataclass(frozen=True)
class Outcome:
    """What happened in one world."""

    lines: list[str]
    figures: dict[str, object]
    differences: list[str]
    deceptions: list[str]
    late: int
    rules: list[str]
    refusal: str
    failed_requests: int


@cache
def outcomes() -> dict[str, Outcome]:
    """All worlds at once: they mostly wait, which takes no time."""

    clock = virtual_time.Clock()

    async def main() -> list[Outcome]:
        return await asyncio.gather(*(outcome(case, clock) for case in CASES))

    return {case.name: found for case, found in zip(CASES, virtual_time.run(main(), clock), strict=True)}


async def outcome(case: Case, clock: virtual_time.Clock) -> Outcome:
    market = Market(PAIRS, start_ms=START, n_minutes=MINUTES, no_trade=0.0)
    market.traded[7, 1] = False  # one minute without a trade
    told = Told()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copy(_empty_database(), home / DATABASE_NAME)
        async with massive_world_here(market, case.stream, seconds_per_minute=SPM, clock=clock) as world:
            return await _collected(case, world, home, told)


async def _collected(case: Case, world: World, home: Path, told: Told) -> Outcome:
    settings = world.settings(**dict(case.collector))
    short = world.short(settings)
    history, stream = world.providers(short)
    refusal = ""
    with BarStore.open(home, market_data=settings, clock=world) as opened:
        store: Any = Witnessed(opened, START)
        assignment = Assignment(
            history=history,
            stream=stream,
            symbols=world.symbols,
            needed=lambda _symbol, _now_ms: {Timeframe.M1: START},
        )
        collecting = Collecting(assignment, store, home, settings, world, told)
        stop = asyncio.Event()
        running = asyncio.create_task(collecting.run(stop))
        await asyncio.sleep(0.2)
        world.rest_faults.extend(case.rest)
        await asyncio.wait(
            [running], timeout=world.seconds(world.stream.market.open_ms(MINUTES) - world.now_ms())
        )
        stop.set()
        try:
            await running
        except ProviderRefused as error:
            refusal = str(error)
        await history.close()
        missing = [("BTC-USD", AT)] if case.missing else []
        differences = world.differences(store.reader, FIRST, LAST, missing=missing)
        lies = deceptions(store.first, world.stream.market, world.stream.corrected, doubted=missing)
        rules = [each.rule for each in quarantined(home, settled=True)]
    lines = [*told.notes, *(f"{state.words}: {detail}" for state, detail in told.states if detail)]
    figures = collecting.figures()
    return Outcome(lines, figures, differences, lies, figures["late"], rules, refusal, world.failures)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_after_every_fault_the_store_is_the_market_and_the_trouble_was_said(case):
    found = outcomes()[case.name]
    for words in case.said:
        assert any(words in line for line in (*found.lines, found.refusal)), (words, found.lines)
    assert bool(found.refusal) == case.refused, found.refusal
    if case.refused:
        return
    assert found.differences == []
    assert bool(found.deceptions) == bool(found.late), found.deceptions
    assert case.deceives or not found.late
    assert found.failed_requests == len(case.rest)
    for name in case.counted:
        assert found.figures[name], (name, found.figures)
    assert (case.quarantined in found.rules) if case.quarantined else not found.rules


def test_the_undisturbed_market_comes_soon_and_without_a_word():
    found = outcomes()["none: the undisturbed market"]
    assert not [line for line in found.lines if "trouble" in line]
    assert found.figures["reconnects"] == 0
    assert found.figures["late"] == 0


def table() -> str:
    """The table for people."""
    rows = ["fault                             what happened", "-" * 100]
    for name, found in outcomes().items():
        figures = {
            key: found.figures[key]
            for key in ("reconnects", "catch_ups", "duplicates", "corrections", "late", "unusable")
            if found.figures[key]
        }
        if found.failed_requests:
            figures["failed_requests"] = found.failed_requests
        counts = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in figures.items())
        store = "refused, ended" if found.refusal else "; ".join(found.differences) or "store is the market"
        said = found.refusal or next((line for line in found.lines if "trouble" in line), "")
        said = said or next(
            (line for line in found.lines if "catching" not in line and "starting" not in line), ""
        )
        rows.append(f"{name:33} {store}{'; ' + counts if counts else ''}")
        if said:
            rows.append(f"{'':33} said: {said[:160]}")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())  # noqa: T201 - for the record
