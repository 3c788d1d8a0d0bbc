"""A command that waits is taken back: it is answered or withdrawn, never both, whoever comes first or is killed."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import booleans, data, integers, none

from crypto_tracker.app import commanding
from crypto_tracker.app.accounts import account_place
from crypto_tracker.app.commanding import WITHDRAWN, Told, standing, tell, to_be_replaced, told, withdraw
from crypto_tracker.app.trading import Orders
from crypto_tracker.core.errors import CryptoTrackerError, StoreError, UsageError
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.control import LOCK_NAME, Command, ControlStore
from crypto_tracker.store.database import CONTROL, open_engine, upgrade, writer_lock
from crypto_tracker.store.failpoints import ControlFailpoint, TradingFailpoint
from crypto_tracker.store.trading_records import ConfigurationRow
from crypto_tracker.store.trading_views import TradingViews, waiting_commands
from tests.app.conftest import run_command
from tests.app.test_commands_cli import NOON, answer, opened
from tests.app.withdraw_child import ACTOR, COMMAND_ID, DUE_MINUTE, END_MINUTES, KILLED
from tests.trading import worlds

ROOT = Path(__file__).parents[2]
AT_MS = NOON + 5_000


@pytest.fixture(autouse=True)
def _bars_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account stands in a past year, and is no silent one for that."""
    monkeypatch.setattr(commanding, "_SILENT_MS", 2**62)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an account `paper` that nobody trades now."""
    return opened(tmp_path)


def given(home: Path, kind: str = "pause", **arguments: str) -> Command:
    """A command that a person has just given."""
    where = standing(account_place(home, "paper"))
    return tell(where, kind, arguments, actor="cli:anna", now_ms=NOON).command


def withdrawn(home: Path, command: Command, actor: str = "web:bob", at_ms: int = AT_MS) -> Told:
    return withdraw(standing(account_place(home, "paper")), command, actor=actor, now_ms=at_ms)


def acts(folder: Path) -> list[tuple[str, str, object]]:
    """The audit: who did what, and why it was refused."""
    with ControlStore.open(folder) as control:
        return [(each.actor, each.action, each.detail.get("refused")) for each in control.audit()]


# ----------------------------------------------------------------------------------- what becomes of it


def test_a_command_that_waits_is_taken_back_with_who_and_when_and_keeps_its_line_of_the_audit(
    tmp_path: Path, folder: Path
) -> None:
    command = given(tmp_path, "block", symbol="ETH/USD")
    found = withdrawn(tmp_path, command)
    assert (found.status, found.time_ms) == (WITHDRAWN, None)
    assert found.sentence == "taken back by web:bob at 2025-08-22 12:00 UTC"
    assert told(folder) == [found]
    assert acts(folder) == [("cli:anna", "block", None), ("web:bob", "withdraw", None)]
    with ControlStore.open(folder) as control:
        assert control.audit()[-1].detail == {
            "command_id": command.command_id,
            "kind": "block",
            "arguments": {"symbol": "ETH/USD"},
            "not_before_ms": None,
        }
        assert (control.standing(), control.commands()) == ([], [command])


def test_once_more_changes_nothing_whoever_asks(tmp_path: Path, folder: Path) -> None:
    command = given(tmp_path)
    first = withdrawn(tmp_path, command)
    assert withdrawn(tmp_path, command, actor="cli:zoe", at_ms=AT_MS + MINUTE_MS) == first
    assert len(acts(folder)) == 2


def test_who_comes_too_late_is_told_what_was_answered_and_the_audit_has_it(
    tmp_path: Path, folder: Path
) -> None:
    command = given(tmp_path)
    answer(folder, command, "applied", "entries are paused from 2025-08-22 12:00 UTC on; exits go on")
    sentence = (
        "it is too late to withdraw it: it was applied before the minute 2025-08-22 12:00 UTC "
        "(entries are paused from 2025-08-22 12:00 UTC on; exits go on)"
    )
    with pytest.raises(CryptoTrackerError) as late:
        withdrawn(tmp_path, command)
    assert str(late.value) == sentence
    assert [each.status for each in told(folder)] == ["applied"]
    assert acts(folder) == [("cli:anna", "pause", None), ("web:bob", "withdraw", sentence)]


def test_what_is_withdrawn_waits_no_more_and_gives_way(tmp_path: Path, folder: Path) -> None:
    place = account_place(tmp_path, "paper")
    before = to_be_replaced(standing(place))
    row = ConfigurationRow(version="0123456789ab", canonical="{}", document="{}")
    command = tell(
        standing(place),
        "configure",
        {"version": row.version},
        actor="cli:anna",
        now_ms=NOON,
        offer=(row, "better.toml"),
    ).command
    given(tmp_path)
    assert to_be_replaced(standing(place)) == row
    withdrawn(tmp_path, command)
    assert to_be_replaced(standing(place)) == before
    with TradingViews.open(folder) as views:
        assert waiting_commands(folder, views) == 1


def test_who_waits_for_the_answer_hears_that_it_was_withdrawn(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While it waits for the trader somebody else takes it back.
    monkeypatch.setattr(commanding, "sleep", lambda _: withdrawn(tmp_path, control_commands(folder)[0]))
    where = standing(account_place(tmp_path, "paper"))
    found = tell(where, "pause", {}, actor="cli:anna", now_ms=NOON, wait_seconds=60.0)
    assert (found.status, found.sentence) == (WITHDRAWN, "taken back by web:bob at 2025-08-22 12:00 UTC")
    # Sent again under its id, as the answer was lost, it is still that one.
    again = tell(where, "pause", {}, actor="cli:anna", now_ms=NOON, command_id=found.command.command_id)
    assert again == found


def control_commands(folder: Path) -> list[Command]:
    with ControlStore.open(folder) as control:
        return control.commands()


def test_a_file_of_the_version_before_is_read_as_it_is(tmp_path: Path, folder: Path) -> None:
    engine = open_engine(folder / "control.db")
    upgrade(engine, CONTROL, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO commands VALUES (1, 'abc', 'pause', '{}', NULL, 'cli:anna', 0)"
        )
    engine.dispose()
    with TradingViews.open(folder) as views:
        assert waiting_commands(folder, views) == 1
    assert [each.status for each in told(folder)] == ["waiting"]
    (command,) = control_commands(folder)
    assert withdrawn(tmp_path, command).status == WITHDRAWN


def test_while_the_trader_answers_nobody_withdraws(tmp_path: Path, folder: Path) -> None:
    command = given(tmp_path)
    with (
        ControlStore.open(folder) as control,
        writer_lock(folder / LOCK_NAME, what="this", wait_ms=0),
        pytest.raises(StoreError, match="is writing answers to the commands of paper"),
    ):
        control.withdraw(command, actor="web:bob", at_ms=AT_MS, answered=lambda: None, wait_ms=0)
    assert len(acts(folder)) == 1


# --------------------------------------------------------------------------------------- as it is typed


@pytest.mark.usefixtures("folder")
def test_the_command_line_takes_back_what_it_lists(tmp_path: Path) -> None:
    command, other = given(tmp_path), given(tmp_path, "block", symbol="ETH/USD")
    assert f"`withdraw {command.command_id[:8]}`" in run_command(tmp_path, "commands")[1]
    code, out, err = run_command(tmp_path, "withdraw", command.command_id[:8].upper())
    assert (code, err) == (0, "")
    assert out.startswith("Withdrawn, pause: taken back by cli:")
    who = out.removeprefix("Withdrawn, pause: taken back ")
    again = run_command(tmp_path, "withdraw", command.command_id)
    assert again == (0, f"pause was withdrawn already, {who}", "")
    lines = run_command(tmp_path, "commands")[1].splitlines()
    assert lines[1].startswith("  withdrawn: taken back by cli:")
    assert lines[3].startswith("  waiting for the trader; ")
    code, out, _ = run_command(tmp_path, "withdraw", other.command_id, "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["status"], document["account"], document["kind"]) == ("withdrawn", "paper", "block")
    assert document["command_id"] == other.command_id


def test_the_command_line_says_what_cannot_be_taken_back(tmp_path: Path, folder: Path) -> None:
    command = given(tmp_path)
    answer(folder, command, "refused", "entries are paused already")
    code, out, err = run_command(tmp_path, "withdraw", command.command_id)
    assert (code, out) == (1, "")
    assert "too late to withdraw it: it was refused before the minute 2025-08-22 12:00 UTC" in " ".join(
        err.split()
    )
    code, _, err = run_command(tmp_path, "withdraw", "0000")
    assert code == 2
    assert "the account paper was given no command 0000: `commands` lists them" in " ".join(err.split())
    with ControlStore.open(folder) as control:
        for number in range(2):
            control.add(
                Command.new("resume", {}, actor="a", created_at_ms=0, command_id=f"{number:0>32}"[::-1])
            )
            control.add(
                Command.new("resume", {}, actor="a", created_at_ms=0, command_id=f"ffff{number}" + "0" * 27)
            )
    with pytest.raises(UsageError, match="the ids of 2 commands begin with ffff: write more of it"):
        commanding.command_named(account_place(tmp_path, "paper"), "ffff")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("abc", "the account paper was given no command abc: `commands` lists them"),
        ("", "no id is given: write that of a command, or its start, as `commands` shows it"),
        ("  ", "no id is given: write that of a command, or its start, as `commands` shows it"),
    ],
)
def test_an_account_that_nobody_told_anything_is_left_as_it_is(
    tmp_path: Path, folder: Path, typed: str, sentence: str
) -> None:
    code, out, err = run_command(tmp_path, "withdraw", typed)
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert {each.name.partition("-")[0] for each in folder.iterdir()} == {
        "trading.db"
    }  # -wal and -shm come and go


# ------------------------------------------------------------------------------- at the same moment


class OneAccount(RuleBasedStateMachine):
    """People give and withdraw in any order while a trader takes minute after minute, and is killed at times.

    The trader's own records are written as it writes them: what was due in one transaction, or nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._place = TemporaryDirectory()
        self.home = Path(self._place.name)
        self.folder = opened(self.home)
        self.patience = pytest.MonkeyPatch()
        self.patience.setattr(
            "crypto_tracker.store.control.ControlStore.withdraw.__kwdefaults__", {"wait_ms": 0}
        )
        self.control = ExitStack()
        self.minute_ms = NOON
        self.given: list[Command] = []
        self.withdrawn: set[str] = set()
        self.late = 0
        self.answered: set[str] = set()
        self.held: ExitStack | None = None
        self.due: list[str] = []
        self._start()

    def _start(self) -> None:
        """A trader begins, and knows what the journal knows."""
        self.control.close()
        store = self.control.enter_context(ControlStore.open(self.folder))
        self.orders = Orders(store, set(self.answered))

    @rule(ahead=none() | integers(0, 3))
    def give(self, ahead: int | None) -> None:
        command = Command.new(
            "block",
            {"symbol": "ETH/USD"},
            actor="cli:anna",
            created_at_ms=0,
            not_before_ms=None if ahead is None else self.minute_ms + ahead * MINUTE_MS,
        )
        with ControlStore.open(self.folder) as control:
            control.add(command)
        self.given.append(command)

    @precondition(lambda self: self.given)
    @rule(chosen=data())
    def withdraw(self, chosen: object) -> None:
        index = chosen.draw(integers(0, len(self.given) - 1))  # type: ignore[attr-defined]
        command = self.given[index]
        try:
            found = withdrawn(self.home, command)
        except StoreError:
            assert self.held is not None, "nobody answers, and still one is sent away"
            assert self.due, "the trader answers nothing in this minute, and still holds everything"
        except CryptoTrackerError:
            assert command.command_id in self.answered
            self.late += 1
        else:
            assert found.status == WITHDRAWN
            assert command.command_id not in self.answered
            self.withdrawn.add(command.command_id)

    @precondition(lambda self: self.held is None)
    @rule()
    def take_a_minute(self) -> None:
        self.held = ExitStack()
        self.held.enter_context(self.orders.minute(self.minute_ms))
        self.due = [each.command_id for each in self.orders.commands()]
        assert not self.withdrawn & set(self.due)

    @precondition(lambda self: self.held is not None)
    @rule(commits=booleans(), killed=booleans())
    def end_it(self, *, commits: bool, killed: bool) -> None:
        named = {each.command_id: each for each in self.given}
        if commits:
            for command_id in self.due:
                answer(self.folder, named[command_id], "applied", "done")
            self.answered |= set(self.due)
            self.minute_ms += MINUTE_MS
        assert self.held is not None
        self.held.close()
        self.held = None
        if killed or not commits:
            self._start()
        else:
            self.orders._answered |= set(self.due)
            self.orders._open = None

    @invariant()
    def each_has_one_fate(self) -> None:
        assert not self.withdrawn & self.answered
        fates = {each.command.command_id: each.status for each in told(self.folder)}
        for command in self.given:
            expected = (
                WITHDRAWN
                if command.command_id in self.withdrawn
                else "applied"
                if command.command_id in self.answered
                else "waiting"
            )
            assert fates[command.command_id] == expected
        assert len(acts(self.folder)) == len(self.given) + len(self.withdrawn) + self.late

    def teardown(self) -> None:
        if self.held is not None:
            self.held.close()
        self.control.close()
        self.patience.undo()
        self._place.cleanup()


OneAccount.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnswersAndWithdrawalsInAnyOrder = OneAccount.TestCase


# ------------------------------------------------------------------------------------------- kills


STEP = [point for point in TradingFailpoint if point.value.startswith("step_")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """For each failpoint the home of a process that was killed there, and its exit code."""
    folder = tmp_path_factory.mktemp("killed")
    homes = {point.value: worlds.new_home(folder / point.value) for point in [*ControlFailpoint, *STEP]}
    for home in homes.values():
        worlds.trade(home, end_ms=worlds.START_MS + END_MINUTES * MINUTE_MS, enough=lambda _: True)
        with ControlStore.open(worlds.account_folder(home)) as control:
            control.add(
                Command.new(
                    "pause",
                    {},
                    actor="cli:anna",
                    created_at_ms=0,
                    not_before_ms=worlds.START_MS + DUE_MINUTE * MINUTE_MS,
                    command_id=COMMAND_ID,
                )
            )
    asked = json.dumps([(str(home), point) for point, home in homes.items()])
    command = [sys.executable, "-m", "tests.app.withdraw_child"]
    done = subprocess.run(command, cwd=ROOT, input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(homes, zip(homes.values(), json.loads(done.stdout), strict=True), strict=True))


def fate(home: Path) -> tuple[list[str], bool, list[str]]:
    """What the account says of its command, whether the trader ever acted on it, and the acts of the audit."""
    folder = worlds.account_folder(home)
    statuses = [each.status for each in told(folder)]
    applied = {row["command_id"] for row in worlds.dump(folder)["commands_applied"]}
    return statuses, COMMAND_ID in applied, [action for _, action, _ in acts(folder)]


def go_on(home: Path) -> None:
    worlds.trade(home, end_ms=worlds.START_MS + END_MINUTES * MINUTE_MS)


@pytest.mark.parametrize("point", ControlFailpoint, ids=lambda point: point.value)
def test_who_is_killed_while_withdrawing_has_done_all_of_it_or_nothing(
    point: ControlFailpoint, killed: dict[str, tuple[Path, int]]
) -> None:
    home, code = killed[point.value]
    assert code == KILLED, "the step was never reached: this test proves nothing"
    done = point is ControlFailpoint.WITHDRAWAL_COMMITTED
    assert fate(home) == (
        ["withdrawn" if done else "waiting"], False, ["pause", *(["withdraw"] if done else [])]
    )  # fmt: skip
    go_on(home)
    assert fate(home)[:2] == ((["withdrawn"], False) if done else (["applied"], True))


@pytest.mark.parametrize("point", STEP, ids=lambda point: point.value)
def test_a_trader_that_is_killed_in_the_minute_of_a_command_has_answered_it_or_lets_it_go(
    point: TradingFailpoint, killed: dict[str, tuple[Path, int]]
) -> None:
    home, code = killed[point.value]
    assert code == KILLED, "the step was never reached: this test proves nothing"
    where = standing(account_place(home, worlds.ACCOUNT))
    with ControlStore.open(where.place.folder) as control:
        (command,) = control.commands()
    committed = point is TradingFailpoint.STEP_COMMITTED
    if committed:
        with pytest.raises(CryptoTrackerError, match="it is too late to withdraw it: it was applied"):
            withdraw(where, command, actor=ACTOR, now_ms=1)
    else:
        assert withdraw(where, command, actor=ACTOR, now_ms=1).status == WITHDRAWN
    go_on(home)
    assert fate(home) == (["applied" if committed else "withdrawn"], committed, ["pause", "withdraw"])


def test_an_undisturbed_trader_acts_on_what_stands_and_not_on_what_was_withdrawn(tmp_path: Path) -> None:
    home = worlds.new_home(tmp_path / "home")
    folder = worlds.account_folder(home)
    worlds.tell(folder, [worlds.Wished(2, "pause", {}), worlds.Wished(3, "block", {"symbol": "ETH/USD"})])
    pause, block = control_commands(folder)
    go_on_until = worlds.START_MS + END_MINUTES * MINUTE_MS
    worlds.trade(home, end_ms=go_on_until, enough=lambda _: True)
    place = account_place(home, worlds.ACCOUNT)
    withdraw(standing(place), pause, actor=ACTOR, now_ms=1)
    with TradingViews.open(folder) as views:
        assert waiting_commands(folder, views) == 1
    worlds.trade(home, end_ms=go_on_until)
    assert {each.command.command_id: each.status for each in told(folder)} == {
        pause.command_id: "withdrawn",
        block.command_id: "applied",
    }
