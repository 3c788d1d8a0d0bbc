"""What a command would do to an account as it stands, in sentences with its present numbers.

Whether it makes sense at all is asked of the same function with which the trader answers, so that nobody is
offered what would be refused.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crypto_tracker.app.commanding import traded_strategy, traded_symbol
from crypto_tracker.app.screen.text import age
from crypto_tracker.app.serving.market_view import MarketNow
from crypto_tracker.app.serving.present import Present
from crypto_tracker.app.standing import CONFIGURATION, NO_SHARE, VOLATILITY, StrategyStanding
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.errors import CryptoTrackerError, UsageError
from crypto_tracker.core.money import QUOTE_SCALE, to_e8
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.desk.views.controls import CommandPreview, CommandWish
from crypto_tracker.simulation.records import TRADE_DTYPE
from crypto_tracker.simulation.state import PENDING
from crypto_tracker.store.control import Command
from crypto_tracker.store.trading_records import ConfigurationRow, PositionRecord
from crypto_tracker.trading.commands import REFUSED, Situation, answer

_ID_SHOWN = 8  # digits of a command's id, as the command line shows them
_OFF_WORDS = {
    CONFIGURATION: "its configuration",
    VOLATILITY: "the volatility of the market",
    NO_SHARE: "a share of 0",
}


def asked(present: Present, wish: CommandWish, *, actor: str, now_ms: int) -> Command:
    """The command that a person means, its names as the account spells them.

    Raises UsageError for a command that there is not, or that means nothing to this account.
    """
    arguments = dict(wish.arguments)
    symbol, strategy = arguments.get("symbol"), arguments.get("strategy")
    regime, count = arguments.get("regime"), arguments.get("count")
    if isinstance(symbol, str):
        arguments["symbol"] = str(traded_symbol(present.account, symbol))
    if isinstance(strategy, str):
        name = traded_strategy(present.account, strategy)
        if name is None:
            there = ", ".join(present.account.strategies)
            raise UsageError(f"{strategy} is no strategy of this account: it trades {there}")
        arguments["strategy"] = name
    if isinstance(regime, str) and regime.upper() not in Regime.__members__:
        raise UsageError(
            f"{regime!r} is no regime: there are {', '.join(each.name.lower() for each in Regime)}"
        )
    if isinstance(count, int) and count < 1:
        raise UsageError(f"the number of positions to close is {count}, expected 1 or more")
    return Command.new(
        wish.kind,
        arguments,
        actor=actor,
        created_at_ms=now_ms,
        not_before_ms=wish.not_before_ms,
        command_id=wish.command_id,
    )


def refuse_what_would_be_refused(
    present: Present,
    command: Command,
    waiting: Sequence[Command],
    active: ConfigurationRow,
    *,
    traded: bool,
) -> None:
    """Raise CryptoTrackerError with the trader's own sentence, where it would refuse the command now.

    What waits ahead of it is taken into account, and named where it is the same sale. Of a time to come
    nothing is known: nothing is refused. `traded`: whether a trader runs that comes to what waits.
    """
    minute_ms = present.cursor_ms
    if command.not_before_ms is not None and command.not_before_ms > minute_ms:
        return
    ahead = [each for each in waiting if each.kind != "configure"]
    answers = answer([*ahead, command], minute_ms=minute_ms, situation=_situation(present, active))
    found = answers.results[-1]
    if found.status == REFUSED:
        raise CryptoTrackerError(_sale_that_waits(present, command, ahead, traded) or found.sentence)


def _sale_that_waits(
    present: Present, command: Command, ahead: Sequence[Command], traded: bool
) -> str | None:
    """Which sale of the same position waits already, and what can be done; None where none does."""
    if command.kind != "close":
        return None
    symbol = str(command.arguments["symbol"])
    record = present.record_of(Symbol.parse(symbol))
    if record is None or record.exit_pending is not None:
        return None
    for each in ahead:
        due = each.not_before_ms is None or each.not_before_ms <= present.cursor_ms
        if due and each.kind == "close" and each.arguments["symbol"] == symbol:
            act = "it is answered before the next minute" if traded else "withdraw it, or start the trader"
            return f"a sale of {symbol} waits already (command {each.command_id[:_ID_SHOWN]}): {act}"
    return None


def preview(present: Present, command: Command, market: MarketNow) -> CommandPreview:
    """What a command would do to the account as it stands."""
    kinds: Mapping[str, Callable[[Present, Command, MarketNow], tuple[str, list[str], str, str]]] = {
        "pause": _pause,
        "resume": _resume,
        "close": _close,
        "close_worst": _close_worst,
        "regime_force": _force,
        "regime_release": _release,
        "cooldown_clear": _clear_cooldown,
        "streak_clear": _clear_streak,
        "strategy_on": _switch_on,
        "strategy_off": _switch_off,
        "block": _block,
        "unblock": _unblock,
    }
    title, consequences, danger, confirm = kinds[command.kind](present, command, market)
    due_ms = command.not_before_ms
    if due_ms is not None and due_ms > present.cursor_ms:
        consequences.append(
            f"It acts at the first minute that opens at or after {_minute(due_ms)}; the numbers are of now."
        )
    return CommandPreview.model_validate(
        {
            "kind": command.kind,
            "arguments": dict(command.arguments),
            "title": title,
            "consequences": consequences,
            "danger": danger,
            "confirm": confirm,
        }
    )


# --- entries -------------------------------------------------------------------------------------


def _pause(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del command, market
    consequences = ["Nothing new is bought from the next minute on, until a person resumes."]
    if present.held:
        consequences.append(
            f"{_count(len(present.held), 'open position')} {_keep(len(present.held))} "
            "stop, target, trailing stop and time limit."
        )
    rungs, reserve = _resting(present)
    if rungs:
        consequences.append(
            f"{_count(rungs, 'rung')} of {_theirs(present)} {_rest(rungs)} and may still buy for up to "
            f"{_money(present, reserve)}."
        )
    pending = _pending_entries(present)
    if pending:
        consequences.append(f"{_count(pending, 'order')} that {_waits(pending)} already may still be filled.")
    return "Pause entries", consequences, "none", "Pause entries"


def _resume(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del command, market
    entries = present.glance.entries
    lifted = []
    if entries.halted is not None:
        lifted.append(
            f"It ends the halt by a critical error: {entries.halted}. If the error is still there, "
            "the trader refuses."
        )
    elif entries.paused:
        since = "" if entries.paused_since_ms is None else f" since {_minute(entries.paused_since_ms)}"
        lifted.append(f"It ends the pause{since}.")
    if entries.day_latched:
        lifted.append(
            f"It lifts the stop by the day's loss of {100 * entries.day_loss:.2f} % "
            f"(at {100 * entries.day_loss_max:g} % entries stop for the day)."
        )
    if entries.drawdown_latched:
        lifted.append(
            f"It lifts the stop by the drawdown of {100 * entries.drawdown:.2f} % from the peak of "
            f"{_money(present, float(entries.peak_quote))}."
        )
    equity = _money(present, float(present.glance.equity_quote))
    lifted.append(f"The day's loss and the drawdown are counted anew, from the equity of {equity}.")
    stopped = entries.halted is not None or entries.day_latched or entries.drawdown_latched
    return "Resume entries", lifted, "danger" if stopped else "caution", "Resume entries"


# --- positions -----------------------------------------------------------------------------------


def _close(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    symbol = Symbol.parse(str(command.arguments["symbol"]))
    record = present.record_of(symbol)
    if record is None:
        waiting = _order_quote(present, symbol)
        return (
            f"Cancel the order for {symbol}",
            [
                f"The order to buy {symbol} for {_money(present, waiting)} is cancelled "
                "before anything of it is filled."
                if waiting
                else f"{symbol} has no position and no order now: what it has then is closed."
            ],
            "caution",
            "Cancel the order",
        )
    quantity, worth = float(record.open_quantity), float(record.open_quantity) * record.mark_price
    consequences = [
        f"It sells {quantity:.8g} {symbol.base} at the next open, worth {_money(present, worth)} now.",
        f"Its unrealised result is {_result(present, record)}, fees paid so far included.",
        *_ladder_ends(present, record),
    ]
    return f"Sell {symbol}", consequences, "danger", "Sell at the next open"


def _close_worst(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    wanted = int(command.arguments["count"])
    free = [each for each in present.held if each.exit_pending is None]
    worst = sorted(free, key=lambda each: (each.trade.return_net, str(each.trade.symbol)))[: max(wanted, 0)]
    worth = sum(float(each.open_quantity) * each.mark_price for each in worst)
    result = sum(float(each.trade.pnl_quote) for each in worst)
    title = f"Sell the worst {len(worst)} positions" if len(worst) > 1 else "Sell the worst position"
    consequences = [
        (
            f"It sells {_count(len(worst), 'position')} at the next open, worth "
            f"{_money(present, worth)} now; "
            f"unrealised together {result:+,.2f} {present.scope.quote}."
        )
    ]
    if len(worst) < wanted:
        consequences.append(f"No more than {len(worst)} of {len(present.held)} held can be sold.")
    consequences += [f"{each.trade.symbol}: {_result(present, each)}" for each in worst]
    return title, consequences, "danger", "Sell at the next open"


# --- the market ----------------------------------------------------------------------------------


def _force(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    regime = Regime[str(command.arguments["regime"]).upper()]
    rules = present.scope.configuration.protection
    size = float(getattr(rules.fast_regime.size_factors, regime.name.lower()))
    stop = float(getattr(rules.stop_widening.regime_factors, regime.name.lower()))
    consequences = [
        (
            f"The regime is {regime.name} from the close of the next minute on, until it is released; "
            f"it is {present.glance.regime.name} now."
        )
    ]
    if regime is Regime.PANIC:
        consequences.append("Nothing is bought while it lasts.")
        pending = _pending_entries(present)
        if pending:
            consequences.append(f"{_count(pending, 'order')} that {_waits(pending)} to be filled end.")
        rungs, reserve = _resting(present)
        if rungs and rules.cancel_rungs_in_panic:
            consequences.append(
                f"{_count(rungs, 'resting rung')} {_is(rungs)} cancelled and "
                f"{_money(present, reserve)} of reserve become free."
            )
        elif rungs:
            consequences.append(f"{_count(rungs, 'rung')} go on resting, as the configuration has it.")
    else:
        consequences.append(f"New positions are of {size:g} x the usual size.")
    if present.held:
        consequences.append(
            f"The stops of {_count(len(present.held), 'open position')} are set with the factor {stop:g} "
            "for this regime."
        )
    return f"Force {regime.name}", consequences, "caution", f"Force {regime.name}"


def _release(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del command
    forced, beneath = present.state.forced_regime, present.state.carry.regime
    name = market.standing.regime.name if forced is None else forced.name
    consequences = [
        f"{name} is no longer forced: the market decides, and by it the regime is {beneath.name} now."
    ]
    if forced is Regime.PANIC and beneath is not Regime.PANIC:
        consequences.append("Entries are possible again, as far as nothing else stops them.")
    return "Release the regime", consequences, "caution", "Let the market decide"


# --- protection ----------------------------------------------------------------------------------


def _clear_cooldown(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    symbol = Symbol.parse(str(command.arguments["symbol"]))
    coin = present.state.portfolio.coins[present.account.symbols.index(symbol)]
    until_ms, stops = int(coin["cooldown_ms"]), int(coin["stops"])
    consequences = []
    if until_ms > present.cursor_ms:
        left = age(until_ms - present.cursor_ms)
        consequences.append(
            f"{symbol} may be bought again at once; it would cool "
            f"down {left} more, until {_minute(until_ms)}."
        )
    limit = present.scope.configuration.protection.cooldown_stops
    if stops:
        several = "stops in a row begin" if limit > 1 else "stop begins"
        consequences.append(
            f"Its count of stops in a row goes from {stops} to 0; {limit} {several} a cooldown."
        )
    return f"Clear the cooldown of {symbol}", consequences, "caution", "Clear the cooldown"


def _clear_streak(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    found = _strategy(present, command)
    consequences = []
    if found.rests_until_ms is not None:
        left = age(found.rests_until_ms - present.cursor_ms)
        consequences.append(
            f"{found.name} may open positions again at once; it would rest until "
            f"{_minute(found.rests_until_ms)}, {left} more."
        )
    limit = present.scope.configuration.protection.losing_streak
    if found.losing_streak:
        consequences.append(
            f"Its losing streak goes from {found.losing_streak} to 0; {limit} losses in a row make it rest."
        )
    return f"Clear the losing streak of {found.name}", consequences, "caution", "Clear the streak"


def _switch_on(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    found = _strategy(present, command)
    still = [_OFF_WORDS[each] for each in found.off_by if each in _OFF_WORDS]
    consequences = [
        f"{found.name} may open positions again from the next minute on, within its share of "
        f"{_money(present, float(found.share_quote))}, of which {_money(present, float(found.used_quote))} "
        "are used."
        if not still
        else f"It is no longer switched off by a person, but stays off by {' and '.join(still)}."
    ]
    return f"Switch {found.name} on", consequences, "caution", f"Switch {found.name} on"


def _switch_off(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    found = _strategy(present, command)
    consequences = [f"{found.name} opens nothing from the next minute on, until it is switched on."]
    if found.open_positions:
        consequences.append(
            f"{_count(found.open_positions, 'open position')} of it {_keep(found.open_positions)} exits; "
            "rungs of their ladders go on resting."
        )
    return f"Switch {found.name} off", consequences, "none", f"Switch {found.name} off"


def _block(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    symbol = Symbol.parse(str(command.arguments["symbol"]))
    record = present.record_of(symbol)
    consequences = [f"{symbol} is not bought from the next minute on, until it is unblocked."]
    if record is not None:
        consequences.append(
            f"The position that is held keeps its exits: {_result(present, record)}; "
            "rungs of its ladder go on resting."
        )
    elif _order_quote(present, symbol):
        consequences.append("The order that waits already may still be filled.")
    return f"Block {symbol}", consequences, "none", f"Block {symbol}"


def _unblock(present: Present, command: Command, market: MarketNow) -> tuple[str, list[str], str, str]:
    del market
    symbol = Symbol.parse(str(command.arguments["symbol"]))
    coin = present.state.portfolio.coins[present.account.symbols.index(symbol)]
    consequences = [f"{symbol} may be bought again from the next minute on."]
    if int(coin["cooldown_ms"]) > present.cursor_ms:
        consequences.append(f"It still cools down until {_minute(int(coin['cooldown_ms']))}.")
    return f"Unblock {symbol}", consequences, "caution", f"Unblock {symbol}"


# --- numbers and words for several ---------------------------------------------------------------


def _situation(present: Present, active: ConfigurationRow) -> Situation:
    """What the trader will know before the next minute, as far as it is recorded."""
    account, configuration = present.account, present.scope.configuration
    held = np.zeros(len(present.held), dtype=TRADE_DTYPE)
    for row, record in zip(held, present.held, strict=True):
        row["symbol"] = account.symbols.index(record.trade.symbol)
        row["pnl_e8"], row["invested_e8"] = to_e8(record.trade.pnl_quote), to_e8(record.trade.invested_quote)
    return Situation(
        portfolio=present.state.portfolio,
        positions=held,
        symbols=account.symbols,
        strategies=account.strategies,
        enabled=tuple(name not in configuration.trading.switched_off for name in account.strategies),
        forced=present.state.forced_regime,
        halted=present.state.halted,
        halt_persists=lambda: None,  # only the trader can find that out
        configuration=active,
        offered=lambda _version: None,
    )


def _strategy(present: Present, command: Command) -> StrategyStanding:
    name = command.arguments["strategy"]
    return next(each for each in present.strategies if each.name == name)


def _resting(present: Present) -> tuple[int, float]:
    """How many rungs rest under open positions, and what is reserved for them."""
    rungs, reserve = 0, 0
    for record in present.held:
        count, reserved = _rungs_of(present, record)
        rungs, reserve = rungs + count, reserve + reserved
    return rungs, reserve / QUOTE_SCALE


def _rungs_of(present: Present, record: PositionRecord) -> tuple[int, int]:
    """The resting rungs of one position, and what is reserved for them in 1e-8 quote."""
    parts = present.state.portfolio.parts[present.account.symbols.index(record.trade.symbol)][1:]
    resting = parts["open"]
    return int(resting.sum()), int(parts["reserve"][resting].sum())


def _ladder_ends(present: Present, record: PositionRecord) -> list[str]:
    rungs, reserve = _rungs_of(present, record)
    if not rungs:
        return []
    return [
        (
            f"{_count(rungs, 'resting rung')} {_is(rungs)} cancelled and "
            f"{_money(present, reserve / QUOTE_SCALE)} "
            "of reserve become free."
        )
    ]


def _pending_entries(present: Present) -> int:
    return int((present.state.portfolio.slots["phase"] == PENDING).sum())


def _order_quote(present: Present, symbol: Symbol) -> float:
    """What is reserved for an order of which nothing was filled yet; 0 where there is none."""
    column = present.account.symbols.index(symbol)
    portfolio = present.state.portfolio
    if portfolio.slots[column]["phase"] != PENDING:
        return 0.0
    parts = portfolio.parts[column]
    return float(parts["reserve"][parts["open"]].sum()) / QUOTE_SCALE


def _result(present: Present, record: PositionRecord) -> str:
    trade = record.trade
    return f"{float(trade.pnl_quote):+,.2f} {present.scope.quote} ({100 * trade.return_net:+.2f} %)"


def _money(present: Present, value: float) -> str:
    return f"{value:,.2f} {present.scope.quote}"


def _minute(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M} UTC"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _keep(number: int) -> str:
    return "keeps its" if number == 1 else "keep their"


def _rest(number: int) -> str:
    return "rests" if number == 1 else "rest"


def _waits(number: int) -> str:
    return "waits" if number == 1 else "wait"


def _theirs(present: Present) -> str:
    return "its ladder" if len(present.held) == 1 else "their ladders"
