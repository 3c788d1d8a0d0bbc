"""`quarantine list`, `release` and `drop` as a person uses them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.timeframes import MINUTE_MS, to_ms
from crypto_tracker.store import tables
from crypto_tracker.store.market_database import writing
from tests.app.conftest import Command
from tests.servers.exchange import minutes
from tests.servers.kraken import KrakenServer

WRONG = "2025-01-01 00:00,1,0.9,0.5,1,10\n"
JUMP = "2025-01-01 00:40,3,4,3,3.5,10\n"
WHEN_OVER = datetime(2031, 1, 1, 0, 1, tzinfo=UTC)
CODES = {"done": 0, "failed": 1, "wrong use": 2}


@pytest.fixture
def home(tmp_path: Path, command: Command) -> Path:
    """A home with a wrong bar, a bar of the future, and a minute whose close jumped."""
    sound = "".join(f"2025-01-01 00:{m:02},1,2,0.5,1.5,10\n" for m in range(1, 40))
    file = tmp_path / "ETHUSDT-1m.csv"
    file.write_text(f"time,open,high,low,close,volume\n{WRONG}{sound}{JUMP}2031-01-01 00:00,1,2,0.5,1.5,10\n")
    assert command(tmp_path / "home", "import-data", str(file))[0] == 0
    return tmp_path / "home"


def test_the_list_names_rule_file_and_line_and_minutes_in_doubt(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = command(home, "quarantine", "list")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines == [
        ["id", "symbol", "provider", "tf", "time", "rule", "from"],
        ["1", "ETH/USDT", "file", "1m", "2025-01-01", "00:00", "high_too_low", "ETHUSDT-1m.csv:2"],
        ["2", "ETH/USDT", "file", "1m", "2031-01-01", "00:00", "in_future", "ETHUSDT-1m.csv:43"],
        ["suspect:", "ETH/USDT", "file", "1m", "2025-01-01", "00:40,", "not", "confirmed"],
    ]
    assert max(map(len, out.splitlines())) <= 80
    assert err == "2 bars are held; 1 minute is suspect.\n"


def test_the_document_has_the_fields_as_they_stood_in_the_file(home: Path, command: Command):
    document = json.loads(command(home, "quarantine", "list", "--json", "-p", "ETH/USDT")[1])
    assert [bar["rule"] for bar in document["bars"]] == ["high_too_low", "in_future"]
    assert document["bars"][0]["fields"] == {
        "time": "2025-01-01 00:00", "open": "1", "high": "0.9", "low": "0.5", "close": "1", "volume": "10",
    }  # fmt: skip
    assert document["bars"][0]["judged"] == {
        "open": "1.0", "high": "0.9", "low": "0.5", "close": "1.0", "volume": "10.0",
        "vwap": None, "n_trades": None,
    }  # fmt: skip
    assert document["bars"][0]["open_time"] == "2025-01-01T00:00:00Z"
    assert [minute["open_time"] for minute in document["suspects"]] == ["2025-01-01T00:40:00Z"]
    other = json.loads(command(home, "quarantine", "list", "--json", "-p", "BTC/USDT")[1])
    assert other == {"bars": [], "suspects": []}


def came_at(home: Path, number: int, moment: datetime) -> None:
    """Let a bar be one that came then."""
    with writing(home) as connection:
        row = update(tables.quarantine).where(tables.quarantine.c.quarantine_id == number)
        connection.execute(row.values(recorded_at_ms=to_ms(moment)))


def test_a_bar_of_the_future_is_not_released_even_when_the_future_has_come(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    code, out, err = command(home, "quarantine", "release", "2")
    assert code == CODES["failed"]
    assert out == "2  ETH/USDT file 1m 2031-01-01 00:00: stays: it still breaks a rule: in_future\n"
    assert err == "1 of 1 could not be released: see the reasons above\n"
    monkeypatch.setattr(Session, "now", lambda _: WHEN_OVER)
    code, out, err = command(home, "quarantine", "release", "2")
    assert code == CODES["failed"]
    assert out == (
        "2  ETH/USDT file 1m 2031-01-01 00:00: stays: it came before its 1m was over, and may lack a part of "
        "it: `heal-gaps` fetches all of it from a provider, and a file that has all of it can be imported; "
        "where the clock here was slow and the bar whole, say so with --reason\n"
    )
    assert err == "1 of 1 could not be released: see the reasons above\n"
    code, out, err = command(home, "quarantine", "release", "2", "--reason", "the clock here was slow")
    assert (code, out) == (0, "2  ETH/USDT file 1m 2031-01-01 00:00: released: the clock here was slow\n")


def test_a_bar_that_came_after_its_time_and_breaks_no_rule_of_today_is_released(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    came_at(home, 2, WHEN_OVER)
    monkeypatch.setattr(Session, "now", lambda _: WHEN_OVER)
    code, out, err = command(home, "quarantine", "release", "2")
    assert (code, err) == (0, "")
    assert out == "2  ETH/USDT file 1m 2031-01-01 00:00: released: it breaks no rule any more\n"
    [series] = json.loads(command(home, "list-data", "--json")[1])
    assert (series["rows"], series["end"], series["quarantined"]) == (41, "2031-01-01T00:01:00Z", 1)


def test_of_several_bars_those_that_can_be_released_are(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    came_at(home, 2, WHEN_OVER)
    monkeypatch.setattr(Session, "now", lambda _: WHEN_OVER)
    code, out, err = command(home, "quarantine", "release", "1", "2", "--json")
    assert code == CODES["failed"]
    assert [(each["id"], each["done"]) for each in json.loads(out)] == [(1, False), (2, True)]
    assert err == "1 of 2 could not be released: see the reasons above\n"


def test_a_dropped_bar_is_shown_with_its_reason(home: Path, command: Command):
    code, out, _ = command(home, "quarantine", "drop", "1", "--reason", "wrong print", "--no-trade")
    assert code == 0
    assert out == "1  ETH/USDT file 1m 2025-01-01 00:00: dropped: wrong print (nobody traded)\n"
    assert "high_too_low" not in command(home, "quarantine", "list")[1]
    code, out, err = command(home, "quarantine", "list", "--all")
    assert code == 0
    assert "dropped: wrong print (nobody traded)" in " ".join(out.split())
    assert err == "1 bar is held, 1 settled; 1 minute is suspect.\n"


def test_a_bar_that_was_healed_is_no_longer_held_and_shown_with_the_reason(
    home: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "mended" / "ETHUSDT-1m.csv"
    file.parent.mkdir()
    file.write_text("time,open,high,low,close,volume\n2025-01-01 00:00,1,2,0.5,1,10\n")
    assert command(home, "import-data", str(file))[0] == 0
    assert "high_too_low" not in command(home, "quarantine", "list")[1]
    monkeypatch.setenv("COLUMNS", "80")
    _, out, err = command(home, "quarantine", "list", "--all")
    assert "healed: a sound bar of its minute came" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert err == "1 bar is held, 1 settled; 1 minute is suspect.\n"
    [series] = json.loads(command(home, "list-data", "--json")[1])
    assert series["quarantined"] == 1
    code, out, _ = command(home, "quarantine", "release", "1")
    assert (code, out.partition(": ")[2]) == (
        CODES["failed"],
        "stays: it is healed already: a sound bar of its minute came\n",
    )


def test_where_nothing_is_stored_nothing_is_held(tmp_path: Path, command: Command):
    code, out, err = command(tmp_path / "none", "quarantine", "list")
    assert (code, out) == (0, "")
    assert err.startswith("There are no bars under")
    assert json.loads(command(tmp_path / "none", "quarantine", "list", "--json")[1]) == {
        "bars": [],
        "suspects": [],
    }
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("release", "9"), "no bar in quarantine has the id 9"),
        (("drop", "1", "--reason", " "), "a bar is dropped for a reason"),
        (("list", "--pairs", "ETH"), "is not a symbol"),
    ],
)
def test_what_is_asked_wrongly_is_told(home: Path, command: Command, arguments: list[str], said: str):
    code, out, err = command(home, "quarantine", *arguments)
    assert (code, out) == (CODES["wrong use"], "")
    assert said in err


def test_without_bars_nothing_is_made(tmp_path: Path, command: Command):
    code, _, err = command(tmp_path / "none", "quarantine", "release", "1")
    assert code == CODES["failed"]
    assert "there are no bars under" in err
    assert not (tmp_path / "none").exists()


EXCHANGE_NOW = datetime(2025, 5, 20, 13, 37, 20, tzinfo=UTC)
LAST_MINUTE = to_ms(EXCHANGE_NOW) // MINUTE_MS * MINUTE_MS


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Iterator[KrakenServer]:
    """A Kraken of which an hour was fetched into `tmp_path / "home"`; the high of its tenth bar cannot be."""
    monkeypatch.setattr(Session, "now", lambda _: EXCHANGE_NOW)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("COLUMNS", raising=False)
    bars = minutes(LAST_MINUTE - 60 * MINUTE_MS, 61)
    bars[10] = replace(bars[10], high=bars[10].low)
    with KrakenServer({"BTC/USD": bars}, now_ms=lambda: to_ms(EXCHANGE_NOW)).running() as server:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "config.toml").write_text(
            '[market_data]\nprovider = "kraken"\n[market_data.exchanges.kraken]\n'
            f"requests_per_second = 1000.0\ntrades_hours = 0.0\nsettings = '{server.settings()}'\n"
        )
        arguments = ("-p", "BTC/USD", "-i", "1m", "--timerange", "20250520T1237-20250520T1337")
        code, _, err = command(tmp_path / "home", "download-data", *arguments)
        assert code == 0, err
        yield server


def asked(server: KrakenServer) -> int:
    return sum(path.endswith("/OHLC") for path, _ in server.requests)


def mend(server: KrakenServer) -> None:
    bars = server.market["BTC/USD"]
    bars[10] = replace(bars[10], high=bars[10].close + 10.0)


HEAL = ("heal-gaps", "-p", "BTC/USD", "-i", "1m", "--json")


def series_of(home: Path, command: Command) -> dict[str, Any]:
    [series] = json.loads(command(home, "list-data", "--json")[1])
    return dict(series)


def test_a_bar_that_its_provider_has_mended_is_healed(
    exchange: KrakenServer, tmp_path: Path, command: Command
):
    home = tmp_path / "home"
    _, out, err = command(home, "quarantine", "list")
    assert "high_too_low" in out
    assert err == "1 bar is held; 0 minutes are suspect.\n"
    assert series_of(home, command)["quarantined"] == 1
    assert "kraken, held: a bar broke a rule" in command(home, "list-data", "--gaps")[1]
    code, out, _ = command(home, "quarantine", "release", "1")
    assert (code, out.partition("stays: ")[2]) == (
        CODES["failed"],
        "it still breaks a rule: high_too_low\n",
    )

    before = asked(exchange)
    assert command(home, *HEAL)[0] == 0
    assert asked(exchange) == before + 1  # once a run, and it is as it was
    assert "1 bar is held" in command(home, "quarantine", "list")[2]
    mend(exchange)
    code, out, err = command(home, *HEAL)
    assert code == 0, err
    assert [(each["healed"], each["left"]) for each in json.loads(out)["healed"]] == [(1, 0)]
    assert "0 bars are held" in command(home, "quarantine", "list")[2]
    series = series_of(home, command)
    assert (series["rows"], series["quarantined"], series["completeness"]) == (60, 0, 1.0)
    before = asked(exchange)
    assert command(home, *HEAL)[0] == 0
    assert asked(exchange) == before


def test_a_bar_that_was_dropped_is_asked_for_only_on_demand(
    exchange: KrakenServer, tmp_path: Path, command: Command
):
    home = tmp_path / "home"
    assert command(home, "quarantine", "drop", "1", "--reason", "wrong print")[0] == 0
    mend(exchange)
    before = asked(exchange)
    command(home, *HEAL)
    assert asked(exchange) == before
    assert "kraken, lacking: its bar was dropped: wrong print" in command(home, "list-data", "--gaps")[1]
    code, _, err = command(home, *HEAL, "--again")
    assert code == 0, err
    assert series_of(home, command)["completeness"] == 1.0
