"""Kill the writer at every step: nothing is lost, nothing is there twice, and no leftovers stay."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import tables
from crypto_tracker.store.failpoints import Failpoint
from crypto_tracker.store.reader import BarReader
from tests.store.crash_child import KILLED, bulk, first_writes, minutes, roll
from tests.store.shelf import BTC, ETH, NOW, assert_same_bars, at, store

ROOT = Path(__file__).parents[2]
START, END = at("2025-02-28 00:00"), at("2025-05-02 00:00")
WORKS = {"bulk": bulk, "roll": roll}
# Where a point is passed for each file or write, the second time is a step of its own.
STEPS = [(work, point, passes) for work in WORKS for point in Failpoint for passes in (0, 1)]
OF_MINUTES = [
    ("minutes", point, passes)
    for point in (Failpoint.HOT_ROWS_WRITTEN, Failpoint.BEFORE_COMMIT, Failpoint.COMMITTED)
    for passes in (0, 1)
]


def read(home: Path):
    """All bars as a reader sees them that knows nothing of what happened, and all their revisions."""
    with BarReader.open(home) as reader:
        rows = reader.rows(BTC, Timeframe.M1, START, END)
        return reader.panel([BTC], Timeframe.M1, START, END), rows, reader.series()


def files_on_disk(home: Path) -> set[str]:
    return {
        path.relative_to(home / "bars").as_posix() for path in (home / "bars").rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> dict[str, Path]:
    """A home before the work, and one for each work done undisturbed."""
    folder = tmp_path_factory.mktemp("homes")
    first_writes(folder / "before")
    for name, work in WORKS.items():
        shutil.copytree(folder / "before", folder / name)
        work(folder / name)
    return {name: folder / name for name in ("before", *WORKS)}


@pytest.fixture(scope="module")
def killed(homes, tmp_path_factory) -> dict[tuple[str, Failpoint, int], tuple[Path, int]]:
    """For each step the home of a process that was killed there, and its exit code."""
    folder = tmp_path_factory.mktemp("killed")

    every = [*STEPS, *OF_MINUTES]
    runs = {step: folder / f"{step[0]}-{step[1].value}-{step[2]}" for step in every}
    for home in runs.values():
        shutil.copytree(homes["before"], home)
    steps = [(work, str(runs[work, point, passes]), point.value, passes) for work, point, passes in every]
    command = [sys.executable, "-m", "tests.store.crash_child"]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(steps), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    assert set(ends) <= {0, KILLED}, done.stderr
    return dict(zip(every, zip(runs.values(), ends, strict=True), strict=True))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0]}-{step[1].value}-{step[2]}")
def test_a_writer_that_is_killed_leaves_a_whole_store(step, homes, killed):
    work, point, passes = step
    home, code = killed[step]
    if passes == 0 and not (work == "roll" and point is Failpoint.HOT_ROWS_WRITTEN):
        assert code == KILLED, "the step was never reached: this test proves nothing"

    before, after = read(homes["before"]), read(homes[work])
    panel, rows, series = read(home)
    keys = list(zip(rows.open_time_ms.tolist(), rows.revision.tolist(), strict=True))
    assert len(set(keys)) == len(keys), "a bar is there twice"
    if work == "roll":  # moves bars, and changes nothing that anybody sees
        assert_same_bars(panel, after[0])
        assert series == after[2]
    else:  # two writes: each is there wholly or not at all
        times = set(rows.open_time_ms.tolist())
        stored_before = set(before[1].open_time_ms.tolist())
        first = {at("2025-03-31 20:00") + 60_000 * minute for minute in range(480)}
        second = {at("2025-05-01 00:00") + 60_000 * minute for minute in range(10)}
        assert times in (stored_before, stored_before | first, stored_before | first | second)

    # Starting again removes leftovers; doing the work again ends where the undisturbed run ended.
    WORKS[work](home)
    panel, rows, series = read(home)
    assert_same_bars(panel, after[0])
    assert rows.revision.tolist() == after[1].revision.tolist()
    assert series == after[2]
    with store(home, now=NOW) as opened, opened._engine.connect() as connection:
        named = set(
            connection.execute(tables.manifest.select().with_only_columns(tables.manifest.c.path)).scalars()
        )
    assert files_on_disk(home) == named


@pytest.mark.parametrize("step", OF_MINUTES, ids=lambda step: f"{step[1].value}-{step[2]}")
def test_a_minute_of_many_symbols_is_there_of_all_of_them_or_of_none(step, killed):
    home, code = killed[step]
    assert code == KILLED, "the step was never reached: this test proves nothing"
    committed = step[2] + (step[1] is Failpoint.COMMITTED)
    span = at("2025-05-20 00:00"), at("2025-05-20 00:02")
    with store(home) as opened:
        assert opened.reader.rows(BTC, Timeframe.M1, *span).open_time_ms.tolist() == [
            span[0] + 60_000 * minute for minute in range(committed)
        ]
        known = opened.reader.coverage("file", ETH, Timeframe.M1).tolist()
        assert known == ([[span[0], span[0] + 60_000 * committed]] if committed else [])
    minutes(home)
    with BarReader.open(home) as reader:
        panel = reader.panel([BTC, ETH], Timeframe.M1, *span)
    assert panel.present.all()
    assert panel.covered.all()
