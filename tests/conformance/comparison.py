"""Holds the records of a simulation against the expectation of a conformance case.

Money is compared to the last 1e-8. Prices are compared exactly where the instrument has a tick, else to a relative
1e-12 (a hand does not carry seventeen digits); quantities likewise with the lot.
"""

from collections.abc import Callable
from decimal import Decimal

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.simulation.books import NOT_ASKED, NOT_RECORDED
from crypto_tracker.simulation.records import Outcome, SimulationResult
from tests.conformance.parser import Case, Row
from tests.conformance.scenario import DAY_ONE_MS, Market, choice, moment_ms, number, time_ms

RELATIVE = 1e-12


def _e8(row: Row, word: str) -> int:
    try:
        scaled = Decimal(word).scaleb(8)
    except ArithmeticError:
        raise row.place.error(f"{word!r} is no amount") from None
    if scaled != int(scaled):
        raise row.place.error(f"amount {word} is finer than 1e-8")
    return int(scaled)


def _money(amount_e8: int) -> str:
    return f"{Decimal(int(amount_e8)).scaleb(-8).normalize():f}"


def _clock(moment: int) -> str:
    minutes = (int(moment) - DAY_ONE_MS) // 60_000
    day, minutes = divmod(minutes, 24 * 60)
    return f"{f'd{day + 1}/' if day else ''}{minutes // 60:02}:{minutes % 60:02}"


class _Differences:
    """Collects what is not as expected, one line each."""

    def __init__(self, market: Market) -> None:
        self.lines: list[str] = []
        self.market = market

    def note(self, row: Row, name: str, expected: str, found: str) -> None:
        self.lines.append(f"{row.place.file}:{row.place.line}: {name} should be {expected}, is {found}")

    def text(self, row: Row, name: str, found: str) -> None:
        if name in row.words and row.words[name] != found:
            self.note(row, name, row.words[name], found)

    def money(self, row: Row, name: str, found_e8: int) -> None:
        if name in row.words and _e8(row, row.words[name]) != int(found_e8):
            self.note(row, name, row.words[name], _money(found_e8))

    def value(self, row: Row, name: str, found: float, *, grid: float) -> None:
        if name not in row.words:
            return
        expected = number(row.place, row.words[name])
        if np.isnan(expected):
            same = bool(np.isnan(found))
        elif grid > 0:
            same = float(found) == expected
        else:
            same = abs(float(found) - expected) <= RELATIVE * abs(expected)
        if not same:
            self.note(row, name, row.words[name], repr(float(found)))

    def count(self, row: Row, name: str, found: int) -> None:
        self.text(row, name, str(int(found)))

    def flag(self, row: Row, name: str, found: bool) -> None:
        if name in row.words:
            choice(row.place, row.words[name], ("no", "yes"))
            self.text(row, name, "yes" if found else "no")

    def time(self, row: Row, name: str, found: int) -> None:
        if name not in row.words:
            return
        expected = -1 if row.words[name] == "-" else time_ms(row.place, row.words[name])
        if expected != int(found):
            self.note(row, name, row.words[name], _clock(found) if found >= 0 else "-")

    def lengths(
        self, case: Case, section: str, records: RecordArray, show: Callable[[np.void], str]
    ) -> list[Row]:
        """The rows of a section; notes when there are more or fewer records than rows."""
        rows = case.expected[section].rows if section in case.expected else []
        if len(rows) != len(records):
            found = "".join(f"\n    {show(record)}" for record in records)
            self.lines.append(
                f"{case.place.file}: {len(rows)} {section} expected, {len(records)} found:{found}"
            )
        return rows


def _reason_code(row: Row, word: str) -> int:
    codes = {reason.code: int(reason) for reason in Reason}
    if word not in codes:
        raise row.place.error(f"{word!r} is no reason")
    return codes[word]


def _exit_word(code: int) -> str:
    reason = ExitReason(int(code))
    return "-" if reason is ExitReason.NONE else reason.code


def _check_reason_word(row: Row) -> None:
    known = {"-", *(reason.code for reason in ExitReason if reason is not ExitReason.NONE)}
    if row.words.get("reason", "-") not in known:
        raise row.place.error(f"{row.words['reason']!r} is no exit reason")


def _kind_word(fill: np.void) -> str:
    kind = FillKind(int(fill["kind"]))
    return f"rung{int(fill['rung'])}" if kind is FillKind.RUNG else kind.code


def differences(case: Case, market: Market, result: SimulationResult) -> list[str]:
    """One line for each thing that is not as the case expects; raises CaseError for a word without meaning."""
    found = _Differences(market)
    _fills(case, market, result, found)
    _trades(case, market, result, found)
    _open(case, market, result, found)
    _decisions(case, market, result, found)
    _state(case, market, result, found)
    return found.lines


def _fills(case: Case, market: Market, result: SimulationResult, found: _Differences) -> None:
    def show(fill: np.void) -> str:
        return (
            f"{_clock(fill['time_ms'])} {market.symbols[fill['symbol']]} {_kind_word(fill)} {float(fill['price'])!r} "
            f"x {float(fill['quantity'])!r} fee {_money(fill['fee_e8'])} {_exit_word(fill['exit_reason'])}"
        )

    instruments = market.scenario.instruments
    for row, fill in zip(found.lengths(case, "fills", result.fills, show), result.fills, strict=False):
        _check_reason_word(row)
        column = int(fill["symbol"])
        found.time(row, "time", fill["time_ms"])
        found.text(row, "symbol", market.symbols[column])
        found.text(row, "strategy", market.scenario.strategies[fill["strategy"]])
        found.text(row, "kind", _kind_word(fill))
        found.value(row, "price", fill["price"], grid=instruments.tick[column])
        found.value(row, "quantity", fill["quantity"], grid=instruments.lot[column])
        found.money(row, "notional", fill["notional_e8"])
        found.money(row, "fee", fill["fee_e8"])
        found.money(row, "slippage", fill["slippage_e8"])
        found.text(row, "reason", _exit_word(fill["exit_reason"]))
        found.text(row, "volume", "unknown" if fill["volume_unknown"] else "known")
        _book(row, int(fill["book_ms"]), found)
        found.count(row, "trade", fill["trade"])


def _book(row: Row, book_ms: int, found: _Differences) -> None:
    """`-` where no book was asked, `table` where none was recorded, else the time of the one walked."""
    word = {NOT_ASKED: "-", NOT_RECORDED: "table"}.get(book_ms)
    expected = row.words.get("book")
    if expected in {None, word}:
        return
    if expected in {"-", "table"} or word is not None or moment_ms(row.place, expected) != book_ms:
        seconds = book_ms % 60_000 / 1000
        found.note(row, "book", expected, word or f"{_clock(book_ms - book_ms % 60_000)}:{seconds:06.3f}")


def _trades(case: Case, market: Market, result: SimulationResult, found: _Differences) -> None:
    if "trades" not in case.expected:
        return

    def show(trade: np.void) -> str:
        return (
            f"{market.symbols[trade['symbol']]} {_clock(trade['exit_ms'])} {_exit_word(trade['exit_reason'])}"
        )

    instruments = market.scenario.instruments
    for row, trade in zip(found.lengths(case, "trades", result.trades, show), result.trades, strict=False):
        _check_reason_word(row)
        column = int(trade["symbol"])
        found.text(row, "symbol", market.symbols[column])
        found.text(row, "strategy", market.scenario.strategies[trade["strategy"]])
        found.time(row, "entry", trade["entry_ms"])
        found.time(row, "exit", trade["exit_ms"])
        found.value(row, "entry_price", trade["entry_price"], grid=0.0)
        found.value(row, "exit_price", trade["exit_price"], grid=0.0)
        found.value(row, "quantity", trade["quantity"], grid=instruments.lot[column])
        found.money(row, "fee", trade["fee_e8"])
        found.money(row, "slippage", trade["slippage_e8"])
        found.money(row, "pnl", trade["pnl_e8"])
        found.text(row, "reason", _exit_word(trade["exit_reason"]))
        found.flag(row, "ambiguous", bool(trade["ambiguous"]))
        found.flag(row, "fallback", bool(trade["fallback"]))
        found.count(row, "entry_fills", trade["entry_fills"])
        found.count(row, "exit_fills", trade["exit_fills"])


def _open(case: Case, market: Market, result: SimulationResult, found: _Differences) -> None:
    def show(trade: np.void) -> str:
        return f"{market.symbols[trade['symbol']]} since {_clock(trade['entry_ms'])}"

    instruments = market.scenario.instruments
    for row, trade in zip(
        found.lengths(case, "open", result.open_trades, show), result.open_trades, strict=False
    ):
        _check_reason_word(row)
        column = int(trade["symbol"])
        found.text(row, "symbol", market.symbols[column])
        found.text(row, "strategy", market.scenario.strategies[trade["strategy"]])
        found.time(row, "entry", trade["entry_ms"])
        found.value(row, "entry_price", trade["entry_price"], grid=0.0)
        found.value(row, "quantity", trade["quantity"], grid=instruments.lot[column])
        found.value(row, "held", trade["open_quantity"], grid=instruments.lot[column])
        found.money(row, "pnl", trade["pnl_e8"])
        found.value(row, "stop", trade["stop_price"], grid=instruments.tick[column])
        found.value(row, "target", trade["target_price"], grid=instruments.tick[column])
        found.text(row, "reason", _exit_word(trade["exit_reason"]))
        found.flag(row, "fallback", bool(trade["fallback"]))


def _setup_named_by(row: Row, market: Market) -> int:
    """The row of the one setup that fits the columns decided, symbol and strategy."""
    moment = time_ms(row.place, row.words["decided"])
    symbol = choice(row.place, row.words["symbol"], market.symbols) if "symbol" in row.words else None
    strategies = market.scenario.strategies
    strategy = choice(row.place, row.words["strategy"], strategies) if "strategy" in row.words else None
    fitting = [
        index
        for key, index in market.setup_rows.items()
        if key[0] == moment and symbol in {None, key[1]} and strategy in {None, key[2]}
    ]
    if len(fitting) != 1:
        raise row.place.error(f"{len(fitting)} setups fit this row: one must")
    return fitting[0]


def outcome_differences(case: Case, market: Market, outcomes: RecordArray) -> list[str]:
    """The same as `differences` for setups that are traded each by itself."""
    found = _Differences(market)

    def show(outcome: np.void) -> str:
        return f"setup {int(outcome['setup'])}: {Outcome(int(outcome['outcome'])).name.lower()}"

    for row, outcome in zip(found.lengths(case, "outcomes", outcomes, show), outcomes, strict=False):
        _check_reason_word(row)
        if row.words["outcome"] not in {member.name.lower() for member in Outcome}:
            raise row.place.error(f"{row.words['outcome']!r} is no outcome")
        setup = _setup_named_by(row, market)
        if setup != int(outcome["setup"]):
            found.note(row, "setup", str(setup), str(int(outcome["setup"])))
        found.text(row, "outcome", Outcome(int(outcome["outcome"])).name.lower())
        found.text(row, "reason", _exit_word(outcome["exit_reason"]))
        found.money(row, "invested", outcome["invested_e8"])
        for name in ("return_net", "return_gross", "adverse", "favourable"):
            found.value(row, name, outcome[name], grid=0.0)
        found.count(row, "bars", outcome["bars_held"])
        found.time(row, "entry", outcome["entry_ms"])
        found.time(row, "exit", outcome["exit_ms"])
        found.flag(row, "ambiguous", bool(outcome["ambiguous"]))
    return found.lines


def _decisions(case: Case, market: Market, result: SimulationResult, found: _Differences) -> None:
    """Every setup must be named; without the section, every setup was accepted and ended no other way."""
    named: set[int] = set()
    for row in case.expected["decisions"].rows if "decisions" in case.expected else []:
        setup = _setup_named_by(row, market)
        if setup in named:
            raise row.place.error("this setup was named before")
        named.add(setup)
        decision = result.decisions[setup]
        reason, end = Reason(int(decision["reason"])), Reason(int(decision["end"]))
        for name in ("reason", "end"):
            _reason_code(row, row.words.get(name, Reason.ACCEPTED.code))
        found.text(row, "reason", reason.code)
        if reason is Reason.ACCEPTED and row.words.get("end", Reason.ACCEPTED.code) != end.code:
            found.note(row, "end", row.words.get("end", Reason.ACCEPTED.code), end.code)
        found.text(row, "rank", str(int(decision["rank"])) if decision["rank"] >= 0 else "-")
        found.flag(row, "fallback", bool(decision["fallback"]))
    if "decisions" in case.expected and len(named) != len(market.setup_rows):
        raise case.place.error("`decisions` must name every setup of the case")
    for key, index in market.setup_rows.items():
        if index not in named:
            decision = result.decisions[index]
            codes = {Reason(int(decision["reason"])).code, Reason(int(decision["end"])).code}
            if codes != {Reason.ACCEPTED.code}:
                found.lines.append(
                    f"{case.place.file}: the setup of {market.symbols[key[1]]} at {_clock(key[0])} should be accepted, "
                    f"is {', '.join(sorted(codes))}"
                )


def _state(case: Case, market: Market, result: SimulationResult, found: _Differences) -> None:
    times = market.scenario.panel.open_time_ms
    for row in case.expected["state"].rows if "state" in case.expected else []:
        moment = time_ms(row.place, row.words["time"])
        if moment not in times:
            raise row.place.error(f"there is no bar {row.words['time']}")
        index = int(np.searchsorted(times, moment))
        found.money(row, "cash", result.cash_e8[index])
        found.money(row, "reserved", result.reserved_e8[index])
        found.money(row, "equity", result.equity_e8[index])
        found.text(row, "regime", Regime(int(result.regime[index])).name.lower())
    (end,) = case.expected["end"].rows
    found.money(end, "cash", result.cash_e8[-1])
    found.money(end, "reserved", result.reserved_e8[-1])
    found.money(end, "equity", result.equity_e8[-1])
