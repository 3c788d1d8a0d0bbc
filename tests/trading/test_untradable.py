"""Configurations that an account can not take, since what it holds or has seen would lose its meaning."""

import pytest

from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.control import Command, ControlStore
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.trading.setting import configuration_row
from tests.trading.worlds import LIVELY, START_MS, account_folder, configuration, new_home, trade

END = START_MS + 30 * MINUTE_MS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("instrument_defaults.lot=0.001", "the lot of BTC/USD is 1e-06 and would be 0.001"),
        ('instruments."SOL/USD".lot=1', "the lot of SOL/USD is 1e-06 and would be 1"),
        ("protection.slow_regime.trend_bars=150", "protection.slow_regime.trend_bars was 200"),
        ("protection.volatility.samples=60", "more than the 3 days of the reference"),
    ],
)
def test_it_is_refused_with_the_reason_and_changes_nothing(tmp_path, change, says):
    home = new_home(tmp_path / "home")
    folder = account_folder(home)
    folder.mkdir(parents=True)
    row = configuration_row(configuration([*LIVELY, change]))
    command = Command.new("configure", {"version": row.version}, actor="test", created_at_ms=0)
    with ControlStore.open(folder) as control:
        control.offer_configuration(row, source="test", actor="test", created_at_ms=0)
        control.add(command)
    trade(home, end_ms=END)
    with TradingJournal.open(folder) as journal:
        ((_, result),) = journal.command_results(START_MS, END)
        assert (result.command_id, result.status) == (command.command_id, "refused")
        assert says in result.sentence
        assert row.version not in journal.versions()
        assert journal.commands_applied(START_MS, END) == []
