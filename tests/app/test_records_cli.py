"""What people read of a trading account: the same numbers as its records, within 80 columns, in words."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.app import standing
from crypto_tracker.config.versions import version
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS
from crypto_tracker.simulation.state import PENDING
from crypto_tracker.store.control import Check, ControlStore
from crypto_tracker.store.control import Command as PersonsCommand
from crypto_tracker.store.database import open_engine, writer_lock
from crypto_tracker.store.trading_views import TradingViews, Where, checks, waiting_commands
from crypto_tracker.trading.setting import configuration_row
from tests.app.conftest import Command
from tests.app.kept import (
    BTC,
    BTC_WON,
    CURSOR_MS,
    ETH,
    MINUTES,
    SOL,
    SOL_LOST,
    START_MS,
    at,
    calm_state,
    configuration,
    group,
    kept_account,
)

VERSION = version(configuration())


@pytest.fixture(autouse=True)
def _bars_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accounts stand in a past year, and are no silent ones for that."""
    monkeypatch.setattr(standing, "SILENT_MS", 2**62)


def test_paper_trading_without_bars_buys_nothing_and_says_why(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kept_account(tmp_path)
    monkeypatch.setattr(standing, "SILENT_MS", 10 * MINUTE_MS)
    for asked in ("status", "protection"):
        document = told(command, tmp_path, asked)
        assert document["entries"]["allowed"] is False
        (why,) = document["entries"]["why_not"]
        assert why == (
            "no minute was stepped since 2025-03-01 00:10 UTC: nothing is bought or sold until bars come "
            "and it is traded"
        )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one account that nobody trades now."""
    home = tmp_path_factory.mktemp("kept")
    kept_account(home)
    return home


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@contextmanager
def views(home: Path) -> Iterator[TradingViews]:
    with TradingViews.open(home / "accounts" / "paper") as opened:
        yield opened


def told(command: Command, home: Path, *arguments: str) -> Any:
    """The JSON document of a command that works."""
    code, out, err = command(home, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def said(command: Command, home: Path, *arguments: str) -> str:
    """The text of a command that works, its lines joined."""
    code, out, err = command(home, *arguments)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    return " ".join(out.split())


# ------------------------------------------------------------------------------------------ queries


def test_trades_come_in_the_order_in_which_they_closed_or_the_other_way_round(kept: Path):
    with views(kept) as read:
        assert read.trades() == [BTC_WON, SOL_LOST]
        assert read.trades(newest_first=True, limit=1) == [SOL_LOST]
        assert read.trades(limit=1, offset=1) == [SOL_LOST]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Where(symbols=(BTC,)), [BTC_WON]),
        (Where(strategies=("CHANNEL", "SWING")), [SOL_LOST]),
        (Where(reasons=("take_profit",)), [BTC_WON]),
        (Where(start_ms=at(3), end_ms=at(5)), [BTC_WON]),
        (Where(start_ms=at(4)), [SOL_LOST]),
        (Where(symbols=(ETH,)), []),
    ],
)
def test_a_filter_leaves_the_same_trades_in_lists_and_in_sums(kept: Path, where: Where, found: list[Any]):
    with views(kept) as read:
        assert read.trades(where) == found
        sums = read.sums(where)
    assert (sums.trades, sums.pnl_quote) == (len(found), sum(trade.pnl_quote for trade in found))
    assert sums.win_rate == (None if not found else float(found == [BTC_WON]))


def test_sums_by_a_column_add_up_to_the_whole(kept: Path):
    with views(kept) as read:
        assert read.sums_by("exit_reason") == {
            "stop_loss": read.sums(Where(symbols=(SOL,))),
            "take_profit": read.sums(Where(symbols=(BTC,))),
        }
        assert (read.sums().fee_quote, read.sums().slippage_quote) == (12, 3)


def test_the_curve_keeps_ends_lows_and_highs_of_its_stretches(kept: Path):
    with views(kept) as read:
        halves = read.equity_curve(2)
        whole = read.equity_curve(1_000)
        part = read.equity_curve(1, start_ms=at(2), end_ms=at(5))
        assert read.equity_curve(5, start_ms=at(50)) == []
    assert [(point.time_ms, point.equity_quote) for point in halves] == [(at(4), 10_060), (at(9), 9_999)]
    assert [(point.low_quote, point.high_quote) for point in halves] == [(10_000, 10_100), (9_999, 10_020)]
    assert [point.time_ms for point in whole] == [at(minute) for minute in range(MINUTES)]
    assert [(point.time_ms, point.low_quote) for point in part] == [(at(4), 10_060)]


def test_the_deepest_fall_is_from_the_highest_equity_before_it(kept: Path):
    with views(kept) as read:
        assert read.max_drawdown() == pytest.approx(1 - 9_999 / 10_100, abs=1e-15)
        assert read.peak_equity() == 10_100


def test_decisions_are_found_by_verdict_reason_symbol_and_time(kept: Path):
    with views(kept) as read:
        assert [row.symbol for row in read.setups(Where(verdicts=(Verdict.NEAR_MISS,)))] == [SOL]
        assert [row.symbol for row in read.setups(Where(reasons=("cooldown",)))] == [BTC]
        assert [row.time_ms for row in read.setups(Where(symbols=(BTC,)), newest_first=True, limit=2)] == [
            at(7),
            at(5),
        ]
        assert len(read.setups(Where(start_ms=at(5), end_ms=at(6)))) == 2
        assert read.setup_counts(Where(symbols=(BTC,))) == {
            (Verdict.TAKE, Reason.ACCEPTED): 2,
            (Verdict.SKIP, Reason.COOLDOWN): 1,
        }


def test_a_block_tells_every_scan_of_its_moment(kept: Path):
    with views(kept) as read:
        (found,) = read.blocks(Where(strategies=("DCA",), start_ms=at(5), end_ms=at(6)))
        assert not list(read.blocks(Where(strategies=("SWING",))))
        assert not list(read.blocks(Where(start_ms=at(6))))
    assert [Reason(code) for code in found.reason] == [
        Reason.DROP_TOO_SMALL,
        Reason.VOLUME_LOW,
        Reason.DROP_TOO_SMALL,
    ]


def test_what_is_read_is_one_state_although_the_trader_goes_on(tmp_path: Path):
    folder = kept_account(tmp_path)
    with TradingViews.open(folder) as read:
        before = read.sums()
        engine = open_engine(folder / "trading.db")
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM trades")
        engine.dispose()
        assert read.sums() == before
    with TradingViews.open(folder) as read:
        assert read.sums().trades == 0


def test_a_folder_without_an_account_is_refused(tmp_path: Path):
    with pytest.raises(StoreError, match="there is no account in"), TradingViews.open(tmp_path):
        pass


def test_checks_and_commands_of_people_are_read_beside_the_account(tmp_path: Path):
    folder = kept_account(tmp_path)
    assert checks(folder) == []
    add_commands_and_check(folder)
    (check,) = checks(folder)
    assert (check.start_ms, check.differences) == (START_MS, 3)
    with TradingViews.open(folder) as read:
        assert waiting_commands(folder, read) == 1


def add_commands_and_check(folder: Path) -> None:
    """A command that the account has answered, one that it has not, and a check that found something."""
    with ControlStore.open(folder) as control:
        for command_id in ("a1", "a2"):
            control.add(
                PersonsCommand(
                    command_id=command_id,
                    kind="block",
                    arguments={"symbol": "SOL/USD"},
                    not_before_ms=None,
                    actor="kim",
                    created_at_ms=CURSOR_MS,
                )
            )
        control.add_check(
            Check(
                kind="parity",
                start_ms=START_MS,
                end_ms=CURSOR_MS,
                differences=3,
                document="[]",
                created_at_ms=CURSOR_MS,
            )
        )


# ------------------------------------------------------------------------------------------ commands


def test_every_command_begins_with_the_account_and_how_far_it_has_come(kept: Path, command: Command):
    for name in ("status", "show-trades", "positions", "protection", "decisions"):
        text = said(command, kept, name)
        assert text.startswith("Account paper not traded now, up to 2025-03-01 00:10 UTC")
        document = told(command, kept, name)
        assert (document["account"], document["running"]) == ("paper", False)
        assert (document["until"], document["configuration_version"]) == ("2025-03-01T00:10:00Z", VERSION)


def test_status_tells_worth_result_and_that_nothing_is_in_the_way(kept: Path, command: Command):
    text = said(command, kept, "status")
    for words in (
        "Equity, marked 9,999.00",
        "Reserved for orders 500.00",
        "Day so far -1.00",
        "Maximum drawdown 1.00 %",
        "Open positions 1",
        "Win rate 50.00 %",
        "Entries are allowed",
        "Last command: block applied at 2025-03-01 00:08 UTC: SOL/USD is blocked",
    ):
        assert words in text
    document = told(command, kept, "status")
    assert document["return_net"] == pytest.approx(-0.0001)
    assert document["closed"]["pnl_quote"] == -10.5
    assert (document["entries"]["allowed"], document["regime"]) == (True, "CAUTION")
    assert (document["pending_orders"], document["session"]["pid"]) == (1, 4321)
    assert document["last_check"] is None


def test_status_tells_who_trades_the_account_and_what_waits(tmp_path: Path, command: Command):
    folder = kept_account(tmp_path)
    add_commands_and_check(folder)
    with writer_lock(folder / "trader.lock", what="the account", wait_ms=0):
        text = said(command, tmp_path, "status")
    assert "Account paper traded now" in text
    assert "by process 4321 on tower since 2025-03-01 05:00 UTC" in text
    assert "1 command without an answer yet" in text
    assert "Last parity check: 2025-03-01 00:00 to 2025-03-01 00:10 UTC, 3 differences" in text


def test_show_trades_lists_what_the_filters_leave_and_says_how_many_more(kept: Path, command: Command):
    text = said(command, kept, "show-trades", "--limit", "1")
    assert "the last 1 of 2 trades" in text
    assert "SOL/USD" in text
    assert "BTC/USD" not in text
    assert "2 trades, win rate 50.00 %, P&L -10.50, their fees 12.00 and slippage 3.00" in text
    document = told(command, kept, "show-trades", "--exit-reason", "take_profit", "-p", "BTC/USD")
    assert [trade["trade_group_id"] for trade in document["trades"]] == [BTC_WON.trade_group_id]
    assert document["totals"]["pnl_quote"] == 20
    assert "No closed trade is like that." in said(command, kept, "show-trades", "-s", "SWING")


def test_open_trades_are_told_with_the_closed_ones(kept: Path, command: Command):
    (trade,) = told(command, kept, "show-trades")["open_trades"]
    assert (trade["symbol"], trade["exit_time"], trade["exit_reason"]) == ("ETH/USD", None, None)


def test_positions_tell_stop_target_ladder_and_the_time_that_is_left(kept: Path, command: Command):
    text = said(command, kept, "positions")
    assert "stop 95.95 (-5.00 %), target 106.05 (+5.00 %), trailing stop not armed" in text
    assert "closed by time at 2025-03-01 01:40 UTC, in 1h 30m" in text
    assert "rung 1 at 97.5 for 500.00: open" in text
    (position,) = told(command, kept, "positions")["positions"]
    assert (position["seconds_left"], position["stop_price"]) == (5_400.0, 95.95)
    assert [order["status"] for order in position["orders"]] == ["filled", "open"]
    assert "Nothing is held." in said(command, kept, "positions", "-s", "DCA")


def test_decisions_tell_the_reason_in_words_and_how_an_order_ended(kept: Path, command: Command):
    text = said(command, kept, "decisions")
    for words in (
        "BTC/USD DCA TAKE readiness 100 an order was placed and filled; the trade ended by take profit with +20.00",
        "ETH/USD SWING TAKE readiness 100 an order was placed and filled; the position is held",
        "BTC/USD DCA SKIP cooldown readiness 100 the symbol was stopped out too often in a row",
        "cools down until 2025-03-01 04:05 UTC",
        "SOL/USD DCA NEAR_MISS drop_too_small readiness 87",
        "BTC/USD SWING TAKE expired readiness 100 the order was given, but no bar filled it in time",
    ):
        assert words in text
    document = told(command, kept, "decisions", "--verdict", "take", "-p", "BTC/USD")
    first, second = document["decisions"]
    assert first["order"]["trade"]["trade_group_id"] == group(BTC, "DCA", at(1))
    assert (second["order"]["status"], second["order"]["reason"]) == ("expired", "expired")
    assert document["counts"] == [{"verdict": "TAKE", "reason": "accepted", "count": 2}]


def test_all_decisions_are_the_scans_of_the_blocks_with_the_portfolios_answers(kept: Path, command: Command):
    found = told(command, kept, "decisions", "--all", "--limit", "10")["decisions"]
    assert [(each["symbol"], each["verdict"], each["reason"]) for each in found] == [
        ("BTC/USD", "SKIP", "cooldown"),
        ("ETH/USD", "SKIP", "volume_low"),
        ("SOL/USD", "NEAR_MISS", "drop_too_small"),
    ]
    assert found[1]["measurements"] == {"drop": pytest.approx(0.01)}
    assert found[2]["measurements"] == {"drop": None}
    skipped = told(command, kept, "decisions", "--all", "--reason", "volume_low", "--limit", "10")
    assert [each["symbol"] for each in skipped["decisions"]] == ["ETH/USD"]
    last = told(command, kept, "decisions", "--all", "--limit", "1")["decisions"]
    assert [each["symbol"] for each in last] == ["SOL/USD"]


def test_protection_tells_everything_that_is_in_the_way(tmp_path: Path, command: Command):
    state = calm_state(VERSION)
    state.halted = "the ledger does not add up"
    state.forced = int(Regime.PANIC)
    book, strategies, coins = state.portfolio.book, state.portfolio.strategies, state.portfolio.coins
    book["paused"] = book["day_latched"] = book["drawdown_latched"] = True
    book["equity"], book["peak"] = 8_900 * 10**8, 12_500 * 10**8
    strategies["off"] = [True, False, False]
    strategies["streak"] = [0, 5, 0]
    strategies["blocked_ms"] = [0, CURSOR_MS + 3 * HOUR_MS, 0]
    coins["stops"] = [0, 1, 3]
    coins["cooldown_ms"] = [0, 0, CURSOR_MS + 90 * MINUTE_MS]
    coins["blocked"] = [True, False, False]
    # An order of SWING in SOL with two parts, a third is filled: 300.5 and 100 reserved.
    slots, parts = state.portfolio.slots, state.portfolio.parts
    slots["phase"][2], slots["strategy"][2] = PENDING, 1
    parts["open"][2, :3], parts["reserve"][2, :3] = (True, True, False), (3_005 * 10**7, 100 * 10**8, 7)
    kept_account(tmp_path, state=state)
    text = said(command, tmp_path, "protection")
    for words in (
        "Nothing is bought",
        "halted by a critical error, until a person resumes: the ledger does not add up",
        "the day has lost 11.00 %",
        "equity is 28.80 % below its peak of 12,500.00",
        "the peak of the equity is 12,500.00",
        "the market is in PANIC, which opens nothing",
        "stands at -1,100.00 (-11.00 %)",
        "Market PANIC, forced by a person",
        "off by a person",
        # 10 coins at 101 and 400.5 of orders; 0.4, 0.3 and 0.3 of the equity of 8,900 less the reserve of a fifth
        "DCA 0 0.00 2,848.00 0 of 5 off by a person",
        "SWING 1 1,410.50 2,136.00 5 of 5",
        "CHANNEL 0 0.00 2,136.00 0 of 5 on",
        "5 of 5 rests until 2025-03-01 03:10 UTC (3h left)",
        "BTC/USD 0 of 3 blocked by a person",
        "ETH/USD 1 of 3",
        "SOL/USD 3 of 3 cools down until 2025-03-01 01:40 UTC (1h 30m left)",
    ):
        assert words in text
    document = told(command, tmp_path, "protection")
    assert (document["entries"]["allowed"], len(document["entries"]["why_not"])) == (False, 4)
    assert document["entries"]["drawdown"] == pytest.approx(0.288)
    assert [each["off_by"] for each in document["strategies"]] == [["person"], [], []]
    assert [each["used_quote"] for each in document["strategies"]] == [0.0, 1_410.5, 0.0]
    assert [each["share_quote"] for each in document["strategies"]] == [2_848.0, 2_136.0, 2_136.0]
    assert document["correlation"] is None
    assert told(command, tmp_path, "status")["entries"] == document["entries"]


def test_protection_tells_how_much_the_correlation_limit_knows(tmp_path: Path, command: Command):
    # Ten minutes after midnight: 51 of the hours up to then are kept, which are 50 returns, and one that is too old.
    limits = ("limits.correlation_limit=true", "limits.max_correlation=0.65")
    row = configuration_row(configuration(*limits))
    state = calm_state(row.version)
    state.portfolio = state.portfolio.with_hours(True)
    newest_ms = CURSOR_MS - 10 * MINUTE_MS
    state.portfolio.hours_ms[:51] = newest_ms - HOUR_MS * np.arange(51)
    state.portfolio.hours_ms[60] = newest_ms - 169 * HOUR_MS
    kept_account(tmp_path, state=state, row=row)
    assert (
        "what moved with what is held by more than 0.65 on average is refused, once 84 hours are known; now 50 are"
        in said(command, tmp_path, "protection")
    )
    document = told(command, tmp_path, "protection")
    assert document["correlation"] == {"hours": 50, "hours_min": 84, "limit": 0.65}


def test_accounts_are_listed_the_last_started_at_the_end(tmp_path: Path, command: Command):
    kept_account(tmp_path, "zebra")
    kept_account(tmp_path, "aardvark")
    assert [each["account"] for each in told(command, tmp_path, "accounts")] == ["aardvark", "zebra"]
    assert "aardvark - 2025-03-01 00:10 2 1 9,999.00 -0.01 %" in said(command, tmp_path, "accounts")


def test_a_home_without_accounts_says_how_to_begin(tmp_path: Path, command: Command):
    code, out, err = command(tmp_path, "status")
    assert (code, out) == (1, "")
    assert "nothing has been traded yet" in err
    assert "`crypto-tracker trade`" in err
    code, out, err = command(tmp_path, "accounts", "--json")
    assert (code, json.loads(out)) == (0, [])
    assert "crypto-tracker trade" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show-trades", "-p", "DOGE/USD"], "does not trade DOGE/USD: it trades BTC/USD, ETH/USD, SOL/USD"),
        (["show-trades", "-s", "GRID"], "--strategy GRID is none of DCA, SWING, CHANNEL"),
        (["show-trades", "--exit-reason", "luck"], "--exit-reason luck is none of take_profit, stop_loss"),
        (["decisions", "--verdict", "MAYBE"], "--verdict MAYBE is none of TAKE, SKIP, NEAR_MISS"),
        (["decisions", "--all", "--json"], "add --timerange or --limit"),
        (["status", "--account", "Paper"], "no name of an account"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    kept: Path, command: Command, arguments: list[str], sentence: str
):
    code, out, err = command(kept, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
