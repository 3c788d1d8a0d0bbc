"""The store of recorded order books: whole files, nothing rewritten, nothing read that was not asked for."""

from pathlib import Path

import pytest

from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.books import OrderBooks, Snapshot, joined
from crypto_tracker.store.books import BookStore, StoredBooks

BTC, PERPETUAL = Symbol("BTC", "USDT"), Symbol("BTC", "USDC", "USDC")
HOUR = 478_656 * HOUR_MS  # 2024-08-09 00:00


def shot(time_ms: int, bid: float = 99.0) -> Snapshot:
    return HOUR + time_ms, [(bid, 2.0), (bid - 1.0, 5.0)], [(101.0, 1.0)]


def written(home: Path, *snapshots: Snapshot, symbol: Symbol = BTC, provider: str = "binance") -> int:
    with BookStore.open_to_write(home) as store:
        return store.write(provider, symbol, snapshots)


def drawn(books: OrderBooks) -> list[Snapshot]:
    levels = books.levels.tolist()
    return [(t, levels[b:a], levels[a:e]) for t, b, a, e in books.snapshots.tolist()]


def read(home: Path, start: int = 0, end: int = 2 * HOUR_MS) -> list[Snapshot]:
    return drawn(joined([BookStore(home).read("binance", BTC, HOUR + start, HOUR + end)]))


def test_what_is_written_is_read_again_moment_by_moment(tmp_path: Path):
    assert written(tmp_path, shot(0), shot(500), shot(1_000)) == 3
    assert read(tmp_path) == [shot(0), shot(500), shot(1_000)]
    assert read(tmp_path, 1, 1_000) == [shot(500)]
    assert read(tmp_path, 0, 1_001) == [shot(0), shot(500), shot(1_000)]
    assert read(tmp_path, 2_000) == []


def test_importing_again_changes_nothing_and_adds_only_what_is_missing(tmp_path: Path):
    written(tmp_path, shot(0), shot(1_000))
    assert written(tmp_path, shot(0), shot(1_000)) == 0
    assert written(tmp_path, shot(0, bid=50.0), shot(500), shot(1_500)) == 2
    assert read(tmp_path) == [shot(0), shot(500), shot(1_000), shot(1_500)]


def test_a_span_may_reach_over_hours_and_symbols_of_several_providers(tmp_path: Path):
    written(tmp_path, shot(HOUR_MS - 1))
    written(tmp_path, shot(HOUR_MS))
    written(tmp_path, shot(5), symbol=PERPETUAL, provider="hyperliquid")
    store = BookStore(tmp_path)
    source = StoredBooks(store, {BTC: "binance", PERPETUAL: "hyperliquid", Symbol("ETH", "USDT"): "binance"})
    books = source.books([PERPETUAL, Symbol("ETH", "USDT"), BTC], HOUR, HOUR + 2 * HOUR_MS)
    assert books.first.tolist() == [0, 1, 1, 3]
    assert drawn(books) == [shot(5), shot(HOUR_MS - 1), shot(HOUR_MS)]
    assert [(each.provider, each.symbol, each.hours) for each in store.series()] == [
        ("binance", BTC, (HOUR, HOUR + HOUR_MS)),
        ("hyperliquid", PERPETUAL, (HOUR,)),
    ]


def test_a_series_knows_its_first_and_last_book_and_how_many_there_are(tmp_path: Path):
    written(tmp_path, shot(HOUR_MS - 1_500), shot(HOUR_MS - 500))
    written(tmp_path, shot(HOUR_MS), shot(HOUR_MS + 250), shot(HOUR_MS + 500))
    (each,) = BookStore(tmp_path).series()
    assert (each.books, each.first_ms, each.last_ms) == (5, HOUR + HOUR_MS - 1_500, HOUR + HOUR_MS + 500)


def test_snapshots_of_two_hours_are_not_written_as_one(tmp_path: Path):
    with pytest.raises(ValueError, match="hour by hour"):
        written(tmp_path, shot(0), shot(HOUR_MS))


def test_what_a_killed_process_left_is_removed_and_never_read(tmp_path: Path):
    written(tmp_path, shot(0))
    (path,) = tmp_path.rglob("*.parquet")
    leftover = path.with_name(path.name + ".tmp")
    leftover.write_bytes(b"half a file")
    assert read(tmp_path) == [shot(0)]
    written(tmp_path, shot(1))
    assert not leftover.exists()
    assert read(tmp_path) == [shot(0), shot(1)]


def test_a_damaged_file_is_told_with_its_name(tmp_path: Path):
    written(tmp_path, shot(0))
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"2024-08-09T00\.parquet are damaged"):
        read(tmp_path)
    with pytest.raises(StoreError, match=r"2024-08-09T00\.parquet are damaged"):
        BookStore(tmp_path).series()
    stray = path.rename(path.with_name("august.parquet"))
    with pytest.raises(StoreError, match=r"august\.parquet is no hour"):
        BookStore(tmp_path).series()
    stray.unlink()
    path.parent.parent.joinpath("notes").mkdir()
    with pytest.raises(StoreError, match="notes is no symbol's folder"):
        BookStore(tmp_path).series()


def test_one_process_writes_at_a_time(tmp_path: Path):
    with (
        BookStore.open_to_write(tmp_path),
        pytest.raises(StoreError, match="another process is writing the recorded books"),
        BookStore.open_to_write(tmp_path, wait_ms=50),
    ):
        pass
