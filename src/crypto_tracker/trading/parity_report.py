"""What differs between the records of an account and their re-run, and why.

Every difference has a cause in words. The first one that nothing earlier explains is a root; what comes of it
later is said to follow from it. Rows that never change carry the digest of their minute, so an altered record
is told from a re-run that comes to something else.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms, to_ms
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.strategies.decisions import ScanBlock, decode_block

_KEPT = 10_000  # differences that are kept one by one; the rest is counted
_NAMED = 3


class Kind(StrEnum):
    """What a difference is about. Within a minute each comes of those before it."""

    RECORD = "record"  # the digest of a minute's records
    BARS = "bars"
    BOOKS = "books"  # order books that fills walked
    SCAN = "scan"
    SETUP = "setup"
    FILL = "fill"
    TRADE = "trade"
    EQUITY = "equity"
    POSITION = "position"
    STATE = "state"


_ORDER = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that the re-run does not find as it was recorded.

    Attributes
    ----------
    minute_ms : open time of the minute in whose step it shows
    end_ms : of what lasts, the first minute that is equal again
    says : both sides in words
    cause : why, in words; empty until causes were found
    root : whether nothing earlier explains it
    """

    minute_ms: int
    kind: Kind
    says: str
    symbols: tuple[Symbol, ...] = ()
    strategy: str | None = None
    trade_group_id: str | None = None
    end_ms: int | None = None
    cause: str = ""
    root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An open position at the end of the span."""

    trade: Trade  # marked at the last close
    open_quantity: Decimal
    stop_price: float
    target_price: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Closes:
    """The account at the close of every minute, arrays (minutes,); `known` where a minute is recorded."""

    time_ms: IntArray  # open times
    known: BoolArray
    equity_e8: IntArray
    cash_e8: IntArray
    reserved_e8: IntArray
    regime: CodeArray
    volatility: FloatArray


@dataclass(slots=True, kw_only=True, eq=False)
class Records:
    """What one piece of the span brought, recorded or re-run. `blocks` are by (close time, strategy)."""

    blocks: Mapping[tuple[int, str], bytes]
    setups: Sequence[SetupRecord]
    fills: Sequence[Fill]
    trades: Sequence[Trade]
    closes: Closes


@dataclass(slots=True, kw_only=True)
class Compared:
    """How much was held against each other."""

    minutes: int = 0
    scans: int = 0
    setups: int = 0
    fills: int = 0
    trades: int = 0
    positions: int = 0


class Comparison:
    """Takes in records piece by piece, and remembers what differs."""

    def __init__(self) -> None:
        self.compared = Compared()
        self.found: list[Difference] = []
        self.altered: set[int] = set()
        self.not_kept = 0
        self._money: Difference | None = None
        self._worst = 0

    def note(self, differences: Iterable[Difference]) -> None:
        """Remember differences that were found elsewhere."""
        for difference in differences:
            if len(self.found) < _KEPT:
                self.found.append(difference)
            else:
                self.not_kept += 1

    def piece(
        self, recorded: Records, again: Records, failed: Mapping[tuple[int, str], str] | None = None
    ) -> None:
        """Compare one piece of the span; pieces come in order of time.

        `failed` says by close time and strategy why a scan could not be made again.
        """
        counted = self.compared
        counted.minutes += int(recorded.closes.known.sum())
        counted.scans += sum(_symbols_in(block) for block in recorded.blocks.values())
        counted.setups += len(recorded.setups)
        counted.fills += len(recorded.fills)
        counted.trades += len(recorded.trades)
        self.note(scan_differences(recorded.blocks, again.blocks, failed or {}))
        self.note(setup_differences(recorded.setups, again.setups))
        self.note(fill_differences(recorded.fills, again.fills))
        self.note(trade_differences(recorded.trades, again.trades))
        self._money_of(recorded.closes, again.closes)

    def positions(self, end_ms: int, recorded: Sequence[Held], again: Sequence[Held]) -> None:
        """Compare what is held at the end."""
        self.compared.positions += len(recorded)
        self.note(position_differences(end_ms, recorded, again))

    def finish(self, code: Callable[[int], str | None]) -> list[Difference]:
        """All differences in order of time, each with its cause.

        `code` says for a minute how the program that stepped it differs from this one, None where it is
        the same.
        """
        if self._money is not None:
            self.note([self._money])
            self._money = None
        return with_causes(self.found, self.altered, code)

    def _money_of(self, recorded: Closes, again: Closes) -> None:
        """Minutes that follow one another and whose money differs are one difference, also across pieces."""
        for part in money_differences(recorded, again):
            held = self._money
            if held is not None and held.end_ms == part.minute_ms and part.end_ms is not None:
                self._money = replace(held, end_ms=part.end_ms)
                continue
            if held is not None:
                self.note([held])
            self._money = part


# ------------------------------------------------------------------------------- comparison


def scan_differences(
    recorded: Mapping[tuple[int, str], bytes],
    again: Mapping[tuple[int, str], bytes],
    failed: Mapping[tuple[int, str], str],
) -> Iterator[Difference]:
    """Scans that say something else, one difference for each close and strategy."""
    for close_ms, strategy in sorted(recorded.keys() | again.keys()):
        old, new = recorded.get((close_ms, strategy)), again.get((close_ms, strategy))
        if old == new:
            continue
        where = f"the scan of {strategy} at {_clock(close_ms)}"
        symbols: tuple[Symbol, ...] = ()
        if old is None:
            says = f"{where} is made, and none is recorded"
        elif new is None:
            why = failed.get((close_ms, strategy))
            says = f"{where} is recorded, and none is due" if why is None else f"{where} fails now: {why}"
        else:
            found = _scans_apart(where, old, new)
            if found is None:
                continue
            says, symbols = found
        yield Difference(
            minute_ms=close_ms - MINUTE_MS, kind=Kind.SCAN, says=says, symbols=symbols, strategy=strategy
        )


def setup_differences(recorded: Sequence[SetupRecord], again: Sequence[SetupRecord]) -> Iterator[Difference]:
    """Setups and near misses that only one side has, or that the portfolio answers otherwise."""
    old = {(each.time_ms, str(each.symbol), each.strategy): each for each in recorded}
    new = {(each.time_ms, str(each.symbol), each.strategy): each for each in again}
    for key in sorted(old.keys() | new.keys()):
        then, now = old.get(key), new.get(key)
        either = then or now
        if either is None or _equal(then, now, ("setup_number",)):
            continue
        what = "near miss" if either.verdict is Verdict.NEAR_MISS else "setup"
        where = f"{either.strategy} of {either.symbol} at {_clock(either.time_ms)}"
        if now is None:
            says = f"a {what} of {where} is recorded, the re-run finds none"
        elif then is None:
            says = f"a {what} of {where} is found, and none is recorded"
        elif (then.verdict, then.reason) != (now.verdict, now.reason):
            says = f"the portfolio answers {now.reason.code}, recorded was {then.reason.code} ({where})"
        else:
            says = f"the setup of {where}: {_apart(then, now, ('setup_number',))}"
        yield Difference(
            minute_ms=either.time_ms - MINUTE_MS,
            kind=Kind.SETUP,
            says=says,
            symbols=(either.symbol,),
            strategy=either.strategy,
        )


def fill_differences(recorded: Sequence[Fill], again: Sequence[Fill]) -> Iterator[Difference]:
    """Fills that only one side has, or that are not the same to the last digit."""
    old, new = _numbered(recorded), _numbered(again)
    for key in sorted(old.keys() | new.keys()):
        then, now = old.get(key), new.get(key)
        either = then or now
        if either is None or then == now:
            continue
        rung = f" {either.rung}" if either.kind is FillKind.RUNG else ""
        where = f"the {either.kind.code}{rung} fill of {either.trade_group_id}"
        yield Difference(
            minute_ms=to_ms(either.bar_open_time),
            kind=Kind.FILL,
            says=f"{where}{_sides(then, now)}",
            symbols=(either.symbol,),
            strategy=either.strategy,
            trade_group_id=either.trade_group_id,
        )


def trade_differences(recorded: Sequence[Trade], again: Sequence[Trade]) -> Iterator[Difference]:
    """Closed trades that only one side has, or that ended otherwise."""
    old = {each.trade_group_id: each for each in recorded}
    new = {each.trade_group_id: each for each in again}
    for name in sorted(old.keys() | new.keys()):
        then, now = old.get(name), new.get(name)
        either = then or now
        if either is None or _equal(then, now):
            continue
        ended = min(to_ms(each.exit_time) for each in (then, now) if each is not None and each.exit_time)
        yield Difference(
            minute_ms=ended,
            kind=Kind.TRADE,
            says=f"the trade {name}{_sides(then, now)}",
            symbols=(either.symbol,),
            strategy=either.strategy,
            trade_group_id=name,
        )


def money_differences(recorded: Closes, again: Closes) -> Iterator[Difference]:
    """Stretches of minutes at whose closes the account stood otherwise."""
    names = ("equity_e8", "cash_e8", "reserved_e8", "regime", "volatility")
    apart = {name: ~_same(getattr(recorded, name), getattr(again, name)) & recorded.known for name in names}
    differs = np.logical_or.reduce(list(apart.values()))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], differs, [False])).astype(np.int8)))
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        name = next(name for name in names if apart[name][first])
        then, now = _amount(recorded, name, first), _amount(again, name, first)
        yield Difference(
            minute_ms=int(recorded.time_ms[first]),
            end_ms=int(recorded.time_ms[stop - 1]) + MINUTE_MS,
            kind=Kind.EQUITY,
            says=f"{name.removesuffix('_e8')} {now}, recorded was {then}",
        )


def position_differences(
    end_ms: int, recorded: Sequence[Held], again: Sequence[Held]
) -> Iterator[Difference]:
    """Positions that only one side holds at the end, or that are not the same."""
    old = {each.trade.trade_group_id: each for each in recorded}
    new = {each.trade.trade_group_id: each for each in again}
    for name in sorted(old.keys() | new.keys()):
        then, now = old.get(name), new.get(name)
        either = then or now
        if either is None:
            continue
        if then is not None and now is not None:
            found = [
                *_fields_apart(then.trade, now.trade),
                *_fields_apart(then, now, ("trade",)),
            ]
            if not found:
                continue
            says = f"the position {name}: {_listed(found)}"
        else:
            says = f"the position {name}{_sides(then, now)}"
        yield Difference(
            minute_ms=end_ms - MINUTE_MS,
            kind=Kind.POSITION,
            says=says,
            symbols=(either.trade.symbol,),
            strategy=either.trade.strategy,
            trade_group_id=name,
        )


# ------------------------------------------------------------------------------- causes


def with_causes(
    found: Sequence[Difference], altered: Collection[int], code: Callable[[int], str | None]
) -> list[Difference]:
    """The differences in order of time, each with its cause.

    `altered` holds the minutes whose records no longer have the digest that they were written with.
    """
    alone = _altered_alone(found, altered)
    shown = {each.minute_ms for each in found if id(each) in alone or each.kind is Kind.BARS}
    unseen = [_altered_minute(minute_ms) for minute_ms in altered if minute_ms not in shown]
    chain = _Chain()
    result = []
    for each in sorted([*found, *unseen], key=_place):
        if id(each) in alone:
            result.append(
                replace(each, cause=f"{_ALTERED[each.kind]} was altered after it was written", root=True)
            )
            continue
        origin = None if each.kind in (Kind.RECORD, Kind.BARS, Kind.BOOKS) else chain.origin(each)
        if origin is None:
            cause = _root_cause(each, code, altered=each.minute_ms in altered)
            chosen = replace(each, cause=cause, root=True)
        else:
            chosen = replace(each, cause=_following(each, origin))
        chain.add(chosen, origin)
        result.append(chosen)
    return result


_ALTERED = {
    Kind.SCAN: "a scan",
    Kind.SETUP: "a setup, or what it was answered from,",
    Kind.FILL: "a fill",
    Kind.TRADE: "a trade",
    Kind.EQUITY: "the money at the close",
}
"""What a single altered record of a minute is called."""


def _altered_alone(found: Sequence[Difference], altered: Collection[int]) -> set[int]:
    """The identities of differences that are altered records and no more: nothing else comes of them.

    Such a minute shows one kind of difference alone, and no later one of its symbols that needs a cause.
    """
    by_minute: dict[int, list[Difference]] = {}
    last_of: dict[Symbol, int] = {}
    for each in found:
        by_minute.setdefault(each.minute_ms, []).append(each)
        if each.minute_ms not in altered:
            for symbol in each.symbols:
                last_of[symbol] = max(each.minute_ms, last_of.get(symbol, each.minute_ms))
    alone: set[int] = set()
    for minute_ms in altered:
        there = by_minute.get(minute_ms, [])
        lasting = any(each.end_ms is not None and each.end_ms > minute_ms + MINUTE_MS for each in there)
        more = any(last_of.get(symbol, minute_ms) > minute_ms for each in there for symbol in each.symbols)
        if {each.kind for each in there} in [{kind} for kind in _ALTERED] and not lasting and not more:
            alone.update(map(id, there))
    return alone


def _altered_minute(minute_ms: int) -> Difference:
    return Difference(
        minute_ms=minute_ms,
        kind=Kind.RECORD,
        says=f"the records of the minute {_clock(minute_ms)} were altered after they were written",
    )


class _Chain:
    """Which earlier difference explains a later one."""

    def __init__(self) -> None:
        self._by_symbol: dict[Symbol, Difference] = {}
        self._scans: dict[str | None, Difference] = {}
        self._inputs: list[Difference] = []
        self._last: Difference | None = None

    def origin(self, later: Difference) -> Difference | None:
        """The root that explains `later`, None where there is none."""
        if later.kind is Kind.SCAN:
            # A scan reads bars alone: nothing that the portfolio did changes it.
            for each in reversed(self._inputs):
                if not each.symbols or not later.symbols or set(each.symbols) & set(later.symbols):
                    return each
            return self._scans.get(later.strategy)
        for symbol in later.symbols:
            if symbol in self._by_symbol:
                return self._by_symbol[symbol]
        return self._last

    def add(self, difference: Difference, origin: Difference | None) -> None:
        """Take in a difference whose root is `origin`, or itself."""
        root = origin or difference
        for symbol in difference.symbols:
            self._by_symbol[symbol] = root
        if difference.kind in (Kind.RECORD, Kind.BARS):
            self._inputs.append(difference)
        if difference.kind is Kind.SCAN and origin is None:
            self._scans[difference.strategy] = difference
        self._last = root


def _root_cause(difference: Difference, code: Callable[[int], str | None], *, altered: bool) -> str:
    if difference.kind is Kind.RECORD:
        return difference.says
    if difference.kind in (Kind.BARS, Kind.BOOKS):
        return f"{difference.says}: the journal was altered" if altered else difference.says
    cause = {
        Kind.SCAN: difference.says,
        Kind.SETUP: difference.says,
        Kind.FILL: "the same bars, scans and answers give another fill",
        Kind.TRADE: "the fills are equal, the trade is not what they come to",
        Kind.EQUITY: "fills and bars are equal, the money is not what they come to",
        Kind.POSITION: "everything before is equal, the position is not what it comes to",
        Kind.STATE: "everything before is equal, the state is not what it comes to",
    }[difference.kind]
    programs = code(difference.minute_ms)
    return cause if programs is None else f"{cause}; {programs}"


def _following(difference: Difference, root: Difference) -> str:
    if difference.kind is Kind.SCAN and root.kind is Kind.SCAN:
        return f"as in the scan at {_clock(root.minute_ms + MINUTE_MS)}"
    return f"follows from the difference at {_clock(root.minute_ms)} ({_name(root)})"


def _name(difference: Difference) -> str:
    """A few words for what differs."""
    if difference.kind is Kind.RECORD:
        return "altered records"
    of = ", ".join(str(symbol) for symbol in difference.symbols[:1]) or difference.strategy
    return f"{difference.kind} of {of}" if of else str(difference.kind)


def _place(difference: Difference) -> tuple[int, int, str, str]:
    return (
        difference.minute_ms,
        _ORDER[difference.kind],
        difference.strategy or "",
        difference.trade_group_id or "".join(map(str, difference.symbols[:1])),
    )


# ------------------------------------------------------------------------------- documents


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a parity check found.

    `not_kept` counts differences beyond those that are kept one by one.
    """

    start_ms: int
    end_ms: int
    compared: Compared
    differences: list[Difference]
    not_kept: int
    recorded_by: tuple[str, ...]  # code versions

    @property
    def count(self) -> int:
        """How many differences there are."""
        return len(self.differences) + self.not_kept

    @property
    def roots(self) -> list[Difference]:
        """Those that nothing earlier explains."""
        return [each for each in self.differences if each.root]


def proof_document(proof: Proof, *, listed: int) -> dict[str, Any]:
    """The proof for programs, with the first `listed` differences."""
    return {
        "start": _iso(proof.start_ms),
        "end": _iso(proof.end_ms),
        "recorded_by": list(proof.recorded_by),
        "compared": {each.name: getattr(proof.compared, each.name) for each in fields(Compared)},
        "differences": proof.count,
        "by_kind": {str(kind): n for kind, n in Counter(each.kind for each in proof.differences).items()},
        "roots": len(proof.roots),
        "list": [difference_document(each) for each in proof.differences[:listed]],
        "not_listed": proof.count - min(listed, len(proof.differences)),
    }


def difference_document(difference: Difference) -> dict[str, Any]:
    """One difference for programs."""
    return {
        "time": _iso(difference.minute_ms),
        "until": None if difference.end_ms is None else _iso(difference.end_ms),
        "kind": str(difference.kind),
        "symbols": [str(symbol) for symbol in difference.symbols],
        "strategy": difference.strategy,
        "trade_group_id": difference.trade_group_id,
        "says": difference.says,
        "cause": difference.cause,
        "root": difference.root,
    }


# ------------------------------------------------------------------------------- small parts


def _scans_apart(where: str, old: bytes, new: bytes) -> tuple[str, tuple[Symbol, ...]] | None:
    """What two blocks say otherwise, and of which symbols; None where they say the same."""
    now = decode_block(new)
    try:
        then = decode_block(old)
    except DataError as error:
        return f"{where} is recorded, but {error}", now.symbols
    if then.symbols != now.symbols:
        return f"{where} is recorded for other symbols", tuple(set(then.symbols) ^ set(now.symbols))
    if then.measurements.keys() != now.measurements.keys():
        return (
            f"{where} measures {', '.join(now.measurements)}, recorded was {', '.join(then.measurements)}",
            (),
        )
    columns: dict[str, tuple[RecordArray, RecordArray]] = {
        "reason": (then.reason, now.reason),
        "readiness": (then.readiness, now.readiness),
        "confidence": (then.confidence, now.confidence),
        **{name: (then.measurements[name], now.measurements[name]) for name in now.measurements},
    }
    apart = {name: ~_same(*sides) for name, sides in columns.items()}
    differs = np.logical_or.reduce(list(apart.values()))
    if not differs.any():
        if then.version != now.version:
            return f"{where} is of the configuration {now.version}, recorded was {then.version}", ()
        return None
    place = _most_telling(then, now, differs)
    symbols = (now.symbols[place], *(now.symbols[i] for i in np.flatnonzero(differs) if i != place))
    more = f" and of {len(symbols) - 1} more" if len(symbols) > 1 else ""
    if apart["reason"][place]:
        tells = f"says {_verdict(now.reason[place])}, recorded was {_verdict(then.reason[place])}"
    else:
        name = next(name for name in columns if apart[name][place])
        tells = f"has {name} {columns[name][1][place]:g}, recorded was {columns[name][0][place]:g}"
    return f"{where} of {now.symbols[place]}{more} {tells}", symbols


def _most_telling(then: ScanBlock, now: ScanBlock, differs: BoolArray) -> int:
    """The column whose difference matters most: a setup on one side only, else another reason, else any."""
    setup = (then.reason == Reason.ACCEPTED) != (now.reason == Reason.ACCEPTED)
    for chosen in (setup, then.reason != now.reason, differs):
        if chosen.any():
            return int(np.argmax(chosen))
    raise DataError("two equal scans were asked for their difference")


def _verdict(code: int) -> str:
    return "a setup" if code == Reason.ACCEPTED else Reason(code).code


def _symbols_in(block: bytes) -> int:
    try:
        return len(decode_block(block).symbols)
    except DataError:
        return 0


def _numbered(fills: Sequence[Fill]) -> dict[tuple[int, str, int, int, int], Fill]:
    """Fills by minute, trade, kind, rung, and the how manieth of those it is."""
    counts: Counter[tuple[int, str, int, int]] = Counter()
    result = {}
    for each in fills:
        key = (to_ms(each.bar_open_time), each.trade_group_id, int(each.kind), each.rung)
        result[*key, counts[key]] = each
        counts[key] += 1
    return result


def _sides(then: object, now: object) -> str:
    if now is None:
        return " is recorded, the re-run has none"
    if then is None:
        return " comes of the re-run, and none is recorded"
    return f": {_apart(then, now)}"


def _equal(then: object, now: object, without: Collection[str] = ()) -> bool:
    return then is not None and now is not None and not _fields_apart(then, now, without)


def _apart(then: object, now: object, without: Collection[str] = ()) -> str:
    return _listed(_fields_apart(then, now, without))


def _listed(found: Sequence[str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def _fields_apart(then: Any, now: Any, without: Collection[str] = ()) -> list[str]:
    """What differs between two records of one class, in words."""
    found = []
    for each in fields(then):
        old, new = getattr(then, each.name), getattr(now, each.name)
        if each.name in without or old == new or _both_nan(old, new):
            continue
        found.append(f"{each.name} {_value(new)}, recorded was {_value(old)}")
    return found


def _both_nan(old: object, new: object) -> bool:
    return isinstance(old, float) and isinstance(new, float) and old != old and new != new  # noqa: PLR0124


def _value(value: object) -> str:
    if isinstance(value, ExitReason | Reason | FillKind):
        return value.code
    return "none" if value is None else str(value)


def _same(old: RecordArray, new: RecordArray) -> BoolArray:
    equal: BoolArray = old == new
    if old.dtype.kind == "f":
        equal |= np.isnan(old) & np.isnan(new)
    return equal


def _amount(closes: Closes, name: str, row: int) -> str:
    value = getattr(closes, name)[row]
    if name == "regime":
        return Regime(value).name
    return f"{value:g}" if name == "volatility" else str(to_decimal(value))


def _iso(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%dT%H:%M:%SZ}"


def _clock(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M}"
