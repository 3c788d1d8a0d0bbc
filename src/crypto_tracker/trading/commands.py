"""The trader's answers to people: their wishes as commands of the simulator, or refused with a reason.

Everything here is a pure function of the commands and of what the trader knows before a minute. What is
refused is what would change nothing or can not be done, so that nobody believes that it was.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from crypto_tracker.config.universe import Universe
from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.simulation.records import CommandKind
from crypto_tracker.simulation.state import EMPTY, PENDING, PortfolioState
from crypto_tracker.store.control import Command
from crypto_tracker.store.trading_records import AppliedCommand, CommandResult, ConfigurationRow
from crypto_tracker.trading.applied import CONFIGURE

APPLIED, REFUSED = "applied", "refused"
_FIXED = ("capital_quote", "quote", "timezone", "reference", "strategies")
"""Keys of [trading] that an account keeps for life; so are its symbols."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Situation:
    """What the trader knows before a minute.

    Attributes
    ----------
    positions : TRADE_DTYPE of all that is held, marked at the last closes
    enabled : for each strategy whether the configuration lets it trade
    forced : the regime that a person forces, None where none is forced
    halted : why entries are halted, None where they are not
    halt_persists : why they can not go on yet, None where they can; asked only where a halt is to end
    configuration : the one that the account is traded under
    offered : a configuration that was offered to the account, None where it was not
    untradable : why an offered configuration can not be taken, None where it can
    """

    portfolio: PortfolioState
    positions: RecordArray
    symbols: tuple[Symbol, ...]
    strategies: tuple[str, ...]
    enabled: tuple[bool, ...]
    forced: Regime | None
    halted: str | None
    halt_persists: Callable[[], str | None]
    configuration: ConfigurationRow
    offered: Callable[[str], ConfigurationRow | None]
    untradable: Callable[[ConfigurationRow], str | None] = field(default=lambda _row: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The commands that act before the OPEN of a minute, and an answer to every command that was due."""

    applied: list[AppliedCommand]
    results: list[CommandResult]


@dataclass(frozen=True, slots=True)
class _Applied:
    sentence: str
    commands: list[AppliedCommand]


@dataclass(frozen=True, slots=True)
class _Refused:
    sentence: str


_Answer = _Applied | _Refused


def answer(commands: Sequence[Command], *, minute_ms: int, situation: Situation) -> Answers:
    """Answer the commands that are due at the minute that opens at `minute_ms`, in their order.

    A command sees what those before it have done. One that is not due yet gets no answer.
    """
    desk = _Desk(minute_ms, situation)
    applied: list[AppliedCommand] = []
    results: list[CommandResult] = []
    for command in commands:
        if not is_due(command, minute_ms):
            continue
        found = desk.answer(command)
        if isinstance(found, _Applied):
            applied += found.commands
        results.append(
            CommandResult(
                command_id=command.command_id,
                kind=command.kind,
                status=APPLIED if isinstance(found, _Applied) else REFUSED,
                sentence=found.sentence,
            )
        )
    return Answers(applied=applied, results=results)


def is_due(command: Command, minute_ms: int) -> bool:
    """Whether a command acts at the minute that opens at `minute_ms`, or should have before."""
    return command.not_before_ms is None or command.not_before_ms <= minute_ms


def what_an_account_keeps(active: str, offered: str) -> str | None:
    """Why an account that trades under one configuration document can not take another, None where it can.

    Limits, protection, costs, fills, parameters and strategies that are switched off may change; what the
    account was opened with may not.
    """
    before, after = json.loads(active), json.loads(offered)
    for key in _FIXED:
        old, new = before["trading"].get(key), after["trading"].get(key)
        if old != new:
            return (
                f"trading.{key} was {_shown(old)} when the account was opened and would be {_shown(new)}: "
                "open another account for that"
            )
    key = "symbols" if before["universe"].get("symbols") or after["universe"].get("symbols") else "groups"
    try:
        old_symbols, new_symbols = _members(before), _members(after)
    except ValidationError as error:
        return f"universe.{key} can not be read ({error.errors()[0]['msg']})"
    if old_symbols != new_symbols:
        differing = sorted(str(symbol) for symbol in old_symbols ^ new_symbols)
        return (
            f"universe.{key} differs from the symbols that the account was opened with "
            f"({_some(differing)}): open another account for that"
        )
    return None


class _Desk:
    """Judges one command after the other, and remembers what those before have changed."""

    def __init__(self, minute_ms: int, situation: Situation) -> None:
        portfolio = situation.portfolio
        book, slots, coins = portfolio.book[0], portfolio.slots, portfolio.coins
        self._situation = situation
        self._since = f"{from_ms(minute_ms):%Y-%m-%d %H:%M} UTC"
        self._columns = {str(symbol): column for column, symbol in enumerate(situation.symbols)}
        self._paused, self._day_latched = bool(book["paused"]), bool(book["day_latched"])
        self._drawdown_latched = bool(book["drawdown_latched"])
        self._halted = situation.halted
        self._forced = situation.forced
        self._phase = slots["phase"].copy()
        self._leaving = (slots["request"] != ExitReason.NONE) | (slots["trigger"] != ExitReason.NONE)
        self._cooling = (coins["stops"] != 0) | (coins["cooldown_ms"] != 0)
        self._blocked = coins["blocked"].copy()
        self._losing = (portfolio.strategies["streak"] != 0) | (portfolio.strategies["blocked_ms"] != 0)
        self._off = portfolio.strategies["off"].copy()
        self._enabled = list(situation.enabled)
        self._configuration = situation.configuration

    def answer(self, command: Command) -> _Answer:
        kinds: Mapping[str, Callable[[Command], _Answer]] = {
            "pause": self._pause,
            "resume": self._resume,
            "close": self._close,
            "close_worst": self._close_worst,
            "regime_force": self._force,
            "regime_release": self._release,
            "cooldown_clear": self._clear_cooldown,
            "streak_clear": self._clear_streak,
            "strategy_on": self._switch_on,
            "strategy_off": self._switch_off,
            "block": self._block,
            "unblock": self._unblock,
            "configure": self._configure,
        }
        return kinds[command.kind](command)

    # --- entries ---------------------------------------------------------------------------------

    def _pause(self, command: Command) -> _Answer:
        if self._halted is not None:
            return _Refused(f"entries are halted already: {self._halted}")
        if self._paused:
            return _Refused("entries are paused already")
        self._paused = True
        return _Applied(
            f"entries are paused from {self._since} on; exits go on", [_kernel(command, CommandKind.PAUSE)]
        )

    def _resume(self, command: Command) -> _Answer:
        stopped = self._paused or self._day_latched or self._drawdown_latched
        if self._halted is None and not stopped:
            return _Refused(
                "entries are not stopped: there is no pause, no halt, no day's loss and no drawdown to end"
            )
        if self._halted is not None:
            cause = self._situation.halt_persists()
            if cause is not None:
                return _Refused(f"entries stay halted, what stopped them is still so: {cause}")
        ended = [
            name
            for name, held in (
                ("the halt", self._halted is not None),
                ("the pause", self._paused and self._halted is None),
                ("the stop by the day's loss", self._day_latched),
                ("the stop by the drawdown", self._drawdown_latched),
            )
            if held
        ]
        self._paused, self._day_latched, self._drawdown_latched = False, False, False
        self._halted = None
        equity = to_decimal(int(self._situation.portfolio.book["equity"][0]))
        return _Applied(
            f"entries go on from {self._since}: {' and '.join(ended)} {'end' if len(ended) > 1 else 'ends'}, "
            f"and the day's loss and the drawdown count from the equity of {equity:,.2f}",
            [_kernel(command, CommandKind.RESUME)],
        )

    # --- positions -------------------------------------------------------------------------------

    def _close(self, command: Command) -> _Answer:
        symbol = str(command.arguments["symbol"])
        column = self._columns.get(symbol)
        if column is None:
            return self._not_traded(symbol)
        if self._phase[column] == EMPTY:
            return _Refused(f"{symbol} has no position and no order")
        if self._phase[column] == PENDING:
            self._phase[column] = EMPTY
            return _Applied(
                f"the order for {symbol} is cancelled at {self._since}, before anything of it was filled",
                [self._exit(command, column)],
            )
        if self._leaving[column]:
            return _Refused(f"the exit of {symbol} is under way already")
        self._leaving[column] = True
        return _Applied(
            f"{symbol} is sold at the first open from {self._since} on", [self._exit(command, column)]
        )

    def _close_worst(self, command: Command) -> _Answer:
        count = int(command.arguments["count"])
        if count < 1:
            return _Refused(f"the number of positions to close is {count}, expected 1 or more")
        held = self._situation.positions
        if not len(held):
            return _Refused("nothing is held")
        returns = {int(row["symbol"]): float(row["pnl_e8"]) / float(row["invested_e8"]) for row in held}
        free = [column for column in returns if not self._leaving[column]]
        if not free:
            return _Refused("the exit of everything that is held is under way already")
        symbols = self._situation.symbols
        worst = sorted(free, key=lambda column: (returns[column], str(symbols[column])))[:count]
        self._leaving[worst] = True
        named = ", ".join(f"{symbols[column]} ({100 * returns[column]:+.2f} %)" for column in worst)
        fewer = "" if len(worst) == count else f" of {count} that were asked for"
        return _Applied(
            f"{len(worst)} {'position' if len(worst) == 1 else 'positions'}{fewer} "
            f"{'is' if len(worst) == 1 else 'are'} sold at the first open from {self._since} on: {named}",
            [self._exit(command, column) for column in worst],
        )

    def _exit(self, command: Command, column: int) -> AppliedCommand:
        return _kernel(
            command,
            CommandKind.CLOSE,
            symbol=self._situation.symbols[column],
            value=ExitReason.MANUAL.code,
        )

    # --- the market ------------------------------------------------------------------------------

    def _force(self, command: Command) -> _Answer:
        name = str(command.arguments["regime"])
        known = {regime.name.lower(): regime for regime in Regime}
        regime = known.get(name.lower())
        if regime is None:
            return _Refused(f"{name!r} is no regime: there are {', '.join(known)}")
        if regime is self._forced:
            return _Refused(f"the regime {name.lower()} is forced already")
        self._forced = regime
        return _Applied(
            f"the regime is {name.lower()} from the close of the minute {self._since} on, "
            "until it is released",
            [_kernel(command, CommandKind.FORCE_REGIME, value=name.lower())],
        )

    def _release(self, command: Command) -> _Answer:
        if self._forced is None:
            return _Refused("no regime is forced")
        released, self._forced = self._forced, None
        return _Applied(
            f"the regime {released.name.lower()} is no longer forced: "
            f"from {self._since} on the market decides",
            [_kernel(command, CommandKind.RELEASE_REGIME)],
        )

    # --- protection ------------------------------------------------------------------------------

    def _clear_cooldown(self, command: Command) -> _Answer:
        symbol = str(command.arguments["symbol"])
        column = self._columns.get(symbol)
        if column is None:
            return self._not_traded(symbol)
        if not self._cooling[column]:
            return _Refused(f"{symbol} does not cool down and has no counted stops")
        self._cooling[column] = False
        return _Applied(
            f"the cooldown and the counted stops of {symbol} are cleared at {self._since}",
            [_kernel(command, CommandKind.CLEAR_COOLDOWN, symbol=self._situation.symbols[column])],
        )

    def _clear_streak(self, command: Command) -> _Answer:
        name = str(command.arguments["strategy"])
        index = self._strategy(name)
        if index is None:
            return self._no_strategy(name)
        if not self._losing[index]:
            return _Refused(f"{name} has no losing streak")
        self._losing[index] = False
        return _Applied(
            f"the losing streak of {name} is cleared at {self._since}",
            [_kernel(command, CommandKind.CLEAR_STREAK, strategy=name)],
        )

    def _switch_on(self, command: Command) -> _Answer:
        name = str(command.arguments["strategy"])
        index = self._strategy(name)
        if index is None:
            return self._no_strategy(name)
        if not self._enabled[index]:
            return _by_configuration(name)
        if not self._off[index]:
            return _Refused(f"{name} is on already")
        self._off[index] = False
        return _Applied(
            f"{name} may open positions again from {self._since} on",
            [_kernel(command, CommandKind.STRATEGY_ON, strategy=name)],
        )

    def _switch_off(self, command: Command) -> _Answer:
        name = str(command.arguments["strategy"])
        index = self._strategy(name)
        if index is None:
            return self._no_strategy(name)
        if not self._enabled[index]:
            return _by_configuration(name)
        if self._off[index]:
            return _Refused(f"{name} is off already")
        self._off[index] = True
        return _Applied(
            f"{name} opens nothing from {self._since} on; what it holds keeps its exits",
            [_kernel(command, CommandKind.STRATEGY_OFF, strategy=name)],
        )

    def _block(self, command: Command) -> _Answer:
        symbol = str(command.arguments["symbol"])
        column = self._columns.get(symbol)
        if column is None:
            return self._not_traded(symbol)
        if self._blocked[column]:
            return _Refused(f"{symbol} is blocked already")
        self._blocked[column] = True
        return _Applied(
            f"{symbol} is not bought from {self._since} on; what is held keeps its exits",
            [_kernel(command, CommandKind.BLOCK, symbol=self._situation.symbols[column])],
        )

    def _unblock(self, command: Command) -> _Answer:
        symbol = str(command.arguments["symbol"])
        column = self._columns.get(symbol)
        if column is None:
            return self._not_traded(symbol)
        if not self._blocked[column]:
            return _Refused(f"{symbol} is not blocked")
        self._blocked[column] = False
        return _Applied(
            f"{symbol} may be bought again from {self._since} on",
            [_kernel(command, CommandKind.UNBLOCK, symbol=self._situation.symbols[column])],
        )

    # --- the configuration -----------------------------------------------------------------------

    def _configure(self, command: Command) -> _Answer:
        version = str(command.arguments["version"])
        if version == self._configuration.version:
            return _Refused(f"the account is traded under the configuration {version} already")
        row = self._situation.offered(version)
        if row is None:
            return _Refused(f"no configuration {version} was offered to this account")
        kept = what_an_account_keeps(self._configuration.document, row.document)
        refusal = kept or self._situation.untradable(row)
        if refusal is not None:
            return _Refused(f"the configuration {version} can not be taken: {refusal}")
        before, changes = self._configuration.version, _changes(self._configuration.document, row.document)
        self._configuration = row
        switched_off = json.loads(row.document)["trading"]["switched_off"]
        self._enabled = [name not in switched_off for name in self._situation.strategies]
        return _Applied(
            f"the configuration {version} takes the place of {before} from {self._since} on ({changes}); "
            "open positions keep the exits that they were opened with",
            [_applied(command, CONFIGURE, value=version)],
        )

    # --- words for several -----------------------------------------------------------------------

    def _strategy(self, name: str) -> int | None:
        strategies = self._situation.strategies
        return strategies.index(name) if name in strategies else None

    def _not_traded(self, symbol: str) -> _Refused:
        return _Refused(f"{symbol} is not traded by this account")

    def _no_strategy(self, name: str) -> _Refused:
        traded = ", ".join(self._situation.strategies)
        return _Refused(f"{name} is no strategy of this account: it trades {traded}")


def _kernel(
    command: Command,
    kind: CommandKind,
    *,
    symbol: Symbol | None = None,
    strategy: str | None = None,
    value: str | None = None,
) -> AppliedCommand:
    return _applied(command, kind.name.lower(), symbol=symbol, strategy=strategy, value=value)


def _applied(
    command: Command,
    kind: str,
    *,
    symbol: Symbol | None = None,
    strategy: str | None = None,
    value: str | None = None,
) -> AppliedCommand:
    return AppliedCommand(
        kind=kind, symbol=symbol, strategy=strategy, value=value, command_id=command.command_id
    )


def _by_configuration(name: str) -> _Refused:
    return _Refused(
        f"{name} is off by the configuration (trading.switched_off): apply one that does not switch it off"
    )


def _members(document: Mapping[str, Any]) -> frozenset[Symbol]:
    universe = Universe.model_validate(document["universe"])
    return frozenset(universe.members(document["trading"]["quote"]))


def _changes(before: str, after: str) -> str:
    """The values in which two configuration documents differ, in words."""
    old, new = dict(_leaves(json.loads(before))), dict(_leaves(json.loads(after)))
    changed = [
        f"{key} {_shown(old.get(key))} -> {_shown(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
    return _some(changed)


def _leaves(node: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{above}.{name}" if above else name)
    else:
        yield above, node


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
