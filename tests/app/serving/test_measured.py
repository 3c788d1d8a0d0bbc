"""What was measured in many scans is read block by block, and is what each block says of its own symbols."""

from collections.abc import Sequence

import pytest

from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.measured import key_of, measured
from crypto_tracker.desk.source import DecisionFilter
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.strategies.decisions import decode_column


class Counted:
    """Records that count which blocks were asked for."""

    def __init__(self, records: TradingViews) -> None:
        self._records = records
        self.asked: list[tuple[str, int]] = []

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        self.asked.append((strategy, len(times_ms)))
        return self._records.encoded_blocks(strategy, times_ms)


def test_many_scans_are_read_with_one_question_a_strategy_and_each_block_once(
    traded_book: AccountBook,
) -> None:
    moments = traded_book._moments
    setups = moments.now().followed.setups
    with moments.follower.views() as records:
        rows = records.setups_keyed(setups.keys(setups.page(DecisionFilter(), limit=500)))
        counted = Counted(records)
        found = measured(counted, rows)
        closes = {(row.strategy, row.time_ms) for row in rows}
        assert len(closes) < len(rows), "the market of the fixture has several setups at one close"
        assert sorted(counted.asked) == sorted(
            (name, sum(name == strategy for strategy, _ in closes))
            for name in {strategy for strategy, _ in closes}
        )
        for row in rows:
            ((_, block),) = records.encoded_blocks(row.strategy, [row.time_ms])
            column = decode_column(block, row.symbol)
            assert column is not None
            assert str(found[key_of(row)]) == str(column.measurements)  # NaN equals none but its own text
    assert measured(counted, []) == {}


def test_a_page_of_near_misses_asks_for_no_more_than_a_page_of_one(
    traded_book: AccountBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    read = TradingViews.encoded_blocks

    def counted(records: TradingViews, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        asked.append(strategy)
        return read(records, strategy, times_ms)

    monkeypatch.setattr(TradingViews, "encoded_blocks", counted)
    page = traded_book.decisions(DecisionFilter(verdicts=("NEAR_MISS",)), limit=500, cursor=None)
    assert len(page.items) > len(asked) > 0
    assert sorted(asked) == sorted({item.strategy for item in page.items})
