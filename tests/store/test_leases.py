"""Leases between processes, and what happens to them when processes are killed."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import leases
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.collectors import CollectorRecords, Standing, collectors
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.leases import Fence, Lease, LeaseLost, holder_of
from crypto_tracker.store.reader import DATABASE_NAME
from tests.store.shelf import BTC, ETH, at, closes, drawn, run_of_minutes, store

NAME = "collector:kraken"
ROOT = Path(__file__).parents[2]


class Clock:
    """Moves when told to."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def home(tmp_path):
    with store(tmp_path):
        pass
    return tmp_path


@contextmanager
def lease(home: Path, clock: Clock, *, seconds: float = 15.0) -> Iterator[Lease]:
    with Lease.open(home, NAME, seconds=seconds, now_ms=clock) as opened:
        yield opened


@contextmanager
def child(
    home: Path, *, seconds: float = 3600.0, command: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A process that asked for the lease, started by `command`; its first line says how that went."""
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "tests.store.lease_child", str(home), NAME, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_first_holds_it_and_the_second_is_told_who(home):
    clock = Clock()
    with lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        holder = second.acquire()
        assert holder is not None
        assert (holder.name, holder.pid, holder.acquired_at_ms) == (NAME, os.getpid(), 1_000_000)
        assert not second.is_held


def test_it_lasts_for_its_seconds_from_the_last_renewal(home):
    clock = Clock()
    with lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        clock.now_ms += 10_000
        assert first.renew()
        clock.now_ms += 14_999
        assert second.acquire() is not None
        clock.now_ms += 1
        assert second.acquire() is None


def test_who_was_silent_for_too_long_finds_it_taken_and_its_token_outdone(home):
    clock = Clock()
    with lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        early = first.token
        clock.now_ms += 15_000
        assert second.acquire() is None
        assert second.token == early + 1
        assert not first.renew()
        assert not first.is_held
        with pytest.raises(StoreError, match="not held"):
            _ = first.token
        first.release()  # takes nothing from the one who holds it
        assert second.renew()


def test_one_that_has_expired_and_that_nobody_took_can_still_be_renewed(home):
    clock = Clock()
    with lease(home, clock) as first:
        assert first.acquire() is None
        clock.now_ms += 60_000
        assert first.renew()


def test_released_it_is_free_at_once_and_the_token_grows_on(home):
    clock = Clock()
    with lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        first.release()
        assert second.acquire() is None
        assert second.token == 2


def test_acquired_twice_it_is_renewed(home):
    clock = Clock()
    with lease(home, clock) as first:
        assert first.acquire() is None
        clock.now_ms += 5_000
        assert first.acquire() is None
        assert first.token == 1
        engine = open_engine(home / DATABASE_NAME)
        holder = holder_of(engine, NAME)
        assert holder is not None
        assert holder.renewed_at_ms == 1_005_000
        assert holder_of(engine, "collector:nobody") is None
        engine.dispose()


def test_a_living_process_keeps_it_and_a_killed_one_loses_it_at_once(home):
    clock = Clock(int(2e12))
    with child(home) as process:
        assert first_line(process) == "1"
        clock.now_ms = _renewed(home)
        with lease(home, clock) as waiting:
            holder = waiting.acquire()
            assert holder is not None
            assert holder.pid == process.pid
            process.kill()
            process.wait()
            assert waiting.acquire() is None  # an hour before it would have expired
            assert waiting.token == 2


def test_a_process_that_ends_in_order_releases_it(home):
    with child(home) as process:
        assert first_line(process) == "1"
        process.communicate("go\n")
        clock = Clock(_renewed(home) + 1)
        with lease(home, clock) as waiting:
            assert waiting.acquire() is None


def test_of_many_processes_that_ask_at_the_same_time_one_gets_it(home):
    with child(home) as one, child(home) as two, child(home) as three:
        lines = sorted(first_line(each) for each in (one, two, three))
        assert lines[0] == "1"
        winner = next(line for line in lines if line.startswith("held"))
        assert lines[1:] == [winner, winner]


def test_a_holder_on_another_machine_is_waited_for(home):
    clock = Clock()
    with lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        engine = open_engine(home / DATABASE_NAME)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE leases SET machine = 'boot elsewhere', pid = 999999")
        engine.dispose()
        assert second.acquire() is not None
        clock.now_ms += 15_000
        assert second.acquire() is None


def test_a_machine_of_the_same_name_that_was_started_anew_is_waited_for(home, monkeypatch, tmp_path):
    clock = Clock()
    with child(home) as process:
        assert first_line(process) == "1"
        process.kill()
        process.wait()
        clock.now_ms = _renewed(home)
        boot = tmp_path / "boot_id"
        boot.write_text("another start\n")
        monkeypatch.setattr(leases, "_BOOT", boot)
        with lease(home, clock) as waiting:
            assert waiting.acquire() is not None
            monkeypatch.undo()
        with lease(home, clock) as waiting:
            assert waiting.acquire() is None


def test_a_number_that_another_process_has_by_now_tells_that_the_holder_is_gone(home):
    clock = Clock()
    with child(home) as process:
        assert first_line(process) == "1"
        clock.now_ms = _renewed(home)
        with lease(home, clock) as waiting:
            assert waiting.acquire() is not None  # it lives, and is the one that took the lease
            engine = open_engine(home / DATABASE_NAME)
            with engine.begin() as connection:
                (started,) = connection.exec_driver_sql("SELECT started FROM leases").one()
                if started is None:
                    pytest.skip("this system does not say when a process started")
                connection.exec_driver_sql("UPDATE leases SET started = started - 1")
            engine.dispose()
            assert waiting.acquire() is None


def test_where_the_start_of_the_holder_is_not_known_its_living_number_is_waited_for(home):
    clock = Clock()
    with child(home) as process:
        assert first_line(process) == "1"
        clock.now_ms = _renewed(home)
        engine = open_engine(home / DATABASE_NAME)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE leases SET started = NULL")
        engine.dispose()
        with lease(home, clock) as waiting:
            assert waiting.acquire() is not None


def _own_numbers() -> list[str]:
    """The command that runs another with process numbers of its own; skips where it is not permitted."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    for tried in (command, ["unshare", "--pid", "--fork", "--mount-proc"], ["unshare", "--pid", "--fork"]):
        try:
            done = subprocess.run([*tried, "true"], capture_output=True, check=False, timeout=240)
        except FileNotFoundError:
            break
        if done.returncode == 0:
            return tried
    pytest.skip("process numbers of its own are not permitted here, or unshare is not installed")


def test_a_holder_in_another_container_of_the_same_machine_is_waited_for(home):
    inside = [*_own_numbers(), sys.executable, "-m", "tests.store.lease_child", str(home), NAME, "3600"]
    with child(home) as holder:
        assert first_line(holder) == "1"
        # What our number means inside is another process, or none.
        asking = subprocess.run(
            inside, input="go\n", capture_output=True, text=True, cwd=ROOT, check=True, timeout=240
        )
        assert asking.stdout.strip() == f"held by {holder.pid}"


def test_a_holder_that_counts_processes_for_itself_is_not_taken_for_gone_from_outside(home):
    clock = Clock()
    with child(home, command=_own_numbers()) as holder:
        assert first_line(holder) == "1"
        clock.now_ms = _renewed(home)
        with lease(home, clock) as waiting:
            current = waiting.acquire()
            assert current is not None
            assert current.pid < 100  # a number that means somebody else outside
            clock.now_ms = current.expires_at_ms
            assert waiting.acquire() is None


def test_an_earlier_process_with_our_number_is_gone(home):
    clock = Clock()
    with lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        engine = open_engine(home / DATABASE_NAME)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE leases SET holder = 'collect#another.1'")
        engine.dispose()
        assert second.acquire() is None


def test_who_lost_the_lease_writes_nothing_more_and_the_bars_of_the_next_holder_stay(home):
    clock = Clock()
    covered = {BTC: [(at("12:00"), at("12:02"))], ETH: [(at("12:00"), at("12:02"))]}
    with store(home) as bars, lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        early = first.fence
        bars.write_minutes("kraken", {BTC: drawn("12:00 100")}, {}, fence=early)
        clock.now_ms += 15_000
        assert second.acquire() is None
        bars.write_minutes("kraken", {BTC: drawn("12:00 101")}, {}, fence=second.fence)
        late = drawn("12:00 102\n12:01 102")
        with pytest.raises(LeaseLost, match=r"collector:kraken#.*has it by now"):
            bars.write_minutes("kraken", {BTC: late, ETH: late}, covered, fence=early)
        with pytest.raises(LeaseLost, match="nothing was written"):
            bars.write("kraken", BTC, Timeframe.M1, late, covered[BTC], fence=early)
        assert closes(bars, "12:00", "12:02") == [101.0, "unknown"]
        assert bars.reader.providers(ETH) == ()  # not even its name came in


def test_a_lease_that_is_lost_while_the_write_is_prepared_is_found_lost_in_its_transaction(home, monkeypatch):
    clock = Clock()
    with store(home, cold_rows_min=10) as bars, lease(home, clock) as first, lease(home, clock) as second:
        assert first.acquire() is None
        prepare = BarStore._prepared

        def taken_meanwhile(*arguments, **named):
            prepared = prepare(*arguments, **named)
            clock.now_ms += 15_000
            assert second.acquire() is None
            return prepared

        monkeypatch.setattr(BarStore, "_prepared", taken_meanwhile)
        month = run_of_minutes("12:00", 20)  # enough to become a file at once
        with pytest.raises(LeaseLost):
            bars.write("kraken", BTC, Timeframe.M1, month, fence=first.fence)
        monkeypatch.undo()
        assert closes(bars, "12:00", "12:02") == ["unknown", "unknown"]
        bars.write("kraken", BTC, Timeframe.M1, month, fence=second.fence)
        assert closes(bars, "12:00", "12:01") == [100.0]


def test_under_a_lease_that_expired_and_that_nobody_took_bars_are_still_written(home):
    clock = Clock()
    with store(home) as bars, lease(home, clock) as first:
        assert first.acquire() is None
        clock.now_ms += 60_000
        bars.write("kraken", BTC, Timeframe.M1, drawn("12:00 100"), fence=first.fence)
        assert closes(bars, "12:00", "12:01") == [100.0]
        with pytest.raises(LeaseLost, match="nobody holds it"):
            bars.write("kraken", BTC, Timeframe.M1, drawn("12:00 101"), fence=Fence(lease="another", token=1))


def _renewed(home: Path) -> int:
    engine = open_engine(home / DATABASE_NAME)
    holder = holder_of(engine, NAME)
    engine.dispose()
    assert holder is not None
    return holder.renewed_at_ms


def test_a_collector_says_since_when_it_is_in_its_state(home):
    with CollectorRecords.open(home) as records:
        records.tell("kraken", Standing.LIVE, "", {"bars": 1}, now_ms=1_000)
        records.tell("kraken", Standing.LIVE, "", {"bars": 2}, now_ms=2_000)
        records.tell("binance", Standing.TROUBLE, "the line is down", {}, now_ms=3_000)
        binance, kraken = collectors(home)
        assert (kraken.state, kraken.since_ms, kraken.updated_at_ms) == (Standing.LIVE, 1_000, 2_000)
        assert kraken.figures == {"bars": 2}
        assert (binance.detail, binance.since_ms) == ("the line is down", 3_000)
        records.tell("kraken", Standing.TROUBLE, "lost", {}, now_ms=4_000)
        assert collectors(home)[1].since_ms == 4_000


def test_where_nothing_was_collected_there_is_nothing_to_show(home, tmp_path):
    assert collectors(home) == []
    with pytest.raises(DataError, match="crypto-tracker collect"):
        collectors(tmp_path / "nowhere")
