"""Commands of people: what they type is written, answered and shown; what can not be is refused before."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import insert, update

from crypto_tracker.app import commanding
from crypto_tracker.app.commanding import actor_of_the_command_line
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.timeframes import DAY_MS, to_ms
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.control import FILE_NAME, Command, ControlStore
from crypto_tracker.store.database import TRADING, open_engine, upgrade, writer_lock
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.setting import configuration_row
from tests.app.conftest import run_command

START = to_ms(datetime(2025, 8, 22, tzinfo=UTC))
NOON = to_ms(datetime(2025, 8, 22, 12, tzinfo=UTC))
SYMBOLS = ["BTC/USD", "ETH/USD", "PEPE/USD", "PEPE/USDC"]


def opened(home: Path, name: str = "paper", *, cursor_ms: int = NOON, end_ms: int | None = None) -> Path:
    """An account as its trader leaves it: opened under the default configuration, its cursor at noon."""
    folder = home / "accounts" / name
    folder.mkdir(parents=True)
    models = {each: strategy.parameters_model for each, strategy in builtin().items()}
    row = configuration_row(load_configuration(models, file=None, environment={}, assignments=()).tree)
    engine = open_engine(folder / "trading.db")
    upgrade(engine, TRADING)
    with engine.begin() as connection:
        connection.execute(
            insert(tables.configurations).values(
                version=row.version, canonical=row.canonical, document=row.document, first_ms=START
            )
        )
        connection.execute(
            insert(tables.account).values(
                account_id=1,
                kind="paper" if end_ms is None else "replay",
                symbols=json.dumps(SYMBOLS),
                reference="BTC/USD",
                providers=json.dumps(dict.fromkeys(SYMBOLS, "synthetic")),
                strategies='["DCA", "SWING", "CHANNEL"]',
                capital_quote=Decimal(10_000),
                start_ms=START,
                end_ms=end_ms,
                created_at_ms=START,
                code_version="0.1.0",
            )
        )
        connection.execute(
            insert(tables.trader).values(trader_id=1, cursor_ms=cursor_ms, version=row.version, state=b"")
        )
    engine.dispose()
    return folder


def answer(folder: Path, command: Command, status: str, sentence: str) -> None:
    """The trader's answer to a command, before the minute at noon."""
    engine = open_engine(folder / "trading.db")
    with engine.begin() as connection:
        connection.execute(
            insert(tables.command_results).values(
                command_id=command.command_id,
                kind=command.kind,
                status=status,
                time_ms=NOON,
                sentence=sentence,
                recorded_at_ms=NOON + 61_000,
            )
        )
    engine.dispose()


@contextmanager
def trader(folder: Path, status: str, sentence: str) -> Iterator[None]:
    """A trader that holds the account and gives every command this answer."""
    ended = Event()

    def run() -> None:
        answered: set[str] = set()
        with ControlStore.open(folder) as control:
            while not ended.wait(0.01):
                for command in control.commands() if control.changed() else ():
                    if command.command_id not in answered:
                        answered.add(command.command_id)
                        answer(folder, command, status, sentence)

    thread = Thread(target=run)
    with writer_lock(folder / "trader.lock", what="the account", wait_ms=0):
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=240)
    assert not thread.is_alive()


def stored(folder: Path) -> list[Command]:
    with ControlStore.open(folder) as control:
        return control.commands()


@pytest.fixture(autouse=True)
def _bars_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account stands in a past year, and is no silent one for that."""
    monkeypatch.setattr(commanding, "_SILENT_MS", 2**62)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an account `paper` that nobody trades now."""
    return opened(tmp_path)


# -------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    ("typed", "kind", "arguments"),
    [
        (["pause"], "pause", {}),
        (["resume"], "resume", {}),
        (["close", "ETH/USD"], "close", {"symbol": "ETH/USD"}),
        (["close", "eth"], "close", {"symbol": "ETH/USD"}),
        (["close", "--worst", "3"], "close_worst", {"count": 3}),
        (["regime", "force", "PANIC"], "regime_force", {"regime": "panic"}),
        (["regime", "release"], "regime_release", {}),
        (["cooldown", "clear", "btc/usd"], "cooldown_clear", {"symbol": "BTC/USD"}),
        (["cooldown", "clear", "swing"], "streak_clear", {"strategy": "SWING"}),
        (["strategy", "off", "dca"], "strategy_off", {"strategy": "DCA"}),
        (["strategy", "on", "DCA"], "strategy_on", {"strategy": "DCA"}),
        (["block", "PEPE/USDC"], "block", {"symbol": "PEPE/USDC"}),
        (["unblock", "PEPE/USD"], "unblock", {"symbol": "PEPE/USD"}),
    ],
)
def test_what_is_typed_becomes_a_command_that_waits_for_the_trader(tmp_path, folder, typed, kind, arguments):
    code, out, err = run_command(tmp_path, *typed)
    assert (code, err) == (0, "")
    assert out == "Stored: nobody trades paper now: it acts when the account is traded again.\n"
    (command,) = stored(folder)
    assert (command.kind, dict(command.arguments)) == (kind, arguments)
    assert command.not_before_ms is None
    assert command.actor == actor_of_the_command_line()
    assert command.actor.startswith("cli:")


def test_a_market_time_is_kept_and_said(tmp_path, folder):
    code, out, _ = run_command(tmp_path, "pause", "--at", "2025-08-22T13:30")
    assert code == 0
    assert out.endswith("at the first minute that opens at or after 2025-08-22 13:30 UTC.\n")
    assert [command.not_before_ms for command in stored(folder)] == [NOON + 90 * 60_000]


def test_a_market_time_that_has_passed_acts_at_once(tmp_path, folder):
    code, out, _ = run_command(tmp_path, "pause", "--at", "2025-08-22T11:00")
    assert code == 0
    assert "first minute" not in out
    assert len(stored(folder)) == 1


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (["close"], "say what to close"),
        (["close", "ETH/USD", "--worst", "2"], "say what to close"),
        (["close", "XRP/USD"], "XRP/USD is not traded by this account: it trades BTC/USD, ETH/USD"),
        (["block", "pepe"], "pepe is several symbols: write one of PEPE/USD, PEPE/USDC"),
        (["cooldown", "clear", "GRID"], "GRID is not traded by this account"),
        (["strategy", "off", "GRID"], "GRID is no strategy of this account: it trades DCA, SWING, CHANNEL"),
        (["regime", "force"], "write regime force and one of normal, caution, euphoria, panic"),
        (["regime", "force", "sunny"], "'sunny' is no regime"),
        (["regime", "release", "panic"], "regime release takes no regime"),
        (["pause", "--at", "soon"], "'soon' is no time"),
        (["close", "--worst", "0"], "--worst"),
        (["strategy", "sideways", "DCA"], "sideways"),
    ],
)
def test_wrong_use_is_said_and_nothing_is_written(tmp_path, folder, typed, complaint):
    code, out, err = run_command(tmp_path, *typed)
    assert (code, out) == (2, "")
    assert complaint in err
    assert not (folder / FILE_NAME).exists()


def test_a_command_without_an_account_is_refused(tmp_path):
    code, _, err = run_command(tmp_path, "pause")
    assert code == 1
    assert "nothing has been traded yet" in err
    assert not (tmp_path / "accounts").exists()


def test_the_account_can_be_named(tmp_path, folder):
    other = opened(tmp_path, "replay-20250822-20250823", end_ms=START + DAY_MS)
    assert run_command(tmp_path, "pause", "--account", "paper")[0] == 0
    assert run_command(tmp_path, "resume", "--account", "replay-20250822-20250823")[0] == 0
    assert [command.kind for command in stored(folder)] == ["pause"]
    assert [command.kind for command in stored(other)] == ["resume"]


def test_a_replay_that_has_ended_refuses_at_once(tmp_path):
    folder = opened(tmp_path, "again", cursor_ms=START + DAY_MS, end_ms=START + DAY_MS)
    code, out, err = run_command(tmp_path, "pause")
    assert (code, out) == (1, "")
    assert (
        err == "the account again has ended its replay at 2025-08-23 00:00 UTC: nothing acts on it any more\n"
    )
    assert not (folder / FILE_NAME).exists()


def test_a_time_after_the_end_of_a_replay_is_refused(tmp_path):
    opened(tmp_path, "again", end_ms=START + DAY_MS)
    code, _, err = run_command(tmp_path, "pause", "--at", "2025-08-23T00:00")
    assert code == 1
    assert "ends at 2025-08-23 00:00 UTC: choose an earlier time" in err


# ----------------------------------------------------------------------------------------- answers


def test_the_answer_of_a_running_trader_is_waited_for_and_shown(tmp_path, folder):
    with trader(folder, "applied", "entries are paused from 2025-08-22 12:00 UTC on; exits go on"):
        code, out, err = run_command(tmp_path, "pause")
    assert (code, err) == (0, "")
    assert out == "Entries are paused from 2025-08-22 12:00 UTC on; exits go on.\n"


def test_a_refusal_ends_with_exit_code_1_and_its_reason(tmp_path, folder):
    with trader(folder, "refused", "entries are paused already"):
        code, out, err = run_command(tmp_path, "pause")
        assert (code, out, err) == (1, "", "Refused: entries are paused already\n")
        code, out, _ = run_command(tmp_path, "pause", "--json")
    document = json.loads(out)
    assert code == 1
    assert (document["status"], document["sentence"]) == ("refused", "entries are paused already")


def test_as_json_the_answer_is_one_document(tmp_path, folder):
    with trader(folder, "applied", "it is done"):
        code, out, _ = run_command(tmp_path, "close", "ETH", "--json")
    document = json.loads(out)
    (command,) = stored(folder)
    assert code == 0
    assert document.pop("created_at")
    assert document == {
        "account": "paper",
        "command_id": command.command_id,
        "kind": "close",
        "arguments": {"symbol": "ETH/USD"},
        "not_before": None,
        "actor": actor_of_the_command_line(),
        "status": "applied",
        "sentence": "it is done",
        "minute": "2025-08-22T12:00:00Z",
    }


def test_a_running_trader_that_is_still_in_its_minute_answers_later(tmp_path, folder):
    with writer_lock(folder / "trader.lock", what="the account", wait_ms=0):
        code, out, _ = run_command(tmp_path, "pause", "--wait", "0")
        assert (code, out) == (0, "Stored: the trader of paper answers before its next minute.\n")
        _, out, _ = run_command(tmp_path, "pause", "--at", "2025-08-22T13:00")
    assert out == (
        "Stored: the trader of paper answers at the first minute that opens at or after 2025-08-22 13:00 UTC.\n"
    )


def test_a_replay_that_ends_while_it_is_waited_for_is_said(tmp_path, monkeypatch):
    folder = opened(tmp_path, "again", end_ms=START + DAY_MS)
    added = ControlStore.add

    def add_as_the_replay_ends(self: ControlStore, command: Command) -> Command:
        added(self, command)
        engine = open_engine(folder / "trading.db")
        with engine.begin() as connection:
            connection.execute(update(tables.trader).values(cursor_ms=START + DAY_MS))
        engine.dispose()
        return command

    monkeypatch.setattr(ControlStore, "add", add_as_the_replay_ends)
    code, _, err = run_command(tmp_path, "pause")
    assert (code, err) == (1, "the replay of again ended before the command could act\n")


# ---------------------------------------------------------------------------------------- the list


def test_the_list_says_what_was_asked_by_whom_and_what_was_answered(tmp_path, folder):
    assert run_command(tmp_path, "close", "--worst", "2")[0] == 0
    assert run_command(tmp_path, "regime", "force", "panic", "--at", "2025-08-22T13:00")[0] == 0
    assert run_command(tmp_path, "cooldown", "clear", "SWING")[0] == 0
    first, second, third = stored(folder)
    answer(folder, first, "applied", "2 positions are sold: BTC/USD (-3.00 %), ETH/USD (-1.00 %)")
    answer(folder, third, "refused", "SWING has no losing streak")
    code, out, _ = run_command(tmp_path, "commands")
    lines = out.splitlines()
    assert code == 0
    actor = actor_of_the_command_line()
    assert lines[0].endswith(f"  close --worst 2  by {actor}")
    assert lines[1] == "  applied: 2 positions are sold: BTC/USD (-3.00 %), ETH/USD (-1.00 %)"
    assert lines[2].endswith(f"  regime force panic --at 2025-08-22T13:00  by {actor}")
    start = second.command_id[:8]
    assert lines[3] == f"  waiting for the trader; `withdraw {start}` takes it back"
    assert lines[4].endswith(f"  cooldown clear SWING  by {actor}")
    assert lines[5] == "  refused: SWING has no losing streak"
    assert all(len(line) <= 80 for line in lines)
    documents = json.loads(run_command(tmp_path, "commands", "--json")[1])
    assert [each["status"] for each in documents] == ["applied", "waiting", "refused"]
    assert [each["minute"] for each in documents] == ["2025-08-22T12:00:00Z", None, "2025-08-22T12:00:00Z"]


@pytest.mark.usefixtures("folder")
def test_only_the_last_commands_are_listed_and_the_others_counted(tmp_path):
    for symbol in SYMBOLS:
        assert run_command(tmp_path, "block", symbol)[0] == 0
    lines = run_command(tmp_path, "commands", "--limit", "1")[1].splitlines()
    assert lines[0] == "3 earlier: --limit 4 shows them."
    assert "block PEPE/USDC" in lines[1]
    assert len(json.loads(run_command(tmp_path, "commands", "--limit", "3", "--json")[1])) == 3


def test_a_list_of_nothing_says_so_and_makes_no_file(tmp_path, folder):
    for flags in ([], ["--audit"]):
        code, out, _ = run_command(tmp_path, "commands", *flags)
        assert (code, out) == (0, "Nobody has told the account paper anything.\n")
        assert run_command(tmp_path, "commands", "--json", *flags)[1] == "[]\n"
    assert not (folder / FILE_NAME).exists()


@pytest.mark.usefixtures("folder")
def test_the_audit_has_every_act(tmp_path):
    assert run_command(tmp_path, "block", "ETH/USD")[0] == 0
    (entry,) = json.loads(run_command(tmp_path, "commands", "--audit", "--json")[1])
    assert (entry["actor"], entry["action"]) == (actor_of_the_command_line(), "block")
    assert entry["detail"]["arguments"] == {"symbol": "ETH/USD"}
    assert "block" in run_command(tmp_path, "commands", "--audit")[1]


# -------------------------------------------------------------------------------- configurations


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "better.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_configuration_is_offered_with_what_it_changes(tmp_path, folder):
    file = written(tmp_path, "[limits]\nmax_open = 12\n")
    code, out, err = run_command(tmp_path, "config", "apply", file, "--set", "limits.reserve=0.25")
    assert (code, err) == (0, "")
    (command,) = stored(folder)
    version = command.arguments["version"]
    assert command.kind == "configure"
    lines = out.splitlines()
    assert lines[0].startswith("Account paper, configuration ")
    assert lines[0].endswith(f" -> {version}:")
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["limits.max_open", "limits.reserve"]
    assert lines[1].endswith(" -> 12")
    assert lines[2].endswith(" -> 0.25")
    assert lines[3].startswith("Stored: ")
    with ControlStore.open(folder) as control:
        row = control.configuration(str(version))
        assert row is not None
        assert json.loads(row.document)["limits"]["max_open"] == 12
        assert [entry.action for entry in control.audit()] == ["configuration_offered", "configure"]
        assert control.audit()[0].detail["source"] == file


@pytest.mark.usefixtures("folder")
def test_the_changes_are_part_of_the_json_document(tmp_path):
    file = written(tmp_path, "[limits]\nmax_open = 12\n")
    code, out, _ = run_command(tmp_path, "config", "apply", file, "--json")
    assert code == 0
    document = json.loads(out)
    assert list(document["changes"]) == ["limits.max_open"]
    assert document["changes"]["limits.max_open"]["new"] == 12
    assert (document["status"], document["kind"]) == ("waiting", "configure")


@pytest.mark.parametrize(
    ("text", "code", "complaint"),
    [
        ("[limits]\nmax_open = 'many'\n", 2, "limits.max_open"),
        ("[limits]\nmax_opne = 12\n", 2, "max_opne"),
        ("[limits\n", 2, "better.toml"),
        ("[trading]\ncapital_quote = 20000.0\n", 2, "trading.capital_quote was 10000.0"),
        ("[trading]\nstrategies = ['DCA']\n", 2, "trading.strategies was"),
        ("[universe]\nsymbols = ['BTC/USD']\n", 2, "universe.symbols differs"),
        ("", 2, "nothing in it changes what the account"),
        ("[engine]\ngrace_seconds = 3.0\n", 2, "nothing in it changes what the account"),
        ("[protection.slow_regime]\ntrend_bars = 10\n", 2, "trend_bars was 200"),
        ("[instrument_defaults]\nlot = 0.5\n", 2, "quantities are held in lots"),
    ],
)
def test_a_configuration_that_can_not_be_taken_is_refused_before_anything_is_written(
    tmp_path, folder, text, code, complaint
):
    ended, out, err = run_command(tmp_path, "config", "apply", written(tmp_path, text))
    assert (ended, out) == (code, "")
    assert complaint in err
    assert not (folder / FILE_NAME).exists()


def test_a_configuration_that_is_not_there_or_named_twice_is_wrong_use(tmp_path, folder):
    code, _, err = run_command(tmp_path, "config", "apply", str(tmp_path / "none.toml"))
    assert code == 2
    assert "there is no configuration" in err
    file = written(tmp_path, "")
    code, _, err = run_command(tmp_path, "config", "apply", file, "--config", file)
    assert code == 2
    assert "name one file" in err
    assert not (folder / FILE_NAME).exists()


def test_the_active_configuration_can_be_wanted_back_while_another_waits(tmp_path, folder):
    assert run_command(tmp_path, "config", "apply", written(tmp_path, "[limits]\nmax_open = 12\n"))[0] == 0
    code, out, _ = run_command(tmp_path, "config", "apply", written(tmp_path, ""))
    assert code == 0
    assert "Stored: " in out
    assert [command.kind for command in stored(folder)] == ["configure", "configure"]
