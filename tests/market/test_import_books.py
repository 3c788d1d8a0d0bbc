"""Captures of order books: what exchanges wrote becomes snapshots, and what is doubtful is left out visibly."""

import gzip
import json
import zlib
from pathlib import Path

import pytest

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.books.captures import Message, messages
from crypto_tracker.market.books.ladder import Ladder
from crypto_tracker.market.books.recording import Recording
from crypto_tracker.market.books.venues import BookMessage, book_message
from crypto_tracker.market.import_books import BookOutcome, import_books
from crypto_tracker.simulation.books import Snapshot
from crypto_tracker.store.books import BookStore

BTC = Symbol("BTC", "USDT")
NS = 1_723_161_255_000_000_000  # 23:54:15 on 2024-08-08


def written(path: Path, *lines: tuple[int, object]) -> Path:
    """A capture of (milliseconds after NS, message) lines."""
    text = "".join(f"{NS + ms * 1_000_000} {json.dumps(content)}\n" for ms, content in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def depth(first: int, last: int, ms: int, bids: list, asks: list) -> tuple[int, object]:
    """A Binance update, received a millisecond after its time."""
    event = {"e": "depthUpdate", "E": NS // 1_000_000 + ms, "s": "BTCUSDT", "U": first, "u": last}
    return ms + 1, {"stream": "btcusdt@depth@100ms", "data": event | {"b": bids, "a": asks}}


def answer(last: int, ms: int, bids: list, asks: list) -> tuple[int, object]:
    return ms, {"lastUpdateId": last, "bids": bids, "asks": asks}


def imported(home: Path, *paths: Path, levels: int = 50, every_ms: int = 1) -> list[BookOutcome]:
    home.mkdir(exist_ok=True)
    outcomes: list[BookOutcome] = []
    with BookStore.open_to_write(home) as store:
        for told_now in import_books(paths, store, levels=levels, every_ms=every_ms):
            outcomes = told_now[1]
    return outcomes


def stored(home: Path, provider: str, symbol: Symbol) -> list[Snapshot]:
    """All snapshots of a symbol, times in milliseconds after NS."""
    shots, levels = BookStore(home).read(provider, symbol, 0, 2**60)
    rows = levels.tolist()
    return [(t - NS // 1_000_000, rows[b:a], rows[a:e]) for t, b, a, e in shots.tolist()]


@pytest.mark.parametrize("name", ["capture.gz", "capture.txt"])
def test_updates_change_the_answer_that_they_follow(tmp_path: Path, name: str):
    path = written(
        tmp_path / name,
        depth(5, 9, 0, [["99", "7"]], []),  # held by the answer
        depth(10, 11, 100, [["98", "0"]], [["101", "4"]]),  # received before the answer, and not in it
        answer(9, 150, [["99", "1"], ["98", "2"]], [["102", "3"]]),
        depth(12, 12, 200, [], [["101", "0"], ["103", "5"]]),
    )
    (outcome,) = imported(tmp_path / "home", path)
    assert (outcome.provider, outcome.symbol) == ("binance", BTC)
    assert stored(tmp_path / "home", "binance", BTC) == [
        (100, [(99.0, 1.0)], [(101.0, 4.0), (102.0, 3.0)]),
        (200, [(99.0, 1.0)], [(102.0, 3.0), (103.0, 5.0)]),
    ]
    assert (outcome.tally.updates, outcome.tally.wholes, outcome.tally.gaps) == (2, 1, 0)


def test_after_a_gap_nothing_is_recorded_until_the_next_whole_book(tmp_path: Path):
    path = written(
        tmp_path / "capture.txt",
        depth(1, 1, 0, [], []),
        answer(1, 10, [["99", "1"]], [["101", "1"]]),
        depth(2, 2, 100, [["99", "2"]], []),
        depth(4, 4, 200, [["99", "4"]], []),  # 3 is missing
        depth(5, 5, 300, [["99", "5"]], []),
        answer(4, 350, [["99", "4"], ["98", "8"]], [["101", "1"]]),
        depth(6, 6, 400, [["99", "6"]], []),
    )
    (outcome,) = imported(tmp_path / "home", path)
    assert outcome.tally.gaps == 1
    assert [(ms, bids) for ms, bids, _ in stored(tmp_path / "home", "binance", BTC)] == [
        (100, [(99.0, 2.0)]),
        (300, [(99.0, 5.0), (98.0, 8.0)]),
        (400, [(99.0, 6.0), (98.0, 8.0)]),
    ]


def test_updates_without_a_whole_book_are_counted_and_not_recorded(tmp_path: Path):
    path = written(tmp_path / "capture.txt", depth(1, 1, 0, [["99", "1"]], [["101", "1"]]))
    (outcome,) = imported(tmp_path / "home", path)
    assert (outcome.tally.unbegun, outcome.tally.snapshots, outcome.first_ms) == (1, 0, None)
    assert stored(tmp_path / "home", "binance", BTC) == []


def test_an_answer_in_a_file_of_its_own_belongs_to_the_symbol_that_was_asked_for(tmp_path: Path):
    stream = written(tmp_path / "stream.txt", depth(2, 2, 100, [["99", "2"]], [["101", "1"]]))
    seconds = f"{(NS // 1_000_000 + 50) / 1000:.3f}"
    book = json.dumps(answer(1, 0, [["98", "1"]], [["102", "1"]])[1])
    answers = tmp_path / "answers.txt"
    answers.write_text(
        f"https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000 -> {seconds}: {book}\n"
    )
    imported(tmp_path / "home", stream, answers)
    assert stored(tmp_path / "home", "binance", BTC) == [
        (100, [(99.0, 2.0), (98.0, 1.0)], [(101.0, 1.0), (102.0, 1.0)])
    ]


def test_of_each_stretch_of_time_the_last_book_is_kept_with_its_best_levels(tmp_path: Path):
    path = written(
        tmp_path / "capture.txt",
        depth(1, 1, 0, [], []),
        answer(1, 10, [["99", "1"], ["98", "1"], ["97", "1"]], [["101", "1"]]),
        depth(2, 2, 100, [["99", "2"]], []),
        depth(3, 3, 999, [["99", "3"]], []),
        depth(4, 4, 1_000, [["99", "4"]], []),
        depth(5, 5, 3_500, [["99", "5"]], []),
    )
    imported(tmp_path / "home", path, levels=2, every_ms=1_000)
    assert [(ms, bids) for ms, bids, _ in stored(tmp_path / "home", "binance", BTC)] == [
        (999, [(99.0, 3.0), (98.0, 1.0)]),
        (1_000, [(99.0, 4.0), (98.0, 1.0)]),
        (3_500, [(99.0, 5.0), (98.0, 1.0)]),
    ]


def whole(ms: int, bids: list, asks: list, **more: object) -> BookMessage:
    return BookMessage(
        provider="x",
        symbol=BTC,
        time_ms=ms,
        whole=True,
        bids=bids,
        asks=asks,
        **more,  # type: ignore[arg-type]
    )


def test_crossed_and_one_sided_books_are_counted_and_left_out():
    recording = Recording(levels=5, every_ms=1)
    good = ([("99", "1")], [("101", "1")])
    assert recording.take(whole(1, *good), 0) == []
    assert recording.take(whole(2, [("101", "1")], [("101", "1")]), 0) == []
    assert recording.take(whole(3, [], [("101", "1")]), 0) == []
    assert recording.take(whole(4, *good), 0) == [(1, [(99.0, 1.0)], [(101.0, 1.0)])]
    assert recording.finish() == [(4, [(99.0, 1.0)], [(101.0, 1.0)])]
    tally = recording.tally
    assert (tally.crossed, tally.one_sided, tally.snapshots, tally.wholes) == (1, 1, 2, 4)


def test_a_message_stamped_before_the_one_before_does_not_turn_time_back():
    recording = Recording(levels=5, every_ms=1)
    recording.take(whole(10, [("99", "1")], [("101", "1")]), 0)
    recording.take(whole(7, [("98", "1")], [("101", "1")]), 0)
    assert recording.finish() == [(10, [(98.0, 1.0)], [(101.0, 1.0)])]
    assert recording.tally.backward == 1


def test_a_book_whose_checksum_does_not_hold_is_given_up():
    recording = Recording(levels=5, every_ms=1)
    recording.take(whole(1, [("99", "1")], [("101", "1")]), 0)
    update = BookMessage(
        provider="x", symbol=BTC, time_ms=2, whole=False, bids=[("98", "1")], asks=[], proof=lambda _: False
    )
    recording.take(update, 0)
    recording.take(update, 0)
    assert recording.finish() == [(1, [(99.0, 1.0)], [(101.0, 1.0)])]
    assert (recording.tally.mismatches, recording.tally.unbegun) == (1, 1)


def told(content: object, ms: int = 0) -> BookMessage:
    found = book_message(Message(line=1, received_ms=ms, url="", content=content))
    assert found is not None
    return found


def test_kraken_is_proved_by_the_ten_best_of_both_sides_without_points_and_leading_zeros():
    levels = [["0.05005", "0.00000500", "1582905487.684110"], ["0.05010", "0.00000500", "1582905486.187983"]]
    bids = [["0.05000", "0.00000500", "1582905487.439814"], ["0.04995", "0.00000500", "1582905485.119396"]]
    expected = zlib.crc32(b"5005500501050050005004995500")
    snapshot = told([1234, {"as": levels, "bs": bids}, "book-1000", "XBT/USD"])
    assert (snapshot.symbol, snapshot.whole, snapshot.depth) == (Symbol("BTC", "USD"), True, 1000)
    assert snapshot.time_ms == 1_582_905_487_685  # rounded up: not known before it was
    ladder = Ladder()
    ladder.change(snapshot.bids, snapshot.asks)
    update = told(
        [1234, {"b": [["0.04995", "0.00000500", "1582905490.1"]], "c": str(expected)}, "book-1000", "XBT/USD"]
    )
    assert update.proof is not None
    assert update.proof(ladder)
    ladder.change([("0.04995", "0.00000501")], [])
    assert not update.proof(ladder)


def test_okx_is_proved_by_both_sides_in_turn():
    data = {
        "bids": [["99.5", "1", "0", "1"]],
        "asks": [["100", "2", "0", "1"], ["101", "3", "0", "1"]],
        "ts": "5",
    }
    checksum = zlib.crc32(b"99.5:1:100:2:101:3")
    signed = checksum - 2**32 if checksum >= 2**31 else checksum
    arg = {"channel": "books", "instId": "BTC-USDT"}
    message = told({"arg": arg, "action": "snapshot", "data": [data | {"checksum": signed}]})
    ladder = Ladder()
    ladder.change(message.bids, message.asks)
    assert message.proof is not None
    assert message.proof(ladder)
    ladder.change([("99.5", "2")], [])
    assert not message.proof(ladder)
    contract = {"arg": arg | {"instId": "BTC-USDT-SWAP"}, "action": "snapshot", "data": [data]}
    assert book_message(Message(line=1, received_ms=0, url="", content=contract)) is None


def test_coinbase_names_sides_and_its_first_book_has_the_time_of_receipt():
    first = told({"type": "snapshot", "product_id": "BTC-USD", "bids": [["99", "1"]], "asks": [["101", "2"]]})
    assert (first.whole, first.time_ms, first.symbol) == (True, None, Symbol("BTC", "USD"))
    update = told(
        {
            "type": "l2update",
            "product_id": "BTC-USD",
            "changes": [["buy", "99", "3"], ["sell", "101", "0"]],
            "time": "2021-04-17T16:43:37.075687Z",
        }
    )
    assert (update.bids, update.asks) == ([("99", "3")], [("101", "0")])
    assert update.time_ms == 1_618_677_817_076


def test_a_damaged_message_is_told_with_its_line(tmp_path: Path):
    path = written(tmp_path / "capture.txt", (0, {"data": {"e": "depthUpdate", "s": "BTCUSDT"}}))
    with pytest.raises(DataError, match="line 1: a message about an order book that is not as binance"):
        imported(tmp_path / "home", path)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(
        written(tmp_path / "whole.gz", answer(1, 0, [], []), answer(2, 0, [], [])).read_bytes()[:-9]
    )
    with pytest.raises(DataError, match=r"cut\.gz is damaged after line"):
        list(messages(cut))
    torn = tmp_path / "torn.txt"
    torn.write_text(f'{NS} {{"lastUpdateId": 1, "bids"\n')
    with pytest.raises(DataError, match=r"torn\.txt, line 1: the message is cut off"):
        list(messages(torn))


def test_a_capture_without_books_is_refused(tmp_path: Path):
    path = written(tmp_path / "capture.txt", (0, {"data": {"e": "trade", "p": "1"}}))
    with pytest.raises(DataError, match="none of 1 messages is about an order book"):
        imported(tmp_path / "home", path)


def test_an_answer_that_names_no_symbol_among_several_is_refused(tmp_path: Path):
    other = depth(1, 1, 0, [], [])
    other[1]["data"]["s"] = "ETHUSDT"  # type: ignore[index]
    path = written(tmp_path / "capture.txt", depth(1, 1, 0, [], []), other, answer(1, 5, [], []))
    with pytest.raises(DataError, match="line 3: a whole book that names no symbol, among 2"):
        imported(tmp_path / "home", path)


@pytest.mark.market_data
@pytest.mark.parametrize(
    ("name", "symbols", "updates"),
    [
        ("cryptofeed/KRAKEN.ws.50.0.gz", 10, 4_269),
        ("cryptofeed/OKX.ws.1.0.gz", 1, 97),
        ("cryptofeed/COINBASE.ws.28.0.gz", 10, 9_719),
        ("cryptofeed/GEMINI.ws.1.0.gz", 10, 645),
        ("hftbacktest/hyperliquid_btcusd_20250126.gz", 1, 0),
    ],
)
def test_recorded_sessions_hold_books_without_a_doubt(
    market_data: Path, tmp_path: Path, name: str, symbols: int, updates: int
):
    outcomes = imported(tmp_path / "home", market_data / "raw" / name, every_ms=100)
    tallies = [outcome.tally for outcome in outcomes]
    assert (len(tallies), sum(tally.updates for tally in tallies)) == (symbols, updates)
    for tally in tallies:
        assert tally.snapshots > 0
        assert not tally.gaps + tally.mismatches + tally.crossed + tally.one_sided + tally.unbegun


@pytest.mark.market_data
def test_binance_books_need_the_answers_that_were_recorded_beside_the_stream(
    market_data: Path, tmp_path: Path
):
    folder = market_data / "raw" / "cryptofeed"
    stream, answers = folder / "BINANCE.ws.1.0.gz", folder / "BINANCE.http.0.0.gz"
    assert not any(outcome.tally.snapshots for outcome in imported(tmp_path / "alone", stream))
    both = imported(tmp_path / "both", answers, stream)
    assert len(both) == 4
    assert all(outcome.tally.snapshots and not outcome.tally.gaps for outcome in both)
