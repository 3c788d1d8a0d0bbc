"""What is read of recorded runs: in pages, by columns, and of old files too."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.store.database import RUNS, downgrade, open_engine
from crypto_tracker.store.run_views import RunReader, RunViews
from crypto_tracker.store.runs import FILE_NAME, EquityStretch, RunStore
from crypto_tracker.strategies.decisions import ScanBlock, encode_block
from tests.store.test_runs import (
    BTC,
    ETH,
    FILL,
    MARKET,
    NOON,
    NOTHING_TRADED,
    RUNG,
    SETUP,
    STANDING,
    TRADE,
    WAITING,
    record,
)

MINUTE = 60_000
WON = replace(
    TRADE,
    trade_group_id="won",
    exit_time=NOON + timedelta(minutes=5),
    exit_price=Decimal(2),
    pnl_quote=Decimal("7.00000001"),
    exit_reason=ExitReason.TAKE_PROFIT,
)
LOST = replace(
    WON,
    trade_group_id="lost",
    symbol=ETH,
    exit_time=NOON + timedelta(minutes=3),
    pnl_quote=Decimal("-2.5"),
    exit_reason=ExitReason.STOP_LOSS,
)
GONE = replace(
    WON, trade_group_id="gone", exit_time=NOON + timedelta(minutes=5), exit_reason=ExitReason.DATA_LOST
)


@pytest.fixture
def home(tmp_path: Path):
    store = RunStore.open(tmp_path)
    record(store, trades=[WON, TRADE, LOST, GONE])
    for number in range(2, 6):
        record(store, **NOTHING_TRADED, equity=[], recorded_at_ms=number)
    store.close()
    return tmp_path


def block(minutes: int, strategy: str) -> tuple[int, str, bytes]:
    time_ms = SETUP.time_ms + minutes * MINUTE
    scanned = ScanBlock(
        strategy=strategy,
        time_ms=time_ms,
        version="v1",
        symbols=(BTC, ETH),
        reason=np.zeros(2, dtype=np.int8),
        readiness=np.array([50.0, 60.0]),
        confidence=np.array([0.5, 0.6]),
        measurements={"drop": np.array([0.01, 0.02])},
    )
    return time_ms, strategy, encode_block(scanned)


def test_runs_are_listed_newest_first_with_what_their_trades_add_up_to(home):
    with RunViews.open(home) as views:
        page = views.runs(limit=3)
        assert [each.run_id for each in page] == [5, 4, 3]
        assert [each.run_id for each in views.runs(limit=3, before=page[-1].run_id)] == [2, 1]
        first = views.summary(1)
    assert (first.trades, first.judged, first.wins, first.open_trades) == (3, 2, 1, 1)
    assert first.pnl_quote == WON.pnl_quote + LOST.pnl_quote + GONE.pnl_quote
    assert first.invested_quote == 3 * WON.invested_quote
    assert first.equity_quote == Decimal("0.00009999")
    assert (first.run.symbols, first.recorded_at_ms, first.state) == ((BTC, ETH), 1, "finished")


def test_closed_trades_come_by_columns_in_the_order_in_which_they_closed(home):
    with RunViews.open(home) as views:
        rows, groups = views.trade_rows(1)
        assert groups == ["lost", "gone", "won"]
        assert rows.number.tolist() == [0, 1, 2]
        assert rows.pnl_e8.tolist() == [-250_000_000, 700_000_001, 700_000_001]
        assert rows.exit_reason == ["stop_loss", "data_lost", "take_profit"]
        assert [trade.trade_group_id for trade in views.open_trades(1)] == [TRADE.trade_group_id]
        assert views.trades_of(1, ["won", "lost"]) == [WON, LOST]
        assert len(views.trade_rows(2)[0]) == 0
        with pytest.raises(DataError, match=r"the run 1 under .* has no trade other"):
            views.trades_of(1, ["won", "other"])


def test_orders_and_standings_are_read_back_as_they_were_told(tmp_path):
    store = RunStore.open(tmp_path)
    other = replace(MARKET, trade_group_id="other", order_id="other/0")
    run_id = record(store, orders=[RUNG, other, WAITING, MARKET])
    record(store, **NOTHING_TRADED)
    store.close()
    with RunViews.open(tmp_path) as views:
        group = TRADE.trade_group_id
        assert views.orders(run_id, [group, "nobody"]) == {group: [MARKET, RUNG, WAITING]}
        assert views.orders(run_id, ["other"]) == {"other": [other]}
        assert views.orders(2, [group]) == {}
        assert views.standings(run_id) == {group: STANDING}
        assert views.standings(2) == {}


def test_a_run_of_the_fifth_version_is_read_without_what_it_did_not_keep(tmp_path):
    store = RunStore.open(tmp_path)
    run_id = record(store)
    store.close()
    engine = open_engine(tmp_path / FILE_NAME)
    downgrade(engine, RUNS, "0005")
    engine.dispose()
    with RunViews.open(tmp_path) as views:
        assert views.open_trades(run_id) == [TRADE]
        assert views.fills(run_id) == [FILL]
        assert views.orders(run_id, [TRADE.trade_group_id]) == {}
        assert views.standings(run_id) == {}


def test_fills_of_some_trades_come_in_the_order_in_which_they_happened(tmp_path):
    store = RunStore.open(tmp_path)
    fills = [
        replace(FILL, trade_group_id=group, kind=kind, quantity=Decimal(number))
        for number, (group, kind) in enumerate(
            [("a", FillKind.ENTRY), ("b", FillKind.ENTRY), ("c", FillKind.ENTRY), ("a", FillKind.EXIT)],
            start=1,
        )
    ]
    run_id = record(store, fills=fills)
    store.close()
    with RunViews.open(tmp_path) as views:
        assert [fill.quantity for fill in views.fills_of(run_id, ["c", "a"])] == [1, 3, 4]
        assert views.fills_of(run_id, []) == []


def test_setups_are_named_by_columns_and_read_by_key(tmp_path):
    store = RunStore.open(tmp_path)
    near = replace(SETUP, symbol=ETH, verdict=Verdict.NEAR_MISS, reason=Reason.VOLUME_LOW, rank=None)
    run_id = record(store, setups=[replace(SETUP, time_ms=SETUP.time_ms + MINUTE), near, SETUP])
    record(store)
    store.close()
    with RunViews.open(tmp_path) as views:
        rows = views.setup_rows(run_id)
        assert rows.time_ms.tolist() == [SETUP.time_ms, SETUP.time_ms, SETUP.time_ms + MINUTE]
        assert [rows.kinds[kind] for kind in rows.kind] == [
            ("BTC/USDT", "DCA", "TAKE", "accepted"),
            ("ETH/USDT", "DCA", "NEAR_MISS", "volume_low"),
            ("BTC/USDT", "DCA", "TAKE", "accepted"),
        ]
        keys = [(SETUP.time_ms, "ETH/USDT", "DCA"), (SETUP.time_ms, "BTC/USDT", "DCA")]
        assert views.setups_keyed(run_id, keys) == [near, SETUP]
        with pytest.raises(DataError, match="has no setup"):
            views.setups_keyed(run_id, [(1, "BTC/USDT", "DCA")])


def test_scans_are_found_by_strategy_and_span_from_either_end(tmp_path):
    store = RunStore.open(tmp_path)
    run_id = record(store, blocks=[block(n, name) for n in range(3) for name in ("DCA", "SWING")])
    record(store, blocks=[block(9, "DCA")])
    store.close()

    def found(**wanted):
        with RunViews.open(tmp_path) as views:
            scans = views.blocks(run_id, wanted.pop("strategies", ()), **wanted)
            return [(each.strategy, (each.time_ms - SETUP.time_ms) // MINUTE) for each in scans]

    assert found() == [(name, n) for n in range(3) for name in ("DCA", "SWING")]
    assert found(strategies=["DCA"], newest_first=True, limit=2) == [("DCA", 2), ("DCA", 1)]
    at = SETUP.time_ms + MINUTE
    assert found(strategies=["SWING"], end_ms=at + 1, newest_first=True, limit=1) == [("SWING", 1)]
    assert found(start_ms=at, end_ms=at + 1) == [("DCA", 1), ("SWING", 1)]
    with RunViews.open(tmp_path) as views:
        wanted = [SETUP.time_ms + n * MINUTE for n in (2, 7, 0)]
        assert views.encoded_blocks(run_id, "DCA", wanted) == [
            (time_ms, data) for time_ms, _, data in (block(0, "DCA"), block(2, "DCA"))
        ]


def test_the_equity_of_a_run_comes_back_exactly(tmp_path):
    stretches = [
        EquityStretch(time_ms=1, equity_e8=10**15 + 1, low_e8=10**15 - 1, high_e8=2 * 10**15, drawdown=0.0),
        EquityStretch(time_ms=2, equity_e8=9, low_e8=8, high_e8=10, drawdown=0.375),
        EquityStretch(time_ms=3, equity_e8=9, low_e8=9, high_e8=9, drawdown=0.25),
    ]
    store = RunStore.open(tmp_path)
    run_id, other = record(store, equity=stretches), record(store, equity=[])
    store.close()
    with RunViews.open(tmp_path) as views:
        rows = views.equity(run_id)
        assert rows.time_ms.tolist() == [1, 2, 3]
        assert rows.equity_e8.tolist() == [10**15 + 1, 9, 9]
        assert (rows.low_e8.tolist()[0], rows.high_e8.tolist()[0]) == (10**15 - 1, 2 * 10**15)
        assert views.max_drawdown(run_id) == 0.375
        assert (len(views.equity(other)), views.max_drawdown(other)) == (0, None)
        assert views.summary(other).equity_quote is None


def test_runs_of_an_older_version_get_their_totals_and_have_no_equity(home):
    with RunViews.open(home) as views:
        before = views.summary(1)
    engine = open_engine(home / FILE_NAME)
    downgrade(engine, RUNS, "0004")
    engine.dispose()
    reader = RunReader(home)
    with reader.views() as views:
        assert views.summary(1) == replace(before, equity_quote=None)
        assert [each.trades for each in views.runs(limit=9)] == [0, 0, 0, 0, 3]
        assert len(views.equity(1)) == 0
    reader.close()


def test_a_reader_sees_runs_that_are_recorded_later(home):
    reader = RunReader(home)
    with reader.views() as views:
        assert views.runs(limit=1)[0].run_id == 5
    store = RunStore.open(home)
    record(store)
    store.close()
    with reader.views() as views:
        assert views.runs(limit=1)[0].run_id == 6
    reader.close()


def test_a_reader_that_was_let_go_of_opens_nothing_more(home):
    reader = RunReader(home)
    with reader.views() as views:
        reader.close()
        assert views.runs(limit=1)[0].run_id == 5  # who reads at this moment reads on
    with pytest.raises(StoreError, match="were let go of: ask for them again"), reader.views():
        pass


def test_where_nothing_was_recorded_that_is_said(home, tmp_path_factory):
    reader = RunReader(tmp_path_factory.mktemp("empty"))
    with pytest.raises(DataError, match="no run was recorded yet"), reader.views():
        pass
    with (
        RunViews.open(home) as views,
        pytest.raises(DataError, match=r"there is no run 9 .* the newest is 5"),
    ):
        views.summary(9)
