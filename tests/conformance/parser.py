"""Reads the conformance cases: text tables in, tables of words out, and nothing is let pass.

A case is a title, `set` lines, tables, the word `expect`, and tables again (README.md shows one). This module knows
which sections and columns exist; what the words mean is settled in `scenario.py` and `comparison.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BAR_COLUMNS = ("time", "open", "high", "low", "close", "volume")

# Sections before `expect`, and their columns.
GIVEN = {
    "bars": BAR_COLUMNS,
    "reference": BAR_COLUMNS,
    "books": ("time", "bids", "asks"),
    "setups": (
        "decided",
        "symbol",
        "strategy",
        "side",
        "confidence",
        "readiness",
        "size",
        "levels",
        "spacing",
        "take_profit",
        "stop_loss",
        "trailing",
        "hold",
        "gap",
        "close",
        "wait",
        "range",
        "withheld",
    ),
    "resets": ("at", "symbol", "strategy"),
    "commands": ("at", "do", "what"),
}

# Sections after it.
EXPECTED = {
    "fills": (
        "time",
        "symbol",
        "strategy",
        "kind",
        "price",
        "quantity",
        "notional",
        "fee",
        "slippage",
        "reason",
        "volume",
        "book",
        "trade",
    ),
    "decisions": ("decided", "symbol", "strategy", "reason", "end", "rank", "fallback"),
    "trades": (
        "symbol",
        "strategy",
        "entry",
        "exit",
        "entry_price",
        "exit_price",
        "quantity",
        "fee",
        "slippage",
        "pnl",
        "reason",
        "ambiguous",
        "fallback",
        "entry_fills",
        "exit_fills",
    ),
    "open": (
        "symbol",
        "strategy",
        "entry",
        "entry_price",
        "quantity",
        "held",
        "pnl",
        "stop",
        "target",
        "reason",
        "fallback",
    ),
    "state": ("time", "cash", "reserved", "equity", "regime"),
    "end": ("cash", "reserved", "equity"),
    "outcomes": (
        "decided",
        "symbol",
        "strategy",
        "outcome",
        "reason",
        "invested",
        "return_net",
        "return_gross",
        "adverse",
        "favourable",
        "bars",
        "entry",
        "exit",
        "ambiguous",
    ),
}

# Columns without which a row says nothing; all other columns may be left out.
NEEDED = {
    "bars": ("time", "close"),
    "reference": ("time", "close"),
    "books": ("time", "bids", "asks"),
    "setups": ("decided",),
    "resets": ("at",),
    "commands": ("at", "do"),
    "fills": ("time", "kind", "price", "quantity"),
    "decisions": ("decided", "reason"),
    "trades": ("exit", "reason"),
    "open": ("symbol",),
    "state": ("time",),
    "end": ("cash", "reserved", "equity"),
    "outcomes": ("decided", "outcome"),
}


class CaseError(Exception):
    """A conformance file that can not be read; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a word stands, so that every complaint can say it."""

    file: str
    line: int

    def error(self, sentence: str) -> CaseError:
        """The complaint `sentence` about this place."""
        return CaseError(f"{self.file}:{self.line}: {sentence}")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its words by column."""

    place: Place
    words: dict[str, str]


@dataclass(slots=True)
class Table:
    """A section: the columns of its header and its rows."""

    place: Place
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """A `set` or `default` line: `name` gets `value`."""

    place: Place
    name: str
    value: str


@dataclass(slots=True)
class Case:
    """One market with what must come of it, still in words."""

    place: Place
    title: str
    settings: list[Setting] = field(default_factory=list)
    bars: dict[str, Table] = field(default_factory=dict)  # by symbol, in the order of the columns
    books: dict[str, Table] = field(default_factory=dict)  # recorded order books, by symbol
    given: dict[str, Table] = field(default_factory=dict)  # the other sections before `expect`
    expected: dict[str, Table] = field(default_factory=dict)

    @property
    def alone(self) -> bool:
        """Whether the setups of this case are traded each by itself (`outcomes`), not as a portfolio."""
        return "outcomes" in self.expected


@dataclass(frozen=True, slots=True)
class Base:
    """What holds in every case that does not say otherwise: `base.txt`."""

    settings: list[Setting]
    defaults: dict[str, Setting]  # of setup columns


def _lines(path: Path) -> Iterator[tuple[Place, bool, list[str], str]]:
    """Every line with content: its place, whether it is indented, its words, its text."""
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = raw.split("#", 1)[0].rstrip()
        if "\t" in text:
            raise Place(path.name, number).error("a tab; tables are drawn with spaces")
        if text:
            yield Place(path.name, number), text[0] == " ", text.split(), text.strip()


def _setting(place: Place, words: list[str]) -> Setting:
    if len(words) < 3:
        raise place.error(f"`{words[0]}` needs a name and a value")
    return Setting(place, words[1], " ".join(words[2:]))


def read_base(path: Path) -> Base:
    """Read `base.txt`: only `set` and `default` lines."""
    settings: list[Setting] = []
    defaults: dict[str, Setting] = {}
    for place, indented, words, _ in _lines(path):
        if indented or words[0] not in {"set", "default"}:
            raise place.error(f"{words[0]!r} has no place in the base, which holds `set` and `default` lines")
        setting = _setting(place, words)
        if words[0] == "set":
            settings.append(setting)
        elif setting.name not in GIVEN["setups"] or setting.name in defaults:
            raise place.error(f"{setting.name!r} is no column of setups, or has a default already")
        else:
            defaults[setting.name] = setting
    return Base(settings, defaults)


def read_cases(path: Path) -> list[Case]:
    """Read all cases of one file; raises CaseError at the first word that is not known."""
    cases: list[Case] = []
    table: Table | None = None
    section = ""
    expecting = False
    for place, indented, words, text in _lines(path):
        if indented:
            if table is None:
                raise place.error("an indented line belongs to a table, and none was begun")
            _table_line(place, section, table, words)
            continue
        word = words[0]
        if word == "case":
            _finish(cases, table, section)
            title = text.removeprefix("case").strip()
            if not title:
                raise place.error("a case needs a title: one sentence about the market")
            cases.append(Case(place, title))
            table, expecting = None, False
            continue
        if not cases:
            raise place.error(f"{word!r} stands before the first `case`")
        case = cases[-1]
        _close(table, section)
        table = None
        if word == "expect":
            if expecting or len(words) > 1:
                raise place.error("`expect` stands once in a case, alone on its line")
            expecting = True
        elif word == "set":
            if expecting:
                raise place.error("`set` belongs before `expect`")
            case.settings.append(_setting(place, words))
        else:
            section, table = word, Table(place)
            _begin(case, place, words, table, expecting=expecting)
    _finish(cases, table, section)
    if not cases:
        raise Place(path.name, 1).error("no case in this file")
    return cases


def _begin(case: Case, place: Place, words: list[str], table: Table, *, expecting: bool) -> None:
    """Begin the section that `words` names."""
    known = EXPECTED if expecting else GIVEN
    section = words[0]
    if section not in known:
        side = "after" if expecting else "before"
        raise place.error(f"{section!r} is no section {side} `expect`: use one of {', '.join(known)}")
    if section in {"bars", "books"}:
        tables = case.bars if section == "bars" else case.books
        if len(words) != 2 or words[1] in tables:
            raise place.error(
                f"`{section}` needs one symbol, such as `{section} XYZ`, and each symbol one table"
            )
        tables[words[1]] = table
        return
    if len(words) > 1:
        raise place.error(f"`{section}` stands alone on its line")
    sections = case.expected if expecting else case.given
    if section in sections:
        raise place.error(f"`{section}` stands twice in this case")
    sections[section] = table


def _table_line(place: Place, section: str, table: Table, words: list[str]) -> None:
    """Take a header or a row into `table`."""
    known = {**GIVEN, **EXPECTED}[section]
    if not table.columns:
        for word in words:
            if word not in known or words.count(word) > 1:
                raise place.error(
                    f"{word!r} is no column of `{section}`, or stands twice: {', '.join(known)}"
                )
        for word in NEEDED[section]:
            if word not in words:
                raise place.error(f"`{section}` needs the column {word!r}")
        table.columns = tuple(words)
        return
    if section in {"bars", "reference"} and len(words) == 2 and words[1] == "-":
        words = [words[0]] + ["-"] * (len(table.columns) - 1)  # a missing bar
    if len(words) != len(table.columns):
        raise place.error(f"{len(words)} words, but the table has {len(table.columns)} columns")
    table.rows.append(Row(place, dict(zip(table.columns, words, strict=True))))


def _close(table: Table | None, section: str) -> None:
    if table is not None and not table.rows:
        raise table.place.error(f"`{section}` holds no row: leave it out, or draw it")


def _finish(cases: list[Case], table: Table | None, section: str) -> None:
    """Check that the case that ends here is whole."""
    _close(table, section)
    if not cases:
        return
    case = cases[-1]
    if not case.bars:
        raise case.place.error(f"case {case.title!r} has no bars")
    if case.alone:
        if len(case.expected) > 1:
            raise case.place.error(f"case {case.title!r} expects `outcomes`, which stand alone")
    elif "end" not in case.expected or len(case.expected["end"].rows) != 1:
        raise case.place.error(
            f"case {case.title!r} must expect one row of cash, reserved and equity at the `end`"
        )
