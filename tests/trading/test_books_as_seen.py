"""A trader that walks recorded order books is the backtest that does, and parity knows which books it was given.

The books are made of the busy market's minutes: thin, so that orders take several levels and some several minutes;
in some quarters of an hour none is recorded, and the table serves.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS
from crypto_tracker.simulation.books import NOT_RECORDED, OrderBooks, Snapshot
from crypto_tracker.store.books import BookStore, KeptBooks, StoredBooks
from crypto_tracker.store.control import Command, ControlStore
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.parity import Outcome, check
from crypto_tracker.trading.parity_report import Kind
from crypto_tracker.trading.seen import NO_BOOKS, decode_books
from crypto_tracker.trading.setting import configuration_row
from tests.app.conftest import run_command
from tests.trading import worlds
from tests.trading.test_replay import assert_replay_is_backtest, backtested
from tests.trading.worlds import ACCOUNT, LIVELY, PAIRS, PROVIDER, account_folder, configuration, trade

BOOKISH = (*LIVELY, "fills.source=book")
START_MS = worlds.CRASH_MS - 40 * MINUTE_MS
END_MS = START_MS + 3 * HOUR_MS
SOURCE = dict.fromkeys(PAIRS, PROVIDER)


def unrecorded(open_ms: int) -> bool:
    """Whether a minute has no books: those of each third quarter of an hour."""
    return open_ms // (15 * MINUTE_MS) % 3 == 2


def thin(time_ms: int, bid: float, ask: float) -> Snapshot:
    """Ten levels on each side, of 40 each in quote."""
    bids = [(bid * (1 - 0.0004 * k), 40 / bid) for k in range(10)]
    asks = [(ask * (1 + 0.0004 * k), 40 / ask) for k in range(10)]
    return time_ms, bids, asks


def made_books(symbol: Symbol) -> dict[int, list[Snapshot]]:
    """The books of a symbol by hour: half a second before each open, and when the minute is down at its low."""
    panel = worlds.synthetic_market().panel([symbol], START_MS - MINUTE_MS, END_MS + MINUTE_MS)
    hours: dict[int, list[Snapshot]] = {}
    for row, open_ms in enumerate(panel.open_time_ms.tolist()):
        opened, low = panel.open[row, 0], panel.low[row, 0]
        if unrecorded(open_ms) or np.isnan(opened):
            continue
        for each in (
            thin(open_ms - 500, opened * 0.9998, opened * 1.0002),
            thin(open_ms + 30_000, low * 0.9995, low * 1.0002),
        ):
            hours.setdefault(each[0] // HOUR_MS, []).append(each)
    return hours


def bring_books(home: Path, symbols: tuple[Symbol, ...] = PAIRS) -> None:
    with BookStore.open_to_write(home) as store:
        for symbol in symbols:
            for snapshots in made_books(symbol).values():
                store.write(PROVIDER, symbol, snapshots)


def traded(home: Path, **options) -> worlds.Quiet:
    return trade(home, start_ms=START_MS, end_ms=END_MS, assignments=BOOKISH, **options)


def prove(home: Path, *, complete: bool = False) -> Outcome:
    with TradingJournal.open(account_folder(home)) as journal:
        account = journal.account()
        assert account is not None
    watched = {symbol: account.providers[symbol] for symbol in account.watched}
    with TradingJournal.open(account_folder(home)) as journal, MinuteFeed.open(home, watched) as feed:
        return check(
            journal,
            feed,
            builtin(),
            start_ms=None,
            end_ms=None,
            code_version="0.1.0",
            complete=complete,
            tell=lambda _: None,
            books=StoredBooks(BookStore(home), watched),
        )


def given(home: Path) -> dict[tuple[int, Symbol], bytes]:
    """The digests of the books that each minute was given."""
    with TradingJournal.open(account_folder(home)) as journal:
        account = journal.account()
        assert account is not None
        minutes = journal.minutes(START_MS, END_MS)
        return {
            (time_ms, account.symbols[column]): digest
            for time_ms, seen in zip(minutes.time_ms.tolist(), minutes.seen, strict=True)
            for column, digest in decode_books(seen).items()
        }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with books, whose account was traded at one go. Nobody changes it: take `own`."""
    made = worlds.new_home(tmp_path_factory.mktemp("by-books") / "home")
    bring_books(made)
    traded(made)
    return made


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Path:
    """A copy of the home and its account."""
    return Path(shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("*.lock")))


def test_a_replay_by_books_is_the_backtest_by_books_to_the_cent(home: Path):
    books = StoredBooks(BookStore(home), SOURCE)
    run = backtested(home, START_MS, END_MS, configuration(BOOKISH), books=books)
    assert_replay_is_backtest(account_folder(home), run)
    walked = run.result.fills["book_ms"]
    assert (walked >= 0).sum() > 5
    assert (walked == NOT_RECORDED).any()
    by_table = backtested(home, START_MS, END_MS, configuration(LIVELY))
    assert by_table.result.equity_e8[-1] != run.result.equity_e8[-1]


def test_parity_of_it_is_zero_and_complete_history_costs_nothing(home: Path):
    outcome = prove(home, complete=True)
    assert outcome.proof.differences == []
    assert outcome.proof.compared.fills > 20
    assert outcome.cost is not None
    assert outcome.cost.equity_quote[0] == outcome.cost.equity_quote[1]


def test_a_replay_that_is_stopped_and_started_again_is_one_replay(home: Path, tmp_path: Path):
    again = worlds.new_home(tmp_path / "home")
    bring_books(again)
    for minutes in (37, 38, 101):
        traded(again, enough=lambda record, last=START_MS + minutes * MINUTE_MS: record.time_ms >= last)
    traded(again)
    assert worlds.differences(worlds.dump(account_folder(home)), worlds.dump(account_folder(again))) == []


def test_the_journal_names_the_books_of_the_symbols_whose_slots_were_taken(home: Path):
    seen = given(home)
    with TradingJournal.open(account_folder(home)) as journal:
        fills = journal.fills(START_MS, END_MS)
    minutes = {(int(fill.bar_open_time.timestamp() * 1000), fill.symbol) for fill in fills}
    assert minutes
    assert minutes <= seen.keys()
    assert len(seen) < (END_MS - START_MS) // MINUTE_MS * len(PAIRS)
    assert {digest == NO_BOOKS for digest in seen.values()} == {True, False}
    made = {
        symbol: [time_ms for snapshots in made_books(symbol).values() for time_ms, _, _ in snapshots]
        for symbol in PAIRS
    }
    for (open_ms, symbol), digest in seen.items():
        there = any(open_ms - 10_000 <= time_ms < open_ms + MINUTE_MS for time_ms in made[symbol])
        assert (digest != NO_BOOKS) is there


def test_a_configuration_that_turns_to_books_and_back_leaves_parity_at_zero(tmp_path: Path):
    home = worlds.new_home(tmp_path / "home")
    bring_books(home)
    folder = account_folder(home)
    folder.mkdir(parents=True)
    turns = [(12, BOOKISH), (30, LIVELY), (60, BOOKISH)]
    with ControlStore.open(folder) as control:
        for number, (minute, assignments) in enumerate(turns):
            row = configuration_row(configuration(assignments))
            control.offer_configuration(row, source="test", actor="test", created_at_ms=0)
            control.add(
                Command(
                    command_id=f"command-{number}",
                    kind="configure",
                    arguments={"version": row.version},
                    not_before_ms=START_MS + minute * MINUTE_MS,
                    actor="test",
                    created_at_ms=0,
                )
            )
    trade(home, start_ms=START_MS, end_ms=END_MS, assignments=LIVELY)
    minutes = sorted({(time_ms - START_MS) // MINUTE_MS for time_ms, _ in given(home)})
    assert minutes[0] == 12
    assert {29, 60} <= set(minutes)
    assert not set(minutes) & set(range(30, 60))
    outcome = prove(home, complete=True)
    assert outcome.proof.differences == []
    assert outcome.cost is not None
    assert outcome.cost.cost_quote == 0


def test_nothing_is_read_where_fills_are_by_the_table(tmp_path: Path, monkeypatch):
    again = worlds.new_home(tmp_path / "home")
    bring_books(again)

    def read(*_: object) -> OrderBooks:
        raise AssertionError("a book was read")

    monkeypatch.setattr(KeptBooks, "books", read)
    trade(again, start_ms=START_MS, end_ms=START_MS + HOUR_MS, assignments=LIVELY)
    assert given(again) == {}


def test_books_that_were_added_since_are_told_by_symbol_and_minute(own: Path):
    (time_ms, symbol), digest = next(iter(given(own).items()))
    assert digest != NO_BOOKS
    added = thin(time_ms + 45_000, 1e-6, 1e9)  # nobody walks it
    with BookStore.open_to_write(own) as store:
        assert store.write(PROVIDER, symbol, [added]) == 1
    (found,) = prove(own).proof.differences
    assert (found.kind, found.minute_ms, found.symbols, found.root) == (Kind.BOOKS, time_ms, (symbol,), True)
    assert found.says.endswith("are not those that were seen: they were changed since, or some were added")
    assert found.cause == found.says


def test_books_that_came_after_their_minutes_are_the_cause_of_what_they_change(tmp_path: Path):
    late = worlds.new_home(tmp_path / "home")
    with pytest.raises(DataError, match="no order book of these symbols"):
        traded(late)
    assert not account_folder(late).exists()
    bring_books(late, PAIRS[:1])
    traded(late)
    bring_books(late, PAIRS[1:])
    code, out, _ = run_command(late, "parity", "--account", ACCOUNT, "--json")
    assert code == 3
    document = json.loads(out)
    first = document["list"][0]
    assert (first["kind"], first["root"]) == ("books", True)
    assert first["cause"].endswith("were not there when the minute was stepped: they were added since")
    assert document["by_kind"]["fill"] > 0
    assert {each["kind"] for each in document["list"] if each["root"]} == {"books"}
    assert {each["symbols"][0] for each in document["list"] if each["kind"] == "books"} <= {
        str(symbol) for symbol in PAIRS[1:]
    }


def test_books_that_are_gone_are_told(own: Path):
    shutil.rmtree(own / "books")
    outcome = prove(own)
    roots = outcome.proof.roots
    assert roots
    assert {each.kind for each in roots} == {Kind.BOOKS}
    assert all(each.says.endswith("were seen, and are no longer in the store") for each in roots)
    # What lasts is one difference, although the re-run reads the books hour by hour.
    assert any(
        each.end_ms is not None and each.end_ms - each.end_ms % HOUR_MS > each.minute_ms for each in roots
    )
    assert {each.cause.split(" at ")[0] for each in outcome.proof.differences if not each.root} == {
        "follows from the difference"
    }


def test_a_record_of_seen_books_that_was_altered_is_told_from_books_that_changed(own: Path):
    (time_ms, _), _ = next(iter(given(own).items()))
    with closing(sqlite3.connect(account_folder(own) / "trading.db")) as connection, connection:
        (other,) = connection.execute(
            "SELECT seen FROM minutes WHERE time_ms = ?", (time_ms + MINUTE_MS,)
        ).fetchone()
        connection.execute("UPDATE minutes SET seen = ? WHERE time_ms = ?", (other, time_ms))
    found = [each for each in prove(own).proof.differences if each.kind is Kind.BOOKS]
    assert {each.minute_ms for each in found} == {time_ms}
    assert all(each.cause.endswith("the journal was altered") for each in found)


def test_hours_that_are_kept_answer_what_the_store_answers_while_others_write(tmp_path: Path):
    symbol = PAIRS[0]
    store = BookStore(tmp_path)
    kept, plain = KeptBooks(store, SOURCE), StoredBooks(store, SOURCE)
    spans = [(HOUR_MS - 10_000, HOUR_MS + 60_000), (0, HOUR_MS), (HOUR_MS, HOUR_MS + 5), (0, 3 * HOUR_MS)]

    def alike() -> int:
        for span in spans:
            mine, theirs = kept.books(PAIRS[:2], *span), plain.books(PAIRS[:2], *span)
            for name in ("first", "snapshots", "levels"):
                assert np.array_equal(getattr(mine, name), getattr(theirs, name))
        return len(mine)

    assert alike() == 0
    for count, time_ms in enumerate((HOUR_MS - 500, HOUR_MS + 1_000, HOUR_MS - 900, 2 * HOUR_MS), start=1):
        with BookStore.open_to_write(tmp_path) as writing:
            assert writing.write(PROVIDER, symbol, [thin(time_ms, 99.0, 101.0)]) == 1
        assert alike() == count
    shutil.rmtree(tmp_path / "books")
    assert alike() == 0
