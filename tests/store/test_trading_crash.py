"""Kill the trader anywhere, or cut its power: the account is a sound earlier one, and the run that follows equals
the undisturbed one."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_tracker.core.errors import StoreError
from crypto_tracker.store.failpoints import TradingFailpoint
from crypto_tracker.store.trading import LOCK_NAME, TradingStore, is_traded
from crypto_tracker.store.trading_journal import FILE_NAME, TradingJournal
from tests.store.accounts import (
    ACCOUNT,
    OPENING,
    RECORDED,
    START,
    Content,
    eventful_steps,
    everything,
    minute,
    plain_step,
    trading,
    write,
)
from tests.store.trading_crash_child import KILLED, go_on

ROOT = Path(__file__).parents[2]
OPENING_POINTS = [
    TradingFailpoint.ACCOUNT_FOLDER_MADE,
    TradingFailpoint.OPENING_WRITTEN,
    TradingFailpoint.OPENING_COMMITTED,
]
# How often each is passed in an undisturbed run; every time is a step of its own.
PASSES = dict.fromkeys(TradingFailpoint, len(eventful_steps())) | {
    TradingFailpoint.ACCOUNT_FOLDER_MADE: 1,
    TradingFailpoint.OPENING_WRITTEN: 1,
    TradingFailpoint.OPENING_COMMITTED: 1,
    TradingFailpoint.BEFORE_CHECKPOINT: 5,  # after opening, three times within ten minutes, on close
    TradingFailpoint.AFTER_CHECKPOINT: 5,
}
STEPS = [(point, passes) for point, count in PASSES.items() for passes in range(count)]


def read(folder: Path) -> Content:
    return everything(folder, clock_times=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Content]:
    """What the account holds before each minute, and after the last, where nothing ever happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed") / "paper"
    states: list[Content] = []
    go_on(folder, before_each=lambda: states.append(read(folder)))
    return [*states, read(folder)]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[TradingFailpoint, int], tuple[Path, int]]:
    """For each step the account of a process that was killed there, and its exit code."""
    folder = tmp_path_factory.mktemp("killed")
    runs = {step: folder / f"{step[0].value}-{step[1]}" for step in STEPS}
    for step, path in runs.items():
        if step[0] not in OPENING_POINTS:
            with trading(path):  # without this each would migrate for itself
                pass
    command = [sys.executable, "-m", "tests.store.trading_crash_child"]
    asked = json.dumps([(str(runs[point, passes]), point.value, passes) for point, passes in STEPS])
    done = subprocess.run(command, cwd=ROOT, input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(STEPS, zip(runs.values(), json.loads(done.stdout), strict=True), strict=True))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0].value}-{step[1]}")
def test_a_trader_that_is_killed_goes_on_as_if_nothing_had_been(step, undisturbed, killed):
    point, passes = step
    folder, code = killed[step]
    assert code == KILLED, "the step was never reached: this test proves nothing"
    assert not is_traded(folder)

    if point is not TradingFailpoint.ACCOUNT_FOLDER_MADE:
        found = read(folder)  # a reader needs no trader to have cleared up
        if found["account"]:
            (trader,) = found["trader"]
            done = (trader[1] - START) // 60_000
            assert found == undisturbed[done]
            if point in {TradingFailpoint.STEP_RECORDS_WRITTEN, TradingFailpoint.STEP_BEFORE_COMMIT}:
                assert done == passes
            if point is TradingFailpoint.STEP_COMMITTED:
                assert done == passes + 1
        else:
            assert not any(found.values())

    go_on(folder, recorded_at_ms=RECORDED + 1_000)
    assert {path.name for path in folder.iterdir()} == {FILE_NAME, LOCK_NAME}
    assert read(folder) == undisturbed[-1]
    with TradingJournal.open(folder) as journal:
        digests = list(journal.recomputed_digests(START, minute(100)))
        assert len(digests) == 10
        assert all(stored == recomputed for _, stored, recomputed in digests)
        last = journal.last_session()
        assert last is not None
        assert last.ended_at_ms == RECORDED + 1


def test_what_a_power_cut_leaves_of_the_log_is_a_sound_earlier_account(tmp_path: Path, undisturbed):
    folder = tmp_path / "paper"
    with trading(folder) as store:
        go = eventful_steps()
        store.create(OPENING)
        store._checkpoint()
        write(store, go)
        file, log = (folder / FILE_NAME).read_bytes(), (folder / f"{FILE_NAME}-wal").read_bytes()
    frame = 24 + 4096
    assert (len(log) - 32) % frame == 0
    lengths = {32 + frame * count for count in range((len(log) - 32) // frame + 1)}
    reached = []
    for length in sorted({0, 17, 32, *lengths, *(length + 2_000 for length in lengths if length < len(log))}):
        cut = tmp_path / "cut"
        cut.mkdir()
        (cut / FILE_NAME).write_bytes(file)
        (cut / f"{FILE_NAME}-wal").write_bytes(log[:length])
        found = read(cut)
        done = (found["trader"][0][1] - START) // 60_000
        assert found == undisturbed[done]
        reached.append(done)
        shutil.rmtree(cut)
    assert reached == sorted(reached)
    assert set(reached) == set(range(11))


def test_the_file_is_written_by_checkpoints_alone_and_the_log_is_empty_after_them(tmp_path: Path):
    folder = tmp_path / "paper"
    with trading(folder, checkpoint_every=200) as store:
        store.create(OPENING)
        store._checkpoint()
        before = (folder / FILE_NAME).read_bytes()
        # SQLite by itself would have written the file once the log has a thousand pages.
        write(store, [plain_step(number, state=bytes([number]) * 40_000) for number in range(199)])
        log = folder / f"{FILE_NAME}-wal"
        assert log.stat().st_size > 4_000_000
        assert (folder / FILE_NAME).read_bytes() == before
        write(store, [plain_step(199)])
        assert log.stat().st_size == 0
        assert (folder / FILE_NAME).read_bytes() != before
    assert not log.exists()


def test_the_lock_is_free_as_soon_as_its_holder_is_killed(tmp_path: Path):
    folder = tmp_path / "replay-20250801-20250901"
    assert not is_traded(folder)
    command = [sys.executable, "-m", "tests.store.trading_crash_child", str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert is_traded(folder)
            with pytest.raises(StoreError) as refused, TradingStore.open(folder, wait_ms=0):
                pass
            assert str(refused.value) == (
                f"the account replay-20250801-20250901 is being traded by process {holder.pid} on host elsewhere "
                "since 2025-08-02 09:00 UTC: stop it first, or trade another account with --account"
            )
            with TradingJournal.open(folder) as journal:  # reading is free
                assert journal.account() == ACCOUNT
            assert is_traded(folder)
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
    assert not is_traded(folder)
    with TradingStore.open(folder, wait_ms=0) as store:
        assert is_traded(folder)
        write(store, eventful_steps()[4:])
