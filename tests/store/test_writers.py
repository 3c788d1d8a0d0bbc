"""Several processes and threads write bars at the same time: nothing is lost, nobody waits for long."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.store import tables
from crypto_tracker.store.failpoints import Failpoint
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.verify import verify
from crypto_tracker.store.writing import WritersLock
from tests.store.shelf import BTC, ETH, NOW, closes, drawn, market_data, store
from tests.store.writers_child import FIRST_MINUTE, KILLED, MONTHS, OLD_MONTHS, old_months

ROOT = Path(__file__).parents[2]
M1 = Timeframe.M1


def at_once(*groups: list[tuple[str, ...]]) -> list[list[int]]:
    """Do the works of each group at the same time, each in a process of its own; how each ended."""
    command = [sys.executable, "-m", "tests.store.writers_child"]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(groups), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    assert {end for group in ends for end in group} <= {0, KILLED}, done.stderr
    return ends


def findings(home: Path) -> list[str]:
    return [finding.line for finding in verify(home, market_data=market_data(), now_ms=to_ms(NOW)).findings]


def test_who_writes_minutes_waits_for_no_more_than_the_month_that_is_being_written(tmp_path):
    with store(tmp_path):
        pass
    assert at_once([("import", str(tmp_path)), ("minutes", str(tmp_path))]) == [[0, 0]]
    commits = json.loads((tmp_path / "commits.json").read_text())
    spans = json.loads((tmp_path / "minutes.json").read_text())
    assert len(commits) == MONTHS
    during = [span for span in spans if span[1] > commits[0] and span[0] < commits[-1]]
    assert len(during) >= MONTHS - 1, "the two never met: this test proves nothing"
    # The month that is written when a minute comes, and one that got hold of the lock in the same instant.
    assert max(sum(began < commit < ended for commit in commits) for began, ended in spans) <= 2
    with BarReader.open(tmp_path) as reader:
        eth, btc = (next(info for info in reader.series() if info.symbol == symbol) for symbol in (ETH, BTC))
    assert (eth.rows, eth.gaps) == ((30 + 31 + 30 + 31 + 31 + 28) * 1440, 0)
    assert (btc.rows, btc.gaps, btc.start_ms) == (len(spans), 0, FIRST_MINUTE)
    assert findings(tmp_path) == []


POINTS = (
    Failpoint.COLD_TEMPORARY_SYNCED,
    Failpoint.COLD_DIRECTORY_SYNCED,
    Failpoint.HOT_ROWS_DELETED,
    Failpoint.COMMITTED,
)


@pytest.fixture(scope="module")
def rolled(tmp_path_factory) -> dict[Failpoint, Path]:
    """For each point the home of a roll-over that was killed there while another process wrote minutes."""
    folder = tmp_path_factory.mktemp("rolled")
    homes = {point: folder / point.value for point in POINTS}
    for home in homes.values():
        old_months(home)
    ends = at_once(
        *([("roll", str(home), point.value), ("minutes", str(home))] for point, home in homes.items())
    )
    assert ends == [[KILLED, 0]] * len(POINTS)
    return homes


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.value)
def test_a_roll_over_that_is_killed_beside_a_writer_loses_nothing(rolled, point):
    home = rolled[point]
    written = len(json.loads((home / "minutes.json").read_text()))
    assert [line for line in findings(home) if "no row of the manifest names it" not in line] == []
    with store(home) as opened:
        assert findings(home) == []  # leftovers are gone
        (info,) = opened.reader.series()
        assert info.rows == written + len(OLD_MONTHS) * 300
        opened.roll_over()
        with opened._engine.connect() as connection:
            hot = connection.execute(tables.bars.select()).fetchall()
            named = connection.execute(tables.manifest.select()).fetchall()
        assert len(hot) == written
        assert [row.bars for row in named] == [300] * len(OLD_MONTHS)
        assert opened.reader.series() == [info]


def test_two_stores_that_are_open_write_in_turn_and_agree_on_symbols(tmp_path):
    with store(tmp_path) as one, store(tmp_path) as other:
        one.write("kraken", BTC, M1, drawn("12:00 100"))
        other.write("kraken", ETH, M1, drawn("12:00 10"))
        one.write("kraken", ETH, M1, drawn("12:01 11"))
        other.write("kraken", BTC, M1, drawn("12:01 101\n12:00 99"))
        assert closes(one, "12:00", "12:02", BTC) == [99, 101]
        assert closes(other, "12:00", "12:02", ETH) == [10, 11]


def test_threads_of_one_store_lose_nothing(tmp_path):
    coins = [Symbol(f"C{number}", "USD") for number in range(4)]
    failures: list[BaseException] = []
    with store(tmp_path) as opened:

        def bring(coin: Symbol) -> None:
            try:
                for minute in range(10):
                    opened.write("kraken", coin, M1, drawn(f"12:{minute:02} {100 + minute}"))
            except BaseException as error:  # noqa: BLE001 - told below, in the thread of the test
                failures.append(error)

        threads = [threading.Thread(target=bring, args=(coin,)) for coin in coins]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [info.rows for info in opened.reader.series()] == [10] * 4
    assert findings(tmp_path) == []


def test_opening_a_store_leaves_the_files_of_a_writer_alone(tmp_path):
    """Leftovers are removed by who holds the lock: a file that is about to be named is none."""
    lock = WritersLock(tmp_path / "market.lock", what="bars", wait_ms=50)
    with store(tmp_path):
        pass
    about_to_be_named = tmp_path / "bars/kraken/1m/BTC_USDT/2025-03.g0.parquet"
    about_to_be_named.parent.mkdir(parents=True)
    about_to_be_named.write_bytes(b"bars")
    with (
        lock.held(),
        pytest.raises(StoreError, match="another process is writing"),
        store(tmp_path, wait_ms=50),
    ):
        pass
    lock.close()
    assert about_to_be_named.exists()
    with store(tmp_path):
        assert not about_to_be_named.exists()


def test_the_lock_of_a_process_is_taken_in_turn_and_may_be_taken_again(tmp_path):
    lock = WritersLock(tmp_path / "market.lock", what="bars", wait_ms=100)
    held, waiting = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held():
            held.set()
            waiting.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    with pytest.raises(StoreError, match="is taken"), lock.held():
        pass
    waiting.set()
    thread.join()
    with lock.held():
        pass
    lock.close()
    with lock.held():
        pass
    lock.close()


def test_a_symbol_is_registered_before_its_first_bar_and_inactive_with_a_reason(tmp_path):
    with store(tmp_path) as opened:
        opened.register("kraken", [BTC, ETH])
        opened.register("kraken", [BTC])
        assert opened.reader.providers(BTC) == ()  # nobody has bars of it yet
        assert opened.mark_inactive("kraken", BTC, "kraken no longer lists it") is True
        assert opened.mark_inactive("kraken", BTC, "delisted on 1 March") is False
        with opened._engine.connect() as connection:
            rows = connection.execute(tables.symbols.select()).fetchall()
        assert [tuple(row)[1:] for row in rows] == [
            ("kraken", "BTC/USDT", "inactive", "delisted on 1 March"),
            ("kraken", "ETH/USDT", "active", None),
        ]
        assert opened.mark_active("kraken", BTC) is True
        assert opened.mark_active("kraken", BTC) is False
