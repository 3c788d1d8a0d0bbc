"""Ctrl-C at any moment of a backtest: one sentence, exit code 130, and nothing that is half written."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crypto_tracker.app import backtesting
from crypto_tracker.app.cli import backtest_files
from crypto_tracker.app.cli.backtest_files import write_whole
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.research.bundle import Options
from crypto_tracker.store.choice import choose
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.runs import FILE_NAME
from crypto_tracker.strategies.registry import builtin
from tests.app.conftest import LIVELY, MARCH, MARCH_MS, run_command

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0


def runs_of(home: Path) -> int:
    if not (home / FILE_NAME).exists():
        return 0
    engine = open_engine(home / FILE_NAME, read_only=True)
    with engine.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one()
    engine.dispose()
    return int(count)


@pytest.mark.parametrize("moment", ["reading", "scanning"])
def test_a_real_interrupt_ends_the_command_cleanly(home: Path, tmp_path: Path, moment: str):
    """The command runs on a terminal of its own, and is interrupted once its progress tells of the moment."""
    out_folder = tmp_path / "out"
    out_folder.mkdir()
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.app.interrupting", moment, "--home", str(home)), "backtest", *MARCH, *LIVELY,
            "--record-scans", "--export", str(out_folder / "run.json"),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(slave)
    shown, deadline = b"", time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.05)
        if ready:
            try:
                part = os.read(master, 65_536)
            except OSError:  # the other end is closed
                break
            shown += part
        if process.poll() is not None and not ready:
            break
    os.close(master)
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=DEADLINE_SECONDS) == 130
    assert moment.encode() in shown
    assert out == b""
    assert b"%" in shown  # the share that is done
    assert b"Traceback" not in shown
    assert shown.count(b"Interrupted.") == 1
    assert runs_of(home) == 0
    assert list(out_folder.iterdir()) == []


def test_an_interrupt_while_the_run_is_written_leaves_no_run(home: Path, monkeypatch: pytest.MonkeyPatch):
    """The rows of the run stand in the open transaction when the interrupt comes."""
    from crypto_tracker.store import runs

    def interrupted(run_id: int, *_rest: object) -> None:
        assert run_id == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "_trade_values", interrupted)
    code, out, err = run_command(home, "backtest", "--timerange", "20250308-20250309", "--json")
    assert (code, out) == (130, "")
    assert err == "\nInterrupted.\n"
    monkeypatch.undo()
    assert (home / FILE_NAME).exists()
    assert runs_of(home) == 0
    assert run_command(home, "backtest", "--timerange", "20250308-20250309", "--json")[0] == 0
    assert runs_of(home) == 1


def test_an_interrupt_between_run_and_record_leaves_no_run(home: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backtesting.RunStore, "record", interrupted)
    code, _, err = run_command(home, "backtest", "--timerange", "20250308-20250309")
    assert (code, err) == (130, "\nInterrupted.\n")
    assert runs_of(home) == 0


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "run.json"
    write_whole(path, "first")

    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backtest_files.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "second, which is longer")
    assert path.read_text(encoding="utf-8") == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backtest_files.os, "fsync", full)
    with pytest.raises(UsageError, match=r"cannot be written: .*No space left"):
        write_whole(tmp_path / "run.json", "text")
    assert list(tmp_path.iterdir()) == []


def test_progress_tells_the_share_of_the_whole_work_and_never_goes_back(home: Path):
    strategies = builtin()
    models = {name: strategy.parameters_model for name, strategy in strategies.items()}
    configuration = load_configuration(models, file=None, environment={}, assignments=()).tree
    told: list[tuple[str, float]] = []
    with BarReader.open(home) as reader:
        choice = choose(
            reader.series(), configuration, pairs=("ETH/USD",), timeframe=None, provider=None,
            start_ms=MARCH_MS - 3 * DAY_MS, end_ms=MARCH_MS + 3 * DAY_MS,
        )  # fmt: skip
        backtesting.measured_run(
            home, reader, configuration, strategies, choice, Options(strategies=(), close_at_end=False),
            keep_blocks=False, progress=lambda what, share: told.append((what, share)),
        )  # fmt: skip
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1] < 1.0) == (0.0, True)
    scans = [share for what, share in told if what.startswith("scanning")]
    assert len(set(scans)) >= 6  # three strategies, in each of the two months
    words = [what.split()[0] for what, _ in told]
    assert list(dict.fromkeys(words)) == ["reading", "scanning", "simulating", "measuring"]


def test_away_from_a_terminal_nothing_is_said_of_progress(home: Path):
    code, _, err = run_command(home, "backtest", "--timerange", "20250308-20250309", "--pairs", "ETH/USD")
    assert (code, err) == (0, "")
