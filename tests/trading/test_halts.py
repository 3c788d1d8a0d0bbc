"""Critical errors stop entries and wait for a person; exits go on."""

from contextlib import contextmanager

import pytest

from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.simulation.live import Stepper
from crypto_tracker.store.control import Command, ControlStore
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.strategies.dca import Dca
from tests.trading.worlds import END_MS, START_MS, account_folder, differences, dump, new_home, trade

BREAKS_MS = START_MS + 200 * MINUTE_MS
RESUMES_MS = START_MS + 600 * MINUTE_MS


@pytest.fixture
def home(tmp_path):
    return new_home(tmp_path / "home")


@contextmanager
def journal_of(home):
    with TradingJournal.open(account_folder(home)) as journal:
        yield journal


def order_times(journal):
    return {order.placed_ms for order in journal.orders()}


def say(home, kind, *, not_before_ms=None):
    command = Command.new(kind, {}, actor="test", created_at_ms=0, not_before_ms=not_before_ms)
    folder = account_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    with ControlStore.open(folder) as control:
        control.add(command)
    return command.command_id


def test_a_scan_that_fails_halts_entries_until_a_person_resumes(home, monkeypatch):
    detect = Dca.detect

    def fails_once(self, features, parameters):
        if int(features.panel.close_time_ms[-1]) == BREAKS_MS:
            raise ZeroDivisionError("division by zero in a rule")
        return detect(self, features, parameters)

    monkeypatch.setattr(Dca, "detect", fails_once)
    resume = say(home, "resume", not_before_ms=RESUMES_MS)
    trade(home)
    with journal_of(home) as journal:
        ((minute_ms, halt),) = journal.halts()
        assert (minute_ms, halt.cause, halt.strategy) == (BREAKS_MS - MINUTE_MS, "scan_failed", "DCA")
        assert halt.sentence == (
            "the scan of DCA at 2025-03-02 01:00 UTC failed: ZeroDivisionError: division by zero in a rule"
        )
        placed = order_times(journal)
        assert any(time_ms < BREAKS_MS for time_ms in placed)
        assert not any(BREAKS_MS <= time_ms <= RESUMES_MS for time_ms in placed)
        assert any(time_ms > RESUMES_MS for time_ms in placed)
        exits = [
            fill.bar_open_time for fill in journal.fills(BREAKS_MS, RESUMES_MS) if fill.kind.code == "exit"
        ]
        assert exits, "exits go on while entries are halted"
        answers = {result.command_id: result for _, result in journal.command_results(START_MS, END_MS)}
        assert answers[resume].status == "applied"
        scans = {(time_ms, strategy) for time_ms, strategy, _ in journal.blocks(START_MS, END_MS + 1)}
        assert (BREAKS_MS, "DCA") not in scans
        assert (BREAKS_MS, "SWING") in scans


def test_a_ledger_that_is_altered_while_it_is_traded_halts_entries_at_midnight(home):
    midnight_ms = START_MS - START_MS % DAY_MS + DAY_MS
    folder = account_folder(home)

    def tampers(record):
        if record.time_ms == midnight_ms - MINUTE_MS:
            engine = open_engine(folder / "trading.db")
            with engine.begin() as connection:
                connection.exec_driver_sql("UPDATE fills SET fee_quote = fee_quote + 1 WHERE sequence = 0")
            engine.dispose()
        return record.time_ms >= midnight_ms + 400 * MINUTE_MS

    resume = say(home, "resume", not_before_ms=midnight_ms + 100 * MINUTE_MS)
    trade(home, enough=tampers)
    with journal_of(home) as journal:
        ((minute_ms, halt),) = journal.halts()
        assert (minute_ms, halt.cause) == (midnight_ms, "ledger_mismatch")
        assert "`fills`" in halt.sentence or "`trades`" in halt.sentence or "cash" in halt.sentence
        assert not any(time_ms > midnight_ms for time_ms in order_times(journal))
        answers = {result.command_id: result for _, result in journal.command_results(START_MS, END_MS)}
        assert answers[resume].status == "refused"  # the cause persists


def test_an_outcome_that_does_not_add_up_is_never_written_and_halts_entries(home, monkeypatch):
    step = Stepper.step

    def invents_money(self, panel, *rest, **more):
        stepped = step(self, panel, *rest, **more)
        paused = bool(self.state.book["paused"][0])
        if int(panel.open_time_ms[0]) >= BREAKS_MS and not paused:
            self.state.book["cash"] += 1
        return stepped

    monkeypatch.setattr(Stepper, "step", invents_money)
    trade(home, enough=lambda record: record.time_ms >= RESUMES_MS)
    with journal_of(home) as journal:
        ((minute_ms, halt),) = journal.halts()
        assert (minute_ms, halt.cause) == (BREAKS_MS, "invariant_broken")
        assert "does not add up" in halt.sentence
        assert not any(time_ms >= BREAKS_MS for time_ms in order_times(journal))
        assert journal.trader().cursor_ms == RESUMES_MS + MINUTE_MS


def test_what_is_broken_without_entries_too_stops_the_trader_before_it_writes(home, tmp_path, monkeypatch):
    step = Stepper.step

    def invents_money(self, panel, *rest, **more):
        stepped = step(self, panel, *rest, **more)
        if int(panel.open_time_ms[0]) == BREAKS_MS:
            self.state.book["cash"] += 1
        return stepped

    monkeypatch.setattr(Stepper, "step", invents_money)
    with pytest.raises(SimulationError, match="does not add up"):
        trade(home)
    monkeypatch.undo()
    with journal_of(home) as journal:
        assert journal.trader().cursor_ms == BREAKS_MS
    trade(home)
    undisturbed = new_home(tmp_path / "undisturbed")
    trade(undisturbed)
    assert not differences(dump(account_folder(undisturbed)), dump(account_folder(home)))
