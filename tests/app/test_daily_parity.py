"""Parity runs by itself after every UTC day of paper trading, and a difference raises an alarm."""

import time
from pathlib import Path

import pytest

from crypto_tracker.app.trading import DailyParity
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.store.control import ControlStore
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trading_journal import TradingJournal
from tests.trading.worlds import ACCOUNT, END_MS, START_MS, account_folder, new_home, trade

MIDNIGHT = START_MS - START_MS % DAY_MS + DAY_MS


class Listener:
    def __init__(self):
        self.alarms = []

    def alarm(self, sentence):
        self.alarms.append(sentence)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    made = new_home(tmp_path_factory.mktemp("daily") / "home")
    trade(made)
    return made


def day_after_day(home: Path) -> list[str]:
    """Look after every minute from the start to the end; wait for each check that was begun."""
    with TradingJournal.open(account_folder(home)) as journal:
        account = journal.account()
    assert account is not None
    daily, listener = DailyParity(home, ACCOUNT, account), Listener()
    try:
        for cursor_ms in range(START_MS + MINUTE_MS, END_MS + MINUTE_MS, MINUTE_MS):
            daily.look(cursor_ms, listener)
            deadline = time.monotonic() + 600
            while daily.checking and time.monotonic() < deadline:
                time.sleep(0.05)
                daily.look(cursor_ms, listener)
    finally:
        daily.close()
    return listener.alarms


def checks(home: Path):
    with ControlStore.open(account_folder(home)) as control:
        return control.checks()


def test_every_day_that_is_over_is_proven_once(home):
    assert day_after_day(home) == []
    spans = sorted((check.start_ms, check.end_ms, check.differences) for check in checks(home))
    assert spans == [(START_MS, MIDNIGHT, 0), (MIDNIGHT, MIDNIGHT + DAY_MS, 0)]


def test_a_difference_raises_an_alarm_that_says_what_to_run(home):
    engine = open_engine(account_folder(home) / "trading.db")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE minutes SET equity_quote = equity_quote + 1 WHERE time_ms = ?", (MIDNIGHT + MINUTE_MS,)
        )
    engine.dispose()
    (alarm,) = day_after_day(home)
    assert alarm == (
        "parity of 2025-03-02 found differences: run `crypto-tracker parity --account trader "
        "--timerange 20250302-20250303`"
    )
