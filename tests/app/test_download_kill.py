"""A download that is killed, wherever that happens, is taken up where it stopped: nothing twice, nothing lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.store import intervals
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.failpoints import Failpoint
from crypto_tracker.store.reader import DATABASE_NAME, BarReader
from tests.app.download_child import KILLED
from tests.servers.massive_rest import KEY, Asked, MassiveServer, massive_rest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 240.0
BTC, NEW = (Symbol(base, "USD") for base in ("BTC", "NEW"))
START_MS, END_MS = to_ms(datetime(2025, 3, 25, tzinfo=UTC)), to_ms(datetime(2025, 5, 7, tzinfo=UTC))
LISTED_MS = to_ms(datetime(2025, 4, 20, 15, 7, tzinfo=UTC))
SPAN = "20250325-20250507"
SERIES = [(symbol, frame) for symbol in (BTC, NEW) for frame in (Timeframe.M1, Timeframe.H1)]
CHUNKS = 2 * (3 + 2)  # of each symbol three months of minutes and two pages of hours
_SPANS = {"1/minute": Timeframe.M1, "1/hour": Timeframe.H1}


def minutes(seed: int, start_ms: int) -> BarBatch:
    """A walk of minutes from `start_ms` on, some of them without a trade."""
    chance = np.random.default_rng(seed)
    times = np.arange(start_ms, END_MS + DAY_MS, MINUTE_MS, dtype=np.int64)
    times = times[(chance.random(len(times)) > 0.01) | (times == start_ms)]
    close = 100.0 * np.exp(np.cumsum(chance.normal(0.0, 1e-4, len(times))))
    opened = np.concatenate([[100.0], close[:-1]])
    return BarBatch(
        open_time_ms=times,
        open=opened,
        high=np.maximum(opened, close) * 1.0001,
        low=np.minimum(opened, close) * 0.9999,
        close=close,
        volume=chance.integers(1, 50, len(times)).astype(np.float64),
    )


@pytest.fixture(scope="module")
def server() -> Iterator[MassiveServer]:
    market = {
        BTC: minutes(1, START_MS - DAY_MS),
        NEW: minutes(3, LISTED_MS),
    }
    with massive_rest(market) as running:
        yield running


@dataclass
class Runs:
    """Starts downloads, and looks at what they asked for and what the store has."""

    server: MassiveServer
    process: subprocess.Popen[str]
    folder: Path
    homes: int = field(default=0)

    def new_home(self) -> Path:
        self.homes += 1
        return self.folder / f"home{self.homes}"

    def start(self, home: Path, point: str | None = None, passes: int = 0) -> int:
        """Start a download; its process."""
        arguments = [
            "--home", str(home),
            "--set", f"market_data.massive.rest_url={self.server.url}",
            "--set", "market_data.massive.requests_per_second=1000",
            "--set", "market_data.collector.parallel=3",
            "download-data", "--provider", "massive", "--pairs", ",".join(map(str, (BTC, NEW))),
            "--timeframe", "1m,1h", "--timerange", SPAN,
        ]  # fmt: skip
        step = {"arguments": arguments, "point": point, "passes": passes, "log": str(self.log)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(step) + "\n")
        self.process.stdin.flush()
        return int(self._line())

    def end(self) -> int:
        """How the download that was started last has ended."""
        return int(self._line())

    def complete(self, home: Path) -> list[Asked]:
        """Run a download to its end; what it asked for, none of which the store had."""
        had = known(home)
        before = len(self.server.requests)
        self.start(home)
        assert self.end() == 0, self.log.read_text()
        return asked_for(self.server.requests[before:], had)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the starter of downloads has ended"
        return line


@pytest.fixture(scope="module")
def runs(server: MassiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_TRACKER_")}
    environment = kept | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "MASSIVE_API_KEY": KEY,
        "NO_PROXY": "127.0.0.1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.app.download_child"],
        cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Runs(server, process, tmp_path_factory.mktemp("downloads"))
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(DEADLINE_SECONDS)
        process.stdout.close()


Known = dict[tuple[Symbol, Timeframe], IntArray]


@contextmanager
def reading(home: Path) -> Iterator[BarReader]:
    with BarReader.open(home) as reader:
        yield reader


def known(home: Path) -> Known:
    """What the store of a home needs not ask for any more: what it has, and what it knows to be lacking."""
    if not (home / DATABASE_NAME).is_file():
        return dict.fromkeys(SERIES, intervals.EMPTY)
    whole = intervals.as_intervals([(START_MS, END_MS)])
    with reading(home) as reader:
        return {
            (symbol, timeframe): intervals.subtract(
                whole, reader.missing("massive", symbol, timeframe, START_MS, END_MS)
            )
            for symbol, timeframe in SERIES
        }


def asked_for(requests: list[Asked], had: Known) -> list[Asked]:
    """The requests for bars among these, after a check that none is for what was there, or came twice."""
    found = []
    for each in requests:
        parts = each.path.split("/")
        if parts[2:3] != ["aggs"] or "range" not in parts or each.limit == 1:
            continue  # the list of markets, the volumes of yesterday, the look for the very first bar
        symbol, timeframe = Symbol(parts[4][2:5], "USD"), _SPANS[f"{parts[6]}/{parts[7]}"]
        overlap = intervals.clip(had[symbol, timeframe], int(parts[8]), int(parts[9]))
        assert len(overlap) == 0, f"{symbol} {timeframe} {overlap.tolist()} was there and asked for again"
        found.append(each)
    assert len({each.path for each in found}) == len(found)
    return found


def assert_same(left: Path, right: Path) -> None:
    """Both homes have the same bars, revisions, coverage and notes, and no file that nobody knows."""
    with reading(left) as ours, reading(right) as theirs:
        for symbol, timeframe in SERIES:
            rows = [each.rows(symbol, timeframe, 0, 2 * END_MS) for each in (ours, theirs)]
            np.testing.assert_array_equal(rows[0].open_time_ms, rows[1].open_time_ms)
            np.testing.assert_array_equal(rows[0].revision, rows[1].revision)
            np.testing.assert_array_equal(rows[0].values, rows[1].values)
            of = "massive", symbol, timeframe
            np.testing.assert_array_equal(ours.coverage(*of), theirs.coverage(*of))
            # A request that was answered with nothing at all may name another day in its reason.
            lacking = [
                intervals.as_intervals(lack[:2] for lack in each.lacking(*of)) for each in (ours, theirs)
            ]
            np.testing.assert_array_equal(*lacking)
    folders = [{file.parent.relative_to(home) for file in home.rglob("*.parquet")} for home in (left, right)]
    assert folders[0] == folders[1]
    counts = [len(list((home / "bars").rglob("*"))) for home in (left, right)]
    assert counts[0] == counts[1]


@pytest.fixture(scope="module")
def undisturbed(runs: Runs) -> Path:
    """The home of a download that nobody disturbed."""
    home = runs.new_home()
    first = runs.complete(home)
    # NEW was not listed yet in the oldest chunks; they are asked for where nobody has found that out before.
    assert CHUNKS - 2 <= len(first) <= CHUNKS
    assert runs.complete(home) == []
    return home


def test_an_undisturbed_download_has_every_bar_of_the_server(runs: Runs, undisturbed: Path):
    with reading(undisturbed) as reader:
        for symbol in (BTC, NEW):
            bars = runs.server.market[symbol]
            assert isinstance(bars, BarBatch)
            inside = (bars.open_time_ms >= START_MS) & (bars.open_time_ms < END_MS)
            rows = reader.rows(symbol, Timeframe.M1, START_MS, END_MS)
            np.testing.assert_array_equal(rows.open_time_ms, bars.open_time_ms[inside])
            np.testing.assert_array_equal(rows.values[3], bars.close[inside])
        [(start_ms, end_ms, reason)] = reader.lacking("massive", NEW, Timeframe.M1)
        assert (start_ms, end_ms) == (START_MS, LISTED_MS)
        assert "before 2025-04-20" in reason


@pytest.mark.parametrize("point", [point.value for point in Failpoint])
@pytest.mark.parametrize(
    "passes", [1, *(pytest.param(passes, marks=pytest.mark.nightly) for passes in (0, 2))]
)
def test_a_download_that_is_killed_at_a_step_of_the_store_is_taken_up_there(
    runs: Runs, undisturbed: Path, point: str, passes: int
):
    home = runs.new_home()
    runs.start(home, point, passes)
    assert runs.end() == KILLED, f"{point} is not reached {passes + 1} times"
    runs.complete(home)
    assert_same(home, undisturbed)


def test_a_download_that_is_killed_again_and_again_at_any_moment_comes_to_its_end(
    runs: Runs, undisturbed: Path
):
    chance = random.Random(20250325)
    home = runs.new_home()
    kills = asked = 0
    for _ in range(8):
        had, before = known(home), len(runs.server.requests)
        process = runs.start(home)
        until = before + chance.randint(4, 9)
        while len(runs.server.requests) < until and process_lives(process):
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        if process_lives(process):
            os.kill(process, signal.SIGKILL)
        code = runs.end()
        asked += len(asked_for(runs.server.requests[before:], had))
        if code == 0:
            break
        assert code == -signal.SIGKILL, runs.log.read_text()
        kills += 1
    assert kills >= 1
    asked += len(runs.complete(home))
    assert asked <= CHUNKS + 6 * kills  # each kill loses what was under way, and nothing else
    assert runs.complete(home) == []
    assert_same(home, undisturbed)


def process_lives(process: int) -> bool:
    """Whether a process is there, and more than a dead one that nobody has asked about."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}
