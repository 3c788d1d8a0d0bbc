"""A follower knows an account as its records do, however it grows, and whatever becomes of the file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from crypto_tracker.app.serving.follower import AccountFollower
from crypto_tracker.app.trading import forget_replay
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.money import to_decimal, to_e8
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.desk.source import DecisionFilter, TradeFilter
from crypto_tracker.store.control import FILE_NAME as CONTROL_FILE_NAME
from crypto_tracker.store.control import Command, ControlStore
from crypto_tracker.store.database import TRADING, downgrade, open_engine, upgrade
from crypto_tracker.store.trading import TradingStore
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_records import CommandResult, StepRecord
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.strategies.decisions import ScanBlock, encode_block
from tests.store.accounts import (
    ACCOUNT,
    ETH,
    OPENING,
    RECORDED,
    SOL,
    eventful_steps,
    minute,
    plain_step,
    setup_of,
    trading,
)


def scan(number: int, strategy: str) -> tuple[int, str, bytes]:
    block = ScanBlock(
        strategy=strategy,
        time_ms=minute(number),
        version="v1",
        symbols=(ETH, SOL),
        reason=np.zeros(2, dtype=np.int8),
        readiness=np.array([50.0, 60.0]),
        confidence=np.array([0.5, 0.6]),
        measurements={},
    )
    return minute(number), strategy, encode_block(block)


def steps() -> list[StepRecord]:
    found = eventful_steps()
    found[1] = replace(found[1], blocks=[scan(2, "DCA"), scan(2, "SWING")])
    found[6] = replace(found[6], blocks=[scan(7, "DCA")])
    return found


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[AccountFollower]:
    opened = AccountFollower(tmp_path / "paper")
    yield opened
    opened.close()


def known(follower: AccountFollower) -> dict[str, Any]:
    """Everything that a follower knows, as plain values."""
    now = follower.now
    index = now.trades.select(TradeFilter(), {})
    curve = now.equity.curve(1_000)
    return {
        "account": now.account,
        "cursor": now.cursor_ms,
        "trades": (now.trades.number.tolist(), now.trades.totals(index)),
        "equity": None if curve is None else curve.rows.equity_e8.tolist(),
        "deepest": now.equity.max_drawdown,
        "setups": now.setups.keys(np.arange(len(now.setups))),
        "counts": now.setups.counts,
        "regimes": now.regimes,
        "scans": {name: block.time_ms for name, block in now.newest_blocks.items()},
        "waiting": [command.command_id for command in now.waiting],
    }


def read_anew(follower: AccountFollower) -> dict[str, Any]:
    fresh = AccountFollower(follower.folder)
    try:
        fresh.refresh()
        return known(fresh)
    finally:
        fresh.close()


def test_what_was_followed_minute_by_minute_is_what_is_read_at_once(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
        generations = [follower.refresh()]
        for step in steps():
            store.commit(step, recorded_at_ms=RECORDED)
            generations.append(follower.refresh())
            assert known(follower) == read_anew(follower)
            with follower.views() as views:
                assert follower.now.cursor_ms == views.cursor_ms()
                index = follower.now.trades.select(TradeFilter(), {})
                assert to_decimal(follower.now.trades.totals(index).pnl_e8) == views.sums().pnl_quote
                assert follower.now.equity.max_drawdown == views.max_drawdown()
                assert follower.now.setups.counts == {
                    (verdict.value, reason.code): count
                    for (verdict, reason), count in views.setup_counts().items()
                }
    assert generations == list(range(1, 12))
    assert follower.now.regimes == ((minute(7), minute(8), int(Regime.PANIC)),)
    assert {name: block.time_ms for name, block in follower.now.newest_blocks.items()} == {
        "DCA": minute(7),
        "SWING": minute(2),
    }


def test_where_nobody_wrote_nothing_is_read(follower, monkeypatch):
    with trading(follower.folder) as store:
        store.create(OPENING)
        follower.refresh()
        state = follower.now

        def never(*_: Any, **__: Any) -> Any:
            raise AssertionError("the file was read")

        with monkeypatch.context() as patch:
            patch.setattr(TradingViews, "trades_since", never)
            assert [follower.refresh() for _ in range(3)] == [1, 1, 1]
            assert follower.now is state
            store.commit(plain_step(0), recorded_at_ms=RECORDED)
            with pytest.raises(AssertionError, match="the file was read"):
                follower.refresh()
        assert follower.refresh() == 2


def test_an_account_that_was_just_opened_has_its_capital_and_nothing_else(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
    follower.refresh()
    assert follower.now.equity.last_e8 == to_e8(ACCOUNT.capital_quote)
    assert (
        len(follower.now.trades),
        len(follower.setups),
        follower.now.regimes,
        follower.now.newest_blocks,
    ) == (
        0,
        0,
        (),
        {},
    )
    assert follower.now.cursor_ms == ACCOUNT.start_ms


def test_before_there_is_an_account_that_is_said_and_afterwards_it_is_followed(follower):
    with pytest.raises(StoreError, match=r"there is no account in .* start it with"):
        follower.refresh()
    with pytest.raises(StoreError, match="was not read yet"):
        _ = follower.now.trades
    follower.folder.mkdir()
    (follower.folder / FILE_NAME).touch()
    with pytest.raises(StoreError, match="was not opened to its end"):
        follower.refresh()
    engine = open_engine(follower.folder / FILE_NAME)
    upgrade(engine, TRADING)
    engine.dispose()
    with pytest.raises(StoreError, match="was not opened to its end"):
        follower.refresh()
    with TradingStore.open(follower.folder, wait_ms=0) as store:
        store.create(OPENING)
    assert follower.refresh() == 1


def test_an_account_that_is_forgotten_and_begun_anew_is_followed_from_its_beginning(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
        for step in steps():
            store.commit(step, recorded_at_ms=RECORDED)
    with ControlStore.open(follower.folder) as control:
        control.add(Command.new("pause", {}, actor="cli:anna", created_at_ms=1))
    follower.refresh()
    state = follower.now
    assert len(follower.now.trades) == 1
    assert len(follower.now.waiting) == 1
    with follower.views() as views:
        forget_replay(follower.folder)
        assert views.sums().trades == 1  # who reads the old file reads it to the end
    with pytest.raises(StoreError, match="there is no account"):
        follower.refresh()
    with pytest.raises(StoreError, match="there is no account"), follower.views():
        pass
    with TradingStore.open(follower.folder, wait_ms=0) as store:
        store.create(OPENING)
        store.commit(plain_step(0), recorded_at_ms=RECORDED)
        assert follower.refresh() == state.generation + 1
    assert (len(follower.now.trades), len(follower.now.equity), follower.now.waiting) == (0, 1, ())
    assert len(state.trades) == 1  # what was seen stays as it was
    assert known(follower) == read_anew(follower)


def test_a_copy_that_is_put_in_place_of_the_file_is_read_from_its_beginning(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
        store.commit(plain_step(0), recorded_at_ms=RECORDED)
    copy = (follower.folder / FILE_NAME).read_bytes()
    with trading(follower.folder) as store:
        for step in steps()[1:]:
            store.commit(step, recorded_at_ms=RECORDED)
    follower.refresh()
    assert len(follower.now.equity) == 10
    (follower.folder / "copy").write_bytes(copy)
    (follower.folder / "copy").rename(follower.folder / FILE_NAME)
    follower.refresh()
    assert (len(follower.now.equity), len(follower.now.trades), follower.now.cursor_ms) == (1, 0, minute(1))


def test_it_is_followed_by_threads_while_it_is_traded(follower):
    failed: list[BaseException] = []
    done: list[bool] = []

    def look() -> None:
        try:
            while not done:
                follower.refresh()
                now = follower.now
                assert len(now.equity) == (now.cursor_ms - ACCOUNT.start_ms) // MINUTE_MS
                assert len(now.setups) == sum(now.setups.counts.values())
                with follower.views() as views:
                    assert views.cursor_ms() >= now.cursor_ms
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    with trading(follower.folder, durable=False) as store:
        store.create(OPENING)
        follower.refresh()
        threads = [Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(150):
            step = plain_step(number, setups=[setup_of(number, None)] if number % 3 == 0 else [])
            store.commit(step, recorded_at_ms=RECORDED)
        done.append(True)
        for thread in threads:
            thread.join()
    assert failed == []
    follower.refresh()
    assert (len(follower.now.equity), len(follower.setups)) == (150, 50)
    assert known(follower) == read_anew(follower)


def test_more_rows_than_are_read_at_once_are_read_in_parts(follower, monkeypatch):
    with trading(follower.folder) as store:
        store.create(OPENING)
        for step in steps():
            store.commit(step, recorded_at_ms=RECORDED)
    whole = read_anew(follower)
    for at_once in (1, 3, 10):
        monkeypatch.setattr("crypto_tracker.app.serving.follower._ROWS_AT_ONCE", at_once)
        assert read_anew(follower) == whole


def test_stretches_of_a_regime_are_put_together_over_refreshes(follower):
    regimes = [Regime.CAUTION, Regime.CAUTION, Regime.PANIC, Regime.NORMAL, Regime.CAUTION, Regime.CAUTION]
    with trading(follower.folder) as store:
        store.create(OPENING)
        for number, regime in enumerate(regimes):
            store.commit(plain_step(number, regime=regime), recorded_at_ms=RECORDED)
            follower.refresh()
    assert follower.now.regimes == (
        (minute(0), minute(2), int(Regime.CAUTION)),
        (minute(2), minute(3), int(Regime.PANIC)),
        (minute(4), minute(6), int(Regime.CAUTION)),
    )
    assert follower.now.regimes == read_anew(follower)["regimes"]


def test_commands_wait_until_they_are_answered_and_in_their_order(follower):
    def answer(number: int, *commands: Command) -> StepRecord:
        results = [
            CommandResult(command_id=each.command_id, kind=each.kind, status="applied", sentence="done")
            for each in commands
        ]
        return plain_step(number, results=results)

    one, two, three = (
        Command.new("close", {"symbol": symbol}, actor="cli:anna", created_at_ms=1)
        for symbol in ("ETH/USDT", "SOL/USDT", "BTC/USDT")
    )
    with trading(follower.folder) as store:
        store.create(OPENING)
        follower.refresh()
        with follower.control() as nobody:
            assert nobody is None
        with ControlStore.open(follower.folder) as control:
            control.add(one)
            control.add(two)
            follower.refresh()
            assert list(follower.now.waiting) == [one, two]
            store.commit(answer(0, one), recorded_at_ms=RECORDED)
            follower.refresh()
            assert list(follower.now.waiting) == [two]
            control.add(three)
            follower.refresh()
            assert (list(follower.now.waiting), follower.now.last_command) == ([two, three], 3)
            store.commit(answer(1, three, two), recorded_at_ms=RECORDED)
            follower.refresh()
            assert follower.now.waiting == ()
        with follower.control() as views, follower.views() as records:
            assert views is not None
            page = views.commands(limit=2)
            assert [command for _, command in page] == [three, two]
            assert [command for _, command in views.commands(limit=2, before=page[-1][0])] == [one]
            answers = records.answers_to([two.command_id, "unknown"])
            assert {name: each.time_ms for name, each in answers.items()} == {two.command_id: minute(1)}
            assert [each.action for _, each in views.audit(limit=2)] == ["close", "close"]
    assert known(follower)["waiting"] == read_anew(follower)["waiting"] == []


def test_a_page_of_setups_is_read_by_its_keys(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
        for step in steps():
            store.commit(step, recorded_at_ms=RECORDED)
    follower.refresh()
    columns = follower.setups
    keys = columns.keys(columns.page(DecisionFilter(symbols=(SOL,)), limit=9))
    with follower.views() as views:
        rows = views.setups_keyed(keys)
        assert [(row.time_ms, row.verdict.value) for row in rows] == [
            (minute(8), "SKIP"),
            (minute(2), "TAKE"),
        ]
        with pytest.raises(StoreError, match="has no setup"):
            views.setups_keyed([(1, "SOL/USDT", "DCA")])
        with pytest.raises(StoreError, match="has no trade 9"):
            views.trades_numbered([0, 9])
        fills = views.fills_of_symbol(SOL, minute(0), minute(9), trades=9)
        assert [(fill.kind.code, fill.bar_open_time.minute) for fill in fills] == [
            ("entry", 57),
            ("exit", 59),
            ("exit", 59),
        ]
        assert len(views.fills_of_symbol(SOL, minute(4), minute(5), trades=9)) == 2
        assert views.fills_of_symbol(SOL, minute(5), minute(9), trades=9) == []
        assert views.fills_of_symbol(ETH, minute(0), minute(9), trades=9) == []


def test_fills_of_what_is_still_held_are_fills_of_the_symbol_too(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
        for step in steps()[:4]:
            store.commit(step, recorded_at_ms=RECORDED)
    follower.refresh()
    with follower.views() as views:
        assert [fill.kind.code for fill in views.fills_of_symbol(SOL, minute(0), minute(9), trades=9)] == [
            "entry"
        ]


def test_a_control_file_that_is_being_made_says_nothing_yet(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
    (follower.folder / CONTROL_FILE_NAME).touch()
    follower.refresh()
    assert follower.now.waiting == ()
    with follower.control() as control:
        assert control is None


def test_an_account_of_an_older_version_is_followed_as_it_is(follower):
    with trading(follower.folder) as store:
        store.create(OPENING)
        for step in steps():
            store.commit(step, recorded_at_ms=RECORDED)
    whole = read_anew(follower)
    engine = open_engine(follower.folder / FILE_NAME)
    downgrade(engine, TRADING, "0004")
    engine.dispose()
    assert read_anew(follower) == whole
