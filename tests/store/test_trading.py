"""An account is written whole or not at all, read back exactly, and every change of what was written is seen."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError, OperationalError

from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import open_engine, sqlite_module, writer_lock
from crypto_tracker.store.trading import LOCK_NAME, TradingStore, is_traded
from crypto_tracker.store.trading_journal import FILE_NAME, TradingJournal
from crypto_tracker.store.trading_records import TRADED, Checkpoint, SeenBlock, Session, TraderRow
from crypto_tracker.store.trading_rows import DIGESTED, step_digest
from tests.store.accounts import (
    ACCOUNT,
    BTC,
    ETH,
    FIRST,
    OPENING,
    RECORDED,
    SECOND,
    SOL,
    START,
    eventful_steps,
    everything,
    fill_of,
    minute,
    order_of,
    plain_step,
    position_of,
    setup_of,
    trade_of,
    trading,
    write,
)

EVER = 2**61


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "paper"


@pytest.fixture
def store(folder: Path) -> Iterator[TradingStore]:
    """An account that was opened and has not stepped yet."""
    with trading(folder) as opened:
        opened.create(OPENING)
        yield opened


def digests_hold(journal: TradingJournal) -> bool:
    found = list(journal.recomputed_digests(0, EVER))
    return all(stored == recomputed for _, stored, recomputed in found)


# ------------------------------------------------------------------------------------- written and read


def test_an_account_begins_as_it_was_opened(store: TradingStore):
    journal = store.journal
    assert journal.account() == ACCOUNT
    assert ACCOUNT.watched == (ETH, SOL, BTC)
    assert journal.trader() == TraderRow(cursor_ms=START, version="v1", state=b"state 0")
    assert journal.configuration("v1") == FIRST
    assert journal.checkpoint_at_or_before(START) == Checkpoint(time_ms=START, version="v1", state=b"state 0")
    assert journal.checkpoint_at_or_before(START - 1) is None
    assert sorted(journal.history(), key=lambda block: block.block) == OPENING.history
    assert len(journal.minutes(0, EVER)) == 0
    assert list(journal.recomputed_digests(0, EVER)) == []


def test_an_account_without_reference_and_end_is_read_back(folder: Path):
    account = replace(ACCOUNT, kind="paper", reference=None, end_ms=None)
    with trading(folder) as opened:
        opened.create(replace(OPENING, account=account, history=[]))
        assert opened.journal.account() == account
        assert account.watched == (ETH, SOL)
        assert opened.journal.history() == []


def test_what_steps_write_is_read_back_to_the_last_digit(store: TradingStore):
    steps = eventful_steps()
    write(store, steps)
    journal = store.journal
    assert journal.trader() == TraderRow(cursor_ms=minute(10), version="v2", state=b"state 10")
    assert journal.fills(0, EVER) == [fill for step in steps for fill in step.fills]
    assert journal.trades(0, EVER) == [trade for step in steps for trade in step.trades]
    assert journal.trades_with_versions(0, EVER) == [(trade_of(1, 4), "v1")]
    assert journal.setups(0, EVER) == [setup for step in steps for setup in step.setups]
    assert journal.blocks(0, EVER) == [block for step in steps for block in step.blocks]
    assert [command for _, command in journal.commands_applied(0, EVER)] == steps[5].commands
    assert {time_ms for time_ms, _ in journal.commands_applied(0, EVER)} == {minute(5)}
    assert journal.command_results(0, EVER) == [(minute(5), result) for result in steps[5].results]
    assert journal.answered_commands() == {"c1", "c4"}
    assert sorted(journal.doubts(0, EVER), key=lambda each: each[1].score, reverse=True) == [
        (step.time_ms, doubt) for step in steps for doubt in step.doubts
    ]
    assert journal.halts() == [(minute(7), steps[7].halts[0])]
    assert journal.healed(0, EVER) == steps[5].healed
    assert journal.configuration("v2") == SECOND
    assert journal.versions() == {"v1", "v2"}
    day_ms = minute(5) - DAY_MS
    # A median that is not known is none in the database, which has no NaN.
    assert journal.medians(day_ms, day_ms + 1) == [(ETH, day_ms, None), (SOL, day_ms, 0.0125)]
    assert journal.medians(day_ms + 1, EVER) == []


def test_minutes_come_as_columns(store: TradingStore):
    write(store, eventful_steps())
    minutes = store.journal.minutes(minute(1), minute(8))
    assert len(minutes) == 7
    assert minutes.time_ms.tolist() == [minute(number) for number in range(1, 8)]
    assert minutes.version == ["v1"] * 4 + ["v2"] * 3
    assert minutes.seen == [bytes([number, 7]) for number in range(1, 8)]
    assert minutes.bars_digest == [bytes([number, 8]) for number in range(1, 8)]
    assert minutes.equity_e8.tolist() == [10**12 + 1 + number * 10**8 for number in range(1, 8)]
    assert minutes.cash_e8.tolist() == [900_050_000_000] * 7
    assert minutes.reserved_e8.tolist() == [1] * 7
    assert minutes.regime.tolist() == [Regime.NORMAL] * 6 + [Regime.PANIC]
    np.testing.assert_array_equal(minutes.volatility, [0.04] + [np.nan] * 6)
    assert minutes.recorded_at_ms.tolist() == [RECORDED] * 7
    assert minutes.equity_e8.dtype == minutes.time_ms.dtype == np.int64


def test_more_minutes_than_are_read_at_once_stand_in_order(store: TradingStore, monkeypatch):
    monkeypatch.setattr("crypto_tracker.store.trading_journal._AT_ONCE", 3)
    write(store, eventful_steps())
    minutes = store.journal.minutes(0, EVER)
    assert minutes.time_ms.tolist() == [minute(number) for number in range(10)]
    assert minutes.seen == [bytes([number, 7]) for number in range(10)]
    assert minutes.version == ["v1"] * 5 + ["v2"] * 5


def test_coarser_bars_are_read_by_part_timeframe_and_open_time(store: TradingStore):
    write(store, eventful_steps())
    rows = eventful_steps()[4].rows
    journal = store.journal
    assert journal.seen_rows("traded", Timeframe.M5, minute(0), minute(1)) == [rows[0]]
    assert journal.seen_rows("traded", Timeframe.H1, 0, EVER) == [rows[1]]
    assert journal.seen_rows("reference", Timeframe.D1, 0, EVER) == [rows[2]]
    assert journal.seen_rows("traded", Timeframe.M5, minute(0) + 1, EVER) == []
    assert journal.seen_rows("traded", Timeframe.M5, 0, minute(0)) == []
    assert journal.seen_rows("reference", Timeframe.M5, 0, EVER) == []


def test_orders_and_positions_stand_as_the_last_step_left_them(store: TradingStore):
    steps = eventful_steps()
    write(store, steps[:2])
    assert store.journal.orders() == steps[1].orders == store.journal.orders(open_only=True)
    assert store.journal.positions() == []
    write(store, steps[2:3])
    assert store.journal.orders() == steps[2].orders
    assert store.journal.orders(open_only=True) == [steps[2].orders[1]]
    assert store.journal.positions() == steps[2].positions
    write(store, steps[3:4])
    assert store.journal.positions() == steps[3].positions
    write(store, steps[4:5])
    assert store.journal.positions() == []
    assert store.journal.orders(open_only=True) == []


def test_a_position_that_is_half_sold_is_read_back(store: TradingStore):
    half = trade_of(1, None, exit_price=Decimal("0.000013"), exit_reason=ExitReason.TRAILING_STOP)
    position = position_of(1, 0.00001, exit_pending=ExitReason.TRAILING_STOP, trade=half)
    write(store, [plain_step(0, positions=[position])])
    assert store.journal.positions() == [position]
    write(store, [plain_step(1)])  # says nothing of positions
    assert store.journal.positions() == [position]


def test_spans_hold_their_start_and_not_their_end(store: TradingStore):
    write(store, eventful_steps())
    journal = store.journal
    readers: list[tuple[Callable[[int, int], list[Any]], int, int]] = [
        (journal.fills, minute(4), 2),
        (journal.trades, minute(4), 1),
        (journal.setups, minute(8), 1),  # at the close of the minute
        (journal.blocks, minute(2), 2),
        (journal.commands_applied, minute(5), 3),
        (journal.command_results, minute(5), 2),
        (journal.halts, minute(7), 1),
        (journal.healed, minute(5), 1),
    ]
    for read, time_ms, count in readers:
        assert len(read(time_ms, time_ms + 1)) == count
        assert read(time_ms + 1, time_ms + 2) == []
        assert read(time_ms - 1, time_ms) == []


def test_the_newest_checkpoint_before_a_minute_is_found(store: TradingStore):
    write(store, eventful_steps())
    find = store.journal.checkpoint_at_or_before
    # The state before the minute is that of the configuration before it.
    midnight = Checkpoint(time_ms=minute(5), version="v1", state=b"state 5")
    assert find(minute(5)) == find(EVER) == midnight
    assert find(minute(5) - 1) == Checkpoint(time_ms=START, version="v1", state=b"state 0")


def test_an_account_that_begins_at_midnight_has_one_checkpoint_of_it(store: TradingStore):
    write(store, [plain_step(0, state_before=b"state 0")])
    assert store.journal.checkpoint_at_or_before(EVER) == Checkpoint(
        time_ms=START, version="v1", state=b"state 0"
    )
    assert digests_hold(store.journal)


def test_sessions_are_noted_with_the_minute_where_they_went_on(store: TradingStore):
    assert store.journal.last_session() is None
    first = store.begin_session(started_at_ms=RECORDED, pid=1, host="a", code_version="1.0")
    write(store, eventful_steps()[:2])
    second = store.begin_session(started_at_ms=RECORDED + 5, pid=2, host="b", code_version="1.1")
    store.end_session(second, RECORDED + 9)
    assert store.journal.sessions() == [
        Session(
            session_id=first, started_at_ms=RECORDED, ended_at_ms=None,
            pid=1, host="a", code_version="1.0", cursor_ms=START,
        ),
        Session(
            session_id=second, started_at_ms=RECORDED + 5, ended_at_ms=RECORDED + 9,
            pid=2, host="b", code_version="1.1", cursor_ms=minute(2),
        ),
    ]  # fmt: skip
    last = store.journal.last_session()
    assert last is not None
    assert last.session_id == second


def test_every_reason_and_every_exit_can_be_stored(store: TradingStore):
    for number, reason in enumerate(Reason):
        setup = setup_of(number, number, reason=reason, verdict=Verdict.SKIP)
        order = order_of(1, 0, status="cancelled", ended_ms=minute(number + 1), reason=reason)
        write(store, [plain_step(number, setups=[setup], orders=[order])])
        assert store.journal.setups(minute(number + 1), minute(number + 2)) == [setup]
        assert store.journal.orders() == [order]
    start = len(Reason)
    for number, exit_reason in enumerate(ExitReason, start):
        fill = fill_of(number, number, FillKind.EXIT, exit_reason=exit_reason)
        trade = trade_of(number, number, exit_reason=exit_reason)
        step = plain_step(number, fills=[fill], trades=[trade], trade_versions=["v1"])
        write(store, [replace(step, first_fill=number - start, first_trade=number - start)])
        assert store.journal.fills(minute(number), minute(number + 1)) == [fill]
        assert store.journal.trades(minute(number), minute(number + 1)) == [trade]
    assert digests_hold(store.journal)


# ------------------------------------------------------------------------------------ whole or not at all


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_step_of_another_minute_than_the_next_is_refused(store: TradingStore, number: int):
    write(store, [plain_step(0)])
    with pytest.raises(StoreError, match=r"cannot be written .* whose next minute is 2025-08-01 23:56 UTC"):
        write(store, [plain_step(number)])
    write(store, [plain_step(1)])


def five(number: int) -> SeenBlock:
    return SeenBlock(part=TRADED, timeframe=Timeframe.M5, time_ms=minute(number), block=b"")


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"rows": [five(5)]}, "seen_rows"),
        ({"healed": [five(0)]}, "healed"),
        ({"blocks": [(minute(4), "DCA", b"")]}, "decision_blocks"),
        ({"setups": [setup_of(3, 0)]}, "setups"),
        ({"fills": [fill_of(5, 1, FillKind.ENTRY)]}, "fills"),
        ({"trades": [trade_of(1, 3)], "trade_versions": ["v1"]}, "trades"),
        ({"trades": [trade_of(1, None)], "trade_versions": ["v1"]}, "trades"),
    ],
)
def test_a_row_of_another_minute_is_refused(store: TradingStore, changed: dict[str, Any], name: str):
    write(store, [plain_step(number) for number in range(4)])
    with pytest.raises(StoreError, match=rf"2025-08-01 23:59 UTC brings a row of `{name}` that belongs to"):
        write(store, [plain_step(4, **changed)])
    assert store.journal.trader().cursor_ms == minute(4)


@pytest.mark.parametrize(
    "changed",
    [
        {"setups": [setup_of(4, 2)]},
        {"setups": [setup_of(4, 0)]},
        {"setups": [setup_of(4, 1), setup_of(4, 3, symbol=ETH)]},
        {"setups": [setup_of(4, 1), setup_of(4, 1, symbol=ETH)]},
        {"fills": [fill_of(4, 1, FillKind.ENTRY)], "first_fill": 0},
        {"first_fill": 2},
        {"trades": [trade_of(2, 4)], "trade_versions": ["v1"], "first_trade": 1},
        {"first_trade": 3},
    ],
)
def test_a_step_that_does_not_go_on_with_the_numbers_is_refused(
    store: TradingStore, changed: dict[str, Any], folder: Path
):
    write(store, eventful_steps()[:4])
    before = everything(folder)
    with pytest.raises(
        StoreError, match=r"numbers a (setup|fill|trade) \d where the account paper has come to"
    ):
        write(store, [plain_step(4, **changed)])
    assert everything(folder) == before
    write(
        store,
        [plain_step(4, setups=[setup_of(4, 2), setup_of(4, 1, symbol=ETH)], first_fill=1, first_trade=0)],
    )


def test_trades_without_the_versions_of_their_setups_are_refused(store: TradingStore):
    with pytest.raises(StoreError, match="brings 1 trades and 0 versions"):
        write(store, [plain_step(0, trades=[trade_of(-1, 0)])])


@pytest.mark.parametrize(
    "wrong",
    [
        {"setups": [setup_of(0, 0), setup_of(0, 1)]},
        {"blocks": [(minute(1), "DCA", b"a"), (minute(1), "DCA", b"b")]},
        {"version": "never heard of"},
        {"next_version": "never heard of"},
        {"configuration": FIRST},
        {"setups": [setup_of(0, 0, readiness=float("nan"))]},
        {"orders": [order_of(0, 0, status="filled")]},
        {"orders": [order_of(0, 0, kind="rung")]},
        {"positions": [position_of(0, 1.0), position_of(0, 2.0)]},
        {"trades": [trade_of(-1, 0), trade_of(-1, 0)], "trade_versions": ["v1", "v1"]},
    ],
)
def test_a_row_that_fails_leaves_nothing_of_the_step(
    store: TradingStore, folder: Path, wrong: dict[str, Any]
):
    before = everything(folder)
    with pytest.raises(IntegrityError):
        write(store, [plain_step(0, **wrong)])
    assert everything(folder) == before
    write(store, eventful_steps())


def test_an_account_is_opened_once(store: TradingStore, folder: Path):
    before = everything(folder)
    with pytest.raises(StoreError, match="the account paper exists already: go on with it, or choose"):
        store.create(replace(OPENING, state=b"another"))
    assert everything(folder) == before


def test_nothing_is_stepped_before_the_account_was_opened(folder: Path):
    with trading(folder) as opened:
        assert opened.journal.account() is None
        with pytest.raises(StoreError, match="was not opened yet"):
            write(opened, [plain_step(0)])
        with pytest.raises(StoreError, match="was not opened yet"):
            opened.begin_session(started_at_ms=0, pid=1, host="a", code_version="1")
        with pytest.raises(StoreError, match="was not opened to its end: start it again"):
            opened.journal.trader()
        assert list(opened.journal.recomputed_digests(0, EVER)) == []


def test_an_opening_that_fails_leaves_no_account(folder: Path):
    with trading(folder) as opened:
        with pytest.raises(IntegrityError):
            opened.create(replace(OPENING, account=replace(ACCOUNT, kind="dream")))
        assert opened.journal.account() is None
        assert opened.journal.versions() == set()
        opened.create(OPENING)


NONSENSE = [
    ("account", "account_id", 2),
    ("account", "kind", "dream"),
    ("account", "end_ms", START),
    ("history", "part", "all"),
    ("trader", "trader_id", 2),
    ("trader", "version", "v9"),
    ("checkpoints", "version", "v9"),
    ("minutes", "regime", "calm"),
    ("minutes", "digest", None),
    ("seen_rows", "part", "all"),
    ("healed", "part", "all"),
    ("setups", "verdict", "MAYBE"),
    ("setups", "reason", "a feeling"),
    ("orders", "status", "lost"),
    ("orders", "reason", "a feeling"),
    ("orders", "ended_ms", None),
    ("fills", "kind", "gift"),
    ("fills", "exit_reason", "tired"),
    ("trades", "exit_reason", "tired"),
    ("trades", "exit_price", None),
    ("commands_applied", "kind", "wish"),
    ("command_results", "status", "maybe"),
    ("halts", "cause", "boredom"),
    ("sessions", "pid", None),
]


def test_nonsense_is_refused_by_the_database_itself(store: TradingStore, folder: Path):
    write(store, eventful_steps())
    store.begin_session(started_at_ms=RECORDED, pid=1, host="a", code_version="1.0")
    engine = open_engine(folder / FILE_NAME)
    for table, column, value in NONSENSE:
        with engine.begin() as connection:
            assert connection.exec_driver_sql(f"UPDATE {table} SET {column} = {column}").rowcount > 0
            with pytest.raises(IntegrityError):
                connection.exec_driver_sql(f"UPDATE {table} SET {column} = ?", (value,))
    engine.dispose()


# ------------------------------------------------------------------------------------------------- digests


def other(value: Any) -> Any:
    """A value of the same kind that differs as little as can be."""
    if isinstance(value, float):
        return float(np.nextafter(value, np.inf))
    if isinstance(value, int):
        return value + 100  # none of the numbers of other rows
    return f"{value} " if isinstance(value, str) else bytes(value) + b"\0"


COVERED = [
    (table.name, column.name)
    for table in DIGESTED.values()
    for column in table.columns
    if column.name != "recorded_at_ms"  # clock time: an undisturbed run has another
]


# Rows of the opening belong to no step.
OWN = dict.fromkeys(DIGESTED, "1") | {
    "configurations": "version = 'v2'",
    "checkpoints": f"time_ms = {minute(5)}",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An account of ten minutes with rows in every table."""
    folder = tmp_path_factory.mktemp("written") / "paper"
    with trading(folder) as opened:
        opened.create(OPENING)
        write(opened, eventful_steps())
    return folder


def change_is_seen(folder: Path, statement: str, values: tuple[Any, ...] = ()) -> bool:
    """Whether the digests tell of a change, which is then taken back."""
    connection = sqlite_module().connect(folder / FILE_NAME, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    connection.execute("BEGIN")
    try:
        assert connection.execute(statement, values).rowcount == 1
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        with TradingJournal.open(folder) as journal:
            try:
                return not digests_hold(journal)
            except StoreError:
                return True
    finally:
        connection.close()


@pytest.mark.parametrize(("table", "column"), COVERED)
def test_a_change_of_any_column_of_what_was_written_is_seen(
    written: Path, tmp_path: Path, table: str, column: str
):
    whole = (written / FILE_NAME).read_bytes()
    keys = [each.name for each in DIGESTED[table].primary_key]
    connection = sqlite_module().connect(written / FILE_NAME)
    rows = connection.execute(
        f"SELECT {column}, {', '.join(keys)} FROM {table} WHERE {OWN[table]}"
    ).fetchall()
    connection.close()
    assert rows
    account = tmp_path / "paper"
    account.mkdir()
    for value, *key in rows:
        changes = ["text" if value is None else other(value)]
        if value is not None and DIGESTED[table].c[column].nullable:
            changes.append(None)
        for change in changes:
            (account / FILE_NAME).write_bytes(whole)
            which = " AND ".join(f"{name} = ?" for name in keys)
            assert change_is_seen(account, f"UPDATE {table} SET {column} = ? WHERE {which}", (change, *key))


@pytest.mark.parametrize("table", DIGESTED)
def test_a_row_that_is_missing_is_seen(written: Path, tmp_path: Path, table: str):
    key = ", ".join(each.name for each in DIGESTED[table].primary_key)
    account = tmp_path / "paper"
    account.mkdir()
    (account / FILE_NAME).write_bytes((written / FILE_NAME).read_bytes())
    which = f"({key}) = (SELECT {key} FROM {table} WHERE {OWN[table]} LIMIT 1)"
    assert change_is_seen(account, f"DELETE FROM {table} WHERE {which}")


def test_an_untouched_account_has_the_digests_that_its_rows_give(written: Path):
    with TradingJournal.open(written) as journal:
        found = list(journal.recomputed_digests(0, EVER))
        assert [time_ms for time_ms, _, _ in found] == [minute(number) for number in range(10)]
        assert all(stored == recomputed for _, stored, recomputed in found)
        assert len({stored for _, stored, _ in found}) == 10
        part = list(journal.recomputed_digests(minute(3) + 1, minute(7)))
        assert part == found[4:7]


def test_a_row_of_a_minute_that_was_never_stepped_is_named(store: TradingStore):
    write(store, eventful_steps())
    statement = f"INSERT INTO decision_blocks VALUES ({minute(3) + 1}, 'DCA', x'00')"
    store._connection.exec_driver_sql(statement)
    store._connection.commit()
    with pytest.raises(StoreError, match="a row of `decision_blocks` belongs to no minute"):
        list(store.journal.recomputed_digests(0, EVER))


def test_the_digest_does_not_depend_on_the_order_of_rows_or_on_clock_time(tmp_path: Path):
    found = []
    for name, turn in (("a", 1), ("b", -1)):
        with trading(tmp_path / name) as opened:
            opened.create(OPENING)
            steps = eventful_steps()
            step = steps[1]
            steps[1] = replace(step, blocks=step.blocks[::turn], setups=step.setups[::turn])
            for each in steps:
                opened.commit(each, recorded_at_ms=RECORDED + turn)
            found.append(list(opened.journal.recomputed_digests(0, EVER)))
    assert found[0] == found[1]


def test_values_that_look_alike_have_different_digests():
    values: list[Any] = [None, 0, 0.0, 1, 1.0, "", "0", b"", b"0", "n", b"n", 2**62, 5e-324]
    digests = {step_digest({"decision_blocks": [(1, "DCA", value)]}) for value in values}
    assert len(digests) == len(values)
    assert step_digest({}) == step_digest({"fills": []})
    one, two = (1, "a", b"b"), (2, "a", b"b")
    assert step_digest({"decision_blocks": [one, two]}) == step_digest({"decision_blocks": [two, one]})
    assert step_digest({"decision_blocks": [one]}) != step_digest({"decision_blocks": [one, one]})
    assert step_digest({"decision_blocks": [(1, "ab", b"c")]}) != step_digest(
        {"decision_blocks": [(1, "a", b"bc")]}
    )


NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)
AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=8)
EXACT = st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=20)


@settings(max_examples=60, deadline=None)
@given(number=NUMBERS, price=EXACT, amount=AMOUNTS, whole=st.integers(0, 2**31), text=st.text(max_size=5))
def test_the_digest_of_what_was_given_is_that_of_what_is_stored(
    many: TradingStore, number, price, amount, whole, text
):
    here = (many.journal.trader().cursor_ms - START) // 60_000
    setups = [setup_of(here, None, measured=number, rank=whole, confidence=float(whole))]
    fills = [fill_of(here, 1, FillKind.ENTRY, price=price, notional_quote=amount, fee_quote=-amount)]
    blocks = [(minute(here + 1), text.replace("\0", ""), text.encode())]
    step = plain_step(here, setups=setups, fills=fills, blocks=blocks, volatility=number)
    many.commit(step, recorded_at_ms=RECORDED)
    ((_, stored, recomputed),) = many.journal.recomputed_digests(minute(here), minute(here + 1))
    assert stored == recomputed
    (fill,) = many.journal.fills(minute(here), minute(here + 1))
    assert (fill.price, fill.notional_quote) == (price, amount)
    (setup,) = many.journal.setups(minute(here + 1), minute(here + 2))
    assert setup.measured == (None if number != number else number)  # noqa: PLR0124 - NaN


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingStore]:
    """An account that examples step on and on."""
    with trading(tmp_path_factory.mktemp("many") / "paper") as opened:
        opened.create(OPENING)
        yield opened


# ------------------------------------------------------------------------------------------------- readers


def test_a_snapshot_is_of_one_state_and_stops_nobody(folder: Path):
    steps = [plain_step(number, state=bytes([number]) * 20_000) for number in range(12)]
    log = folder / f"{FILE_NAME}-wal"
    with trading(folder, checkpoint_every=1) as opened:
        opened.create(OPENING)
        write(opened, steps[:4])
        with TradingJournal.open(folder) as reader:
            with reader.snapshot():
                write(opened, steps[4:10])  # which fails after half a minute where it waits for a lock
                assert reader.trader().cursor_ms == minute(4)
                assert len(reader.minutes(0, EVER)) == 4
                with reader.snapshot():  # within it is the same one
                    assert len(list(reader.recomputed_digests(0, EVER))) == 4
                assert reader.trader().cursor_ms == minute(4)
                assert log.stat().st_size > 0
                assert opened.journal.trader().cursor_ms == minute(10)
            assert reader.trader().cursor_ms == minute(10)
            write(opened, steps[10:])
            assert log.stat().st_size == 0  # what the reader had held up is done now
            assert len(list(reader.recomputed_digests(0, EVER))) == 12
    with trading(folder) as opened:
        assert opened.journal.trader().cursor_ms == minute(12)


def test_a_reader_cannot_write(folder: Path, store: TradingStore):
    write(store, [plain_step(0)])
    with (
        TradingJournal.open(folder) as journal,
        pytest.raises(OperationalError, match="readonly"),
        journal._engine.begin() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM account")


def test_a_folder_without_account_is_named(tmp_path: Path):
    with (
        pytest.raises(DataError, match=r"there is no account in .*nowhere: begin one with"),
        TradingJournal.open(tmp_path / "nowhere"),
    ):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_an_account_of_another_version_is_not_read(folder: Path, store: TradingStore):
    with store._connection.begin():
        store._connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with (
        pytest.raises(StoreError, match=r"the account paper was written by another version .* 9999"),
        TradingJournal.open(folder),
    ):
        pass


def test_an_unknown_configuration_is_named(store: TradingStore):
    with pytest.raises(StoreError, match="the account paper has never traded under the configuration v9"):
        store.journal.configuration("v9")


def test_a_damaged_file_is_named(folder: Path):
    with trading(folder) as opened:
        opened.create(OPENING)
    path = folder / FILE_NAME
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    with (
        pytest.raises(StoreError, match=r"trading\.db cannot be read"),
        TradingJournal.open(folder) as journal,
    ):
        journal.account()


# ---------------------------------------------------------------------------------------------------- lock


def test_one_process_at_a_time_trades_an_account(folder: Path, store: TradingStore):
    store.begin_session(started_at_ms=RECORDED, pid=1234, host="H", code_version="1.0")
    with pytest.raises(StoreError) as refused, TradingStore.open(folder, wait_ms=50):
        pass
    assert str(refused.value) == (
        "the account paper is being traded by process 1234 on host H since 2025-08-02 09:00 UTC: stop it first, "
        "or trade another account with --account"
    )
    write(store, eventful_steps())  # nothing has disturbed it


def test_who_has_not_said_its_name_yet_is_another_process(folder: Path, store: TradingStore):
    said = r"is being traded by another process, which has just begun or is about to end \(.*trader.lock is taken\)"
    with pytest.raises(StoreError, match=said), TradingStore.open(folder, wait_ms=0):
        pass
    number = store.begin_session(started_at_ms=RECORDED, pid=1234, host="H", code_version="1.0")
    store.end_session(number, RECORDED + 1)
    with pytest.raises(StoreError, match=said), TradingStore.open(folder, wait_ms=0):
        pass


def test_a_lock_that_is_taken_before_there_is_a_file_is_respected(tmp_path: Path):
    with (
        writer_lock(tmp_path / LOCK_NAME, what="this", wait_ms=0),
        pytest.raises(StoreError, match="is being traded by another process"),
        TradingStore.open(tmp_path, wait_ms=0),
    ):
        pass
    assert not (tmp_path / FILE_NAME).exists()


def test_it_can_be_asked_whether_an_account_is_traded(folder: Path):
    assert not is_traded(folder)
    with trading(folder):
        assert is_traded(folder)
        assert is_traded(folder)
    assert not is_traded(folder)
    assert not folder.with_name("nowhere").exists()


def test_asking_holds_nobody_up(folder: Path):
    with trading(folder):
        pass
    for _ in range(20):
        assert not is_traded(folder)
        with trading(folder):
            assert is_traded(folder)


def test_going_on_after_closing_is_the_same_as_never_closing(tmp_path: Path):
    for number, step in enumerate(eventful_steps()):
        with trading(tmp_path / "often", checkpoint_every=2) as opened:
            if number == 0:
                opened.create(OPENING)
            write(opened, [step])
    with trading(tmp_path / "once") as opened:
        opened.create(OPENING)
        write(opened, eventful_steps())
    assert everything(tmp_path / "often") == everything(tmp_path / "once")
    assert tables.metadata.tables.keys() >= DIGESTED.keys()
