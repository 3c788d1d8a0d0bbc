"""Watching a trading account: what the picture says of its records, and that looking costs and changes nothing."""

import hashlib
import io
import json
import math
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import Engine, event

from crypto_tracker.app.screen import account_log
from crypto_tracker.app.screen.account import AccountObserver
from crypto_tracker.app.screen.account_log import decision_lines, near_lines, people_lines, regime_lines
from crypto_tracker.app.screen.snapshot import DecisionFacts, Kind, Notice, Snapshot, Tone
from crypto_tracker.app.screen.told import Decided, Near, told_near_misses
from crypto_tracker.app.screen.totals import Totals
from crypto_tracker.app.screen.view import notices, render
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.portfolio.regime import MarketCarry
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trading_records import AppliedCommand, CommandResult, Halt, SetupRecord
from crypto_tracker.store.trading_views import Answered, TradingViews
from crypto_tracker.strategies.registry import builtin
from tests.app.conftest import run_command
from tests.app.hand_made import (
    BTC,
    CONFIGURATION,
    ETH,
    SOL,
    START_MS,
    HandMade,
    eventful,
    hand_made,
    ladder,
    near_miss,
    refused,
    setup,
    trade,
)

SIZES = [(60, 16), (80, 24), (100, 30), (110, 34), (120, 40), (210, 60)]
NOTHING: dict[str, float] = {}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def made(home: Path) -> Iterator[HandMade]:
    """The account `paper`, opened and traded while the test runs."""
    with hand_made(home) as account:
        yield account


def observer(home: Path, name: str = "paper", days: float | None = None) -> AccountObserver:
    return AccountObserver(home, name, strategies=builtin(), reader=None, days=days)


def looked(home: Path, made: HandMade, *, lag_ms: int = 12_000) -> Snapshot:
    return observer(home).look(now_ms=made.state.cursor_ms + lag_ms)


def drawn(snapshot: Snapshot, width: int, height: int) -> str:
    """The picture as text; asserts that it fills its terminal exactly."""
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, record=True)
    console.print(render(snapshot, width=width, height=height))
    lines = console.export_text()[:-1].split("\n")
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------ the picture


def test_at_80_by_24_everything_that_matters_of_the_account_is_there(home: Path, made: HandMade):
    eventful(made)
    text = drawn(looked(home, made), 80, 24)
    for expected in (
        "paper",
        "RUNNING",
        "Fri 2025-08-01 10:30 UTC",
        "day 1, since 2025-08-01 10:00",
        "12s behind",
        "10,098.00 USD",
        "+98.00 (+0.98 %)",
        "drawdown 1.00 %",  # 10,098 of 10,200
        "fees 1.20",  # of the closed trade and of the open one
        "CAUTION",
        "BTC 100.00 -",  # without the bars of the market nobody knows the change
        "2/3 up",
        "vol 4.23 %  trend -",
        "60.000",  # now
        "51.000",  # stop
        "65.000",  # target
        "+6.20",
        "+3.10 %",
        "20m",
        "100 READY",
        "64 CLOSE",
        "CAUTION: sizes are cut",
        "cools down 6h00 more",
        "BUY",
        "fell 3.40 % in 4 h, volume 1.2x, conf 0.72",
        "1, 0 won, 1 lost",
        "-24.10",
        "stop loss",
        "SOL cools down 5h45 more",
    ):
        assert expected in text, expected


def test_at_120_by_40_it_also_tells_buys_cash_what_coins_lack_and_all_that_was_decided(
    home: Path, made: HandMade
):
    eventful(made)
    text = drawn(looked(home, made), 120, 40)
    for expected in (
        "3 coins, DCA, SWING, CHANNEL, process 4711 since 08-01 10:00",
        "2/3",  # two of three buys are filled
        "58.500",  # entry
        "9,198.00",  # cash
        "600, 300 in orders",
        "trend       - ",
        "cools down ",  # what SOL lacks, which its strategy would buy
        "is held",
        "drop",
        "at 10:15",
        "warming up",
        "10:20 ALL  CAUTION: sizes are cut, stops widen",
        "10:15 SKIP SOL",
        "10:10 BUY  ETH",
        "10:05 BUY  SOL",
        "10:05 NEAR ETH",
        "volume is 1.84 x its mean",
        "10:12 SOL",
    ):
        assert expected in text, expected


@pytest.mark.parametrize("size", SIZES)
def test_the_picture_fills_every_terminal_exactly(home: Path, made: HandMade, size: tuple[int, int]):
    for happens in (lambda: None, lambda: eventful(made)):
        happens()
        for many in ((), tuple(Notice(tone=Tone.BAD, title="HALTED", words="why " * 90) for _ in range(9))):
            text = drawn(replace(looked(home, made), notices=many), *size)
            assert "RUNNING" in text
            assert ("HALTED" in text) == bool(many) or size == (60, 16)


def test_an_account_that_has_not_traded_yet_shows_its_capital_and_dashes(home: Path, made: HandMade):
    for width, height in ((80, 24), (120, 40)):
        text = drawn(looked(home, made), width, height)
        assert "10,000.00 USD  +0.00 (+0.00 %)" in text
        assert "nothing is held" in text
        assert "no setup yet" in text
        assert "none" in text
        assert "warming up" in text
        assert "nan" not in text.replace("finance", "")
    assert math.isnan(looked(home, made).market.reference_price)
    assert looked(home, made).market.rising is None


def test_a_paused_account_says_since_when(home: Path, made: HandMade):
    made.steps(3)
    made.state.portfolio.book["paused"] = True
    paused = AppliedCommand(kind="pause", symbol=None, strategy=None, value=None, command_id="c1")
    answer = CommandResult(command_id="c1", kind="pause", status="applied", sentence="entries are paused")
    made.step(commands=[paused], results=[answer])
    text = drawn(looked(home, made), 80, 24)
    assert "PAUSED" in text
    assert "nothing is bought until a person resumes, since 2025-08-01 10:03" in text
    assert "10:03 TOLD pause: entries are paused" in text


def test_a_halted_account_says_why_above_everything_else(home: Path, made: HandMade):
    made.steps(4)
    why = "the scan of SWING at 2025-08-01 10:05 UTC failed: ValueError: no such thing"
    made.state.halted = why
    made.state.portfolio.book["paused"] = True
    made.step(halts=[Halt(cause="scan_failed", sentence=why, strategy="SWING")])
    snapshot = looked(home, made)
    assert [(notice.tone, notice.title) for notice in snapshot.notices] == [(Tone.BAD, "HALTED")]
    for size in ((80, 24), (120, 40)):
        lines = drawn(snapshot, *size).split("\n")
        assert "HALTED" in lines[2]
        assert "nothing is bought until a person resumes" in lines[2]
        assert "ValueError: no such thing" in " ".join(" ".join(lines[2:4]).split())
        assert any("10:04 HALT the scan of SWING" in line for line in lines)


def test_panic_a_lost_day_and_blocked_coins_are_told(home: Path, made: HandMade):
    made.steps(2)
    portfolio = made.state.portfolio
    portfolio.book["day_base"] = made.state.portfolio.book["equity"]
    portfolio.book["day_latched"] = True
    portfolio.coins["blocked"][0] = True
    made.step(equity=8_900.0, regime=Regime.PANIC)
    told = looked(home, made).notices
    assert [notice.title for notice in told] == ["NO ENTRIES", "NO ENTRIES", "COINS"]
    assert told[0].words.startswith("the day has lost 11.00 %")
    assert "PANIC" in told[1].words
    assert told[2].words == "BTC blocked"


def test_a_strategy_that_may_not_trade_says_who_switched_it_off(home: Path, made: HandMade):
    made.state.portfolio.strategies["off"][0] = True
    made.state.portfolio.strategies["blocked_ms"][1] = START_MS + 5 * HOUR_MS + MINUTE_MS
    made.state.carry = MarketCarry(regime=Regime.NORMAL, switched_on=(True, True, False), first_ms=None)
    made.step()
    snapshot = looked(home, made)
    assert [each.off for each in snapshot.strategies] == ["person", "losses, 5h00", "volatility"]
    assert "off: volatility" in drawn(snapshot, 120, 40)


def test_a_forced_regime_is_not_taken_for_the_market(home: Path, made: HandMade):
    made.state.forced = int(Regime.PANIC)
    made.step()
    assert "PANIC, forced" in drawn(looked(home, made), 80, 24)


@pytest.mark.parametrize("killed", [False, True])
def test_a_stopped_account_says_so_and_how_its_trader_ended(home: Path, *, killed: bool):
    with hand_made(home) as made:
        made.steps(5)
    if killed:
        _execute(home, "UPDATE sessions SET ended_at_ms = NULL")
    text = drawn(looked(home, made, lag_ms=51 * HOUR_MS), 80, 24)
    assert text.count("STOPPED") == 2
    assert "2d03h behind" in text
    assert ("process (4711 on here) was killed" if killed else "its trader ended 2025-08-01 10:05") in text


def test_a_replay_shows_how_far_it_is_how_fast_it_goes_and_when_it_is_over(home: Path):
    end_ms = START_MS + 4 * 10 * MINUTE_MS
    with hand_made(home, "replay-x", kind="replay", end_ms=end_ms) as made:
        watching = observer(home, "replay-x")
        made.steps(10)
        assert math.isnan(watching.look(now_ms=0).speed)
        made.steps(10, equity=10_010.0)
        snapshot = watching.look(now_ms=2_000)
        assert snapshot.speed == 300.0  # ten minutes in two seconds
        assert snapshot.lag_ms is None
        assert snapshot.progress == 0.5
        half = len(snapshot.equity_curve) // 2
        assert not np.isnan(snapshot.equity_curve[half - 1])
        assert np.isnan(snapshot.equity_curve[half:]).all()
        assert snapshot.equity_curve[half - 1] == 10_010.0
        text = drawn(snapshot, 80, 24)
        assert "day 1 of 1" in text
        assert "x300" in text
        made.steps(20)
    text = drawn(observer(home, "replay-x").look(now_ms=0), 80, 24)
    assert "FINISHED" in text
    assert "STOPPED" not in text


def test_the_curve_can_go_back_some_days_only_and_is_then_compared_to_its_own_beginning(
    home: Path, made: HandMade
):
    made.steps(10, equity=9_000.0)
    made.steps(10, equity=9_500.0)
    made.steps(10, equity=9_400.0)
    days = 20 * MINUTE_MS / DAY_MS
    snapshot = observer(home, days=days).look(now_ms=made.state.cursor_ms)
    assert snapshot.curve_base == 9_000.0
    assert set(snapshot.equity_curve[24:239].tolist()) == {
        9_500.0
    }  # the tenth of 20 minutes ends at point 239
    assert set(snapshot.equity_curve[264:].tolist()) == {9_400.0}
    assert "equity, last" in drawn(snapshot, 120, 40)
    whole = observer(home).look(now_ms=made.state.cursor_ms)
    assert whole.curve_base == 10_000.0
    assert whole.equity_curve[100] == 9_000.0


# ------------------------------------------------------------------------------------------ looking again


def test_what_is_recorded_between_two_looks_shows(home: Path, made: HandMade):
    made.steps(5)
    watching = observer(home)
    before = watching.look(now_ms=made.state.cursor_ms)
    assert watching.look(now_ms=made.state.cursor_ms).decisions == before.decisions == ()
    row = setup(made.close_ms, SOL, number=0)
    won = trade(row, pnl=8.0, exit_ms=made.state.cursor_ms, reason=ExitReason.TAKE_PROFIT)
    made.step(
        equity=10_008.0,
        blocks=[made.block("SWING", {BTC: (88.0, Reason.RSI_LOW)}, rsi=48.0)],
        setups=[row],
        orders=ladder(row, "filled"),
        trades=[won],
    )
    after = watching.look(now_ms=made.state.cursor_ms)
    assert after.time_ms == before.time_ms + MINUTE_MS
    assert (after.n_trades, after.n_wins, after.fees_quote) == (1, 1, 0.6)
    assert [line.kind for line in after.decisions] == [Kind.TAKEN]
    assert after.strategies[1].nearest[0].words == "strength"
    assert after.equity_curve[-1] == 10_008.0
    assert "+8.00" in drawn(after, 80, 24)
    again = watching.look(now_ms=made.state.cursor_ms + 3_000)
    assert again.lag_ms == 3_000
    assert again.decisions is after.decisions  # nothing was read anew


def test_an_account_that_began_anew_under_its_name_is_not_mixed_with_the_one_before(home: Path):
    watching = observer(home)
    with hand_made(home) as made:
        eventful(made)
        assert watching.look(now_ms=made.state.cursor_ms).n_wins == 0
    shutil.rmtree(home / "accounts" / "paper")
    with hand_made(home, created_at_ms=START_MS + 1) as made:
        made.step()
        fresh = watching.look(now_ms=made.state.cursor_ms)
    assert (fresh.n_trades, fresh.n_wins, fresh.fees_quote, fresh.drawdown) == (0, 0, 0.0, 0.0)
    assert not fresh.decisions
    assert fresh.strategies[0].scanned_ms is None


def test_an_account_that_is_gone_is_a_sentence(home: Path):
    with hand_made(home) as made:
        made.step()
    watching = observer(home)
    watching.look(now_ms=0)
    path = home / "accounts" / "paper" / "trading.db"
    path.unlink()
    with pytest.raises(DataError, match="no longer there"):
        watching.look(now_ms=0)
    path.touch()
    with pytest.raises(DataError, match="is being opened"):
        watching.look(now_ms=0)


def test_looking_writes_nothing(home: Path):
    with hand_made(home) as made:
        eventful(made)
    path = home / "accounts" / "paper" / "trading.db"
    before = hashlib.sha256(path.read_bytes()).digest()
    looked(home, made)
    assert hashlib.sha256(path.read_bytes()).digest() == before


# ------------------------------------------------------------------------------------------ what it costs


def _execute(home: Path, *statements: str) -> None:
    engine = open_engine(home / "accounts" / "paper" / "trading.db")
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def grown(home: Path, minutes: int, trades: int) -> int:
    """An account with so many minutes, trades, setups and scans, written by plain statements; its cursor."""
    with hand_made(home) as made:
        made.step()
        row = setup(made.close_ms, SOL, number=0)
        lost = trade(row, pnl=-1.0, exit_ms=made.state.cursor_ms, reason=ExitReason.TIME_EXIT)
        scan = made.block("DCA", {BTC: (50.0, Reason.DROP_TOO_SMALL)}, drop=0.01)
        made.step(blocks=[scan], setups=[row], orders=ladder(row, "filled"), trades=[lost])
        first_ms = made.state.cursor_ms
        made.state.cursor_ms = first_ms + minutes * MINUTE_MS
        made.state.next_trade = made.state.next_setup = trades
        state = made.state.to_bytes().hex()
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    later = f"time_ms + i * {MINUTE_MS}"
    _execute(
        home,
        f"{count.format(minutes)} INSERT INTO minutes SELECT {later}, version, seen, bars_digest, equity_quote,"
        " cash_quote, reserved_quote, regime, volatility, recorded_at_ms, digest FROM minutes, n"
        f" WHERE time_ms = {START_MS + MINUTE_MS}",
        f"{count.format(minutes // 5)} INSERT INTO decision_blocks SELECT time_ms + i * {5 * MINUTE_MS},"
        " strategy, block FROM decision_blocks, n",
        f"{count.format(trades - 1)} INSERT INTO trades SELECT trade_number + i, 'group-' || i, symbol,"
        f" strategy, decision_ms, entry_ms, exit_ms + i * {MINUTE_MS}, entry_price, exit_price, quantity,"
        " invested_quote, fee_quote, slippage_quote, pnl_quote, return_net, exit_reason, entry_fills,"
        " ambiguous, fallback, version FROM trades, n",
        f"{count.format(trades - 1)} INSERT INTO setups SELECT {later}, symbol, strategy, setup_number + i,"
        " verdict, reason, readiness, confidence, rank, fallback, measured, limit_value, version"
        " FROM setups, n",
        f"UPDATE trader SET cursor_ms = {first_ms + minutes * MINUTE_MS}, state = x'{state}'",
    )
    return first_ms + minutes * MINUTE_MS


@contextmanager
def counted_work() -> Iterator[list[int]]:
    """Counts the instructions of SQLite in hundreds, on every connection that is opened meanwhile."""
    work = [0]

    def count() -> int:
        work[0] += 1
        return 0

    def connected(connection: object, _record: object) -> None:
        connection.set_progress_handler(count, 100)  # type: ignore[attr-defined]  # of SQLite

    event.listen(Engine, "connect", connected)
    try:
        yield work
    finally:
        event.remove(Engine, "connect", connected)


def work_of_a_look(home: Path, *, minutes: int, trades: int) -> int:
    """The instructions of a look at a new minute, when the sums of all before it are known."""
    cursor_ms = grown(home, minutes, trades)
    watching = observer(home)
    while not watching.complete:
        watching.look(now_ms=cursor_ms)
    _execute(home, f"UPDATE trader SET cursor_ms = {cursor_ms - MINUTE_MS}")  # as if it had not been seen
    with counted_work() as work:
        assert watching.look(now_ms=cursor_ms).n_trades == trades
    return work[0]


def test_a_look_costs_the_same_after_three_days_and_after_a_month(tmp_path: Path):
    young = work_of_a_look(tmp_path / "young", minutes=3 * 1_440, trades=20_000 - 22 * 720)
    old = work_of_a_look(tmp_path / "old", minutes=30 * 1_440, trades=20_000)
    assert young > 10
    assert old < 1.1 * young


def test_sums_of_a_long_history_are_carried_on_in_portions_and_unknown_until_then(home: Path, made: HandMade):
    for number in range(7):
        row = setup(made.close_ms, SOL, number=number)
        done = trade(
            row, pnl=1.0 if number % 3 else -1.0, exit_ms=made.state.cursor_ms, reason=ExitReason.TIME_EXIT
        )
        made.step(equity=10_000.0 + 10 * number, setups=[row], orders=ladder(row, "filled"), trades=[done])
    engine = open_engine(home / "accounts" / "paper" / "trading.db", read_only=True)
    with engine.connect() as connection:
        nothing = Totals.of_nothing(start_ms=START_MS, capital_quote=10_000.0)
        part = nothing.carried_on(connection, rows_at_once=3)
        assert (part.next_trade, part.wins, part.complete) == (3, 2, False)
        while not part.complete:
            part = part.carried_on(connection, rows_at_once=3)
        assert part == nothing.carried_on(connection)
        assert part.carried_on(connection) == part
    engine.dispose()
    assert (part.wins, part.peak_quote) == (4, 10_060.0)
    assert part.fees_quote == pytest.approx(7 * 0.6)
    assert part.slippage_quote == pytest.approx(7 * 0.25)
    unknown = replace(looked(home, made), n_wins=None, fees_quote=math.nan, drawdown=math.nan)
    text = drawn(unknown, 80, 24)
    assert "drawdown -  fees -" in text
    assert "won" not in text
    assert "nan" not in text


# ------------------------------------------------------------------------------------------ the log


def at(minutes: int) -> int:
    return START_MS + minutes * MINUTE_MS


class Decisions:
    """What an account decided, of which it answers as its records would; its first order may have expired."""

    def __init__(self, rows: Sequence[SetupRecord], *, ended_ms: int | None = None) -> None:
        self.rows, self.ended_ms = rows, ended_ms

    def lines(self) -> list[DecisionFacts]:
        decided = [
            Decided(
                row.time_ms, str(row.symbol), row.strategy, row.reason.code, row.verdict is Verdict.TAKE, n
            )
            for n, row in enumerate(self.rows)
        ]
        return decision_lines(self, decided, after_ms=0, cursor_ms=at(10_000), seen=lambda _: {"drop": 0.03})

    def setups_keyed(self, keys: Sequence[tuple[int, str, str]]) -> list[SetupRecord]:
        known = {(row.time_ms, str(row.symbol), row.strategy): row for row in self.rows}
        return [known[key] for key in keys]

    def ended_entries(
        self, trade_group_ids: Sequence[str], reasons: Sequence[Reason]
    ) -> dict[str, tuple[int, Reason]]:
        assert Reason.EXPIRED in reasons
        return {} if self.ended_ms is None else {trade_group_ids[0]: (self.ended_ms, Reason.EXPIRED)}


def test_a_refusal_that_goes_on_is_told_once_and_again_after_three_hours():
    rows = [refused(at(5 * n), SOL, Reason.SHARE_USED, number=n, measured=1.0, limit=2.0) for n in range(60)]
    assert [line.time_ms for line in Decisions(rows).lines()] == [at(0)]
    later = [*rows[:5], refused(at(20 + 181), SOL, Reason.SHARE_USED, number=5)]
    assert [line.time_ms for line in Decisions(later).lines()] == [at(201), at(0)]


def test_coins_that_are_refused_for_one_reason_share_a_line():
    rows = [refused(at(n), coin, Reason.PAUSED, number=n) for n, coin in enumerate((BTC, ETH, SOL))]
    rows.append(refused(at(3), BTC, Reason.BLOCKED, number=3))
    told = [(line.coin, line.words, line.time_ms) for line in Decisions(rows).lines()]
    assert told == [("BTC", "the coin is blocked", at(3)), ("3 coins", "trading is paused", at(2))]


def test_after_a_buy_it_is_not_told_that_the_coin_is_held():
    rows = [
        setup(at(0), SOL, number=0),
        refused(at(5), SOL, Reason.SYMBOL_LIMIT, number=1),
        refused(at(10), SOL, Reason.SAME_EPISODE, number=2),
        refused(at(10), ETH, Reason.SYMBOL_LIMIT, number=3),
    ]
    told = [(line.kind, line.coin) for line in Decisions(rows).lines()]
    assert told == [(Kind.REFUSED, "ETH"), (Kind.TAKEN, "SOL")]


def test_an_order_that_expired_is_told_when_it_did():
    lines = Decisions([setup(at(0), SOL, number=0)], ended_ms=at(6)).lines()
    assert [(line.kind, line.time_ms) for line in lines] == [(Kind.REFUSED, at(6)), (Kind.TAKEN, at(0))]
    assert lines[0].words == "order expired: no trade in its time"


@pytest.mark.parametrize(("minutes", "told"), [(1_440, 2), (1_441, 1)])
def test_an_order_that_ended_more_than_a_day_later_is_not_told(minutes: int, told: int):
    assert len(Decisions([setup(at(0), SOL, number=0)], ended_ms=at(minutes)).lines()) == told


def test_a_refusal_that_goes_on_has_no_beginning_where_the_reading_ends(
    home: Path, made: HandMade, monkeypatch: pytest.MonkeyPatch
):
    """Every half an hour for three days; the hundredth coin is bought, and another one whose order expires."""
    start_ms, half_hour = made.close_ms, 30 * MINUTE_MS
    expired_ms = start_ms + 137 * half_hour
    made.step(
        setups=[refused(start_ms, SOL, Reason.SHARE_USED, number=0, measured=1.0, limit=2.0)],
        orders=ladder(setup(expired_ms, ETH, number=137), "expired"),
    )
    made.state.next_setup, made.state.cursor_ms = 150, start_ms + 150 * half_hour
    state = made.state.to_bytes().hex()
    _execute(
        home,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 149) INSERT INTO setups"
        f" SELECT time_ms + i * {half_hour}, symbol, strategy, i, verdict, reason, readiness, confidence,"
        " rank, fallback, measured, limit_value, version FROM setups, n",
        f"UPDATE setups SET verdict = 'TAKE', reason = 'accepted', symbol = '{BTC}' WHERE setup_number = 100",
        f"UPDATE setups SET verdict = 'TAKE', reason = 'accepted', symbol = '{ETH}' WHERE setup_number = 137",
        f"UPDATE trader SET cursor_ms = {made.state.cursor_ms}, state = x'{state}'",
    )

    def told() -> list[tuple[int, Kind, str]]:
        return [(line.time_ms, line.kind, line.coin) for line in looked(home, made).decisions]

    whole = told()
    assert whole == [
        (expired_ms + MINUTE_MS, Kind.REFUSED, "ETH"),
        (expired_ms, Kind.TAKEN, "ETH"),
        (start_ms + 100 * half_hour, Kind.TAKEN, "BTC"),
        (start_ms, Kind.REFUSED, "SOL"),
    ]
    for newest in range(1, 150):
        monkeypatch.setattr(account_log, "SETUPS_READ", newest)
        found = told()
        reached = [each for each in whole if each[0] >= start_ms + (150 - newest) * half_hour]
        assert found[: len(reached)] == reached
        assert found == whole[: len(found)]


def test_of_near_misses_the_nearest_of_an_hour_is_told_and_the_same_coin_only_twice_a_day():
    rows = [
        Near(at(5), "BTC/USDT", "DCA", 85.0, 0),
        Near(at(10), "SOL/USDT", "DCA", 97.0, 1),
        Near(at(15), "ETH/USDT", "SWING", 99.0, 2),
        Near(at(70), "SOL/USDT", "DCA", 97.0, 3),
        Near(at(75), "BTC/USDT", "DCA", 81.0, 4),
        Near(at(10 + 720), "SOL/USDT", "DCA", 80.0, 5),
    ]
    assert [line.place for line in told_near_misses(rows)] == [1, 2, 4, 5]


def test_near_misses_say_what_stopped_them(home: Path, made: HandMade):
    made.step(setups=[near_miss(made.close_ms, BTC, Reason.DROP_TOO_SMALL, readiness=85.0)])
    made.step(setups=[near_miss(made.close_ms, SOL, Reason.VOLUME_LOW, readiness=97.0)])
    seen = {"drop": 0.021, "volume_ratio": 0.77}
    with TradingViews.open(home / "accounts" / "paper") as views:
        (line,) = near_lines(views, made.close_ms, lambda _: seen)
        (before,) = near_lines(views, at(1), lambda _: seen)
    assert (line.coin, line.strategy, line.words) == ("SOL", "DCA", "volume is 0.77 x its mean")
    assert (before.coin, before.strategy, before.words) == ("BTC", "DCA", "fell only 2.10 % in 4 h")


def test_a_regime_that_flutters_is_one_line_and_each_lasting_change_one_of_its_own():
    changes = [
        (at(0), Regime.CAUTION),
        (at(60), Regime.PANIC),
        (at(63), Regime.CAUTION),
        (at(70), Regime.PANIC),
    ]
    assert [(line.time_ms, line.words) for line in regime_lines(changes)] == [
        (at(1), "CAUTION: sizes are cut, stops widen"),
        (at(71), "PANIC: no entries, ladders are cancelled (3 changes in 10m)"),
    ]


def test_refused_commands_are_told_as_refused():
    answer = CommandResult(command_id="c", kind="close_worst", status="refused", sentence="nothing is held")
    (line,) = people_lines([Answered(result=answer, time_ms=at(3), recorded_at_ms=0)])
    assert (line.kind, line.words) == (Kind.PERSON, "close worst refused: nothing is held")


def test_the_log_ends_where_it_would_never_be_read(
    home: Path, made: HandMade, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(account_log, "LOG_LINES", 3)
    eventful(made)
    lines = looked(home, made).decisions
    assert [line.kind for line in lines] == [Kind.MARKET, Kind.REFUSED, Kind.TAKEN]


def test_notices_that_do_not_fit_are_counted():
    told = [Notice(tone=Tone.WARNING, title="NO ENTRIES", words=f"reason {n}") for n in range(5)]
    lines = [line.plain for line in notices(told, 80, 3)]
    assert lines[:2] == [" NO ENTRIES  reason 0", " NO ENTRIES  reason 1"]
    assert lines[2].startswith(" and 3 more")
    assert len(notices(told, 80, 5)) == 5
    assert notices([], 80, 3) == []


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def stopped(home: Path) -> Path:
    """A home with an account that nobody trades now."""
    with hand_made(home) as made:
        eventful(made)
    return home


def test_once_prints_one_picture_without_colours_where_there_is_no_terminal(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "41")
    for arguments in (("--once",), ()):
        code, out, err = run_command(stopped, "watch", *arguments)
        assert (code, err) == (0, "")
        lines = out.split("\n")
        assert len(lines) == 41
        assert "STOPPED" in lines[0]
        assert "\x1b" not in out
        assert "10,098.00 USD" in out


def test_json_has_the_facts_of_one_picture(stopped: Path):
    code, out, err = run_command(stopped, "watch", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["account"], told["standing"]) == ("paper", "stopped")
    assert (told["time"], told["end"]) == ("2025-08-01T10:30:00Z", None)
    assert (told["equity"], told["n_trades"], told["n_wins"]) == (10_098.0, 1, 0)
    assert told["market"]["regime"] == "caution"
    assert told["market"]["reference_change"] is None
    assert [held["coin"] for held in told["positions"]] == ["ETH"]
    assert [each["kind"] for each in told["decisions"]] == [
        "market",
        "refused",
        "taken",
        "taken",
        "near_miss",
    ]
    assert told["decisions"][0]["time"] == "2025-08-01T10:20:00Z"
    assert told["notices"][0]["tone"] == "warning"
    assert "equity_curve" not in told


def test_an_account_can_be_named_and_one_that_is_not_there_is_a_sentence(stopped: Path, tmp_path: Path):
    assert run_command(stopped, "watch", "--once", "--account", "paper")[0] == 0
    code, out, err = run_command(stopped, "watch", "--account", "other")
    assert (code, out) == (1, "")
    assert "there is no account other" in err
    code, _, err = run_command(tmp_path / "empty", "watch")
    assert code == 1
    assert "start with `crypto-tracker trade`" in " ".join(err.split())


@pytest.mark.parametrize("wrong", [("--interval", "0"), ("--interval", "nan"), ("--days", "-1")])
def test_numbers_that_show_nothing_are_refused(stopped: Path, wrong: tuple[str, str]):
    code, out, err = run_command(stopped, "watch", *wrong)
    assert (code, out) == (2, "")
    assert wrong[0] in err


def test_an_output_that_cannot_show_block_characters_is_refused_with_a_way_out(stopped: Path):
    ended = subprocess.run(
        [sys.executable, "-m", "crypto_tracker", "--home", str(stopped), "watch", "--once"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 2
    assert "crypto-tracker status" in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_in_a_terminal_it_goes_on_until_ctrl_c_and_then_leaves_without_a_word(stopped: Path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "crypto_tracker", "--home", str(stopped), "watch", "--interval", "0.1"]
    settings = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=settings
    ) as process:
        os.close(theirs)
        shown = _read_until(ours, lambda text: text.count("10,098.00") >= 2)
        process.send_signal(signal.SIGINT)
        _read_until(ours, lambda _: process.poll() is not None)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    os.close(ours)
    assert process.returncode == 0
    assert said == ""
    assert "STOPPED" in shown


def _read_until(terminal: int, enough: Callable[[str], bool]) -> str:
    """What is drawn until it is enough, for four minutes at most."""
    shown = b""
    for _ in range(2_400):
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                shown += os.read(terminal, 65_536)
            except OSError:  # the other side has closed it
                return shown.decode(errors="replace")
        if enough(shown.decode(errors="replace")):
            return shown.decode(errors="replace")
    pytest.fail("the picture never came")


def test_the_hand_made_account_is_one_that_its_own_configuration_names():
    assert json.loads(CONFIGURATION.document)["trading"]["capital_quote"] == float(Decimal(10_000))
