"""A sound ledger adds up, and one row altered, lost or added anywhere is found and named."""

import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.errors import LedgerMismatch, StoreError
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.simulation.state import EMPTY, HELD, PortfolioState
from crypto_tracker.store.database import open_engine, sqlite_module
from crypto_tracker.store.reconcile import Numbers, mismatch, reconcile
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import StepRecord
from crypto_tracker.trading.state import TraderState
from tests.store.ledger_maker import CLOSED, START_MS, STRATEGIES, Ledger, make_ledger
from tests.trading import worlds

LEDGER = make_ledger()
CURSOR_MS = LEDGER.cursor_ms
WAITING, RESTING, HALF_SOLD = "C000/USD", "C001/USD", "C002/USD"  # how the last round leaves symbols
TRADE = "C002/USD-dca-20250901T220100Z"  # the first that closed, with fills 2, 8, 16 ...


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "trading.db"
    LEDGER.write(path)
    return path


@pytest.fixture
def file(original, tmp_path):
    return Path(shutil.copy(original, tmp_path / "trading.db"))


def complaint(path: Path, ledger: Ledger = LEDGER, **others) -> str | None:
    engine = open_engine(path, read_only=True)
    facts = {
        "account": ledger.account,
        "portfolio": ledger.portfolio,
        "cursor_ms": ledger.cursor_ms,
        "version": ledger.version,
        "numbers": Numbers(setups=ledger.setups, fills=ledger.fills, trades=ledger.trades),
    }
    try:
        with engine.connect() as connection:
            return mismatch(connection, **(facts | others))
    finally:
        engine.dispose()


def tamper(path: Path, statement: str) -> None:
    """Change the file as someone would who goes past every rule of the database."""
    connection = sqlite_module().connect(str(path))
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    changed = connection.execute(statement).rowcount
    connection.commit()
    connection.close()
    assert changed == 1, f"the statement changed {changed} rows: {statement}"


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


# --- sound ------------------------------------------------------------------------------------------


def test_a_sound_ledger_adds_up(file):
    assert complaint(file) is None


def test_a_ledger_adds_up_also_where_the_numbers_are_not_known(file):
    assert complaint(file, numbers=None) is None


@given(
    rounds=st.integers(min_value=0, max_value=6),
    symbols=st.integers(min_value=1, max_value=9),
    room=st.integers(min_value=12, max_value=400),
    seed=st.integers(min_value=0, max_value=2**31),
)
@settings(max_examples=25, deadline=None)
def test_ledgers_of_any_size_add_up(tmp_path_factory, rounds, symbols, room, seed):
    ledger = make_ledger(rounds * symbols, symbols=symbols, minutes=(rounds + 1) * room, seed=seed)
    path = tmp_path_factory.mktemp("any") / "trading.db"
    ledger.write(path)
    assert complaint(path, ledger) is None


def just_opened(tmp_path: Path) -> tuple[Path, Ledger]:
    """An account whose first minute was not stepped yet."""
    kept = {"configurations", "account", "trader"}
    rows = {name: content for name, content in LEDGER.rows.items() if name in kept}
    opening = rows["configurations"][1][0]
    rows["configurations"] = rows["configurations"][0], [opening]
    rows["trader"] = rows["trader"][0], [(1, START_MS, opening[0], b"state")]
    fresh = PortfolioState.fresh(6, len(STRATEGIES), 1_000_000_00000000)
    ledger = replace(
        LEDGER,
        rows=rows,
        portfolio=fresh,
        cursor_ms=START_MS,
        version=opening[0],
        setups=0,
        fills=0,
        trades=0,
    )
    path = tmp_path / "opened.db"
    ledger.write(path)
    return path, ledger


def test_an_account_that_was_just_opened_adds_up(tmp_path):
    path, ledger = just_opened(tmp_path)
    assert complaint(path, ledger) is None


def test_a_configuration_may_change_before_the_first_minute(tmp_path):
    rows = dict(LEDGER.rows)
    (columns, (first, second)), (names, commands) = rows["configurations"], rows["commands_applied"]
    rows["configurations"] = columns, [first, (*second[:3], START_MS)]
    rows["commands_applied"] = (
        names,
        [(START_MS, 0, "configure", None, None, second[0], "change"), *commands[:3]],
    )
    names, answers = rows["command_results"]
    rows["command_results"] = (
        names,
        [(*row[:3], START_MS, *row[4:]) if row[0] == "change" else row for row in answers],
    )
    path = tmp_path / "changed.db"
    replace(LEDGER, rows=rows).write(path)
    connection = sqlite_module().connect(str(path))
    for table in ("minutes", "setups", "orders", "trades", "positions"):
        connection.execute(f"UPDATE {table} SET version = '{second[0]}'")
    connection.commit()
    connection.close()
    assert complaint(path) is None


def test_the_first_checkpoint_may_stand_before_the_first_minute_is_stepped(tmp_path):
    path, ledger = just_opened(tmp_path)
    tamper(path, f"INSERT INTO checkpoints VALUES ({START_MS}, '{ledger.version}', x'00')")
    assert complaint(path, ledger) is None


# --- the sentence -----------------------------------------------------------------------------------


def test_the_sentence_names_table_row_both_numbers_and_the_file(file):
    fills = [row for row in LEDGER.rows["fills"][1] if row[1] == TRADE and row[4] != "exit"]
    by_hand = sum(Decimal(row[7]) * Decimal(row[8]) for row in fills)
    tamper(file, f"UPDATE trades SET invested_quote = 50000000000 WHERE trade_group_id = '{TRADE}'")
    assert complaint(file) == (
        f"the ledger does not add up: trade {TRADE} in `trades` says invested_quote 500.00, "
        f"its `fills` add up to {by_hand:.5f}: restore {file} from a copy"
    )


def test_what_does_not_add_up_is_an_error_of_the_store(file):
    tamper(file, "UPDATE trades SET invested_quote = 1 WHERE trade_number = 0")
    engine = open_engine(file, read_only=True)
    with engine.connect() as connection, pytest.raises(LedgerMismatch) as raised:
        reconcile(
            connection,
            account=LEDGER.account,
            portfolio=LEDGER.portfolio,
            cursor_ms=CURSOR_MS,
            version=LEDGER.version,
        )
    engine.dispose()
    assert isinstance(raised.value, StoreError)
    assert str(raised.value).count("the ledger does not add up") == 1


# --- altered ----------------------------------------------------------------------------------------

FIRST = f"trade_group_id = '{TRADE}'"
ORDER = f"order_id = '{TRADE}/1'"
TAKEN = f"time_ms = {at(1)} AND symbol = 'C002/USD'"
ALTERED = [
    ("configurations", "canonical = canonical || ' '", f"first_ms = {START_MS}", "configuration"),
    ("configurations", "document = '{}'", f"first_ms = {START_MS}", "fees"),
    ("configurations", "document = replace(document, '0.003', '0.004')", f"first_ms = {START_MS}", "fees.taker"),
    ("configurations", "document = '{'", f"first_ms = {START_MS}", "the whole"),
    ("configurations", "version = 'abc'", f"first_ms = {START_MS}", "configuration abc"),
    ("configurations", "first_ms = first_ms + 60000", f"first_ms > {START_MS}", LEDGER.version),
    ("configurations", "first_ms = first_ms + 60000", f"first_ms = {START_MS}", "first_ms"),
    ("account", "kind = 'replay'", "1", "kind"),
    ("account", "symbols = replace(symbols, 'C005', 'C006')", "1", "C006/USD"),
    ("account", "reference = NULL", "1", "reference"),
    ("account", "providers = '{}'", "1", "providers"),
    ("account", "strategies = '[\"swing\", \"dca\"]'", "1", "strategies"),
    ("account", "capital_quote = capital_quote + 1", "1", "1000000.00000001"),
    ("account", "start_ms = start_ms - 60000", "1", "start_ms"),
    ("account", f"end_ms = {CURSOR_MS}", "1", "end_ms"),
    ("trader", "cursor_ms = cursor_ms - 60000", "1", str(CURSOR_MS)),
    ("trader", "version = 'abc'", "1", "abc"),
    ("checkpoints", "time_ms = time_ms + 60000", f"time_ms = {START_MS}", "2025-09-01 22:0"),
    ("checkpoints", "state = x''", f"time_ms = {START_MS}", "2025-09-01 22:00"),
    ("minutes", "time_ms = time_ms + 1", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", f"time_ms = {CURSOR_MS}", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", f"version = '{LEDGER.version}'", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", "version = 'abc'", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", "cash_quote = cash_quote + 1", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", "reserved_quote = reserved_quote - 1", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", "equity_quote = 1", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", "cash_quote = cash_quote + reserved_quote + 1, reserved_quote = -1", f"time_ms = {at(17)}", "2025-09-01 22:17"),
    ("minutes", "equity_quote = equity_quote + 1", f"time_ms = {at(359)}", "2025-09-02 03:59"),
    ("minutes", "cash_quote = cash_quote + 1, reserved_quote = reserved_quote - 1", f"time_ms = {at(359)}", "2025-09-02 03:59"),
    ("setups", "setup_number = 99", "setup_number = 3", "setup 4"),
    ("setups", "setup_number = NULL", "setup_number = 3", "setup 4"),
    ("setups", "time_ms = time_ms + 60000", TAKEN, "setup"),
    ("setups", "time_ms = 1", TAKEN, "setup"),
    ("setups", "symbol = 'C009/USD'", TAKEN, "C009/USD"),
    ("setups", "strategy = 'swing'", TAKEN, "C002/USD swing"),
    ("setups", "verdict = 'SKIP', reason = 'cooldown'", TAKEN, "SKIP"),
    ("setups", "verdict = 'SKIP'", TAKEN, "SKIP"),
    ("setups", "verdict = 'TAKE', reason = 'accepted'", "setup_number = (SELECT MAX(setup_number) FROM setups WHERE verdict = 'SKIP')", "setup C"),
    ("setups", "reason = 'cooldown'", TAKEN, "cooldown"),
    ("setups", "fallback = 1", TAKEN, "fallback"),
    ("setups", "version = 'abc'", TAKEN, "abc"),
    ("setups", "verdict = 'SKIP', reason = 'cooldown'", f"time_ms = {CURSOR_MS} AND symbol = '{WAITING}'", WAITING),
    ("orders", "order_id = 'x'", ORDER, "order x"),
    ("orders", "trade_group_id = 'x'", ORDER, "x"),
    ("orders", "symbol = 'C009/USD'", ORDER, f"{TRADE}/1"),
    ("orders", "strategy = 'swing'", ORDER, f"{TRADE}/1"),
    ("orders", "kind = 'market', rung = 0", ORDER, f"{TRADE}/1"),
    ("orders", "rung = 5", ORDER, f"{TRADE}/2"),
    ("orders", "quote = quote + 1", ORDER, f"{TRADE}/1"),
    ("orders", "placed_ms = placed_ms - 60000", ORDER, f"{TRADE}/1"),
    ("orders", "ended_ms = ended_ms + 60000", ORDER, f"{TRADE}/1"),
    ("orders", "status = 'cancelled'", ORDER, f"{TRADE}/1"),
    ("orders", "status = 'filled', reason = NULL", "order_id = 'C003/USD-swing-20250901T220200Z/2'", "C003/USD-swing-20250901T220200Z/2"),
    ("orders", "reason = 'cancelled'", ORDER, f"{TRADE}/1"),
    ("orders", "status = 'open', ended_ms = NULL", ORDER, f"{TRADE}/1"),
    ("orders", "status = 'partially_filled', ended_ms = NULL", ORDER, f"{TRADE}/1"),
    ("orders", "version = 'abc'", ORDER, "abc"),
    ("orders", "version = 'abc'", f"order_id = '{TRADE}/0'", f"{TRADE}/0"),
    ("orders", "symbol = 'C009/USD'", f"order_id = '{TRADE}/0'", "C002/USD dca 2025-09-01 22:01"),
    ("orders", "placed_ms = placed_ms - 60000", f"order_id = '{TRADE}/0'", "C002/USD dca 2025-09-01 22:01"),
    ("orders", "limit_price = '1.5'", f"symbol = '{RESTING}' AND status = 'open'", f"{RESTING}-"),
    ("orders", f"status = 'expired', reason = 'expired', ended_ms = {CURSOR_MS}", f"symbol = '{WAITING}' AND status = 'open' AND rung = 0", f"{WAITING}-"),
    ("orders", f"status = 'filled', ended_ms = {CURSOR_MS}", f"symbol = '{RESTING}' AND status = 'partially_filled'", f"{RESTING}-"),
    ("fills", "sequence = 999", "sequence = 7", "fill 8"),
    ("fills", "trade_group_id = 'x'", "sequence = 7", "fill 7"),
    ("fills", "trade_group_id = replace(trade_group_id, 'T22', 'T23')", "sequence = 7", TRADE),
    ("fills", "symbol = 'C009/USD'", "sequence = 7", "fill 7"),
    ("fills", "strategy = 'ratio'", "sequence = 7", "fill 7"),
    ("fills", "kind = 'exit'", "sequence = 7", "fill 7"),
    ("fills", "kind = 'exit', exit_reason = 'manual', rung = 0", "sequence = 7", "22:03"),
    ("fills", "rung = 0", "sequence = 7", "fill 7"),
    ("fills", "bar_open_ms = bar_open_ms + 6000000", "sequence = 7", "fill 8"),
    ("fills", "bar_open_ms = bar_open_ms - 60000", "sequence = 7", "fill 7"),
    ("fills", f"bar_open_ms = {CURSOR_MS}", "sequence = (SELECT MAX(sequence) FROM fills)", "`fills`"),
    ("fills", "price = '452.22'", "sequence = 7", "452.22"),
    ("fills", "quantity = '0.001'", "sequence = 7", "0.001"),
    ("fills", "notional_quote = notional_quote + 1", "sequence = 7", "fill 7"),
    ("fills", "fee_quote = fee_quote + 1", "sequence = 7", "22:03"),
    ("fills", "fee_quote = -1", "sequence = 7", "fill 7"),
    ("fills", "slippage_quote = slippage_quote + 1", "sequence = 7", "C002/USD-dca"),
    ("fills", "slippage_quote = -1", "sequence = 7", "fill 7"),
    ("fills", "exit_reason = 'manual'", "sequence = 7", "fill 7"),
    ("fills", "exit_reason = 'manual'", "sequence = (SELECT MIN(sequence) FROM fills WHERE kind = 'exit')", "manual"),
    ("trades", "trade_number = 99", FIRST, "trade 1"),
    ("trades", "trade_group_id = 'x'", FIRST, "trade x"),
    ("trades", "symbol = 'C009/USD'", FIRST, TRADE),
    ("trades", "strategy = 'swing'", FIRST, TRADE),
    ("trades", "decision_ms = decision_ms + 60000", FIRST, TRADE),
    ("trades", "entry_ms = entry_ms + 60000", FIRST, TRADE),
    ("trades", "exit_ms = exit_ms - 60000", FIRST, TRADE),
    ("trades", "exit_ms = exit_ms + 6000000", FIRST, "trade 1"),
    ("trades", "entry_price = '688.4181'", FIRST, TRADE),
    ("trades", "exit_price = '728.50'", FIRST, TRADE),
    ("trades", "entry_price = 'much'", FIRST, TRADE),
    ("trades", "quantity = '0.288'", FIRST, TRADE),
    ("trades", "invested_quote = invested_quote + 1", FIRST, TRADE),
    ("trades", "fee_quote = fee_quote + 1", FIRST, TRADE),
    ("trades", "slippage_quote = slippage_quote + 1", FIRST, TRADE),
    ("trades", "pnl_quote = pnl_quote + 1", FIRST, TRADE),
    ("trades", "return_net = return_net + 0.0000001", FIRST, TRADE),
    ("trades", "exit_reason = 'manual'", FIRST, TRADE),
    ("trades", "entry_fills = entry_fills + 1", FIRST, TRADE),
    ("trades", "fallback = 1", FIRST, TRADE),
    ("trades", "version = 'abc'", FIRST, TRADE),
    ("positions", "symbol = 'C009/USD'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "trade_group_id = 'x'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "strategy = 'other'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "decision_ms = 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "entry_ms = 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "entry_price = '1'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "exit_price = '1'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "exit_price = '1'", f"symbol = '{HALF_SOLD}'", HALF_SOLD),
    ("positions", "exit_price = NULL", f"symbol = '{HALF_SOLD}'", HALF_SOLD),
    ("positions", "quantity = '0.5'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "open_quantity = '0.5'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "open_quantity = quantity", f"symbol = '{HALF_SOLD}'", HALF_SOLD),
    ("positions", "invested_quote = invested_quote + 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "fee_quote = fee_quote + 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "slippage_quote = slippage_quote + 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "pnl_quote = pnl_quote + 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "return_net = 0.5", f"symbol = '{RESTING}'", RESTING),
    ("positions", "exit_reason = 'manual'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "entry_fills = 9", f"symbol = '{RESTING}'", RESTING),
    ("positions", "ambiguous = 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "fallback = 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "mark_price = 1.0", f"symbol = '{RESTING}'", RESTING),
    ("positions", "stop_price = 1.0", f"symbol = '{RESTING}'", RESTING),
    ("positions", "target_price = 1.0", f"symbol = '{RESTING}'", RESTING),
    ("positions", "trailing_armed = 0", f"symbol = '{RESTING}'", RESTING),
    ("positions", "due_ms = due_ms + 1", f"symbol = '{RESTING}'", RESTING),
    ("positions", "exit_pending = 'manual'", f"symbol = '{RESTING}'", RESTING),
    ("positions", "exit_pending = NULL", f"symbol = '{HALF_SOLD}'", HALF_SOLD),
    ("positions", "version = 'abc'", f"symbol = '{RESTING}'", RESTING),
    ("commands_applied", "time_ms = time_ms + 60000", "kind = 'pause'", "commands"),
    ("commands_applied", "sequence = 7", "kind = 'pause'", "2025-09-01 22:01"),
    ("commands_applied", "command_id = 'other'", "sequence = 0 AND kind = 'close'", "other"),
    ("commands_applied", "command_id = 'unknown'", "sequence = 0 AND kind = 'close'", "unknown"),
    ("commands_applied", "command_id = NULL", "kind = 'configure'", "change"),
    ("commands_applied", "value = 'abc'", "kind = 'configure'", "abc"),
    ("commands_applied", "kind = 'pause'", "kind = 'configure'", LEDGER.version),
    ("command_results", "command_id = 'other'", "command_id = 'worst'", "worst"),
    ("command_results", "status = 'refused'", "command_id = 'worst'", "worst"),
    ("command_results", "status = 'applied'", "command_id = 'unknown'", "unknown"),
    ("command_results", "time_ms = time_ms + 60000", "command_id = 'worst'", "worst"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "change", "where", "key"), ALTERED, ids=lambda value: str(value)[:40])
def test_a_value_that_was_altered_is_found_and_named(file, table, change, where, key):
    tamper(file, f"UPDATE {table} SET {change} WHERE {where}")
    sentence = complaint(file)
    assert sentence is not None
    assert f"`{table}`" in sentence
    assert key in sentence
    assert str(file) in sentence


# --- lost -------------------------------------------------------------------------------------------

LOST = [
    ("configurations", f"first_ms = {START_MS}", "configurations"),
    ("configurations", f"first_ms > {START_MS}", LEDGER.version),
    ("account", "1", "`account` has 0 rows"),
    ("trader", "1", "`trader` has 0 rows"),
    ("checkpoints", f"time_ms = {START_MS}", "2025-09-01 22:00"),
    ("checkpoints", f"time_ms > {START_MS}", "2025-09-02 00:00"),
    ("minutes", f"time_ms = {START_MS}", "2025-09-01 22:00"),
    ("minutes", f"time_ms = {at(200)}", "2025-09-02 01:20"),
    ("minutes", f"time_ms = {at(359)}", "2025-09-02 03:58"),
    ("setups", "setup_number = 0", "setup 1"),
    ("setups", "setup_number = 5", "setup 6"),
    ("setups", "setup_number = (SELECT MAX(setup_number) FROM setups)", "`setups`"),
    ("orders", f"order_id = '{TRADE}/0'", "C002/USD dca 2025-09-01 22:01"),
    ("orders", f"order_id = '{TRADE}/1'", f"{TRADE}/2"),
    ("orders", f"symbol = '{RESTING}' AND status = 'open'", RESTING),
    ("fills", "sequence = 0", "fill 1"),
    ("fills", "sequence = 20", "fill 21"),
    ("fills", "sequence = (SELECT MAX(sequence) FROM fills)", "`fills`"),
    ("trades", "trade_number = 0", "trade 1"),
    ("trades", "trade_number = 11", "`trades`"),
    ("positions", f"symbol = '{RESTING}'", RESTING),
    ("commands_applied", "sequence = 0 AND kind = 'close'", "2025-09-01 22:01"),
    ("commands_applied", "kind = 'configure'", LEDGER.version),
    ("command_results", "command_id = 'worst'", "worst"),
]


@pytest.mark.parametrize(("table", "where", "key"), LOST)
def test_a_row_that_was_lost_is_found_and_named(file, table, where, key):
    tamper(file, f"DELETE FROM {table} WHERE {where}")
    sentence = complaint(file)
    assert sentence is not None
    assert key in sentence
    assert f"`{table}`" in sentence


@pytest.mark.parametrize("table", ["fills", "trades"])
def test_the_last_row_is_missed_even_where_no_number_is_remembered(file, table):
    number = {"fills": "sequence", "trades": "trade_number"}[table]
    tamper(file, f"DELETE FROM {table} WHERE {number} = (SELECT MAX({number}) FROM {table})")
    assert complaint(file, numbers=None) is not None


# --- added ------------------------------------------------------------------------------------------


def copied(table: str, where: str, **values: object) -> str:
    """A statement that adds a copy of one row with other values."""
    content = LEDGER.rows[table][0]
    picked = ", ".join(str(values.get(column, column)) for column in content)
    return f"INSERT INTO {table} ({', '.join(content)}) SELECT {picked} FROM {table} WHERE {where}"


ADDED = [
    ("configurations", copied("configurations", f"first_ms = {START_MS}", version="'abc'"), "configuration abc"),
    ("account", copied("account", "1", account_id=2), "`account` has 2 rows"),
    ("trader", copied("trader", "1", trader_id=2), "`trader` has 2 rows"),
    ("checkpoints", copied("checkpoints", f"time_ms = {START_MS}", time_ms=at(60)), "2025-09-01 23:00"),
    ("minutes", copied("minutes", f"time_ms = {at(359)}", time_ms=CURSOR_MS), "2025-09-02 04:00"),
    ("minutes", copied("minutes", f"time_ms = {START_MS}", time_ms=at(-1)), "2025-09-01 21:59"),
    ("setups", copied("setups", "setup_number = 0", time_ms=at(9), setup_number=999), "setup 999"),
    ("setups", copied("setups", f"setup_number = {LEDGER.setups - 1}", time_ms=CURSOR_MS, symbol="'C999/USD'", setup_number=LEDGER.setups), "`setups`"),
    ("orders", copied("orders", f"order_id = '{TRADE}/0'", order_id="'x/0'", trade_group_id="'x'"), "order x/0"),
    ("orders", copied("orders", f"order_id = '{TRADE}/2'", order_id=f"'{TRADE}/4'", rung=4), f"{TRADE}/4"),
    ("orders", copied("orders", f"symbol = '{WAITING}' AND status = 'open' AND rung = 2", order_id="order_id || '3'", rung=23), "/23"),
    ("orders", copied("orders", f"symbol = '{WAITING}' AND status = 'open' AND rung = 2", order_id="trade_group_id || '/3'", rung=3), "/3"),
    ("fills", copied("fills", "sequence = 0", sequence=-1), "fill -1"),
    ("fills", copied("fills", f"sequence = {LEDGER.fills - 1}", sequence=LEDGER.fills), "`fills`"),
    ("trades", copied("trades", "trade_number = 11", trade_number=12, trade_group_id="'x'"), "`trades`"),
    ("positions", copied("positions", f"symbol = '{RESTING}'", symbol="'C000/USD'", trade_group_id="'x'"), "C000/USD"),
    ("commands_applied", copied("commands_applied", "kind = 'pause'", sequence=9), "2025-09-01 22:01"),
    ("commands_applied", copied("commands_applied", "kind = 'pause'", sequence=3, command_id="'unheard'"), "unheard"),
    ("command_results", copied("command_results", "command_id = 'worst'", command_id="'unheard'"), "unheard"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "statement", "key"), ADDED)
def test_a_row_that_was_added_is_found_and_named(file, table, statement, key):
    tamper(file, statement)
    sentence = complaint(file)
    assert sentence is not None
    assert key in sentence
    assert f"`{table}`" in sentence


@pytest.mark.parametrize("table", ["fills", "trades"])
def test_a_row_at_the_end_is_found_even_where_no_number_is_remembered(file, table):
    statements = {
        "fills": copied("fills", f"sequence = {LEDGER.fills - 1}", sequence=LEDGER.fills),
        "trades": copied("trades", "trade_number = 11", trade_number=12, trade_group_id="'x'"),
    }
    tamper(file, statements[table])
    assert complaint(file, numbers=None) is not None


# --- the state --------------------------------------------------------------------------------------

STATE = [
    ("book", 0, "cash", 1, "cash"),
    ("book", 0, "reserved", 1, "reserve"),
    ("book", 0, "equity", 1, "equity"),
    ("book", 0, "next_trade", 1, "`trades`"),
    ("slots", 1, "held", -1.0, RESTING),
    ("slots", 1, "bought", 1.0, RESTING),
    ("slots", 2, "sold", 1.0, HALF_SOLD),
    ("slots", 1, "cost", 1.0, RESTING),
    ("slots", 2, "proceeds", 1.0, HALF_SOLD),
    ("slots", 1, "average", 0.01, RESTING),
    ("slots", 1, "average", -1e9, RESTING),
    ("slots", 1, "invested", 1, RESTING),
    ("slots", 2, "returned", 1, HALF_SOLD),
    ("slots", 1, "fees", 1, RESTING),
    ("slots", 1, "slippage", 1, RESTING),
    ("slots", 1, "entry_fills", 1, RESTING),
    ("slots", 1, "exit_fills", 1, RESTING),
    ("slots", 1, "first_fill_ms", 1, RESTING),
    ("slots", 1, "decision_ms", 60_000, RESTING),
    ("slots", 1, "setup", -1, RESTING),
    ("slots", 1, "setup", 1000, RESTING),
    ("slots", 1, "strategy", -1, RESTING),
    ("slots", 1, "stop", 10_000.0, RESTING),
    ("slots", 1, "trail", -1.0, RESTING),
    ("slots", 1, "target", 1.0, RESTING),
    ("slots", 1, "max_hold_ms", 1, RESTING),
    ("slots", 1, "request", 5, RESTING),
    ("slots", 2, "trigger", 1, HALF_SOLD),
    ("slots", 2, "exit_reason", 1, HALF_SOLD),
    ("coins", 1, "last_close", 1.0, RESTING),
    ("parts", (1, 1), "reserve", 1, "reserve"),
    ("parts", (1, 1), "quote", 1, RESTING),
    ("parts", (1, 2), "price", 1.0, RESTING),
    ("parts", (0, 0), "quote", 1, WAITING),
    ("slots", 0, "quote", 1, WAITING),
]


@pytest.mark.parametrize(("array", "index", "field", "by", "key"), STATE)
def test_a_state_that_was_altered_is_found(file, array, index, field, by, key):
    state = LEDGER.portfolio.copy()
    getattr(state, array)[index][field] += by
    sentence = complaint(file, portfolio=state)
    assert sentence is not None
    assert key in sentence


def emptied(state: PortfolioState) -> None:
    state.slots[1]["phase"] = EMPTY


def filled(state: PortfolioState) -> None:
    state.slots[0]["phase"] = HELD


def without_a_rung(state: PortfolioState) -> None:
    state.parts[1, 2]["open"] = False


def with_a_rung_more(state: PortfolioState) -> None:
    state.parts[2, 2]["open"] = True


def with_a_rung_of_nothing(state: PortfolioState) -> None:
    state.slots[0]["phase"] = EMPTY


def not_armed(state: PortfolioState) -> None:
    state.slots[1]["armed"] = False


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (emptied, RESTING),
        (filled, WAITING),
        (without_a_rung, RESTING),
        (with_a_rung_more, HALF_SOLD),
        (with_a_rung_of_nothing, WAITING),
        (not_armed, RESTING),
    ],
)
def test_a_state_of_another_shape_is_found(file, change, key):
    state = LEDGER.portfolio.copy()
    change(state)
    sentence = complaint(file, portfolio=state)
    assert sentence is not None
    assert key in sentence


def test_a_state_of_fewer_symbols_is_found(file):
    state = PortfolioState.fresh(3, 2, 1)
    assert "symbols" in str(complaint(file, portfolio=state))


@pytest.mark.parametrize("name", ["setups", "fills", "trades"])
def test_a_state_that_has_counted_otherwise_is_found(file, name):
    numbers = Numbers(setups=LEDGER.setups, fills=LEDGER.fills, trades=LEDGER.trades)
    sentence = complaint(file, numbers=numbers._replace(**{name: getattr(numbers, name) + 1}))
    assert f"`{name}` has numbered rows up to {getattr(numbers, name) - 1}" in str(sentence)


def test_a_cursor_between_two_minutes_is_found(file):
    tamper(file, f"UPDATE trader SET cursor_ms = {CURSOR_MS + 1}")
    assert "no whole number of minutes" in str(complaint(file, cursor_ms=CURSOR_MS + 1))


def test_a_trade_that_is_closed_is_not_held_as_well(file):
    state = LEDGER.portfolio.copy()
    columns, rows = LEDGER.rows["trades"]
    closed = dict(zip(columns, rows[0], strict=True))
    setup = next(
        row for row in LEDGER.rows["setups"][1] if row[0] == closed["decision_ms"] and row[1] == HALF_SOLD
    )
    slot = state.slots[2]
    slot["setup"], slot["decision_ms"], slot["strategy"] = setup[3], setup[0], STRATEGIES.index(setup[2])
    sentence = str(complaint(file, portfolio=state))
    assert HALF_SOLD in sentence
    assert "`fills`" in sentence


def test_the_tampered_ledgers_have_every_kind_of_order_and_trade():
    """What the tests above tamper with is there: ladders that wait, rest and were cancelled, sales in two parts."""
    statuses = {row[8] for row in LEDGER.rows["orders"][1]}
    assert statuses == {"open", "partially_filled", "filled", "cancelled"}
    assert {row[15] for row in LEDGER.rows["trades"][1]} == {"take_profit", "stop_loss"}
    phases = LEDGER.portfolio.slots["phase"]
    assert np.count_nonzero(phases == HELD) == 4
    assert len(LEDGER.rows["trades"][1]) == 12 != CLOSED


# --- a trader's own ---------------------------------------------------------------------------------


@pytest.mark.nightly
def test_what_a_trader_writes_adds_up_after_every_minute(tmp_path):
    home = worlds.new_home(tmp_path / "home", wishes=worlds.MEDDLED)
    folder = worlds.account_folder(home)
    wrong = []

    def look(record: StepRecord) -> bool:
        state = TraderState.from_bytes(record.state)
        with TradingJournal.open(folder) as journal, journal.reading() as connection:
            sentence = mismatch(
                connection,
                account=journal.account(),
                portfolio=state.portfolio,
                cursor_ms=state.cursor_ms,
                version=state.version,
                numbers=Numbers(state.next_setup, state.next_fill, state.next_trade),
            )
        if sentence is not None:
            wrong.append((record.time_ms, sentence))
        return bool(wrong)

    watcher = worlds.trade(home, enough=look)
    assert wrong == []
    assert len(watcher.steps) == (worlds.END_MS - worlds.START_MS) // MINUTE_MS
