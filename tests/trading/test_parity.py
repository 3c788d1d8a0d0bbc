"""Parity finds nothing where nothing was touched, and whatever was touched by its cause."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.control import Command, ControlStore
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import StepRecord
from crypto_tracker.strategies.dca import Dca
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.parity import Outcome, check
from crypto_tracker.trading.parity_report import Difference, Kind
from crypto_tracker.trading.seen import decode_rows, encode_rows
from crypto_tracker.trading.setting import configuration_row
from crypto_tracker.trading.state import TraderState
from tests.app.conftest import run_command
from tests.trading import worlds
from tests.trading.worlds import END_MS, OUTAGE_MS, PAIRS, START_MS

ACCOUNT = "trader"
NOW = datetime(2025, 3, 20, tzinfo=UTC)  # so that March is in the hot tier
MIDNIGHT_MS = START_MS - START_MS % DAY_MS + DAY_MS
BTC, ETH, SOL, DOGE, PEPE = (Symbol(base, "USD") for base in ("BTC", "ETH", "SOL", "DOGE", "PEPE"))


def at(hours: int, minutes: int = 0) -> int:
    """So long after the account's start."""
    return START_MS + hours * HOUR_MS + minutes * MINUTE_MS


# Symbol, minutes that are not there at first, and when they come in (None for never).
LATE = (
    (SOL, at(2, 3), at(2, 10), at(2, 15)),  # before the midnight at which they are healed
    (BTC, at(3, 10), at(3, 12), at(4)),
    (SOL, at(5, 35), at(5, 38), at(7)),  # it would have been bought at the first of these opens
    (PEPE, at(10), at(10, 20), None),
)
REVISED = (DOGE, at(1), at(1, 3), at(1, 30))


def build_home(home: Path) -> Path:
    """The busy market with holes."""
    made = worlds.synthetic_market()
    with _store(home) as store:
        for symbol in made.symbols:
            earlier = made.panel([symbol], worlds.GENESIS_MS, worlds.MINUTES_FROM_MS)
            for timeframe in (Timeframe.M15, Timeframe.H4, Timeframe.D1):
                bars = BarBatch.of_column(resample(earlier, timeframe), symbol)
                covered = [(worlds.GENESIS_MS, worlds.MINUTES_FROM_MS)]
                store.write(worlds.PROVIDER, symbol, timeframe, bars, covered)
            holes = [(first, last) for name, first, last, _ in LATE if name == symbol]
            edges = [worlds.MINUTES_FROM_MS, *(edge for hole in holes for edge in hole), END_MS]
            for first, last in zip(edges[::2], edges[1::2], strict=True):
                bring(store, symbol, first, last)
    return home


@contextmanager
def _store(home: Path) -> Iterator[BarStore]:
    with BarStore.open(home, market_data=worlds.market_data(), clock=ManualClock(NOW)) as store:
        yield store


def bring(store: BarStore, symbol: Symbol, first_ms: int, last_ms: int, *, factor: float = 1.0) -> None:
    """Write the market's minutes of [first_ms, last_ms), their prices times `factor`."""
    for _, bars, covered in worlds.synthetic_market().batches([symbol], first_ms, last_ms, days=31):
        prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
        store.write(worlds.PROVIDER, symbol, Timeframe.M1, replace(bars, **prices), covered)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose account was traded through holes, late bars, commands of people, and five restarts."""
    made = build_home(tmp_path_factory.mktemp("parity") / "home")
    worlds.tell(worlds.account_folder(made, ACCOUNT))
    coming = [(arrives, symbol, first, last, 1.0) for symbol, first, last, arrives in LATE if arrives]
    symbol, first, last, arrives = REVISED
    coming.append((arrives, symbol, first, last, 1.001))
    for arrives, symbol, first, last, factor in sorted(coming, key=lambda each: each[0]):
        worlds.trade(made, name=ACCOUNT, enough=lambda record, due=arrives: record.time_ms >= due)
        with _store(made) as store:
            bring(store, symbol, first, last, factor=factor)
    worlds.trade(made, name=ACCOUNT)
    return made


def without_accounts(home: Path, to: Path) -> Path:
    """A copy of the bars of a home."""
    return Path(shutil.copytree(home, to, ignore=shutil.ignore_patterns("accounts")))


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A copy of the account that may be tampered with."""
    return Path(shutil.copytree(worlds.account_folder(home, ACCOUNT), tmp_path / "account"))


def prove(
    home: Path,
    folder: Path,
    start_ms: int | None = None,
    end_ms: int | None = None,
    *,
    complete: bool = False,
) -> Outcome:
    """The check of an account's folder over the bars of a home."""
    with TradingJournal.open(folder) as journal:
        account = journal.account()
        assert account is not None
        with MinuteFeed.open(home, {name: account.providers[name] for name in account.watched}) as feed:
            return check(
                journal,
                feed,
                builtin(),
                start_ms=start_ms,
                end_ms=end_ms,
                code_version="0.1.0",
                complete=complete,
                tell=lambda _: None,
            )


def test_an_account_that_was_traded_through_everything_has_no_difference(home: Path):
    outcome = prove(home, worlds.account_folder(home, ACCOUNT), complete=True)
    assert outcome.proof.differences == []
    compared = outcome.proof.compared
    assert compared.minutes == (END_MS - START_MS) // MINUTE_MS
    assert compared.scans > 1_000
    assert compared.fills > 50
    assert compared.trades > 10
    assert len(outcome.proof.recorded_by) == 1


def test_what_late_bars_cost_is_a_figure_of_its_own(home: Path):
    cost = prove(home, worlds.account_folder(home, ACCOUNT), complete=True).cost
    assert cost is not None
    missing = sum((last - first) // MINUTE_MS for _, first, last, arrives in LATE if arrives is None)
    missing += len(PAIRS) * (OUTAGE_MS[1] - OUTAGE_MS[0]) // MINUTE_MS
    assert (cost.bars.late, cost.bars.revised, cost.bars.missing) == (7 + 2 + 3, 3, missing)
    # SOL waited three minutes for an open to be bought at, and was not ready for scans until the hole was healed.
    ((seen, complete),) = cost.other_result
    assert (to_ms(seen.entry_time), to_ms(complete.entry_time)) == (at(5, 38), at(5, 35))
    assert cost.only_seen == []
    assert {each.symbol for each in cost.only_complete} == {SOL}
    assert cost.trades[1] == cost.trades[0] - len(cost.only_seen) + len(cost.only_complete)
    assert cost.cost_quote == cost.equity_quote[1] - cost.equity_quote[0] != 0


def test_a_span_begins_at_the_checkpoint_before_it_and_ends_with_its_day(home: Path):
    folder = worlds.account_folder(home, ACCOUNT)
    proof = prove(home, folder, MIDNIGHT_MS + HOUR_MS, MIDNIGHT_MS + 2 * HOUR_MS).proof
    assert (proof.start_ms, proof.end_ms) == (MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS)
    assert proof.differences == []
    assert proof.compared.minutes == DAY_MS // MINUTE_MS
    first = prove(home, folder, end_ms=START_MS + MINUTE_MS).proof
    assert (first.start_ms, first.end_ms, first.count) == (START_MS, MIDNIGHT_MS, 0)


def test_a_span_in_which_nothing_was_traded_is_refused(home: Path):
    folder = worlds.account_folder(home, ACCOUNT)
    with pytest.raises(UsageError, match="traded nothing in this span: it was traded from 2025-03-01 21:40"):
        prove(home, folder, END_MS, END_MS + DAY_MS)


# ---------------------------------------------------------------------------------- tampering


def alter(folder: Path, statement: str, *values: object) -> None:
    """Change the records of an account behind its back."""
    with sqlite3.connect(folder / "trading.db") as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def rows_of(folder: Path, query: str) -> list[tuple]:
    """All rows that a query on an account's records gives."""
    with closing(sqlite3.connect(folder / "trading.db")) as connection:
        return connection.execute(query).fetchall()


def told(folder: Path, query: str, *values: object) -> tuple:
    """The first row of what an account has recorded."""
    with sqlite3.connect(folder / "trading.db") as connection:
        row = connection.execute(query, values).fetchone()
    connection.close()
    return tuple(row)


def roots(outcome: Outcome) -> list[Difference]:
    return outcome.proof.roots


def clock(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")


def test_an_altered_fill_is_one_difference(home: Path, folder: Path):
    minute, group = told(folder, "SELECT bar_open_ms, trade_group_id FROM fills WHERE sequence = 40")
    alter(folder, "UPDATE fills SET price = '1.5' WHERE sequence = 40")
    (found,) = prove(home, folder).proof.differences
    assert (found.kind, found.minute_ms, found.trade_group_id) == (Kind.FILL, minute, group)
    assert "recorded was 1.5" in found.says
    assert found.cause == "a fill was altered after it was written"


def test_a_deleted_fill_is_one_difference(home: Path, folder: Path):
    alter(folder, "DELETE FROM fills WHERE sequence = 0")
    (found,) = prove(home, folder).proof.differences
    assert found.says.endswith("comes of the re-run, and none is recorded")
    assert found.cause == "a fill was altered after it was written"


def test_an_altered_trade_is_one_difference(home: Path, folder: Path):
    alter(folder, "UPDATE trades SET pnl_quote = pnl_quote + 1 WHERE trade_number = 3")
    (found,) = prove(home, folder).proof.differences
    assert found.kind is Kind.TRADE
    assert "pnl_quote" in found.says
    assert found.cause == "a trade was altered after it was written"


def test_altered_money_is_one_difference(home: Path, folder: Path):
    alter(folder, "UPDATE minutes SET equity_quote = equity_quote + 1 WHERE time_ms = ?", at(4))
    (found,) = prove(home, folder).proof.differences
    assert (found.kind, found.minute_ms, found.end_ms) == (Kind.EQUITY, at(4), at(4, 1))
    assert found.cause == "the money at the close was altered after it was written"


def test_an_altered_answer_is_one_difference(home: Path, folder: Path):
    query = (
        "SELECT time_ms, symbol, strategy FROM setups WHERE verdict = 'TAKE' ORDER BY setup_number LIMIT 1"
    )
    close_ms, symbol, strategy = told(folder, query)
    alter(
        folder,
        "UPDATE setups SET verdict = 'SKIP', reason = 'no_cash' WHERE time_ms = ? AND symbol = ? AND strategy = ?",
        *(close_ms, symbol, strategy),
    )
    (found,) = prove(home, folder).proof.differences
    assert found.minute_ms == close_ms - MINUTE_MS
    assert found.says.startswith("the portfolio answers accepted, recorded was no_cash")
    assert found.cause == "a setup, or what it was answered from, was altered after it was written"


def test_an_altered_scan_is_one_difference(home: Path, folder: Path):
    (block,) = told(folder, "SELECT block FROM decision_blocks WHERE strategy = 'DCA' AND time_ms = ?", at(3))
    alter(folder, "UPDATE decision_blocks SET block = ? WHERE strategy = 'DCA' AND time_ms = ?", block, at(9))
    (found,) = prove(home, folder).proof.differences
    assert (found.kind, found.strategy, found.minute_ms) == (Kind.SCAN, "DCA", at(9) - MINUTE_MS)
    assert found.cause == "a scan was altered after it was written"


def test_an_altered_coarser_bar_is_the_cause_of_what_comes_of_it(home: Path, folder: Path):
    close_ms = at(12) - at(12) % (15 * MINUTE_MS)
    key = ("traded", "15m", close_ms - 15 * MINUTE_MS)
    (block,) = told(
        folder, "SELECT block FROM seen_rows WHERE part = ? AND timeframe = ? AND time_ms = ?", *key
    )
    rows = decode_rows(block)
    rows.values[:4, 0, sorted(PAIRS).index(ETH)] *= 0.5
    alter(
        folder,
        "UPDATE seen_rows SET block = ? WHERE part = ? AND timeframe = ? AND time_ms = ?",
        *(encode_rows(rows), *key),
    )
    outcome = prove(home, folder)
    root, *others = outcome.proof.differences
    assert (root.kind, root.minute_ms, root.symbols, root.root) == (
        Kind.BARS,
        close_ms - MINUTE_MS,
        (ETH,),
        True,
    )
    assert root.cause.startswith(f"the 15m bar of ETH/USD at {clock(key[2])} in the journal is not what its")
    assert root.cause.endswith("the journal was altered")
    assert {each.kind for each in others} >= {Kind.SCAN}
    follows = f"follows from the difference at {clock(close_ms - MINUTE_MS)} (bars of ETH/USD)"
    assert {each.cause for each in others} == {follows}


def test_a_deleted_command_is_the_cause_of_what_comes_of_it(home: Path, folder: Path):
    alter(folder, "DELETE FROM commands_applied WHERE kind = 'close' AND time_ms = ?", at(8))
    root, *others = prove(home, folder).proof.differences
    assert (root.kind, root.minute_ms) == (Kind.RECORD, at(8))
    assert root.cause == f"the records of the minute {clock(at(8))} were altered after they were written"
    assert {Kind.FILL, Kind.TRADE, Kind.EQUITY} <= {each.kind for each in others}
    assert {each.cause for each in others} == {
        f"follows from the difference at {clock(at(8))} (altered records)"
    }


def test_an_altered_median_is_found(home: Path, folder: Path):
    alter(folder, "UPDATE range_medians SET median = median * 1000 WHERE symbol = 'ETH/USD'")
    found = roots(prove(home, folder))
    assert found[0].kind is Kind.RECORD
    assert all(each.kind is Kind.RECORD for each in found)


def test_a_deleted_minute_is_found(home: Path, folder: Path):
    alter(folder, "DELETE FROM minutes WHERE time_ms = ?", at(6))
    found = roots(prove(home, folder))
    assert f"the minute {clock(at(6))} is not in the journal" in {each.says for each in found}
    assert {each.minute_ms for each in found} == {at(6)}


def test_altered_history_shows_in_the_scans(home: Path, folder: Path):
    (block,) = told(folder, "SELECT block FROM history WHERE part = 'traded' AND timeframe = '4h'")
    rows = decode_rows(block)
    rows.values[:4, -1, sorted(PAIRS).index(ETH)] *= 2.0
    alter(
        folder, "UPDATE history SET block = ? WHERE part = 'traded' AND timeframe = '4h'", encode_rows(rows)
    )
    found = prove(home, folder, end_ms=MIDNIGHT_MS).proof.differences
    assert found[0].kind is Kind.SCAN
    assert found[0].symbols == (ETH,)
    assert found[0].cause == found[0].says
    assert found[0].says.startswith(f"the scan of {found[0].strategy} at ")


def test_an_altered_position_is_found(home: Path, folder: Path):
    alter(folder, "UPDATE positions SET pnl_quote = pnl_quote + 1 WHERE symbol = 'SOL/USD'")
    (found,) = prove(home, folder).proof.differences
    assert (found.kind, found.symbols) == (Kind.POSITION, (SOL,))
    assert found.cause == "everything before is equal, the position is not what it comes to"


def test_an_altered_state_is_found(home: Path, folder: Path):
    state = TraderState.from_bytes(told(folder, "SELECT state FROM trader")[0])
    state.portfolio.coins["cooldown_ms"][2] += 1
    alter(folder, "UPDATE trader SET state = ?", state.to_bytes())
    (found,) = prove(home, folder).proof.differences
    assert found.says == "the state after the last minute differs in coins.cooldown_ms"


def test_a_record_that_is_forged_with_its_digest_is_found_and_the_program_named(home: Path, folder: Path):
    alter(folder, "UPDATE sessions SET code_version = '0.0.9'")
    (minute,) = told(folder, "SELECT bar_open_ms FROM fills WHERE sequence = 40")
    alter(folder, "UPDATE fills SET price = '1.5' WHERE sequence = 40")
    with TradingJournal.open(folder) as journal:
        ((_, written, now),) = journal.recomputed_digests(minute, minute + MINUTE_MS)
    assert written != now
    alter(folder, "UPDATE minutes SET digest = ? WHERE time_ms = ?", now, minute)
    (found,) = prove(home, folder).proof.differences
    assert found.kind is Kind.FILL
    assert found.cause == (
        "the same bars, scans and answers give another fill; code version 0.0.9 then, 0.1.0 now"
    )


@pytest.fixture
def other_home(home: Path, tmp_path: Path) -> Path:
    """A copy of the home, whose bars may be changed."""
    return Path(shutil.copytree(home, tmp_path / "home"))


def change_bars(home: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(home / "market.db") as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


OF_SOL = (
    "WHERE symbol_id = (SELECT symbol_id FROM symbols WHERE symbol = 'SOL/USD') AND timeframe = '1m' "
    "AND open_time_ms = ?"
)


def test_a_bar_that_was_changed_in_the_store_is_named(other_home: Path):
    folder = worlds.account_folder(other_home, ACCOUNT)
    minute = at(6, 53)  # a minute before which SOL is held
    change_bars(other_home, f"UPDATE bars SET close = low * 0.9, low = low * 0.9 {OF_SOL}", minute)
    root, *others = prove(other_home, folder).proof.differences
    assert root.cause == f"the bars of SOL/USD at {clock(minute)} are no longer what was seen"
    assert root.symbols == (SOL,)
    assert others
    assert {each.cause for each in others} == {
        f"follows from the difference at {clock(minute)} (bars of SOL/USD)"
    }


def test_a_bar_that_the_store_has_lost_is_named(other_home: Path):
    folder = worlds.account_folder(other_home, ACCOUNT)
    minute = at(5, 40)
    change_bars(other_home, f"DELETE FROM bars {OF_SOL}", minute)
    found = roots(prove(other_home, folder))
    assert [each.cause for each in found] == [
        f"the bars of SOL/USD at {clock(minute)} are no longer what was seen: some are lost"
    ]


# ---------------------------------------------------------------------------------- the command


def test_the_command_says_that_nothing_differs_and_keeps_the_check(other_home: Path):
    code, out, err = run_command(other_home, "parity", "--account", ACCOUNT)
    assert code == 0, err
    assert "No difference: every record comes out again." in out
    assert "Bars that were not seen in time" in out
    code, out, _ = run_command(other_home, "parity", "--account", ACCOUNT, "--no-complete", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["differences"], document["list"], document["complete_history"]) == (0, [], None)
    with ControlStore.open(worlds.account_folder(other_home, ACCOUNT)) as control:
        checks = control.checks()
    assert [each.differences for each in checks] == [0, 0]
    assert json.loads(checks[0].document) == document
    assert (checks[0].start_ms, checks[0].end_ms) == (START_MS, END_MS)


def test_the_command_lists_differences_and_ends_with_exit_code_3(other_home: Path):
    folder = worlds.account_folder(other_home, ACCOUNT)
    alter(folder, "DELETE FROM commands_applied WHERE kind = 'close' AND time_ms = ?", at(8))
    code, out, err = run_command(other_home, "parity", "--account", ACCOUNT, "--no-complete")
    assert code == 3
    assert "were altered after they were written" in out
    assert "follows from the difference at" in out
    assert f"the records of the account {ACCOUNT} are not what they come to" in err
    with ControlStore.open(folder) as control:
        assert control.checks()[0].differences > 0


def test_an_account_may_be_proven_while_it_is_traded(tmp_path: Path, home: Path):
    other = without_accounts(home, tmp_path / "home")
    folder = worlds.account_folder(other, "live")
    found = []

    def look(record: StepRecord) -> bool:
        if record.time_ms in (at(1), at(3)):
            found.append(prove(other, folder).proof)
        return record.time_ms >= at(3)

    worlds.trade(other, name="live", enough=look)
    assert [proof.compared.minutes for proof in found] == [61, 181]
    assert [proof.differences for proof in found] == [[], []]


def test_the_turn_of_a_month_makes_no_difference(tmp_path: Path, home: Path):
    other = without_accounts(home, tmp_path / "home")
    first_ms = to_ms(datetime(2025, 2, 28, 21, 30, tzinfo=UTC))
    worlds.trade(other, name="turn", start_ms=first_ms, end_ms=first_ms + 5 * HOUR_MS)
    proof = prove(other, worlds.account_folder(other, "turn")).proof
    assert proof.differences == []
    assert proof.compared.minutes == 300


ADAPTIVE = (
    *worlds.LIVELY,
    "sizing.mode=adaptive",
    "protection.slow_regime.trend_bars=40",
    "protection.slow_regime.sma_fast=5",
    "protection.slow_regime.sma_slow=20",
    "costs.taker_fee=0.0002",
    "costs.maker_fee=0.0002",
    "costs.slippage={large_cap=0.0,mid_cap=0.0,small_cap=0.0,memecoin=0.0}",
)


def test_sizes_by_the_slow_regime_make_no_difference_also_over_the_close_of_a_day(tmp_path: Path, home: Path):
    other = without_accounts(home, tmp_path / "home")
    first_ms = to_ms(datetime(2025, 3, 1, 20, 0, tzinfo=UTC))
    span = {"start_ms": first_ms, "end_ms": first_ms + 8 * HOUR_MS}
    worlds.trade(other, name="adaptive", assignments=ADAPTIVE, **span)
    folder = worlds.account_folder(other, "adaptive")
    proof = prove(other, folder).proof
    assert proof.differences == []
    assert proof.compared.minutes == 480
    # BULL until midnight, NEUTRAL from then on; without the factor of BULL, orders of the first day are larger.
    worlds.trade(other, name="plain", assignments=(*ADAPTIVE, "sizing.trend_factors.bull=1.0"), **span)
    query = "SELECT trade_group_id, quote FROM orders WHERE rung = 0"
    plain = dict(rows_of(worlds.account_folder(other, "plain"), query))
    ratios = {group: quote / plain[group] for group, quote in rows_of(folder, query) if group in plain}
    assert ratios["WIF/USD-DCA-20250301T200500Z"] == pytest.approx(0.7)
    later = [ratio for group, ratio in ratios.items() if "-20250302T" in group]
    assert later
    assert later == pytest.approx([1.0] * len(later), abs=0.02)


def test_positions_that_the_market_turned_against_make_no_difference(tmp_path: Path, home: Path):
    other = without_accounts(home, tmp_path / "home")
    turning = (
        *worlds.LIVELY,
        "protection.close_on_transition=true",
        "protection.condition.move_24h=0.005",
        "protection.condition.sideways_volatility=0.5",
    )
    worlds.trade(other, name="turning", assignments=turning)
    folder = worlds.account_folder(other, "turning")
    assert prove(other, folder).proof.differences == []
    closed = rows_of(folder, "SELECT exit_reason, COUNT(*) FROM trades GROUP BY exit_reason")
    assert dict(closed)["market_transition"] > 0


def test_hours_that_are_kept_from_some_minute_on_make_no_difference(tmp_path: Path, home: Path):
    other = without_accounts(home, tmp_path / "home")
    folder = worlds.account_folder(other, "alike")
    folder.mkdir(parents=True)
    alike, plain = (configuration_row(worlds.configuration(each)) for each in (worlds.ALIKE, worlds.LIVELY))
    with ControlStore.open(folder) as control:
        for row, minutes in ((plain, 300), (alike, 420)):
            control.offer_configuration(row, source="test", actor="test", created_at_ms=0)
            control.add(
                Command(
                    command_id=f"at {minutes}",
                    kind="configure",
                    arguments={"version": row.version},
                    not_before_ms=START_MS + minutes * MINUTE_MS,
                    actor="test",
                    created_at_ms=0,
                )
            )
    worlds.trade(other, name="alike", assignments=worlds.ALIKE, end_ms=START_MS + 18 * HOUR_MS)
    assert prove(other, folder).proof.differences == []
    refused = rows_of(folder, "SELECT measured, limit_value FROM setups WHERE reason = 'correlation'")
    assert len(refused) > 0
    assert all(measured > limit == 0.2 for measured, limit in refused)


def test_scans_that_failed_when_they_were_due_are_left_out(tmp_path: Path, home: Path, monkeypatch):
    other = without_accounts(home, tmp_path / "home")
    folder = worlds.account_folder(other, "failing")
    detect = Dca.detect
    due = {at(1) - at(1) % (5 * MINUTE_MS), at(2) - at(2) % (5 * MINUTE_MS)}

    def failing(self, features, parameters):
        if int(features.panel.close_time_ms[-1]) in due:
            raise RuntimeError("out of memory")
        return detect(self, features, parameters)

    worlds.tell(folder, [worlds.Wished(90, "resume", {})])
    with monkeypatch.context() as patched:
        patched.setattr(Dca, "detect", failing)
        worlds.trade(other, name="failing", enough=lambda record: record.time_ms >= at(3))
    with TradingJournal.open(folder) as journal:
        assert len(journal.halts()) == 2
    assert prove(other, folder).proof.differences == []


def test_scans_that_fail_only_now_are_named(home: Path, monkeypatch):
    detect = Dca.detect
    due = MIDNIGHT_MS - 60 * MINUTE_MS

    def failing(self, features, parameters):
        if due in features.panel.close_time_ms:
            raise RuntimeError("out of memory")
        return detect(self, features, parameters)

    monkeypatch.setattr(Dca, "detect", failing)
    found = prove(home, worlds.account_folder(home, ACCOUNT), end_ms=MIDNIGHT_MS).proof.differences
    scans = [each for each in found if each.kind is Kind.SCAN]
    assert [each.minute_ms + MINUTE_MS for each in scans] == list(
        range(due, MIDNIGHT_MS + 1, Dca.timeframe.ms)
    )
    assert scans[0].says == f"the scan of DCA at {clock(due)} fails now: RuntimeError: out of memory"
    assert {each.cause for each in scans[1:]} == {f"as in the scan at {clock(due)}"}
    assert [each for each in found if each.root] == [scans[0]]
