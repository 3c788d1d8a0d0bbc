"""Order books through the command line: what is brought in, what is said of it, and who may trade with it."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.store.books import BookStore
from tests.app.conftest import MARCH, backtest, run_command
from tests.market.test_import_books import answer, depth, written

DAY = ("--replay", "20250301..20250302")
BOOK = ("--set", "fills.source=book")


def capture(folder: Path) -> Path:
    return written(
        folder / "capture.gz",
        depth(1, 1, 0, [], []),
        answer(1, 10, [["99", "1"], ["98", "1"]], [["101", "1"]]),
        depth(2, 2, 100, [["99", "2"]], []),
        depth(4, 4, 250, [["99", "3"]], []),
    )


def test_what_a_capture_brought_and_what_it_lacked_is_said_for_each_symbol(tmp_path: Path):
    home, path = tmp_path / "home", capture(tmp_path)
    code, out, err = run_command(home, "import-books", str(path))
    assert code == 0, err
    header, row = out.splitlines()
    assert header.split() == [
        "symbol",
        "provider",
        "from",
        "seconds",
        "updates",
        "books",
        "new",
        "left",
        "out",
    ]
    assert row.split()[:2] == ["BTC/USDT", "binance"]
    assert "1 gaps, 1 updates of no book" in row
    code, out, _ = run_command(home, "import-books", str(path), "--json")
    document = json.loads(out)
    (book,) = document["books"]
    assert code == 0
    assert document["messages"] == 4
    assert (book["snapshots"], book["snapshots_new"], book["gaps"], book["unbegun"]) == (1, 0, 1, 1)


def test_the_configuration_says_how_much_of_a_book_is_kept(tmp_path: Path):
    home, path = tmp_path / "home", capture(tmp_path)
    settings = ("--set", "market_data.books.levels=1", "--set", "market_data.books.every_ms=60000")
    code, out, err = run_command(home, "import-books", str(path), *settings, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["levels"], document["every_ms"]) == (1, 60_000)


def test_recorded_books_are_listed_by_their_first_and_last_moment(tmp_path: Path):
    home = tmp_path / "home"
    code, out, err = run_command(home, "list-books")
    assert (code, out) == (0, "")
    assert "Bring some with: crypto-tracker import-books PATH" in err
    run_command(home, "import-books", str(capture(tmp_path)))
    first = ["2024-08-08", "23:54:15"]
    code, out, _ = run_command(home, "list-books")
    assert [line.split() for line in out.splitlines()] == [
        ["symbol", "provider", "first", "last", "seconds", "books", "hours"],
        ["BTC/USDT", "binance", *first, *first, "0.0", "1", "1"],
    ]
    assert all(line == line.rstrip() for line in out.splitlines())
    code, out, _ = run_command(home, "list-books", "--json")
    (book,) = json.loads(out)
    assert book.keys() == {"symbol", "provider", "first", "last", "seconds", "books", "hours"}
    assert book["first"] == book["last"] == "2024-08-08T23:54:15.100000Z"
    assert (book["symbol"], book["provider"]) == ("BTC/USDT", "binance")
    assert (book["seconds"], book["books"], book["hours"]) == (0.0, 1, 1)


def test_a_session_over_midnight_is_told_with_its_seconds_not_with_its_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "home"
    home.mkdir()
    midnight = to_ms(datetime(2024, 8, 9, tzinfo=UTC))
    with BookStore.open_to_write(home) as store:
        for moment in (midnight - 1_500, midnight + 2_000):
            store.write(
                "hyperliquid", Symbol.parse("BTC/USDC:USDC"), [(moment, [(99.0, 1.0)], [(101.0, 1.0)])]
            )
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run_command(home, "list-books")
    assert code == 0
    assert out.splitlines()[1].split() == [
        "BTC/USDC:USDC", "hyperliquid", "2024-08-08", "23:59:58", "2024-08-09", "00:00:02", "3.5", "2",
    ]  # fmt: skip
    assert max(map(len, out.splitlines())) <= 80


def test_a_capture_of_which_no_book_can_be_made_fails(tmp_path: Path):
    path = written(tmp_path / "capture.txt", depth(1, 1, 0, [["99", "1"]], [["101", "1"]]))
    code, out, err = run_command(tmp_path / "home", "import-books", str(path))
    assert code == 1
    assert "1 updates of no book" in out
    assert "every one must begin with a whole book" in err
    nothing = tmp_path / "nothing.gz"
    nothing.write_bytes(gzip.compress(b"hello\n"))
    code, _, err = run_command(tmp_path / "home", "import-books", str(nothing))
    assert code == 1
    assert "none of 0 messages is about an order book" in err


def test_a_backtest_by_books_needs_books_of_its_symbols(home: Path):
    code, _, err = run_command(home, "backtest", *MARCH, *BOOK)
    assert code == 1
    assert "no order book of these symbols and their providers is recorded in the span" in err
    assert "recorded order book" not in " ".join(backtest(home, *MARCH)["notes"])


def test_a_replay_by_books_needs_books_of_its_symbols(home: Path):
    code, _, err = run_command(home, "trade", *DAY, *BOOK)
    assert code == 1
    assert "no order book of these symbols and their providers is recorded in the span" in err
    assert not (home / "accounts").exists()
