"""Turns the words of a conformance case into a `Scenario`."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto_tracker.core.arrays import CodeArray, RecordArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.decisions import Regime, SlowRegime, Tier
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.simulation.books import OrderBooks, order_books
from crypto_tracker.simulation.parameters import Rules
from crypto_tracker.simulation.records import CommandKind, Scenario, commands
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP, SETUP_DTYPE, WITHHELD_FOR
from tests.conformance.parser import Base, Case, Place, Row, Setting, Table
from tests.simulation.rules import spec_rules

_WITHHELD = ("-", *(reason.code for reason in WITHHELD_FOR))
DAY_ONE_MS = 20_150 * DAY_MS  # 2025-03-03, a Monday; `d2/00:00` is the day after
PLENTY = 1_000_000.0  # coins of volume where a table does not say

_TIME = re.compile(r"(?:d(?P<day>[1-9][0-9]?)/)?(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])")
_SPAN = re.compile(r"(?P<count>[0-9.]+)(?P<unit>[mhd])")
_UNIT_MS = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}

FACTS = ("tick", "lot", "min_notional", "taker_fee", "maker_fee", "slippage")

# What each command needs in the column `what`.
COMMANDS = {
    "pause": (CommandKind.PAUSE, "nothing"),
    "resume": (CommandKind.RESUME, "nothing"),
    "close": (CommandKind.CLOSE, "symbol"),
    "transition": (CommandKind.CLOSE, "symbol"),
    "force": (CommandKind.FORCE_REGIME, "regime"),
    "release": (CommandKind.RELEASE_REGIME, "nothing"),
    "clear_cooldown": (CommandKind.CLEAR_COOLDOWN, "symbol"),
    "clear_streak": (CommandKind.CLEAR_STREAK, "strategy"),
    "strategy_off": (CommandKind.STRATEGY_OFF, "strategy"),
    "strategy_on": (CommandKind.STRATEGY_ON, "strategy"),
    "block": (CommandKind.BLOCK, "symbol"),
    "unblock": (CommandKind.UNBLOCK, "symbol"),
}


def number(place: Place, word: str) -> float:
    """A number as people write it; `-` (unknown) is NaN."""
    if word == "-":
        return float("nan")
    try:
        return float(word)
    except ValueError:
        raise place.error(f"{word!r} is no number") from None


def time_ms(place: Place, word: str) -> int:
    """`12:01` on the first day, `d2/12:01` on the second."""
    found = _TIME.fullmatch(word)
    if not found:
        raise place.error(f"{word!r} is no time: write 12:01, or d2/12:01 for the second day")
    days = int(found["day"] or 1) - 1
    return DAY_ONE_MS + days * DAY_MS + int(found["hour"]) * HOUR_MS + int(found["minute"]) * MINUTE_MS


def moment_ms(place: Place, word: str) -> int:
    """`12:01`, `12:01:30` or `12:01:59.999`: books are recorded at any moment."""
    minute, colon, seconds = word.rpartition(":")
    if word.count(":") < 2:
        return time_ms(place, word)
    found = re.fullmatch(r"[0-5][0-9](?:\.[0-9]{1,3})?", seconds)
    if not colon or not found:
        raise place.error(f"{word!r} is no moment: write 12:01:30 or 12:01:59.999")
    return time_ms(place, minute) + round(float(seconds) * 1000)


def span_ms(place: Place, word: str) -> int:
    """`5m`, `2h` or `3d`."""
    found = _SPAN.fullmatch(word)
    if not found:
        raise place.error(f"{word!r} is no length of time: write 5m, 2h or 3d")
    return round(float(found["count"]) * _UNIT_MS[found["unit"]])


def choice(place: Place, word: str, names: tuple[str, ...]) -> int:
    """The position of `word` in `names`."""
    if word not in names:
        raise place.error(f"{word!r} is none of {', '.join(names)}")
    return names.index(word)


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """A scenario with the names that its case uses for symbols and strategies."""

    scenario: Scenario
    symbols: tuple[str, ...]
    setup_rows: dict[tuple[int, int, int], int]  # (time, symbol, strategy) -> row of the setups array


class _Settings:
    """The `set` lines of the base and of the case; every one must be used."""

    def __init__(self, settings: list[Setting]) -> None:
        self._by_name: dict[str, Setting] = {}
        seen: set[tuple[str, str]] = set()
        for setting in settings:
            key = (setting.place.file, setting.name)
            if key in seen and setting.place.file == settings[-1].place.file:
                raise setting.place.error(f"{setting.name!r} is set twice")
            seen.add(key)
            self._by_name[setting.name] = setting

    def take(self, name: str) -> Setting | None:
        return self._by_name.pop(name, None)

    def need(self, name: str) -> Setting:
        setting = self.take(name)
        if setting is None:
            raise KeyError(f"base.txt does not set {name!r}")
        return setting

    def rest(self) -> list[Setting]:
        return list(self._by_name.values())


def _instruments(settings: _Settings, symbols: tuple[str, ...]) -> Instruments:
    def column(name: str) -> list[tuple[Place, str]]:
        common = settings.need(name)
        own = [settings.take(f"{symbol}.{name}") or common for symbol in symbols]
        return [(setting.place, setting.value) for setting in own]

    tiers = tuple(tier.name.lower() for tier in Tier)
    return Instruments(
        symbols=tuple(Symbol(symbol, "USD") for symbol in symbols),
        tier=np.array([choice(place, word, tiers) for place, word in column("tier")], dtype=np.int8),
        **{fact: np.array([number(place, word) for place, word in column(fact)]) for fact in FACTS},
    )


def _leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], dict[str, Any]]:
    """Every value of the rules: its path, and the dictionary that holds it."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _leaves(value, (*path, key))
        else:
            found[*path, key] = tree
    return found


def _rule(tree: dict[str, Any], setting: Setting) -> None:
    """Change the one value of the rules whose path ends in the name of `setting`."""
    *section, name = setting.name.split(".")
    if name == "shares":
        raise setting.place.error("name the strategy, as in shares.DCA")
    leaves = _leaves(tree)
    wanted = (*section, name)
    paths = [path for path in leaves if path[-len(wanted) :] == wanted]
    if not paths and section[-1:] == ["shares"]:
        tree["limits"]["shares"][name] = number(setting.place, setting.value)
        return
    if len(paths) != 1:
        raise setting.place.error(f"{setting.name!r} names {len(paths)} values of the rules, not one")
    holder, old = leaves[paths[0]], leaves[paths[0]][name]
    if setting.value == "none" and section[-1:] == ["shares"]:
        del holder[name]
    elif isinstance(old, bool):
        holder[name] = bool(choice(setting.place, setting.value, ("no", "yes")))
    elif isinstance(old, str):
        holder[name] = setting.value
    elif isinstance(old, int):
        holder[name] = int(setting.value)
    else:
        holder[name] = number(setting.place, setting.value)


def _rules(settings: list[Setting]) -> Rules:
    tree = spec_rules().model_dump(mode="json")
    for setting in settings:
        _rule(tree, setting)
    return Rules.model_validate(tree)


def _column(table: Table, timeframe: Timeframe) -> dict[int, tuple[float, ...]]:
    """The bars of one table by open time; `12:00..12:05` repeats one bar through 12:05."""
    bars: dict[int, tuple[float, ...]] = {}
    for row in table.rows:
        first, dots, last = row.words["time"].partition("..")
        start = time_ms(row.place, first)
        stop = time_ms(row.place, last) if dots else start
        if stop < start or start % timeframe.ms or stop % timeframe.ms:
            raise row.place.error(f"{row.words['time']!r} does not lie on the grid of {timeframe} bars")
        for moment in range(start, stop + 1, timeframe.ms):
            if bars and moment != max(bars) + timeframe.ms:
                raise row.place.error("rows must follow each other on the grid; draw a missing bar as `-`")
            bars[moment] = _bar(row)
    return bars


def _bar(row: Row) -> tuple[float, ...]:
    words = row.words
    close = number(row.place, words["close"])
    missing = np.isnan(close)
    prices = [
        close if missing else number(row.place, words.get(name, words["close"])) for name in BAR_FIELDS[:4]
    ]
    if not missing:
        opened, high, low, closed = prices
        if not (high >= max(opened, closed) and 0 < low <= min(opened, closed)):
            raise row.place.error(
                "no such bar: the high is not the highest, the low not the lowest, or a price is missing"
            )
    volume = float("nan") if missing else number(row.place, words["volume"]) if "volume" in words else PLENTY
    return (*prices, volume)


def _panel(columns: dict[str, dict[int, tuple[float, ...]]], timeframe: Timeframe) -> Panel:
    times = sorted(next(iter(columns.values())))
    cells = np.array([[bars[moment] for bars in columns.values()] for moment in times])
    return Panel(
        timeframe=timeframe,
        symbols=tuple(Symbol(symbol, "USD") for symbol in columns),
        open_time_ms=np.array(times, dtype=np.int64),
        covered=np.ones(cells.shape[:2], dtype=np.bool_),
        **{name: np.asfortranarray(cells[:, :, index]) for index, name in enumerate(BAR_FIELDS)},
    )


def _side(row: Row, column: str) -> list[tuple[float, float]]:
    """`101x2,102x5`: two coins at 101 and five at 102, the best first."""
    levels = []
    for word in row.words[column].split(","):
        price, cross, size = word.partition("x")
        if not cross:
            raise row.place.error(f"{word!r} is no level: write a price, x and a size, such as 101x2")
        levels.append((number(row.place, price), number(row.place, size)))
    return levels


def _books(case: Case, symbols: tuple[str, ...]) -> OrderBooks | None:
    """The recorded order books of a case, None where it draws none."""
    for symbol, table in case.books.items():
        choice(table.place, symbol, symbols)
    if not case.books:
        return None
    return order_books(
        [
            (moment_ms(row.place, row.words["time"]), _side(row, "bids"), _side(row, "asks"))
            for row in (case.books[symbol].rows if symbol in case.books else [])
        ]
        for symbol in symbols
    )


def _last_close(bars: dict[int, tuple[float, ...]], timeframe: Timeframe, moment: int) -> float:
    """The close known at `moment`, NaN where there is none."""
    known = [bar[3] for opened, bar in sorted(bars.items()) if opened + timeframe.ms <= moment]
    known = [close for close in known if not np.isnan(close)]
    return known[-1] if known else float("nan")


def build(case: Case, base: Base) -> Market:
    """The scenario of `case`, whose lines add to those of `base`; raises CaseError with file and line."""
    settings = _Settings([*base.settings, *case.settings])
    setting = settings.need("timeframe")
    timeframe = Timeframe.parse(setting.value)
    strategies = tuple(settings.need("strategies").value.split())
    disabled = settings.take("disabled")
    if disabled and not set(disabled.value.split()) <= set(strategies):
        raise disabled.place.error(f"{disabled.value!r} are not all strategies of this case")
    off = disabled.value.split() if disabled else []
    at_end = settings.take("close_at_end")
    trend = settings.take("slow_regime")

    columns = {symbol: _column(table, timeframe) for symbol, table in case.bars.items()}
    spans = {(min(bars), max(bars)) for bars in columns.values()}
    if len(spans) != 1:
        raise case.place.error(f"the tables of bars must begin and end together: {', '.join(columns)}")
    reference = _column(case.given["reference"], timeframe) if "reference" in case.given else {}
    ((first, last),) = spans
    if reference and (min(reference) > first or max(reference) != last):
        raise case.place.error("the reference must end with the bars and begin no later")
    symbols = tuple(columns)

    def symbol_of(row: Row, column: str = "symbol") -> int:
        return choice(row.place, row.words[column], symbols) if column in row.words else 0

    def strategy_of(row: Row, column: str = "strategy") -> int:
        return choice(row.place, row.words.get(column, base.defaults["strategy"].value), strategies)

    setups = case.given["setups"].rows if "setups" in case.given else []
    resets = case.given["resets"].rows if "resets" in case.given else []
    events = np.zeros(len(setups) + len(resets), dtype=SETUP_DTYPE)
    for event, row in zip(events, setups, strict=False):

        def word(name: str, row: Row = row) -> str:
            return row.words.get(name, base.defaults[name].value)

        moment, symbol = time_ms(row.place, row.words["decided"]), symbol_of(row)
        event["time_ms"], event["symbol"], event["strategy"] = moment, symbol, strategy_of(row)
        event["kind"] = EVENT_SETUP
        event["side"] = (1, -1)[choice(row.place, word("side"), ("long", "short"))]
        event["levels"] = int(word("levels"))
        event["withheld"] = (0, *WITHHELD_FOR)[choice(row.place, word("withheld"), _WITHHELD)]
        event["max_hold_ms"] = span_ms(row.place, word("hold"))
        event["wait_ms"] = span_ms(row.place, word("wait"))
        event["size_quote"] = number(row.place, word("size"))
        event["max_entry_gap"] = number(row.place, word("gap"))
        event["range_median"] = number(row.place, word("range"))
        for name in ("confidence", "readiness", "spacing", "take_profit", "stop_loss", "trailing"):
            event[name] = number(row.place, word(name))
        event["decision_close"] = (
            number(row.place, row.words["close"])
            if "close" in row.words
            else _last_close(columns[symbols[symbol]], timeframe, moment)
        )
    for event, row in zip(events[len(setups) :], resets, strict=True):
        event["time_ms"], event["symbol"], event["strategy"] = (
            time_ms(row.place, row.words["at"]),
            symbol_of(row),
            strategy_of(row),
        )
        event["kind"] = EVENT_RESET
    events = events[np.lexsort((events["strategy"], events["symbol"], events["time_ms"]))]
    setup_rows = {
        (int(event["time_ms"]), int(event["symbol"]), int(event["strategy"])): index
        for index, event in enumerate(events)
        if event["kind"] == EVENT_SETUP
    }
    if len(setup_rows) != len(setups):
        raise case.place.error("two setups share time, symbol and strategy")

    market = Scenario(
        panel=_panel(columns, timeframe),
        reference=_panel({"BTC": reference}, timeframe) if reference else None,
        instruments=_instruments(settings, symbols),
        strategies=strategies,
        enabled=tuple(strategy not in off for strategy in strategies),
        setups=events,
        commands=_commands(case, symbols, strategies),
        close_at_end=bool(at_end and choice(at_end.place, at_end.value, ("no", "yes"))),
        rules=_rules(settings.rest()),
        books=_books(case, symbols),
        slow_regime=None if trend is None else _trend(trend, (last - first) // timeframe.ms + 1),
    )
    return Market(market, symbols, setup_rows)


def _trend(setting: Setting, bars: int) -> CodeArray:
    """One slow regime for the whole market."""
    code = choice(setting.place, setting.value, tuple(regime.name.lower() for regime in SlowRegime))
    return np.full(bars, code, dtype=np.int8)


def _commands(case: Case, symbols: tuple[str, ...], strategies: tuple[str, ...]) -> RecordArray:
    rows = []
    for row in case.given["commands"].rows if "commands" in case.given else []:
        name, what = row.words["do"], row.words.get("what", "-")
        if name not in COMMANDS:
            raise row.place.error(f"{name!r} is no command: use one of {', '.join(COMMANDS)}")
        kind, needs = COMMANDS[name]
        symbol = strategy = -1
        value = 0
        if needs == "symbol":
            symbol = choice(row.place, what, symbols)
            if kind is CommandKind.CLOSE:
                value = int(ExitReason.MARKET_TRANSITION if name == "transition" else ExitReason.MANUAL)
        elif needs == "strategy":
            strategy = choice(row.place, what, strategies)
        elif needs == "regime":
            value = choice(row.place, what, tuple(regime.name.lower() for regime in Regime))
        elif what != "-":
            raise row.place.error(f"`{name}` needs nothing in the column `what`")
        rows.append((time_ms(row.place, row.words["at"]), int(kind), symbol, strategy, value))
    return commands(rows)
