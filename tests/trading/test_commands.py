"""Answers to people: what is applied, what is refused and why, and in which order commands of a minute act."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, to_ms
from crypto_tracker.simulation.records import TRADE_DTYPE
from crypto_tracker.simulation.state import HELD, PENDING, PortfolioState
from crypto_tracker.store.control import ARGUMENTS, Command
from crypto_tracker.store.trading_records import AppliedCommand, ConfigurationRow
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.commands import Answers, Situation, answer, what_an_account_keeps

NOON = to_ms(datetime(2025, 8, 22, 12, tzinfo=UTC))
SINCE = "2025-08-22 12:00 UTC"
ADA, BTC, ETH, SOL = (Symbol(coin, "USDT") for coin in ("ADA", "BTC", "ETH", "SOL"))
SYMBOLS = (ADA, BTC, ETH, SOL)
STRATEGIES = ("DCA", "SWING", "CHANNEL")
NUMBER_OF = {symbol: column for column, symbol in enumerate(SYMBOLS)}


def document(*assignments: str) -> str:
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(
        models, file=None, environment={}, assignments=assignments
    ).tree.model_dump_json()


ACTIVE = ConfigurationRow(version="active", canonical="{}", document=document())
OFFERED = {
    "softer": document(
        "limits.max_open=12", "strategies.SWING.breakout=1.01", "costs.slippage.large_cap=0.002"
    ),
    "without-swing": document('trading.switched_off=["SWING"]'),
    "richer": document("trading.capital_quote=20000"),
    "smaller": document('universe.symbols=["BTC/USDT"]'),
}


def situation(
    *,
    held: dict[Symbol, float] | None = None,
    pending: tuple[Symbol, ...] = (),
    **changes: object,
) -> Situation:
    """A fresh account of 10,000 that holds positions with the given marked returns on 100 each."""
    held = held or {}
    portfolio = PortfolioState.fresh(len(SYMBOLS), len(STRATEGIES), 10_000 * 10**8)
    positions = np.zeros(len(held), dtype=TRADE_DTYPE)
    for row, (symbol, marked) in zip(positions, held.items(), strict=True):
        row["symbol"] = NUMBER_OF[symbol]
        row["invested_e8"] = 100 * 10**8
        row["pnl_e8"] = round(marked * 100 * 10**8)
        portfolio.slots[NUMBER_OF[symbol]]["phase"] = HELD
    for symbol in pending:
        portfolio.slots[NUMBER_OF[symbol]]["phase"] = PENDING
    usual = Situation(
        portfolio=portfolio,
        positions=positions,
        symbols=SYMBOLS,
        strategies=STRATEGIES,
        enabled=(True, True, True),
        forced=None,
        halted=None,
        halt_persists=lambda: None,
        configuration=ACTIVE,
        offered=lambda version: (
            ConfigurationRow(version=version, canonical="{}", document=OFFERED[version])
            if version in OFFERED
            else None
        ),
    )
    return replace(usual, **changes)


def asked(kind: str, not_before_ms: int | None = None, **arguments: str | int) -> Command:
    return Command.new(kind, arguments, actor="cli:anna", created_at_ms=1, not_before_ms=not_before_ms)


def answered(where: Situation, *commands: Command) -> list[tuple[str, str]]:
    found = answer(commands, minute_ms=NOON, situation=where)
    assert [result.command_id for result in found.results] == [each.command_id for each in commands]
    assert [result.kind for result in found.results] == [each.kind for each in commands]
    return [(result.status, result.sentence) for result in found.results]


def applied(where: Situation, command: Command) -> tuple[list[AppliedCommand], str]:
    """What reaches the simulator of a command that is accepted, and the sentence."""
    found: Answers = answer([command], minute_ms=NOON, situation=where)
    assert [result.status for result in found.results] == ["applied"], found.results
    assert {each.command_id for each in found.applied} == {command.command_id}
    return found.applied, found.results[0].sentence


def refused(where: Situation, command: Command) -> str:
    """The reason why a command is refused; nothing of it reaches the simulator."""
    found = answer([command], minute_ms=NOON, situation=where)
    assert [result.status for result in found.results] == ["refused"], found.results
    assert found.applied == []
    return found.results[0].sentence


def one(kind: str, **changes: object) -> list[AppliedCommand]:
    return [
        replace(AppliedCommand(kind=kind, symbol=None, strategy=None, value=None, command_id=None), **changes)
    ]


# ------------------------------------------------------------------------------------------ entries


def test_a_pause_stops_entries_and_leaves_exits():
    command = asked("pause")
    commands, sentence = applied(situation(), command)
    assert commands == one("pause", command_id=command.command_id)
    assert sentence == f"entries are paused from {SINCE} on; exits go on"


def test_a_pause_is_refused_while_entries_are_paused_or_halted():
    where = situation()
    where.portfolio.book["paused"] = True
    assert refused(where, asked("pause")) == "entries are paused already"
    halted = replace(where, halted="the scan of SWING failed")
    assert refused(halted, asked("pause")) == "entries are halted already: the scan of SWING failed"


def test_a_resume_ends_a_pause_and_says_from_which_equity_the_days_loss_counts():
    where = situation()
    where.portfolio.book["paused"] = True
    where.portfolio.book["equity"] = 987_654_321_000
    command = asked("resume")
    commands, sentence = applied(where, command)
    assert commands == one("resume", command_id=command.command_id)
    assert sentence == (
        f"entries go on from {SINCE}: the pause ends, and the day's loss and the drawdown count from "
        "the equity of 9,876.54"
    )


def test_a_resume_ends_the_stop_by_the_days_loss_also_together_with_a_pause():
    where = situation()
    where.portfolio.book["day_latched"] = True
    assert "the stop by the day's loss ends" in applied(where, asked("resume"))[1]
    where.portfolio.book["paused"] = True
    assert "the pause and the stop by the day's loss end," in applied(where, asked("resume"))[1]


def test_a_resume_ends_the_stop_by_the_drawdown_which_nothing_else_does():
    where = situation()
    where.portfolio.book["drawdown_latched"] = True
    assert "the stop by the drawdown ends" in applied(where, asked("resume"))[1]


def test_a_resume_with_nothing_to_end_is_refused():
    assert refused(situation(), asked("resume")).startswith("entries are not stopped")


def test_a_halt_ends_only_when_its_cause_is_gone():
    where = situation(halted="cash differs")
    where.portfolio.book["paused"] = True
    assert "the halt ends" in applied(where, asked("resume"))[1]
    still = replace(where, halt_persists=lambda: "cash is 1, the fills give 2")
    assert refused(still, asked("resume")) == (
        "entries stay halted, what stopped them is still so: cash is 1, the fills give 2"
    )


def test_the_cause_of_a_halt_is_looked_for_only_where_there_is_one():
    def never() -> str | None:
        raise AssertionError("nothing is halted")

    where = situation(halt_persists=never)
    where.portfolio.book["paused"] = True
    applied(where, asked("resume"))
    refused(situation(halt_persists=never), asked("resume"))


# ---------------------------------------------------------------------------------------- positions


def test_a_close_sells_a_position_at_the_next_open():
    command = asked("close", symbol="ETH/USDT")
    commands, sentence = applied(situation(held={ETH: 0.01}), command)
    assert commands == one("close", symbol=ETH, value="manual", command_id=command.command_id)
    assert sentence == f"ETH/USDT is sold at the first open from {SINCE} on"


def test_a_close_cancels_an_order_that_nothing_was_filled_of():
    commands, sentence = applied(situation(pending=(SOL,)), asked("close", symbol="SOL/USDT"))
    assert [each.symbol for each in commands] == [SOL]
    assert sentence.startswith("the order for SOL/USDT is cancelled")


def test_a_close_of_nothing_of_a_stranger_or_of_what_leaves_already_is_refused():
    where = situation(held={BTC: 0.1, ETH: 0.0})
    where.portfolio.slots[NUMBER_OF[BTC]]["request"] = ExitReason.MANUAL
    where.portfolio.slots[NUMBER_OF[ETH]]["trigger"] = ExitReason.STOP_LOSS
    assert refused(where, asked("close", symbol="ADA/USDT")) == "ADA/USDT has no position and no order"
    assert refused(where, asked("close", symbol="XRP/USDT")) == "XRP/USDT is not traded by this account"
    for symbol in ("BTC/USDT", "ETH/USDT"):
        assert refused(where, asked("close", symbol=symbol)) == f"the exit of {symbol} is under way already"


def test_closing_twice_in_a_minute_is_refused_the_second_time():
    where = situation(held={ETH: 0.0}, pending=(SOL,))
    twice = [asked("close", symbol=symbol) for symbol in ("ETH/USDT", "ETH/USDT", "SOL/USDT", "SOL/USDT")]
    assert [status for status, _ in answered(where, *twice)] == ["applied", "refused", "applied", "refused"]


def test_the_worst_are_those_with_the_lowest_marked_return_and_ties_go_by_symbol():
    where = situation(held={SOL: -0.02, ETH: 0.03, BTC: -0.02, ADA: -0.01})
    commands, sentence = applied(where, asked("close_worst", count=2))
    assert [(each.kind, each.symbol, each.value) for each in commands] == [
        ("close", BTC, "manual"),
        ("close", SOL, "manual"),
    ]
    assert sentence == (
        f"2 positions are sold at the first open from {SINCE} on: BTC/USDT (-2.00 %), SOL/USDT (-2.00 %)"
    )


def test_of_more_than_are_held_all_are_closed():
    commands, sentence = applied(situation(held={BTC: -0.02}), asked("close_worst", count=5))
    assert [each.symbol for each in commands] == [BTC]
    assert sentence.startswith("1 position of 5 that were asked for is sold")


def test_the_worst_are_chosen_among_those_whose_exit_is_not_under_way():
    where = situation(held={BTC: -0.5, ETH: -0.1, SOL: 0.2})
    first, second, third = (
        asked("close", symbol="BTC/USDT"), asked("close_worst", count=1), asked("close_worst", count=2)
    )  # fmt: skip
    found = answer([first, second, third], minute_ms=NOON, situation=where)
    assert [each.symbol for each in found.applied] == [BTC, ETH, SOL]


def test_closing_the_worst_is_refused_without_a_number_or_a_position():
    assert refused(situation(held={BTC: 0.0}), asked("close_worst", count=0)).startswith("the number of pos")
    assert refused(situation(pending=(ETH,)), asked("close_worst", count=1)) == "nothing is held"
    where = situation(held={BTC: 0.0})
    where.portfolio.slots["request"] = ExitReason.MANUAL
    assert refused(where, asked("close_worst", count=1)).endswith("under way already")


# --------------------------------------------------------------------------------------- the market


def test_a_regime_is_forced_and_released():
    commands, sentence = applied(situation(), asked("regime_force", regime="Panic"))
    assert [(each.kind, each.value) for each in commands] == [("force_regime", "panic")]
    assert sentence == f"the regime is panic from the close of the minute {SINCE} on, until it is released"
    commands, sentence = applied(situation(forced=Regime.PANIC), asked("regime_release"))
    assert [each.kind for each in commands] == ["release_regime"]
    assert sentence.startswith("the regime panic is no longer forced")


def test_another_regime_may_take_the_place_of_a_forced_one():
    where = situation(forced=Regime.PANIC)
    assert applied(where, asked("regime_force", regime="caution"))[0][0].value == "caution"
    assert refused(where, asked("regime_force", regime="panic")) == "the regime panic is forced already"


def test_a_regime_that_there_is_not_or_none_to_release_is_refused():
    assert refused(situation(), asked("regime_force", regime="sunny")) == (
        "'sunny' is no regime: there are normal, caution, euphoria, panic"
    )
    assert refused(situation(), asked("regime_release")) == "no regime is forced"


# --------------------------------------------------------------------------------------- protection


@pytest.mark.parametrize("held", [("stops", 1), ("cooldown_ms", NOON + HOUR_MS)])
def test_a_cooldown_is_cleared_while_it_runs_and_while_stops_are_counted(held):
    where = situation()
    where.portfolio.coins[NUMBER_OF[ETH]][held[0]] = held[1]
    commands, sentence = applied(where, asked("cooldown_clear", symbol="ETH/USDT"))
    assert [(each.kind, each.symbol) for each in commands] == [("clear_cooldown", ETH)]
    assert sentence == f"the cooldown and the counted stops of ETH/USDT are cleared at {SINCE}"
    assert refused(where, asked("cooldown_clear", symbol="BTC/USDT")) == (
        "BTC/USDT does not cool down and has no counted stops"
    )
    assert refused(where, asked("cooldown_clear", symbol="XRP/USDT")).endswith("not traded by this account")


@pytest.mark.parametrize("held", [("streak", 2), ("blocked_ms", NOON + HOUR_MS)])
def test_a_losing_streak_is_cleared_while_it_is_counted_and_while_it_blocks(held):
    where = situation()
    where.portfolio.strategies[1][held[0]] = held[1]
    commands, _ = applied(where, asked("streak_clear", strategy="SWING"))
    assert [(each.kind, each.strategy) for each in commands] == [("clear_streak", "SWING")]
    assert refused(where, asked("streak_clear", strategy="DCA")) == "DCA has no losing streak"
    assert refused(where, asked("streak_clear", strategy="GRID")) == (
        "GRID is no strategy of this account: it trades DCA, SWING, CHANNEL"
    )


def test_a_strategy_is_switched_off_and_on():
    where = situation()
    commands, sentence = applied(where, asked("strategy_off", strategy="DCA"))
    assert [(each.kind, each.strategy) for each in commands] == [("strategy_off", "DCA")]
    assert sentence == f"DCA opens nothing from {SINCE} on; what it holds keeps its exits"
    assert refused(where, asked("strategy_on", strategy="DCA")) == "DCA is on already"
    where.portfolio.strategies[0]["off"] = True
    commands, sentence = applied(where, asked("strategy_on", strategy="DCA"))
    assert [(each.kind, each.strategy) for each in commands] == [("strategy_on", "DCA")]
    assert sentence == f"DCA may open positions again from {SINCE} on"
    assert refused(where, asked("strategy_off", strategy="DCA")) == "DCA is off already"


@pytest.mark.parametrize("kind", ["strategy_on", "strategy_off"])
def test_switching_is_refused_for_unknown_strategies_and_for_those_that_the_configuration_switches_off(kind):
    where = situation(enabled=(True, False, True))
    assert "off by the configuration (trading.switched_off)" in refused(where, asked(kind, strategy="SWING"))
    assert "GRID is no strategy of this account" in refused(where, asked(kind, strategy="GRID"))


def test_a_symbol_is_blocked_and_unblocked():
    where = situation()
    commands, sentence = applied(where, asked("block", symbol="SOL/USDT"))
    assert [(each.kind, each.symbol) for each in commands] == [("block", SOL)]
    assert sentence == f"SOL/USDT is not bought from {SINCE} on; what is held keeps its exits"
    assert refused(where, asked("unblock", symbol="SOL/USDT")) == "SOL/USDT is not blocked"
    where.portfolio.coins[NUMBER_OF[SOL]]["blocked"] = True
    commands, sentence = applied(where, asked("unblock", symbol="SOL/USDT"))
    assert [(each.kind, each.symbol) for each in commands] == [("unblock", SOL)]
    assert sentence == f"SOL/USDT may be bought again from {SINCE} on"
    assert refused(where, asked("block", symbol="SOL/USDT")) == "SOL/USDT is blocked already"


@pytest.mark.parametrize("kind", ["block", "unblock"])
def test_a_symbol_that_is_not_traded_is_neither_blocked_nor_unblocked(kind):
    assert refused(situation(), asked(kind, symbol="XRP/USDT")) == "XRP/USDT is not traded by this account"


# --------------------------------------------------------------------------------- the configuration


def test_limits_parameters_and_costs_may_change():
    commands, sentence = applied(situation(), asked("configure", version="softer"))
    assert [(each.kind, each.value) for each in commands] == [("configure", "softer")]
    assert sentence.startswith(f"the configuration softer takes the place of active from {SINCE} on")


def test_a_configuration_is_refused_that_is_active_already_or_that_nobody_offered():
    assert "under the configuration active already" in refused(
        situation(), asked("configure", version="active")
    )
    assert refused(situation(), asked("configure", version="none")) == (
        "no configuration none was offered to this account"
    )


def test_a_configuration_is_refused_that_the_trader_can_not_take():
    where = situation(untradable=lambda row: f"{row.version} names a strategy that is not installed")
    assert refused(where, asked("configure", version="softer")).endswith(
        "can not be taken: softer names a strategy that is not installed"
    )


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("trading.capital_quote=20000", "trading.capital_quote was 10000.0 when the account was opened"),
        ("trading.quote=USDC", 'trading.quote was "USD'),
        ("trading.timezone=Europe/Berlin", 'trading.timezone was "UTC" when'),
        ("trading.reference=ETH", 'trading.reference was "BTC" when'),
        ('trading.strategies=["DCA"]', 'would be ["DCA"]: open another account'),
        ('trading.strategies=["SWING","DCA","CHANNEL"]', "trading.strategies was"),
        ('universe.symbols=["BTC/USDT"]', "universe.symbols differs from the symbols"),
        ('universe.groups.core=["BTC"]', "universe.groups differs from the symbols"),
    ],
)
def test_what_an_account_was_opened_with_is_kept_and_the_refusal_names_the_key(assignment, named):
    refusal = what_an_account_keeps(ACTIVE.document, document(assignment))
    assert refusal is not None
    assert named in refusal


def test_the_same_symbols_in_another_order_are_the_same_symbols():
    first = document('universe.symbols=["BTC/USDT","ETH/USDT"]')
    second = document('universe.symbols=["ETH/USDT","BTC/USDT"]', "universe.tier_of_coin.ETH=memecoin")
    assert what_an_account_keeps(first, second) is None


def test_a_configuration_that_would_change_the_capital_is_refused_as_a_command():
    assert "trading.capital_quote" in refused(situation(), asked("configure", version="richer"))
    assert "universe.symbols" in refused(situation(), asked("configure", version="smaller"))


# ------------------------------------------------------------------------------------------- order


def test_later_commands_of_a_minute_see_what_earlier_ones_did():
    where = situation(held={BTC: 0.0})
    kinds = [
        asked("pause"),
        asked("pause"),
        asked("resume"),
        asked("resume"),
        asked("regime_force", regime="panic"),
        asked("regime_force", regime="panic"),
        asked("regime_release"),
        asked("regime_release"),
        asked("block", symbol="BTC/USDT"),
        asked("block", symbol="BTC/USDT"),
        asked("unblock", symbol="BTC/USDT"),
        asked("unblock", symbol="BTC/USDT"),
        asked("strategy_off", strategy="DCA"),
        asked("strategy_off", strategy="DCA"),
        asked("strategy_on", strategy="DCA"),
        asked("strategy_on", strategy="DCA"),
        asked("configure", version="softer"),
        asked("configure", version="softer"),
    ]
    assert [status for status, _ in answered(where, *kinds)] == ["applied", "refused"] * 9


def test_what_was_counted_is_cleared_once():
    where = situation()
    where.portfolio.coins["stops"] = 1
    where.portfolio.strategies["streak"] = 1
    found = answered(
        where,
        asked("cooldown_clear", symbol="ETH/USDT"),
        asked("cooldown_clear", symbol="ETH/USDT"),
        asked("streak_clear", strategy="DCA"),
        asked("streak_clear", strategy="DCA"),
    )
    assert [status for status, _ in found] == ["applied", "refused"] * 2


def test_a_strategy_that_a_configuration_switches_off_cannot_be_switched_on_in_the_same_minute():
    where = situation()
    where.portfolio.strategies[1]["off"] = True
    configure, switch = asked("configure", version="without-swing"), asked("strategy_on", strategy="SWING")
    assert [status for status, _ in answered(where, configure, switch)] == ["applied", "refused"]
    assert [status for status, _ in answered(where, switch, configure)] == ["applied", "applied"]


def test_a_halt_that_a_resume_ended_can_be_followed_by_a_pause():
    where = situation(halted="cash differs")
    where.portfolio.book["paused"] = True
    found = answered(where, asked("pause"), asked("resume"), asked("pause"))
    assert [status for status, _ in found] == ["refused", "applied", "applied"]


def test_a_command_for_later_gets_no_answer_before_the_first_minute_that_opens_at_or_after_it():
    within = asked("pause", not_before_ms=NOON + 1)
    at = asked("block", not_before_ms=NOON, symbol="BTC/USDT")
    found = answer([within, at], minute_ms=NOON, situation=situation())
    assert [result.command_id for result in found.results] == [at.command_id]
    assert [each.kind for each in found.applied] == ["block"]
    later = answer([within], minute_ms=NOON + MINUTE_MS, situation=situation())
    assert [result.status for result in later.results] == ["applied"]


def test_the_situation_stays_as_it_was():
    where = situation(held={BTC: -0.1, ETH: 0.1}, pending=(SOL,))
    where.portfolio.coins["stops"] = 1
    where.portfolio.strategies["streak"] = 1
    before = where.portfolio.to_bytes()
    arguments = {"symbol": "SOL/USDT", "count": 1, "regime": "panic", "strategy": "DCA", "version": "softer"}
    commands = [asked(kind, **{name: arguments[name] for name in names}) for kind, names in ARGUMENTS.items()]
    assert len(answered(where, *commands)) == len(ARGUMENTS)
    assert where.portfolio.to_bytes() == before
    assert where.enabled == (True, True, True)


def test_every_sentence_is_one_line_without_a_full_stop():
    where = situation(held={BTC: -0.1}, pending=(SOL,))
    arguments = {"symbol": "SOL/USDT", "count": 1, "regime": "panic", "strategy": "DCA", "version": "richer"}
    for kind, names in ARGUMENTS.items():
        command = asked(kind, **{name: arguments[name] for name in names})
        for _, sentence in answered(where, command, command):
            assert sentence == sentence.strip()
            assert not sentence.endswith(".")
            assert "\n" not in sentence


def test_the_documents_of_the_tests_say_what_they_should():
    assert Decimal(str(json.loads(ACTIVE.document)["trading"]["capital_quote"])) == 10_000
    assert json.loads(OFFERED["without-swing"])["trading"]["switched_off"] == ["SWING"]
