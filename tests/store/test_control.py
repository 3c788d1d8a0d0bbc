"""What people tell an account is kept in order, audited, and noticed; any number of them may write at once."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.store import control_tables as tables
from crypto_tracker.store.control import ARGUMENTS, FILE_NAME, Check, Command, ControlStore, ControlViews
from crypto_tracker.store.database import CONTROL, current_revision, open_engine, sqlite_module
from crypto_tracker.store.trading_records import ConfigurationRow

ROW = ConfigurationRow(version="0123456789ab", canonical='{"a":1}', document='{"a":1,"b":2}')


def close_of(symbol: str, *, at: int = 1_000, not_before_ms: int | None = None) -> Command:
    return Command.new(
        "close", {"symbol": symbol}, actor="cli:anna", created_at_ms=at, not_before_ms=not_before_ms
    )


def test_commands_are_read_back_as_they_were_written_and_in_their_order(tmp_path):
    written = [
        close_of("ETH/USDT"),
        Command.new("close_worst", {"count": 3}, actor="web:bob", created_at_ms=999),
        Command.new("pause", {}, actor="cli:anna", created_at_ms=2_000, not_before_ms=60_000),
        Command.new("regime_force", {"regime": "panic"}, actor="cli:zoë", created_at_ms=3_000),
    ]
    with ControlStore.open(tmp_path) as store:
        assert store.commands() == []
        for command in written:
            store.add(command)
        assert store.commands() == written
    with ControlStore.open(tmp_path) as again:
        assert again.commands() == written


def test_what_grows_is_read_in_pages_newest_first(tmp_path):
    commands = [close_of(f"C{number}/USDT", at=number) for number in range(7)]
    with ControlStore.open(tmp_path) as store:
        for command in commands:
            store.add(command)
        store.offer_configuration(ROW, source="a.toml", actor="cli:anna", created_at_ms=8)
        for number in range(3):
            store.add_check(
                Check(kind="parity", start_ms=0, end_ms=1, differences=number, document="{}", created_at_ms=9)
            )
    engine = open_engine(tmp_path / FILE_NAME, read_only=True)
    with engine.connect() as connection:
        views = ControlViews(connection)
        found, before = [], None
        while page := views.commands(limit=3, before=before):
            found.append([command for _, command in page])
            before = page[-1][0]
        assert found == [commands[6:3:-1], commands[3:0:-1], commands[:1]]
        assert [command for _, command in views.commands_since(5)] == commands[5:]
        newest = views.audit(limit=2)
        assert [entry.action for _, entry in newest] == ["configuration_offered", "close"]
        older = views.audit(limit=9, before=newest[-1][0])
        assert [entry.detail["arguments"]["symbol"] for _, entry in older] == [
            f"C{number}/USDT" for number in (5, 4, 3, 2, 1, 0)
        ]
        assert [check.differences for check in views.checks(limit=2)] == [2, 1]
        assert (views.configuration(ROW.version), views.configuration("other")) == (ROW, None)
    engine.dispose()


def test_a_file_that_is_not_there_is_made_by_whoever_needs_it_first(tmp_path):
    with ControlStore.open(tmp_path) as store:
        assert store.commands() == []
        assert store.configuration("none") is None
        assert store.audit() == []
        assert store.checks() == []
    engine = open_engine(tmp_path / FILE_NAME, read_only=True)
    assert current_revision(engine) == CONTROL.head
    engine.dispose()


def test_every_command_gets_an_id_of_its_own():
    assert len({close_of("ETH/USDT").command_id for _ in range(100)}) == 100
    assert len(close_of("ETH/USDT").command_id) == 32


def test_the_kinds_are_those_that_the_table_takes():
    assert list(ARGUMENTS) == tables.COMMAND_KINDS


@pytest.mark.parametrize(
    ("kind", "arguments", "complaint"),
    [
        ("dance", {}, "'dance' is no command: there are pause, resume"),
        ("pause", {"symbol": "ETH/USDT"}, "the command pause takes no arguments$"),
        ("close", {}, "takes the argument symbol, a text, and no other$"),
        ("close", {"symbol": 3}, "takes the argument symbol, a text, and no other$"),
        ("close_worst", {"count": "3"}, "takes the argument count, a whole number, and no other$"),
        ("close_worst", {"count": True}, "takes the argument count, a whole number, and no other$"),
        ("block", {"symbol": "ETH/USDT", "count": 1}, "takes the argument symbol, a text, and no other$"),
    ],
)
def test_a_command_that_is_none_can_not_be_made(kind, arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        Command.new(kind, arguments, actor="cli:anna", created_at_ms=0)


# ------------------------------------------------------------------------------------------- audit


def test_every_act_of_a_person_leaves_a_line_of_the_audit(tmp_path):
    command = close_of("ETH/USDT", not_before_ms=60_000)
    with ControlStore.open(tmp_path) as store:
        store.add(command)
        store.offer_configuration(ROW, source="new.toml", actor="cli:bob", created_at_ms=2_000)
        first, second = store.audit()
        assert (first.at_ms, first.actor, first.action) == (1_000, "cli:anna", "close")
        assert first.detail == {
            "command_id": command.command_id,
            "arguments": {"symbol": "ETH/USDT"},
            "not_before_ms": 60_000,
        }
        assert (second.at_ms, second.actor, second.action) == (2_000, "cli:bob", "configuration_offered")
        assert second.detail == {"version": ROW.version, "source": "new.toml"}
        assert store.audit(limit=1) == [second]


def test_a_command_and_its_audit_are_written_together_or_not_at_all(tmp_path):
    with ControlStore.open(tmp_path) as store:
        command = close_of("ETH/USDT")
        store.add(command)
        assert store.add(replace(command, actor="cli:berta")) == command  # the same id again
        assert store.commands() == [command]
        assert len(store.audit()) == 1
        connection = sqlite_module().connect(tmp_path / FILE_NAME)
        connection.execute("DROP TABLE audit")
        connection.commit()
        connection.close()
        with pytest.raises(Exception, match="audit"):
            store.add(close_of("BTC/USDT"))
        assert store.commands() == [command]


# ---------------------------------------------------------------------------- configurations, checks


def test_a_configuration_that_was_offered_stays_as_it_was_first(tmp_path):
    with ControlStore.open(tmp_path) as store:
        store.offer_configuration(ROW, source="a.toml", actor="cli:anna", created_at_ms=1)
        changed = ConfigurationRow(version=ROW.version, canonical="{}", document="{}")
        store.offer_configuration(changed, source="b.toml", actor="cli:bob", created_at_ms=2)
        assert store.configuration(ROW.version) == ROW
        assert [entry.detail["source"] for entry in store.audit()] == ["a.toml", "b.toml"]


def test_checks_are_kept_the_newest_first_and_are_no_acts_of_people(tmp_path):
    checks = [
        Check(
            kind="parity", start_ms=day, end_ms=day + 1, differences=day, document="{}", created_at_ms=day + 2
        )
        for day in range(3)
    ]
    with ControlStore.open(tmp_path) as store:
        for check in checks:
            store.add_check(check)
        assert store.checks() == checks[::-1]
        assert store.checks(limit=1) == checks[2:]
        assert store.audit() == []


# ----------------------------------------------------------------------------------------- noticing


def test_a_change_is_noticed_once_whoever_made_it(tmp_path):
    with ControlStore.open(tmp_path) as trader, ControlStore.open(tmp_path) as person:
        assert trader.changed()
        assert not trader.changed()
        person.add(close_of("ETH/USDT"))
        assert trader.changed()
        assert not trader.changed()
        trader.add_check(
            Check(kind="parity", start_ms=0, end_ms=1, differences=0, document="{}", created_at_ms=0)
        )
        assert trader.changed()
        assert not trader.changed()


def test_reading_is_no_change(tmp_path):
    with ControlStore.open(tmp_path) as trader, ControlStore.open(tmp_path) as person:
        trader.changed()
        person.commands()
        person.audit()
        person.configuration("none")
        assert not trader.changed()


# ------------------------------------------------------------------------------------- many writers


WRITER = """
import sys
from pathlib import Path
from crypto_tracker.store.control import Command, ControlStore
folder, actor, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    with ControlStore.open(folder, busy_timeout_ms=30_000) as store:
        store.add(Command.new("close_worst", {"count": number + 1}, actor=actor, created_at_ms=number))
"""


def test_processes_that_write_at_the_same_time_lose_nothing_not_even_when_the_file_is_new(tmp_path):
    actors = [f"cli:{name}" for name in ("anna", "bob", "carl")]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), actor, "8"], stderr=subprocess.PIPE)
        for actor in actors
    ]
    for writer in writers:
        _, complaint = writer.communicate(timeout=240)
        assert writer.returncode == 0, complaint.decode()
    with ControlStore.open(tmp_path) as store:
        commands = store.commands()
        assert len(store.audit()) == len(commands) == 24
    for actor in actors:
        counts = [command.arguments["count"] for command in commands if command.actor == actor]
        assert counts == list(range(1, 9))


def test_a_file_that_stays_locked_is_named(tmp_path):
    with ControlStore.open(tmp_path, busy_timeout_ms=50) as store:
        holder = sqlite_module().connect(tmp_path / FILE_NAME, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"control\.db is being written by another process"):
            store.add(close_of("ETH/USDT"))
        assert store.commands() == []  # readers do not wait
        holder.execute("ROLLBACK")
        holder.close()
        store.add(close_of("ETH/USDT"))
        assert len(store.commands()) == 1


@pytest.mark.parametrize("arguments", ["{", "[]", json.dumps({"coin": "ETH"})])
def test_a_command_that_somebody_wrote_by_hand_and_wrongly_is_named(tmp_path, arguments):
    with ControlStore.open(tmp_path) as store:
        command = close_of("ETH/USDT")
        store.add(command)
        connection = sqlite_module().connect(tmp_path / FILE_NAME)
        connection.execute("UPDATE commands SET arguments = ?", [arguments])
        connection.commit()
        connection.close()
        with pytest.raises(StoreError, match=f"the command {command.command_id}"):
            store.commands()
