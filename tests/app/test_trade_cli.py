"""`trade` at the command line: what it opens, refuses, forgets and leaves alone."""

import json
from pathlib import Path

import pytest

from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trading_journal import TradingJournal
from tests.app.conftest import run_command
from tests.trading import worlds
from tests.trading.worlds import START_MS, account_folder, new_home, span

SHORT = span(START_MS, START_MS + 3 * HOUR_MS)
NAME = "replay-" + SHORT.replace("..", "-").lower()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return new_home(tmp_path / "home")


def trade(home: Path, *arguments: str) -> tuple[int, str, str]:
    return run_command(home, "trade", "--replay", SHORT, *arguments)


def test_a_replay_is_an_account_named_by_its_span(home):
    code, out, err = trade(home, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["account"] == NAME
    assert document["kind"] == "replay"
    assert document["finished"] is True
    assert document["stands_at"] == "2025-03-02T00:40:00Z"
    assert err == ""
    assert (account_folder(home, NAME) / "trading.db").is_file()


def test_the_same_command_again_says_that_it_has_ended_and_changes_nothing(home):
    _, first, _ = trade(home)
    before = (account_folder(home, NAME) / "trading.db").read_bytes()
    code, again, err = trade(home)
    assert code == 0
    assert "has ended its replay: --fresh begins it anew" in err
    assert again == first
    assert len((account_folder(home, NAME) / "trading.db").read_bytes()) == len(before)


def test_fresh_begins_anew(home):
    trade(home)
    code, out, err = trade(home, "--fresh", "--set", "trading.capital_quote=5000")
    assert code == 0, err
    assert "opened" in err
    assert "equity 5," in out or "equity 4," in out


def test_fresh_never_forgets_paper_trading(home):
    trade(home, "--account", "paper")
    folder = account_folder(home, "paper")
    engine = open_engine(folder / "trading.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account SET kind = 'paper', end_ms = NULL")
    engine.dispose()
    code, _, err = trade(home, "--account", "paper", "--fresh")
    assert code == 2
    assert "whose records are not forgotten" in err
    assert (folder / "trading.db").is_file()


def test_fresh_forgets_nothing_before_the_new_replay_is_known_to_be_possible(home):
    trade(home, "--account", "mine")
    code, _, err = run_command(
        home, "trade", "--replay", "20240101..20240102", "--account", "mine", "--fresh"
    )
    assert code == 1
    assert "the span holds no 1m bars" in err
    assert (account_folder(home, "mine") / "trading.db").is_file()


def test_fresh_is_for_replays(home):
    code, _, err = run_command(home, "trade", "--fresh")
    assert code == 2
    assert "--fresh forgets all records" in err


def test_an_account_that_can_not_be_opened_leaves_nothing_behind(home):
    code, _, err = run_command(home, "trade", "--replay", "20240101..20240102")
    assert code == 1
    assert "choose the span" in err
    assert not account_folder(home, "replay-20240101-20240102").exists()


def test_what_people_said_before_the_account_was_opened_is_kept_when_it_can_not_be(home):
    folder = account_folder(home, "mine")
    folder.mkdir(parents=True)
    (folder / "note.txt").write_text("mine", encoding="utf-8")
    run_command(home, "trade", "--replay", "20240101..20240102", "--account", "mine")
    assert (folder / "note.txt").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--replay", "20250302"), "is no span"),
        (("--replay", "20250302.."), "has no end or no beginning"),
        (("--replay", "20250303..20250302"), "ends before it starts"),
        (("--replay", SHORT, "--speed", "fast"), "is no speed"),
        (("--replay", SHORT, "--speed", "0"), "is no speed"),
        (("--speed", "60"), "--speed is for replays"),
        (("--replay", SHORT, "--account", "My Account"), "is no name of an account"),
        (("--replay", SHORT, "-p", "NOPE/USD"), "there are no bars of NOPE/USD"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(home, arguments, says):
    code, out, err = run_command(home, "trade", *arguments)
    assert code in {1, 2}
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


def test_another_span_or_other_pairs_under_the_same_name_are_refused(home):
    trade(home, "--account", "mine")
    code, _, err = run_command(
        home, "trade", "--replay", span(START_MS, START_MS + 5 * MINUTE_MS), "--account", "mine"
    )
    assert code == 2
    assert "the account mine replays 2025-03-01 21:40 to 2025-03-02 00:40 UTC" in err
    code, _, err = trade(home, "--account", "mine", "-p", "BTC/USD")
    assert code == 2
    assert "choose another --account for other pairs" in err
    code, _, err = run_command(home, "trade", "--account", "mine")
    assert code == 2
    assert "the account mine is one for replay" in err


def test_another_configuration_is_named_and_the_account_keeps_its_own(home):
    end_ms = START_MS + 3 * HOUR_MS
    stopped = worlds.trade(
        home, name="mine", end_ms=end_ms, enough=lambda record: record.time_ms > START_MS + HOUR_MS
    )
    version = stopped.steps[-1].version
    code, _, err = trade(home, "--account", "mine", "--set", "limits.max_open=3")
    assert code == 0
    assert f"the account trades under {version}: `config apply FILE` changes that" in err
    with TradingJournal.open(account_folder(home, "mine")) as journal:
        assert set(journal.minutes(START_MS, end_ms).version) == {version}


def test_a_ledger_that_does_not_add_up_is_refused_with_exit_code_3(home):
    trade(home, "--account", "mine")
    engine = open_engine(account_folder(home, "mine") / "trading.db")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE minutes SET cash_quote = cash_quote + 1 WHERE time_ms = (SELECT max(time_ms) FROM minutes)"
        )
    engine.dispose()
    code, _, err = trade(home, "--account", "mine")
    assert code == 3
    assert "`minutes`" in err
