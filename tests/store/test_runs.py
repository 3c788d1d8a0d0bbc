"""Recorded runs: what is written is read back exactly, whole or not at all, and nonsense is refused."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.exc import IntegrityError, OperationalError

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Order, Standing, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.store import run_tables as tables
from crypto_tracker.store import runs
from crypto_tracker.store.database import RUNS, current_revision, downgrade, open_engine, upgrade
from crypto_tracker.store.runs import FILE_NAME, EquityStretch, Run, RunStore, SetupRow, TradeRecords

BTC, ETH = Symbol("BTC", "USDT"), Symbol("ETH", "USDT")
MIDNIGHT = datetime(2025, 8, 1, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
RUN = Run(
    kind="backtest",
    synthetic=False,
    base="1m",
    start_ms=to_ms(MIDNIGHT),
    end_ms=to_ms(MIDNIGHT + timedelta(days=1)),
    symbols=(BTC, ETH),
    strategies=("DCA", "SWING"),
    configuration_version="v1",
    configuration="{}",
    code_version="1.0",
)
SETUP = SetupRow(
    time_ms=to_ms(NOON),
    symbol=BTC,
    strategy="DCA",
    verdict=Verdict.TAKE,
    reason=Reason.ACCEPTED,
    readiness=100.0,
    confidence=0.75,
    rank=0,
    fallback=False,
    measured=None,
    limit=None,
)
FILL = Fill(
    trade_group_id="BTC/USDT-DCA-20250801T120000Z",
    symbol=BTC,
    strategy="DCA",
    kind=FillKind.ENTRY,
    rung=0,
    bar_open_time=NOON,
    price=Decimal("0.0000123456789012345678"),
    quantity=Decimal("123456789.000001"),
    notional_quote=Decimal("1524.15787653"),
    fee_quote=Decimal("4.57247363"),
    slippage_quote=Decimal("0.00000001"),
    exit_reason=ExitReason.NONE,
    volume_unknown=False,
)
TRADE = Trade(
    trade_group_id=FILL.trade_group_id,
    symbol=BTC,
    strategy="DCA",
    decision_time=NOON,
    entry_time=NOON,
    exit_time=None,
    entry_price=FILL.price,
    exit_price=None,
    quantity=FILL.quantity,
    invested_quote=FILL.notional_quote,
    fee_quote=FILL.fee_quote,
    slippage_quote=FILL.slippage_quote,
    pnl_quote=Decimal("-4.57247363"),
    return_net=-0.003,
    exit_reason=ExitReason.NONE,
    entry_fills=1,
    ambiguous=False,
    fallback=True,
)

MARKET = Order(
    order_id=f"{TRADE.trade_group_id}/0",
    trade_group_id=TRADE.trade_group_id,
    symbol=BTC,
    strategy="DCA",
    kind="market",
    rung=0,
    quote=Decimal("1524.15787654"),
    limit_price=None,
    status="filled",
    placed_ms=to_ms(NOON),
    ended_ms=to_ms(NOON) + 60_000,
    reason=None,
)
RUNG = replace(
    MARKET,
    order_id=f"{TRADE.trade_group_id}/1",
    kind="rung",
    rung=1,
    limit_price=Decimal("0.0000122222221012345678"),
    status="cancelled",
    reason=Reason.REGIME_PANIC,
)
WAITING = replace(
    RUNG, order_id=f"{TRADE.trade_group_id}/2", rung=2, status="partially_filled", ended_ms=None, reason=None
)
STANDING = Standing(
    open_quantity=Decimal("123456789.000001"),
    mark_price=0.0000124,
    stop_price=0.000011,
    target_price=0.000014,
    trailing_armed=True,
    due_ms=to_ms(NOON) + 3_600_000,
    exit_pending=ExitReason.MANUAL,
)
TRADED: dict[str, Any] = {
    "fills": [FILL],
    "trades": [TRADE],
    "standings": {TRADE.trade_group_id: STANDING},
    "orders": [MARKET],
}
STRETCH = EquityStretch(
    time_ms=RUN.end_ms - 60_000, equity_e8=9_999, low_e8=9_000, high_e8=10_001, drawdown=0.1001
)


NOTHING_TRADED: dict[str, Any] = {
    "fills": [], "trades": [], "standings": {}, "orders": []
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path)
    yield opened
    opened.close()


def record(store: RunStore, run: Run = RUN, **changed: Any) -> int:
    rows: dict[str, Any] = {
        "state": "finished",
        "recorded_at_ms": 1,
        "setups": [SETUP],
        "blocks": [(SETUP.time_ms, "DCA", b"block")],
        "equity": [STRETCH],
    }
    traded = {name: changed.pop(name) for name in TRADED if name in changed}
    return store.record(run, traded=TradeRecords(**(TRADED | traded)), **(rows | changed))


def nothing_is_there(store: RunStore) -> bool:
    return not any(store.counts(1).values()) and (
        store.latest_covering(BTC, "DCA", SETUP.time_ms, "v1", ["1m"]) is None
    )


# ------------------------------------------------------------------------------------- written and read


def test_what_is_recorded_is_read_back_to_the_last_digit(store: RunStore):
    run_id = record(store)
    (fill,) = store.fills(run_id)
    assert fill.price == FILL.price
    assert isinstance(fill.price, Decimal)
    assert (fill.quantity, fill.notional_quote, fill.fee_quote) == (
        FILL.quantity,
        FILL.notional_quote,
        FILL.fee_quote,
    )
    assert fill.slippage_quote == Decimal("0.00000001")
    assert (fill.kind, fill.exit_reason, fill.bar_open_ms) == ("entry", "none", to_ms(NOON))
    (trade,) = store.trades(run_id)
    assert (trade.trade_group_id, trade.exit_ms, trade.exit_price) == (TRADE.trade_group_id, None, None)
    assert (trade.pnl_quote, trade.return_net, trade.fallback) == (TRADE.pnl_quote, -0.003, True)
    setup = store.setup(run_id, BTC, "DCA", SETUP.time_ms)
    assert setup is not None
    assert (setup.verdict, setup.reason, setup.rank, setup.measured) == ("TAKE", "accepted", 0, None)
    assert store.block(run_id, "DCA", SETUP.time_ms) == b"block"
    assert store.counts(run_id) == {
        "setups": 1, "orders": 1, "fills": 1, "trades": 1, "positions": 1, "decision_blocks": 1, "equity": 1,
    }  # fmt: skip


def test_what_is_not_there_is_none(store: RunStore):
    run_id = record(store)
    assert store.setup(run_id, ETH, "DCA", SETUP.time_ms) is None
    assert store.setup(run_id, BTC, "DCA", SETUP.time_ms + 1) is None
    assert store.block(run_id, "SWING", SETUP.time_ms) is None
    assert store.block(run_id + 1, "DCA", SETUP.time_ms) is None


def test_amounts_of_any_size_are_stored_without_an_exponent(store: RunStore):
    tiny, huge = Decimal("1E-20"), Decimal("1E+20")
    (fill,) = store.fills(record(store, fills=[replace(FILL, price=tiny, quantity=huge)]))
    assert (fill.price, fill.quantity) == (tiny, huge)
    with store._engine.connect() as connection:
        texts = connection.exec_driver_sql("SELECT price, quantity FROM fills").one()
    assert tuple(texts) == ("0.00000000000000000001", "100000000000000000000")


def test_fills_keep_their_order_and_trades_stand_in_order_of_entry(store: RunStore):
    fills = [replace(FILL, bar_open_time=NOON, quantity=Decimal(n)) for n in (3, 1, 2)]
    later = replace(TRADE, trade_group_id="a", entry_time=NOON + timedelta(minutes=1))
    run_id = record(store, fills=fills, trades=[later, TRADE])
    assert [fill.quantity for fill in store.fills(run_id)] == [3, 1, 2]
    assert [trade.trade_group_id for trade in store.trades(run_id)] == [TRADE.trade_group_id, "a"]


def test_an_empty_run_is_a_run(store: RunStore):
    run_id = record(store, setups=[], **NOTHING_TRADED, blocks=[], equity=[])
    assert set(store.counts(run_id).values()) == {0}
    assert store.latest_covering(BTC, "DCA", SETUP.time_ms, "v1", ["1m"]) is not None


def test_two_runs_do_not_mix(store: RunStore):
    first, second = record(store), record(store, fills=[], blocks=[])
    assert (first, second) == (1, 2)
    assert store.counts(first)["fills"] == 1
    assert store.counts(second)["fills"] == 0


def test_forgetting_a_run_removes_all_its_records_and_no_others(store: RunStore):
    first, second = record(store), record(store)
    store.forget(first)
    assert set(store.counts(first).values()) == {0}
    assert set(store.counts(second).values()) == {1}


def test_orders_are_written_while_they_are_made(store: RunStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "_ROWS_AT_ONCE", 3)
    happened: list[str] = []

    def made() -> Iterator[Order]:
        for rung in range(5):
            happened.append(f"rung {rung}")
            yield replace(MARKET, rung=rung)

    @event.listens_for(store._engine, "before_cursor_execute")
    def wrote(_connection: Any, _cursor: Any, statement: str, rows: Any, *_: Any) -> None:
        if statement.startswith("INSERT INTO orders"):
            happened.append(f"{len(rows)} written")

    run_id = record(store, orders=made())
    assert happened == [
        "rung 0", "rung 1", "rung 2", "3 written", "rung 3", "rung 4", "2 written",
    ]  # fmt: skip
    assert store.counts(run_id)["orders"] == 5


# ---------------------------------------------------------------------------------------- which run answers


def test_the_newest_run_that_scanned_the_symbol_with_the_strategy_answers(store: RunStore):
    record(store)
    newest = record(store)
    record(store, replace(RUN, symbols=(ETH,)))
    record(store, replace(RUN, strategies=("SWING",)))
    record(store, replace(RUN, configuration_version="v2"))
    record(store, replace(RUN, end_ms=SETUP.time_ms - 1))
    record(store, replace(RUN, base="1h"))
    found = store.latest_covering(BTC, "DCA", SETUP.time_ms, "v1", ["1m"])
    assert found is not None
    assert found.run_id == newest


def test_a_run_covers_the_closes_after_its_start_up_to_its_end(store: RunStore):
    record(store)

    def covered(time_ms: int) -> bool:
        return store.latest_covering(BTC, "DCA", time_ms, "v1", ["1m"]) is not None

    assert [covered(RUN.start_ms), covered(RUN.start_ms + 1)] == [False, True]
    assert [covered(RUN.end_ms), covered(RUN.end_ms + 1)] == [True, False]


def test_a_symbol_is_not_found_by_a_part_of_its_name(store: RunStore):
    record(store, replace(RUN, symbols=(Symbol("WBTC", "USDT"), Symbol("BTC", "USDT", "USDT"))))
    assert store.latest_covering(BTC, "DCA", SETUP.time_ms, "v1", ["1m"]) is None


# ------------------------------------------------------------------------------------ whole or not at all


@pytest.mark.parametrize(
    "wrong",
    [
        {"setups": [SETUP, SETUP]},
        {"trades": [TRADE, TRADE]},
        {"blocks": [(1, "DCA", b"a"), (1, "DCA", b"b")]},
        {"setups": [replace(SETUP, readiness=float("nan"))]},
        {"state": "unheard of"},
        {"equity": [STRETCH, STRETCH]},
        {"equity": [replace(STRETCH, low_e8=STRETCH.equity_e8 + 1)]},
    ],
)
def test_a_row_that_fails_leaves_nothing_of_the_run(store: RunStore, wrong: dict[str, Any]):
    with pytest.raises(IntegrityError):
        record(store, **wrong)
    assert nothing_is_there(store)
    assert record(store) == 1


def test_a_source_of_blocks_that_breaks_off_leaves_nothing_of_the_run(store: RunStore):
    def breaking() -> Iterator[tuple[int, str, bytes]]:
        yield 1, "DCA", b"a"
        raise InterruptedError

    with pytest.raises(InterruptedError):
        record(store, blocks=breaking())
    assert nothing_is_there(store)


# ------------------------------------------------------------------------------------------------ constraints


NONSENSE = [
    ("runs", "kind", "guess"),
    ("runs", "state", "lost"),
    ("runs", "end_ms", RUN.start_ms),
    ("runs", "configuration", None),
    ("setups", "verdict", "MAYBE"),
    ("setups", "reason", "a feeling"),
    ("setups", "confidence", None),
    ("fills", "kind", "gift"),
    ("fills", "exit_reason", "tired"),
    ("fills", "price", None),
    ("orders", "status", "tired"),
    ("orders", "ended_ms", None),
    ("orders", "quote", None),
    ("positions", "exit_pending", "tired"),
    ("positions", "due_ms", None),
    ("positions", "stop_price", None),
    ("trades", "exit_reason", "tired"),
    ("trades", "pnl_quote", None),
    ("decision_blocks", "block", None),
    ("setups", "run_id", 99),
    ("fills", "run_id", 99),
    ("trades", "run_id", 99),
    ("orders", "run_id", 99),
    ("positions", "run_id", 99),
    ("decision_blocks", "run_id", 99),
    ("equity", "high_quote", 0),
    ("equity", "run_id", 99),
    ("totals", "trades", None),
    ("totals", "run_id", 99),
]


def test_nonsense_is_refused_by_the_database_itself(store: RunStore):
    record(store)
    for table, column, value in NONSENSE:
        with store._engine.begin() as connection:
            assert connection.exec_driver_sql(f"UPDATE {table} SET {column} = {column}").rowcount == 1
            with pytest.raises(IntegrityError):
                connection.exec_driver_sql(f"UPDATE {table} SET {column} = ?", (value,))


def test_every_reason_and_every_exit_can_be_stored(store: RunStore):
    for reason in Reason:
        run_id = record(store, setups=[replace(SETUP, reason=reason, verdict=Verdict.SKIP)])
        row = store.setup(run_id, BTC, "DCA", SETUP.time_ms)
        assert row is not None
        assert Reason[row.reason.upper()] is reason
    for reason in ExitReason:
        run_id = record(
            store, trades=[replace(TRADE, exit_reason=reason)], fills=[replace(FILL, exit_reason=reason)]
        )
        assert store.trades(run_id)[0].exit_reason == store.fills(run_id)[0].exit_reason == reason.code


# ------------------------------------------------------------------------------------------ opening the file


def test_where_nothing_was_recorded_there_is_nothing_to_read(tmp_path: Path):
    assert RunStore.open_to_read(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_what_is_recorded_and_cannot_write(tmp_path: Path, store: RunStore):
    record(store)
    reader = RunStore.open_to_read(tmp_path)
    assert reader is not None
    assert set(reader.counts(1).values()) == {1}
    with pytest.raises(OperationalError, match="readonly"):
        reader.forget(1)
    reader.close()


def test_runs_survive_closing_and_opening(tmp_path: Path):
    first = RunStore.open(tmp_path)
    record(first)
    first.close()
    again = RunStore.open(tmp_path)
    assert record(again) == 2
    assert set(again.counts(1).values()) == {1}
    again.close()


# ---------------------------------------------------------------------------------------------- migrations


@pytest.fixture
def engine(tmp_path: Path):
    opened = open_engine(tmp_path / FILE_NAME)
    yield opened
    opened.dispose()


def statements(engine: Any) -> dict[str, list[str]]:
    """The lines of every table's definition, and how it ends (WITHOUT ROWID)."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
        ).fetchall()
    return {
        name: sorted(" ".join(line.split()).rstrip(",") for line in sql.splitlines() if line.strip())
        for name, sql in rows
    }


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(engine, tmp_path: Path):
    upgrade(engine, RUNS)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    tables.metadata.create_all(direct)
    assert statements(engine) == statements(direct)
    direct.dispose()


def test_up_down_and_up_again(engine):
    upgrade(engine, RUNS)
    assert current_revision(engine) == RUNS.head
    assert set(tables.metadata.tables) <= set(inspect(engine).get_table_names())
    downgrade(engine, RUNS)
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    upgrade(engine, RUNS)
    assert set(tables.metadata.tables) <= set(inspect(engine).get_table_names())


def test_the_chain_knows_its_own_newest_revision():
    config = Config()
    config.set_main_option("script_location", str(RUNS.directory))
    config.set_main_option("path_separator", "newline")
    assert ScriptDirectory.from_config(config).get_current_head() == RUNS.head


def test_a_file_of_an_older_version_is_brought_up_to_date_and_keeps_its_setups(tmp_path):
    engine = open_engine(tmp_path / FILE_NAME)
    upgrade(engine, RUNS, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs VALUES (1, 'backtest', 'finished', 0, '1m', 0, 60000, '[]', '[]', 'v', '{}', '1', 0)"
        )
        old = "INSERT INTO setups VALUES (1, ?, 'BTC/USD', 'DCA', 'SKIP', ?, 100, 0.5, 0, 0, NULL, NULL)"
        connection.exec_driver_sql(old, (60_000, "day_loss"))
    engine.dispose()
    store = RunStore.open(tmp_path)
    assert store.counts(1)["setups"] == 1
    store.close()
    engine = open_engine(tmp_path / FILE_NAME)
    with engine.begin() as connection:
        connection.exec_driver_sql(old, (120_000, "drawdown"))
    downgrade(engine, RUNS, "0001")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT reason FROM setups").scalars().all() == ["day_loss"]
    engine.dispose()
