"""What a bundle holds, in types: what is wrong in one is found when it is read, and named in a sentence."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.research.data_hash import DIGITS
from crypto_tracker.research.universe import NAME as UNIVERSE
from crypto_tracker.store.membership import Membership

Document = dict[str, Any]  # JSON as it was read

DIGESTS = "digests"
WHOLE = "whole"
_LATEST_MS = 221_845_392_000_000  # the year 9000: later ones are no times of a market
_SHOWN = 60  # characters of a value that is wrong

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "too_short": "at least one",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "datetime_type": "a time",
    "datetime_parsing": "a time",
    "datetime_from_date_parsing": "a time",
    "datetime_object_invalid": "a time",
    "timezone_aware": "a time with its zone",
    "date_type": "a date",
    "date_parsing": "a date",
    "date_from_datetime_parsing": "a date",
    "date_from_datetime_inexact": "a date",
}


def _symbol(text: str) -> str:
    try:
        spelt = str(Symbol.parse(text))
    except UsageError:
        spelt = ""
    if spelt != text:
        raise ValueError("expected a symbol such as BTC/USDT")
    return text


def _base(text: str) -> str:
    if text not in {str(Timeframe.M1), str(Timeframe.M15), str(Timeframe.H1)}:
        raise ValueError("expected 1m, 15m or 1h")
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone such as UTC") from None
    return text


def _exit(text: str) -> str:
    codes = [reason.code for reason in ExitReason if reason is not ExitReason.NONE]
    if text not in codes:
        raise ValueError(f"expected one of {', '.join(codes)}")
    return text


Name = Annotated[str, Field(min_length=1)]
SymbolName = Annotated[str, AfterValidator(_symbol)]
BaseName = Annotated[str, AfterValidator(_base)]
ZoneName = Annotated[str, AfterValidator(_zone)]
ExitName = Annotated[str, AfterValidator(_exit)]
Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[int, Field(ge=0, le=_LATEST_MS)]
Period = tuple[Milliseconds, Milliseconds]
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Closed(BaseModel):
    """A part of which every key is known."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Open(BaseModel):
    """A part of which only some keys are read here; what else it holds is compared and shown as it is."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)


class Code(_Closed):
    """Which code made the result."""

    version: Name
    digest: Name


class BarNames(_Closed):
    """The digest of all bars, and of those of each symbol."""

    hash: Name
    symbols: dict[str, Name]


class Chosen(_Closed):
    """The choice of bars."""

    symbols: Annotated[tuple[SymbolName, ...], Field(min_length=1)]
    providers: dict[SymbolName, Name]
    base: BaseName
    start_ms: Milliseconds
    end_ms: Milliseconds
    reference: SymbolName | None
    history: str = ""  # left out where nobody's bars stand in
    universe: dict[SymbolName, tuple[Period, ...]] | None = None  # left out where it withheld nothing


class Asked(_Closed):
    """The options of the command line."""

    strategies: tuple[Name, ...]
    close_at_end: bool


class RecordCount(_Closed):
    """How many records of a kind there are, and a digest of them."""

    count: Count
    digest: Name


class Records(_Closed):
    """Every kind of record."""

    fills: RecordCount
    trades: RecordCount
    open_trades: RecordCount
    decisions: RecordCount
    closes: RecordCount


class Trading(_Open):
    """What is read of the configuration's section of that name."""

    timezone: ZoneName
    strategies: tuple[Name, ...]


class Settings(_Open):
    """What is read of the configuration here; all of it is checked where the run is repeated."""

    trading: Trading
    strategies: dict[str, dict[str, JsonValue]]


class TradeRow(_Closed):
    """One trade as it was written; an open one has no exit time and no reason."""

    trade_group_id: Name
    symbol: SymbolName
    strategy: Name
    decision_time: AwareDatetime
    entry_time: AwareDatetime
    exit_time: AwareDatetime | None
    entry_price: Positive
    exit_price: Positive | None
    quantity: Positive
    invested_quote: Positive
    exit_reason: ExitName | None
    entry_fills: Annotated[int, Field(ge=1)]
    fee_quote: float
    slippage_quote: float
    pnl_quote: float
    return_net: float
    ambiguous: bool
    fallback: bool


class DayRow(_Open):
    """One day of the marked equity."""

    first_day: date
    equity_final: Positive
    max_drawdown: Share


class Periods(_Open):
    """The result by period; only its days are read here."""

    day: tuple[DayRow, ...]


class Figures(_Open):
    """What is read of the figures."""

    start: AwareDatetime
    end: AwareDatetime
    base: BaseName
    symbols: tuple[SymbolName, ...]
    providers: dict[SymbolName, Name]
    reference: SymbolName | None
    strategies: tuple[Name, ...]
    close_at_end: bool
    synthetic: bool
    configuration_version: Name
    code_version: Name
    data_hash: Name
    equity_start: Positive
    max_drawdown: Share
    n_trades: Count
    n_open: Count
    breakdown: Periods


class Contents(_Closed):
    """A whole bundle."""

    format: Literal["crypto-tracker backtest"]
    format_version: int
    code: Code
    data: BarNames
    configuration_version: Name
    configuration: Settings
    seed: int | None
    choice: Chosen
    options: Asked
    records: Records
    figures: Figures
    trades: tuple[TradeRow, ...]
    open_trades: tuple[TradeRow, ...]
    digests: dict[str, Name]


def read_contents(text: str, document: Document) -> Contents:
    """The typed contents of a JSON text; raises ValueError with a sentence on the first thing wrong in it."""
    try:
        contents = Contents.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(fault(error, document, unknown="is no key of a bundle")) from None
    against = _contradiction(contents)
    if against is not None:
        raise ValueError(against)
    return contents


def fault(error: ValidationError, document: Any, *, unknown: str) -> str:
    """The first finding of a validation in words of our own: where, what stands there, what was expected."""
    found = error.errors(include_url=False, include_context=False)[0]
    place, value = _place(found, document)
    if found["type"] == "missing":
        return f"{place} is missing"
    if found["type"] == "extra_forbidden":
        return f"{place} {unknown}"
    expected = _EXPECTED.get(found["type"])
    if expected is None:
        message = found["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    else:
        message = f"expected {expected}"
    return f"{place} is {brief(value, _SHOWN)}: {message}"


def brief(value: object, length: int) -> str:
    """A JSON value on one line, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def sealed(document: Document) -> Document:
    """A document with the digests by which a later reader sees whether it was changed.

    There is one of each part as it is written, and one of the whole without itself. Works on plain JSON.
    """
    parts = {name: part for name, part in document.items() if name != DIGESTS}
    digests = {name: _digest(part) for name, part in parts.items()}
    return {**parts, DIGESTS: {**digests, WHOLE: _digest({**parts, DIGESTS: digests})}}


def changed_parts(document: Document) -> tuple[str, ...]:
    """The parts of a document that are not as they were when it was sealed."""
    then, now = document[DIGESTS], sealed(document)[DIGESTS]
    parts = [name for name in now if name != WHOLE and now[name] != then.get(name)]
    if not parts and then != now:
        parts = [DIGESTS]
    return tuple(parts)


def _digest(part: object) -> str:
    text = json.dumps(part, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _place(found: ErrorDetails, document: Any) -> tuple[str, object]:
    """The dotted place of a finding and what stands there; counted from 1, as the sentences on trades do."""
    place, node = "", document
    for part in found["loc"]:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            place, node = f"{place} number {part + 1}", node[part]
        elif isinstance(node, Mapping) and isinstance(part, str) and part in node:
            place, node = f"{place}.{part}", node[part]
        elif isinstance(part, str) and found["type"] == "missing":
            place, node = f"{place}.{part}", None
        else:
            break
    return place.lstrip(". ").replace(" .", ".") or "the document", node


def _contradiction(contents: Contents) -> str | None:
    """The first thing in which parts of a bundle do not agree with each other; None where all do."""
    for check in (_in_choice, _in_figures, _in_configuration, _in_counts, _in_trades, _in_days):
        found = check(contents)
        if found is not None:
            return found
    return None


def _in_choice(contents: Contents) -> str | None:
    choice = contents.choice
    if len(set(choice.symbols)) < len(choice.symbols):
        return "choice.symbols names a symbol twice"
    if choice.start_ms >= choice.end_ms:
        return "choice.end_ms is not after choice.start_ms"
    read = {*choice.symbols, *([] if choice.reference is None else [choice.reference])}
    for symbol in sorted(read - choice.providers.keys()):
        return f"choice.providers has none for {symbol}"
    for symbol in sorted(choice.providers.keys() - read):
        return f"choice.providers has one for {symbol}, which is not among the symbols"
    for symbol in choice.symbols:
        if symbol not in contents.data.symbols:
            return f"data.symbols has no digest of {symbol}"
    return None if choice.universe is None else _in_universe(contents, choice.universe)


def _in_universe(contents: Contents, universe: Mapping[str, tuple[Period, ...]]) -> str | None:
    if set(universe) != set(contents.choice.symbols):
        return "choice.universe does not have the symbols of choice.symbols"
    for symbol, periods in universe.items():
        moments = [moment for period in periods for moment in period]
        if any(later <= earlier for earlier, later in pairwise(moments)):
            return f"the periods of {symbol} in choice.universe are not in order"
    if contents.data.symbols.get(UNIVERSE) != Membership.of_document(universe).digest()[:DIGITS]:
        return f"data.symbols.{UNIVERSE} is not the digest of choice.universe"
    return None


def _in_figures(contents: Contents) -> str | None:
    choice, figures = contents.choice, contents.figures
    length = Timeframe.parse(choice.base).ms
    first = choice.start_ms + -choice.start_ms % length
    last = choice.end_ms - choice.end_ms % length
    pairs: tuple[tuple[str, object, str, object], ...] = (
        ("symbols", sorted(figures.symbols), "choice.symbols", sorted(choice.symbols)),
        ("base", figures.base, "choice.base", choice.base),
        ("start", figures.start, "choice.start_ms", from_ms(first)),
        ("end", figures.end, "choice.end_ms", from_ms(last)),
        ("providers", figures.providers, "choice.providers", choice.providers),
        ("reference", figures.reference, "choice.reference", choice.reference),
        ("close_at_end", figures.close_at_end, "options.close_at_end", contents.options.close_at_end),
        ("data_hash", figures.data_hash, "data.hash", contents.data.hash),
        (
            "configuration_version",
            figures.configuration_version,
            "configuration_version",
            contents.configuration_version,
        ),
    )
    for name, shown, other, meant in pairs:
        if shown != meant:
            return f"figures.{name} and {other} do not say the same"
    return None


def _in_configuration(contents: Contents) -> str | None:
    known = contents.configuration.strategies
    asked = [name.upper() for name in contents.options.strategies]
    for name in (*contents.configuration.trading.strategies, *asked, *contents.figures.strategies):
        if name not in known:
            return f"configuration.strategies has no {name}"
    return None


def _in_counts(contents: Contents) -> str | None:
    figures, records = contents.figures, contents.records
    bars = int((figures.end - figures.start).total_seconds() * 1_000) // Timeframe.parse(figures.base).ms
    for name, counted, other, count in (
        ("trades", len(contents.trades), "figures.n_trades", figures.n_trades),
        ("trades", len(contents.trades), "records.trades.count", records.trades.count),
        ("open_trades", len(contents.open_trades), "figures.n_open", figures.n_open),
        ("open_trades", len(contents.open_trades), "records.open_trades.count", records.open_trades.count),
        ("the span", bars, "records.closes.count", records.closes.count),
    ):
        if counted != count:
            return f"{name} has {counted:,}, {other} says {brief(count, _SHOWN)}"
    return None


def _in_trades(contents: Contents) -> str | None:
    figures = contents.figures
    seen: set[tuple[str, str, datetime]] = set()
    for kind, rows in (("trades", contents.trades), ("open_trades", contents.open_trades)):
        for place, row in enumerate(rows, start=1):
            who = f"{kind} number {place}"
            if row.symbol not in figures.symbols:
                return f"{who} is of {row.symbol}, which is not among the symbols"
            if row.strategy not in figures.strategies:
                return f"{who} is of {row.strategy}, which is not among the strategies"
            closed = kind == "trades"
            if closed != (row.exit_time is not None) or closed != (row.exit_reason is not None):
                return f"{who} {'has no exit' if closed else 'has an exit'}"
            if closed and row.exit_price is None:
                return f"{who} has no exit price"
            moments = [figures.start, row.decision_time, row.entry_time, row.exit_time, figures.end]
            walked = [moment for moment in moments if moment is not None]
            if walked != sorted(walked):
                return f"the times of {who} are not in order, or not in the span"
            setup = (row.symbol, row.strategy, row.decision_time)
            if setup in seen:
                return f"{who} has the setup of a trade before it"
            seen.add(setup)
    return None


def _in_days(contents: Contents) -> str | None:
    figures = contents.figures
    zone = ZoneInfo(contents.configuration.trading.timezone)
    days = [row.first_day for row in figures.breakdown.day]
    last_open = figures.end - timedelta(milliseconds=Timeframe.parse(figures.base).ms)
    bounds = [moment.astimezone(zone).date() for moment in (figures.start, last_open)]
    if not days or [days[0], days[-1]] != bounds:
        return "figures.breakdown.day does not have the days of the span"
    if any(later <= earlier for earlier, later in pairwise(days)):
        return "the days of figures.breakdown.day are not in order"
    return None
