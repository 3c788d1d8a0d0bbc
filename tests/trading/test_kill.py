"""Whenever the trader is killed, and whatever a power cut takes from its log: nothing is lost.

An account that was killed and started again any number of times has, to the byte, the records of one that
nobody disturbed.
"""

import json
import random
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.failpoints import TradingFailpoint as At
from crypto_tracker.store.trading_journal import TradingJournal
from tests.app.conftest import run_command
from tests.trading.kill_child import KILLED
from tests.trading.kills import Runner, cursor_ms, eventually, runner, started, trade_arguments
from tests.trading.worlds import (
    ACCOUNT,
    END_MS,
    MEDDLED,
    START_MS,
    account_folder,
    differences,
    dump,
    new_home,
    trade,
    undisturbed,
    undisturbed_run,
)

MIDNIGHT = 140  # minutes after the start
SHORT_MS = START_MS + 160 * MINUTE_MS
MIDDLE_MS = START_MS + 620 * MINUTE_MS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with runner(tmp_path_factory.mktemp("kills")) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return new_home(tmp_path / "home", wishes=MEDDLED)


@pytest.fixture(autouse=True)
def own_signal_handlers() -> Iterator[None]:
    """The command line takes over the signals of the process, which here is that of all tests."""
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in held.items():
        signal.signal(number, handler)


def assert_nothing_was_lost(home: Path, end_ms: int) -> None:
    assert differences(undisturbed(end_ms), dump(account_folder(home))) == []


def test_the_world_is_worth_being_killed_in():
    records = undisturbed()
    assert len(records["trades"]) >= 40
    assert {"take_profit", "stop_loss", "trailing_stop", "manual"} <= {
        row["exit_reason"] for row in records["trades"]
    }
    assert {row["regime"] for row in records["minutes"]} >= {"normal", "caution", "panic"}
    assert {"cooldown", "paused", "blocked", "strategy_off", "losing_streak", "regime_panic"} <= {
        row["reason"] for row in records["setups"]
    }
    assert sum(row["kind"] == "rung" and row["status"] == "filled" for row in records["orders"]) >= 50
    assert {row["status"] for row in records["command_results"]} == {"applied", "refused"}
    assert len(records["configurations"]) == 2
    assert len(records["checkpoints"]) == 3
    early = undisturbed(SHORT_MS)
    assert early["fills"]
    assert early["trades"]


# ------------------------------------------------------------------------------------- at every failpoint

AT_EACH_MINUTE = (
    At.STEP_BEFORE_TRANSACTION,
    At.STEP_FIRST_WRITTEN,
    At.STEP_RECORDS_WRITTEN,
    At.STEP_BEFORE_COMMIT,
    At.STEP_COMMITTED,
)


def killed(run: Runner, home: Path, end_ms: int, point: At, passes: int) -> int:
    """Trade until the process dies at a failpoint; returns how many minutes were committed by then."""
    process = run.start(trade_arguments(home, end_ms), point=point, passes=passes)
    assert process.wait() == KILLED, run.told.read_text(encoding="utf-8")[-3_000:]
    stands = cursor_of(account_folder(home))
    return -1 if stands is None else (stands - START_MS) // MINUTE_MS


def cursor_of(folder: Path) -> int | None:
    """The cursor of an account that nobody trades now; None where it was not opened."""
    with TradingJournal.open(folder) as journal:
        return None if journal.account() is None else journal.trader().cursor_ms


@pytest.mark.parametrize("point", AT_EACH_MINUTE, ids=lambda point: point.value)
def test_a_kill_at_any_step_of_a_commit_loses_nothing(run: Runner, home: Path, point: At):
    # The first minute, one with fills, and the first of a day with its checkpoint.
    with_fill = next(
        (row["bar_open_ms"] - START_MS) // MINUTE_MS
        for row in undisturbed(SHORT_MS)["fills"]
        if row["bar_open_ms"] > START_MS + 60 * MINUTE_MS
    )
    committed = 0
    for target in (0, with_fill, MIDNIGHT):
        stands = killed(run, home, SHORT_MS, point, target - committed)
        committed = target + (point is At.STEP_COMMITTED)
        assert stands == committed  # a minute is there whole, or not at all
    run.end(trade_arguments(home, SHORT_MS))
    assert_nothing_was_lost(home, SHORT_MS)


@pytest.mark.parametrize("point", [At.OPENING_WRITTEN, At.OPENING_COMMITTED], ids=lambda point: point.value)
def test_a_kill_while_an_account_is_opened_leaves_all_of_it_or_none(run: Runner, home: Path, point: At):
    stands = killed(run, home, SHORT_MS, point, 0)
    assert stands == (0 if point is At.OPENING_COMMITTED else -1)
    if point is At.OPENING_WRITTEN:  # it is opened anew, and may be killed there again
        assert killed(run, home, SHORT_MS, point, 0) == -1
    run.end(trade_arguments(home, SHORT_MS))
    assert_nothing_was_lost(home, SHORT_MS)


def test_a_kill_before_the_account_has_a_file_loses_nothing(run: Runner, home: Path):
    process = run.start(trade_arguments(home, SHORT_MS), point=At.ACCOUNT_FOLDER_MADE)
    assert process.wait() == KILLED
    assert not (account_folder(home) / "trading.db").exists()
    assert killed(run, home, SHORT_MS, At.STEP_BEFORE_COMMIT, 95) == 95
    assert killed(run, home, SHORT_MS, At.ACCOUNT_FOLDER_MADE, 0) == 95
    run.end(trade_arguments(home, SHORT_MS))
    assert_nothing_was_lost(home, SHORT_MS)


@pytest.mark.parametrize("point", [At.BEFORE_CHECKPOINT, At.AFTER_CHECKPOINT], ids=lambda point: point.value)
def test_a_kill_around_a_checkpoint_of_the_log_loses_nothing(run: Runner, home: Path, point: At):
    # Of the new file, after 256 commits, after 256 more, and when all is done and the file is closed.
    assert killed(run, home, MIDDLE_MS, point, 0) == -1
    assert killed(run, home, MIDDLE_MS, point, 1) == 256
    assert killed(run, home, MIDDLE_MS, point, 1) == 512
    assert killed(run, home, MIDDLE_MS, point, 1) == 620
    run.end(trade_arguments(home, MIDDLE_MS))
    assert_nothing_was_lost(home, MIDDLE_MS)


def test_every_failpoint_of_an_account_was_killed_at():
    assert set(At) == {
        *AT_EACH_MINUTE,
        At.OPENING_WRITTEN,
        At.OPENING_COMMITTED,
        At.ACCOUNT_FOLDER_MADE,
        At.BEFORE_CHECKPOINT,
        At.AFTER_CHECKPOINT,
    }


# ------------------------------------------------------------------------------------ at any moment at all


def trade_under_fire(run: Runner, home: Path, *, kills: int, seed: int) -> tuple[int, int]:
    """Kill the replay of the whole world at random moments, then let it end.

    Returns how many processes were killed, fewer where one came to its end while we stood still, and how many
    of them before they had committed a minute.
    """
    chance = random.Random(seed)
    minutes = (END_MS - START_MS) // MINUTE_MS
    stands, fruitless = START_MS, 0
    for number in range(kills):
        left = minutes - (stands - START_MS) // MINUTE_MS
        process = run.start(trade_arguments(home))
        if chance.random() < 0.25:
            time.sleep(chance.uniform(0.0, 0.8))  # while it starts, opens or recovers
        else:
            wanted = stands + MINUTE_MS * chance.randint(1, max(1, 2 * (left - 1) // (kills - number + 1)))
            eventually(lambda wanted=wanted: has_come_to(home, wanted), f"the replay comes to {wanted}")
            time.sleep(chance.uniform(0.0, 0.006))  # into the next step or its commit
        process.kill()
        code = process.wait()
        if code == 0:  # it has come to its end: we were the ones that stood still
            return number, fruitless
        assert code == -signal.SIGKILL, run.told.read_text(encoding="utf-8")[-3_000:]
        after = cursor_ms(home)
        if after is not None:
            assert after >= stands  # what was committed once is never lost
            fruitless += after == stands
            stands = after
    run.end(trade_arguments(home))
    return kills, fruitless


def has_come_to(home: Path, wanted_ms: int) -> bool | None:
    stands = cursor_ms(home)
    return True if stands is not None and stands >= wanted_ms else None


def kill_again_and_again(run: Runner, folder: Path, *, kills: int, seed: int) -> None:
    """So many kills in all, in replays of one home after the other where one came to its end too early."""
    killed_processes, fruitless, homes = 0, 0, 0
    while killed_processes < kills:
        home = new_home(folder / f"home-{homes}", wishes=MEDDLED)
        more, idle = trade_under_fire(run, home, kills=kills - killed_processes, seed=seed + homes)
        assert_nothing_was_lost(home, END_MS)
        killed_processes, fruitless, homes = killed_processes + more, fruitless + idle, homes + 1
        assert homes <= kills, "replays end before anybody can kill them"
    print(f"seed {seed}: {fruitless} of {kills} kills before a minute was committed, {homes} homes")  # noqa: T201


def test_twenty_four_kills_at_random_moments_change_nothing(run: Runner, tmp_path: Path):
    kill_again_and_again(run, tmp_path, kills=24, seed=20250301)


@pytest.mark.nightly
def test_two_hundred_kills_at_random_moments_change_nothing(run: Runner, tmp_path: Path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to find the same moments again, as far as a machine can
    kill_again_and_again(run, tmp_path, kills=220, seed=seed)


# ------------------------------------------------------------------------------------------- a power cut


def killed_with_its_log(run: Runner, home: Path, end_ms: int, minutes: int) -> Path:
    """Kill a trader whose log was never brought into the file; returns the folder as it was left."""
    arguments = trade_arguments(home, end_ms)
    process = run.start(arguments, point=At.STEP_COMMITTED, passes=minutes - 1, keep_log=True)
    assert process.wait() == KILLED, run.told.read_text(encoding="utf-8")[-3_000:]
    return account_folder(home)


def after_a_power_cut(folder: Path, to: Path, log: bytes | None) -> Path:
    """A copy of an account's folder in which the log is another one, or is gone."""
    to.mkdir(parents=True)
    for name in ("trading.db", "control.db", "control.db-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, to / name)
    if log is not None:
        (to / "trading.db-wal").write_bytes(log)
    return to


def assert_is_an_earlier_state(folder: Path, end_ms: int) -> int:
    """What the account recovers to is what it was after some minute, in all records; returns that minute."""
    records, states = undisturbed_run(end_ms)
    found = dump(folder)
    if not found["account"]:
        assert not any(found.values())
        return -1
    (trader,) = found["trader"]
    stands = trader["cursor_ms"]
    if stands > START_MS:
        assert trader["state"] == states[stands]
    closes = {"setups": "time_ms", "decision_blocks": "time_ms"}
    opens = {"minutes": "time_ms", "fills": "bar_open_ms", "commands_applied": "time_ms"}
    for name, column in closes.items():
        assert found[name] == [row for row in records[name] if row[column] <= stands]
    for name, column in opens.items():
        assert found[name] == [row for row in records[name] if row[column] < stands]
    assert found["trades"] == records["trades"][: len(found["trades"])]
    return (stands - START_MS) // MINUTE_MS


def damaged_logs(log: bytes, *, cuts: int, seed: int) -> Iterator[bytes]:
    """The log cut at random bytes, with its end zeroed, and with a byte of its end turned."""
    chance = random.Random(seed)
    for _ in range(cuts):
        at = chance.randrange(len(log))
        yield log[:at]
        yield log[:at] + bytes(len(log) - at)
        yield log[:at] + bytes([log[at] ^ 0xFF]) + log[at + 1 :]


def go_on_after_cuts(folder: Path, tmp_path: Path, end_ms: int, logs: list[bytes | None]) -> None:
    """Let the account of each copy go on to the end, and compare it with the undisturbed one."""
    for number, log in enumerate(logs):
        home = new_home(tmp_path / f"after-{number}")
        after_a_power_cut(folder, account_folder(home), log)
        trade(home, end_ms=end_ms)
        assert_nothing_was_lost(home, end_ms)
        shutil.rmtree(home)


def test_a_power_cut_that_takes_the_end_of_the_log_leaves_an_earlier_state(
    run: Runner, home: Path, tmp_path: Path
):
    folder = killed_with_its_log(run, home, SHORT_MS, 155)
    log = (folder / "trading.db-wal").read_bytes()
    reached = set()
    for number, damaged in enumerate([log, b"", *damaged_logs(log, cuts=25, seed=1)]):
        copy = after_a_power_cut(folder, tmp_path / f"cut-{number}", damaged)
        reached.add(assert_is_an_earlier_state(copy, SHORT_MS))
        shutil.rmtree(copy)
    assert {-1, 155} <= reached
    assert len(reached) > 15


def test_an_account_that_lost_the_end_of_its_log_ends_like_an_undisturbed_one(
    run: Runner, home: Path, tmp_path: Path
):
    folder = killed_with_its_log(run, home, SHORT_MS, 155)
    log = (folder / "trading.db-wal").read_bytes()
    damaged = list(damaged_logs(log, cuts=3, seed=2))
    go_on_after_cuts(folder, tmp_path, SHORT_MS, [None, b"", log, *damaged])


def test_a_log_of_a_whole_day_may_lose_its_end_too(run: Runner, home: Path, tmp_path: Path):
    folder = killed_with_its_log(run, home, END_MS, 1_500)
    log = (folder / "trading.db-wal").read_bytes()
    reached = set()
    for number, damaged in enumerate(damaged_logs(log, cuts=4, seed=3)):
        copy = after_a_power_cut(folder, tmp_path / f"cut-{number}", damaged)
        reached.add(assert_is_an_earlier_state(copy, END_MS))
        shutil.rmtree(copy)
    assert len(reached) >= 4
    go_on_after_cuts(folder, tmp_path, END_MS, [log[: len(log) * 9 // 10]])


@pytest.mark.nightly
def test_many_power_cuts_anywhere_in_a_day_change_nothing(run: Runner, home: Path, tmp_path: Path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to find the same cuts again
    folder = killed_with_its_log(run, home, END_MS, 1_500)
    log = (folder / "trading.db-wal").read_bytes()
    for number, damaged in enumerate(damaged_logs(log, cuts=100, seed=seed)):
        copy = after_a_power_cut(folder, tmp_path / f"cut-{number}", damaged)
        assert_is_an_earlier_state(copy, END_MS)
        shutil.rmtree(copy)
    go_on_after_cuts(folder, tmp_path, END_MS, [None, *damaged_logs(log, cuts=10, seed=seed + 1)])


# --------------------------------------------------------------------------------- asked to end, and twice


def test_ctrl_c_and_a_polite_kill_end_after_the_minute_and_lose_nothing(home: Path):
    stands = START_MS
    for number, until in ((signal.SIGINT, 60), (signal.SIGTERM, 300)):
        process = started(trade_arguments(home, MIDDLE_MS, "--speed", "6000", "--json"))
        try:
            wanted = START_MS + until * MINUTE_MS
            eventually(lambda wanted=wanted: has_come_to(home, wanted), f"the replay comes to {wanted}")
            process.send_signal(number)
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
        assert process.returncode == 130, err
        told = json.loads(out)
        after = cursor_of(account_folder(home))
        assert after is not None
        assert stands < after < MIDDLE_MS
        assert told["account"] == ACCOUNT
        assert last_session_has_ended(home)
        stands = after
    code, _, err = run_command(home, *trade_arguments(home, MIDDLE_MS)[2:])
    assert code == 0, err
    assert_nothing_was_lost(home, MIDDLE_MS)


def last_session_has_ended(home: Path) -> bool:
    with TradingJournal.open(account_folder(home)) as journal:
        session = journal.last_session()
    return session is not None and session.ended_at_ms is not None


def test_a_second_trader_of_an_account_is_refused_and_a_killed_one_frees_it(home: Path):
    # So slow that it is still at its first minutes, whatever the second one does.
    first = started(trade_arguments(home, SHORT_MS, "--speed", "60"))
    try:
        eventually(lambda: has_come_to(home, START_MS + MINUTE_MS), "the first trader has begun")
        code, out, err = run_command(home, *trade_arguments(home, SHORT_MS)[2:])
        assert (code, out) == (1, "")
        sentence = " ".join(err.split())
        with TradingJournal.open(account_folder(home)) as journal:
            session = journal.last_session()
        assert session is not None
        assert (session.pid, session.host) == (first.pid, socket.gethostname())
        since = datetime.fromtimestamp(session.started_at_ms / 1_000, UTC)
        assert (
            f"the account {ACCOUNT} is being traded by process {first.pid} on host {session.host} "
            f"since {since:%Y-%m-%d %H:%M} UTC: stop it first"
        ) in sentence
    finally:
        first.kill()
        first.communicate(timeout=600)
    code, _, err = run_command(home, *trade_arguments(home, SHORT_MS)[2:])
    assert code == 0, err
    assert_nothing_was_lost(home, SHORT_MS)
